// What is in a chat before anything is learnt from it: who speaks, which lines will be learnt, what is wrong with it.

import { bar } from "./chart.js";
import { element, named, told } from "./dom.js";
import { counted, has, t, whole } from "./labels.js";

const PRIVATE = ["links", "email_addresses", "ibans", "card_numbers", "phone_numbers", "postal_addresses"];
const KINDS = ["dropped", "context_only", "changed", "private"];

// Shows a preview in an element; `chosen` is the speaker, `choose` is called with another one.
export function showPreview(place, preview, chosen, choose) {
  const problems = problemsOf(preview);
  const parts = [speakersOf(preview, chosen, choose), factsOf(preview), leftOut(preview)];
  // What must be mended comes first, what is only doubtful after who speaks.
  const ordered = preview.errors ? [...problems, ...parts] : [...parts, ...problems];
  place.replaceChildren(...[...headOf(preview), ...ordered, dialoguesOf(preview, chosen)].filter(Boolean));
}

function headOf(preview) {
  return preview.files.map((file) =>
    element("p", { class: "found" }, element("strong", {}, file.title || file.format || t("preview.unknown")), " ",
      element("span", { class: "quiet" }, `${counted("preview.turns", file.turns)}, ${counted("preview.dialogues", file.dialogues)}`)));
}

function speakersOf(preview, chosen, choose) {
  if (!preview.speakers.length) return null;
  const most = Math.max(1, ...preview.speakers.map((speaker) => speaker.replies));
  const choices = preview.speakers.map((speaker) =>
    element("label", { class: "speaker" },
      element("input", { type: "radio", name: "speaker", value: speaker.name, checked: speaker.name === chosen, on: { change: () => choose(speaker.name) } }),
      element("span", { class: "who" }, named(speaker.name)), bar(speaker.replies / most),
      element("span", { class: "quiet" }, counted("preview.replies", speaker.replies))));
  return element("fieldset", { class: "speakers" }, element("legend", {}, t("preview.whose")), ...choices);
}

// What a character card tells of whom it is of.
function factsOf(preview) {
  if (!preview.facts.length) return null;
  return element("section", { class: "card-facts" }, element("h3", {}, t("preview.facts")),
    element("ul", {}, ...preview.facts.map((fact) => element("li", {}, told(fact)))));
}

// Counts by kind: what was left out and why, what is read but not learnt, and what looks private.
function leftOut(preview) {
  const lines = KINDS.map((kind) => {
    const counts = {};
    for (const file of preview.files) for (const [what, count] of Object.entries(file[kind] || {})) counts[what] = (counts[what] || 0) + count;
    const told_ = Object.entries(counts).map(([what, count]) => `${has(`kind.${what}`) ? t(`kind.${what}`) : what} ${whole(count)}`);
    return told_.length ? element("div", {}, element("dt", {}, t(`preview.${kind}`)), element("dd", {}, told_.join(", "))) : null;
  });
  return lines.some(Boolean) ? element("dl", { class: "facts" }, ...lines) : null;
}

function problemsOf(preview) {
  if (!preview.problems.length) return [];
  const lines = preview.problems.map((problem) =>
    element("li", { class: problem.level === "error" ? "wrong" : "doubtful" },
      problem.line ? element("span", { class: "line" }, t("preview.line", { line: whole(problem.line) })) : null, " ", told(problem.message),
      problem.count > 1 ? element("span", { class: "quiet" }, ` ×${whole(problem.count)}`) : null,
      hintOf(problem)));
  const more = preview.problems_left_out ? element("p", { class: "quiet" }, t("preview.more_problems", { count: whole(preview.problems_left_out) })) : null;
  const title = preview.errors ? "preview.errors" : "preview.warnings";
  return [element("section", { class: `problems ${preview.errors ? "has-errors" : ""}` }, element("h3", {}, t(title)), element("ul", {}, ...lines), more)];
}

// Hints are written for a terminal: one that names an option says nothing here.
function hintOf({ code, hint }) {
  const told_ = PRIVATE.includes(code) ? t("preview.redact") : /(^|\s)(--|menura )/.test(hint) ? "" : hint;
  return told_ ? element("small", { class: "hint", dir: "auto" }, told_) : null;
}

function dialoguesOf(preview, chosen) {
  const shown = preview.dialogues.map((turns, number) =>
    element("li", { class: "dialogue" }, element("p", { class: "number quiet" }, t("preview.dialogue", { number: number + 1 })), ...turns.map((turn) => bubble(turn, chosen))));
  return shown.length ? element("section", { class: "dialogues" }, element("h3", {}, t("preview.lines")), element("ol", {}, ...shown)) : null;
}

function bubble(turn, chosen) {
  const own = turn.speaker === chosen;
  const learnt = own && turn.learnt;
  const note = learnt ? element("span", { class: "learnt-mark" }, t("preview.learnt")) : own ? element("span", { class: "quiet" }, t("preview.context")) : null;
  return element("p", { class: `bubble ${own ? "persona" : "partner"} ${learnt ? "learnt" : ""}` }, element("span", { class: "speaker-name" }, named(turn.speaker), " ", note), told(turn.text, { class: "words" }));
}

// Lines of the pasted text that have a problem: number -> what is wrong.
export function marked(preview) {
  return new Map(preview.problems.filter((problem) => problem.line).map((problem) => [problem.line, problem]));
}
