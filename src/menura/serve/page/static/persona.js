// One persona: how it was made, whether that helped, its versions, and what it remembers word for word.

import { ask, get, personaPath } from "./api.js";
import { lossCurve } from "./chart.js";
import { at, button, element, named, told } from "./dom.js";
import { fail, say, wordsOf } from "./frame.js";
import { counted, day, decimal, size, t, whole } from "./labels.js";
import { mark } from "./mark.js";
import { actions, chatPath, pagePath } from "./persona_actions.js";
import { verdict } from "./verdict.js";

const place = at("persona");
const { name } = place.dataset;
const REMEMBERED = 100;

async function show() {
  try {
    const facts = await get(personaPath(name));
    place.replaceChildren(headOf(facts), heldOut(facts), madeOf(facts), ...(facts.facts.length ? [said(facts)] : []), versionsOf(facts), await memoryOf());
  } catch (error) {
    place.replaceChildren(element("h1", {}, named(name)), element("p", { class: "banner", role: "alert", dir: "auto" }, wordsOf(error)), element("p", {}, element("a", { href: "/" }, t("personas.link"))));
  }
}

function headOf(facts) {
  const menu = actions(name, { renamed: (renamed) => location.assign(pagePath(renamed)), deleted: () => location.assign("/") });
  const learnt = facts.replies ? element("p", { class: "quiet" }, `${counted("personas.replies", facts.replies)} ${t("personas.of")} `, named(facts.speaker)) : null;
  return element("div", { class: "heading" }, element("div", { class: "with" }, mark(name), element("div", {}, element("h1", {}, named(name)), learnt)),
    element("div", { class: "actions" }, element("a", { class: "button primary", href: chatPath(name) }, t("personas.chat")), menu));
}

const section = (title, ...children) => element("section", { class: "panel" }, element("h2", {}, title), ...children);

function heldOut(facts) {
  const losses = facts.recipe.support_loss || [];
  const curve = losses.length > 1 ? lossCurve(t("job.loss")) : null;
  for (const [step, loss] of losses.entries()) curve?.add(step + 1, losses.length, loss);
  return section(t("persona.helped"), ...verdict(facts.recipe.held_out, facts.speaker || name), curve?.chart);
}

function madeOf(facts) {
  const rows = [["base", facts.base], ["method", facts.method], ["dialogues", facts.dialogues === null ? "–" : whole(facts.dialogues)], ["made_on", day(facts.made)], ["bytes", size(facts.bytes)], ["values", whole(facts.values)], ["files", facts.files.join(", ") || "–"]];
  return section(t("persona.made"), element("dl", { class: "facts" }, ...rows.map(([key, value]) => element("div", {}, element("dt", {}, t(`persona.${key}`)), element("dd", { dir: "auto" }, value)))));
}

const said = (facts) => section(t("persona.facts"), element("ul", {}, ...facts.facts.map((fact) => element("li", { dir: "auto" }, fact))));

function versionsOf(facts) {
  const rows = [...facts.history].reverse().map((one) => element("tr", {}, element("td", {}, String(one.version)), element("td", {}, day(one.made)), element("td", {}, one.error ? told(one.error) : one.replies === null || one.replies === undefined ? "–" : whole(one.replies)),
    element("td", {}, Number.isFinite(one.ppl_before) && Number.isFinite(one.ppl_after) ? `${decimal(one.ppl_before, 1)} → ${decimal(one.ppl_after, 1)}` : "–"),
    element("td", {}, element("a", { href: chatPath(one.current ? name : `${name}@${one.version}`) }, t("personas.chat")))));
  const head = ["version", "made_on", "replies", "perplexity", "talk"].map((key) => element("th", { scope: "col" }, t(`persona.${key}`)));
  return section(t("persona.versions"), element("div", { class: "table-frame" }, element("table", {}, element("thead", {}, element("tr", {}, ...head)), element("tbody", {}, ...rows))));
}

async function memoryOf() {
  const { exchanges, total } = await get(personaPath(name, "/memory"), { limit: REMEMBERED });
  if (!total) return section(t("persona.memory"), element("p", { class: "quiet" }, t("persona.no_memory")));
  const rows = exchanges.map((one) => element("li", {}, told(one.before, { class: "before" }), told(one.reply, { class: "words" }), button(t("persona.forget"), () => forget(one.number), { class: "quiet", "aria-label": t("persona.forget_this", { text: one.reply.slice(0, 80) }) })));
  return section(t("persona.memory"), element("p", { class: "quiet" }, counted("persona.remembers", total)), element("ol", { class: "recalled" }, ...rows));
}

async function forget(number) {
  try {
    await ask("DELETE", personaPath(name, `/memory/${number}`));
    say(t("persona.forgotten"));
    await show();
  } catch (error) {
    fail(error);
  }
}

show();
