// Under a reply: what else could have been said and why this was chosen, and what the persona remembered.

import { bar } from "./chart.js";
import { button, element, told } from "./dom.js";
import { counted, decimal, t } from "./labels.js";

const NEAR = 160; // pixels from the end, within which one follows what is written

// By how many pixels the end of the talk, where one writes, is below the screen.
const below = () => document.querySelector(".talk").getBoundingClientRect().bottom - innerHeight;

export const toEnd = () => scrollBy(0, below());

// How long each bar is: the worst a little, the best all of it.
export function shares(scores) {
  const low = Math.min(...scores);
  const wide = Math.max(...scores) - low;
  return scores.map((score) => (wide ? 0.08 + (0.92 * (score - low)) / wide : 1));
}

export function strip(message, name, use) {
  const { candidates, scores } = message;
  if (candidates.length < 2) return null;
  const chosen = candidates.indexOf(message.text);
  const long = shares(scores);
  const order = candidates.map((_, place) => place).sort((a, b) => (scores[b] ?? 0) - (scores[a] ?? 0));
  const lines = order.map((place) =>
    element("li", { class: place === chosen ? "candidate chosen" : "candidate" },
      element("span", { class: "score" }, scores.length ? decimal(scores[place], 2, true) : ""), scores.length ? bar(long[place]) : null,
      told(candidates[place], { class: "words" }),
      place === chosen ? element("span", { class: "is-chosen" }, t("chat.chosen")) : button(t("chat.use"), () => use(place), { class: "quiet", "aria-label": t("chat.use_this", { text: candidates[place].slice(0, 80) }) })));
  return element("details", { class: "strip" }, element("summary", {}, counted("chat.candidates_of", candidates.length)),
    element("p", { class: "hint" }, why(message, chosen, name)), element("ol", {}, ...lines));
}

// Scores say by how much the persona makes a reply likelier than the model without it, per token, as a logarithm.
function why(message, chosen, name) {
  const best = message.scores.length ? Math.max(...message.scores) : 0;
  if (!message.scores.length) return t("chat.why_first");
  if (message.scores[chosen] !== best) return t("chat.why_yours");
  if (!message.version) return t("chat.why_base");
  return t("chat.why", { name, times: decimal(Math.exp(best), 2) });
}

export function recalled(message) {
  if (!message.recalled.length) return null;
  const pairs = message.recalled.map(([before, reply]) => element("li", {}, told(before, { class: "before" }), told(reply, { class: "words" })));
  return element("details", { class: "strip" }, element("summary", {}, counted("chat.recalled", message.recalled.length)), element("ol", { class: "recalled" }, ...pairs));
}

// Candidates while they are written, side by side; `grow` adds a piece to one of them, which is seen with the next frame.
export function growing(count) {
  const waiting = new Map();
  let frame = 0;
  const texts = Array.from({ length: count }, () => told("", { class: "words" }));
  const view = count === 1 ? element("p", { class: "words" }, texts[0]) : element("ol", { class: "growing" }, ...texts.map((text) => element("li", { class: "candidate" }, text)));
  const flush = () => {
    frame = 0;
    const near = below() < NEAR;
    for (const [index, piece] of waiting) texts[index]?.append(piece);
    waiting.clear();
    if (near) toEnd();
  };
  const grow = (index, piece) => {
    waiting.set(index, (waiting.get(index) ?? "") + piece);
    frame ||= requestAnimationFrame(flush);
  };
  return { view, grow };
}
