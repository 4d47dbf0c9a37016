// Elements made of text: no string ever becomes markup, an attribute with code, or a style.

const SVG = "http://www.w3.org/2000/svg";
const AS_ATTRIBUTES = /^(aria-|data-|role$|for$|class$|list$|viewBox$|colspan$|scope$)/;

function fill(made, properties, children) {
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (name === "on") for (const [event, listener] of Object.entries(value)) made.addEventListener(event, listener);
    else if (AS_ATTRIBUTES.test(name)) made.setAttribute(name, value === true ? "" : String(value));
    else made[name] = value;
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return made;
}

export const element = (tag, properties = {}, ...children) => fill(document.createElement(tag), properties, children);

export function drawing(tag, attributes = {}, ...children) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, String(value));
  made.append(...children);
  return made;
}

export const at = (id) => document.getElementById(id);

export const button = (label, click, properties = {}) =>
  element("button", { type: "button", ...properties, on: { click } }, label);

// A text of somebody, whose direction is its own and changes none of what stands around it.
export const told = (text, properties = {}) => element("span", { dir: "auto", ...properties }, text);

export const named = (name) => element("bdi", {}, name);

// What comes late is waited for once: of many calls within `milliseconds` the last one counts.
export function settled(milliseconds, act) {
  let timer = 0;
  return (...values) => {
    clearTimeout(timer);
    timer = setTimeout(() => act(...values), milliseconds);
  };
}
