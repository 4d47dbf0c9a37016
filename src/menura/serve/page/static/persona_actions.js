// What can be done with a persona, wherever it is listed: a menu that folds out, and forms for a new name and for tags.

import { ask, personaPath, withQuery } from "./api.js";
import { button, element } from "./dom.js";
import { deletePersona, fail, say } from "./frame.js";
import { t } from "./labels.js";

const FORMS = ["charx", "png", "json", "peft"];

export const chatPath = (name) => `/chat/${encodeURIComponent(name)}`;
export const pagePath = (name) => `/personas/${encodeURIComponent(name)}`;

export function actions(name, { tags = [], renamed, tagged, deleted = () => {} }) {
  const link = (label, href, properties = {}) => element("a", { href, ...properties }, label);
  const exports = FORMS.map((form) => link(t(`export.${form}`), withQuery(personaPath(name, "/export"), { format: form }), { download: "" }));
  const rename = button(t("personas.rename"), () => askName(name, menu, renamed));
  const menu = element("details", { class: "menu" },
    element("summary", { "aria-label": t("personas.more_about", { name }) }, t("personas.more")),
    element("div", { class: "folded" },
      link(t("personas.learn"), withQuery("/new", { more: name })),
      link(t("personas.compare"), withQuery("/compare", { with: name })),
      link(t("personas.details"), pagePath(name)),
      rename,
      button(t("personas.tags"), () => askTags(name, tags, menu, tagged)),
      element("p", { class: "hint" }, t("personas.export")), ...exports,
      button(t("personas.delete"), () => { menu.open = false; deletePersona(name); deleted(); }, { class: "danger" })));
  return menu;
}

// Asks for a text beside the menu, which is sent when it has changed; what the server refuses stays to be mended.
function askFor({ label, value, action, limits, menu, send }) {
  const input = element("input", { value, "aria-label": label, spellcheck: false, autocomplete: "off", ...limits });
  const close = () => { form.remove(); menu.open = true; menu.querySelector("summary").focus(); menu.open = false; };
  const form = element("form", { class: "rename", on: {
    submit: async (event) => {
      event.preventDefault();
      if (input.value === value) return close();
      try {
        await send(input.value);
        if (form.isConnected) close();
      } catch (error) {
        fail(error);
        input.focus();
      }
      return undefined;
    },
    keydown: (event) => { if (event.key === "Escape") close(); },
  } }, input, element("button", { type: "submit", class: "primary" }, action), button(t("frame.cancel"), close));
  menu.parentElement.querySelector("form.rename")?.remove();
  menu.open = false;
  menu.after(form);
  input.select();
}

function askName(name, menu, renamed) {
  const limits = { required: true, maxLength: 64, pattern: "[A-Za-z0-9][A-Za-z0-9_\\-]*" };
  askFor({ label: t("personas.new_name"), value: name, action: t("personas.rename"), limits, menu, send: async (typed) => {
    await ask("PATCH", personaPath(name), { json: { name: typed } });
    say(t("personas.renamed", { old: name, name: typed }));
    renamed(typed);
  } });
}

function askTags(name, tags, menu, tagged) {
  const limits = { maxLength: 400, placeholder: t("personas.tags_hint") };
  askFor({ label: t("personas.tags_of", { name }), value: tags.join(", "), action: t("personas.save"), limits, menu, send: async (typed) => {
    const chosen = typed.split(/[,，、]/).map((tag) => tag.trim()).filter(Boolean);
    await ask("PATCH", personaPath(name), { json: { tags: chosen } });
    tagged();
  } });
}

// Each leads to all personas that have it.
export const tagLinks = (tags) => (tags?.length ? element("ul", { class: "tags", "aria-label": t("personas.tags") }, ...tags.map((tag) => element("li", {}, element("a", { href: withQuery("/", { q: tag }), dir: "auto" }, tag)))) : null);
