// One persona: how it was made, whether that helped, its versions, and what it remembers word for word.

import { ask, get, personaPath } from "./api.js";
import { lossCurve } from "./chart.js";
import { at, button, element, named, told } from "./dom.js";
import { fail, say, wordsOf } from "./frame.js";
import { counted, day, decimal, size, t, time, whole } from "./labels.js";
import { mark } from "./mark.js";
import { actions, chatPath, pagePath, tagLinks } from "./persona_actions.js";
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
  const menu = actions(name, { tags: facts.tags, tagged: show, renamed: (renamed) => location.assign(pagePath(renamed)), deleted: () => location.assign("/") });
  const version = facts.version > 1 ? ` · ${t("personas.version", { version: facts.version })}` : "";
  const learnt = facts.replies ? element("p", { class: "quiet" }, `${counted("personas.replies", facts.replies)} ${t("personas.of")} `, named(facts.speaker), version) : null;
  return element("div", { class: "heading" }, element("div", { class: "with" }, mark(name), element("div", {}, element("h1", {}, named(name)), learnt, tagLinks(facts.tags))),
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
  const rows = [["base", facts.base], ["method", facts.method], ["dialogues", facts.dialogues === null ? "–" : whole(facts.dialogues)], ["made_on", day(facts.made)], ["last_used", facts.last_used ? time(facts.last_used) : t("persona.never")], ["consent", facts.consent_given ? t("persona.consent_given", { day: day(facts.consent_given) }) : t("persona.consent_none")], ["bytes", size(facts.bytes)], ["values", whole(facts.values)], ["files", facts.files.join(", ") || "–"]];
  return section(t("persona.made"), element("dl", { class: "facts" }, ...rows.map(([key, value]) => element("div", {}, element("dt", {}, t(`persona.${key}`)), element("dd", { dir: "auto" }, value)))));
}

const said = (facts) => section(t("persona.facts"), element("ul", {}, ...facts.facts.map((fact) => element("li", { dir: "auto" }, fact))));

function versionsOf(facts) {
  const rows = [...facts.history].reverse().map((one) => versionOf(one, facts));
  const head = ["version", "made_on", "replies", "perplexity", "talk"].map((key) => element("th", { scope: "col" }, t(`persona.${key}`)));
  return section(t("persona.versions"), element("div", { class: "table-frame", tabIndex: 0, role: "region", "aria-label": t("persona.versions") }, element("table", { class: "versions" }, element("thead", {}, element("tr", {}, ...head)), element("tbody", {}, ...rows))));
}

function versionOf(one, facts) {
  const note = one.current ? t("persona.current") : one.same_as ? t("persona.same_as", { version: one.same_as }) : "";
  const learnt = one.error ? told(one.error) : one.replies === null || one.replies === undefined ? "–" : whole(one.replies);
  const helped = Number.isFinite(one.ppl_before) && Number.isFinite(one.ppl_after) ? `${decimal(one.ppl_before, 1)} → ${decimal(one.ppl_after, 1)}` : "–";
  const chat = element("a", { href: chatPath(one.current ? name : `${name}@${one.version}`) }, t("personas.chat"));
  const goBack = one.current || one.error ? null : button(t("persona.back"), () => back(one.version, facts.version), { class: "quiet", "aria-label": t("persona.back_to", { version: one.version }) });
  return element("tr", {}, element("th", { scope: "row" }, String(one.version), note ? element("small", { class: "quiet" }, ` ${note}`) : null), element("td", {}, day(one.made)), element("td", {}, learnt), element("td", {}, helped), element("td", {}, chat, goBack));
}

async function back(version, until) {
  try {
    const { changed } = await ask("POST", personaPath(name, "/back"), { json: { version } });
    if (changed) say(t("persona.is_back", { name, version, until }));
    await show();
    at("main").focus();
  } catch (error) {
    fail(error);
  }
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
