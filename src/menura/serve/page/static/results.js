// What adapting did to each persona's held-out replies: a chart of intervals, and the same as a table.

import { get, personaPath } from "./api.js";
import { intervals } from "./chart.js";
import { csv } from "./csv.js";
import { at, element, named } from "./dom.js";
import { copy, fail } from "./frame.js";
import { decimal, percent, t, whole } from "./labels.js";
import { pagePath } from "./persona_actions.js";
import { showRuns } from "./runs.js";

const PAGE = 15;
const COLUMNS = ["name", "dialogues", "replies", "before", "after", "likelier", "stranger"];
const rows = [];
let next = "";

async function more() {
  at("further").disabled = true;
  try {
    const found = await get("/api/personas", { limit: PAGE, after: next });
    for (const one of found.personas) rows.push(rowOf(one, one.error ? null : await factsOf(one.name)));
    next = found.next ?? "";
    show();
  } catch (error) {
    fail(error);
  }
  at("further").disabled = false;
}

// One that cannot be read, or was deleted meanwhile, keeps the others from nothing.
const factsOf = (name) => get(personaPath(name)).catch(() => null);

function rowOf({ name }, facts) {
  const check = facts?.recipe.held_out || {};
  const [low, high] = check.likelier_interval || [null, null];
  return { name, dialogues: facts?.dialogues, replies: check.replies || 0, before: check.ppl_before, after: check.ppl_after, likelier: check.likelier, stranger: check.likelier_as_stranger, low, high };
}

function show() {
  at("further").hidden = !next;
  at("none").hidden = rows.length > 0;
  at("copy").disabled = !rows.length;
  if (!rows.length) return;
  const checked = rows.filter((row) => Number.isFinite(row.likelier));
  at("chart").replaceChildren(...(checked.length ? [element("h2", {}, t("results.chart")), intervals(checked.map((row) => ({ ...row, value: row.likelier })), t("results.chart"))] : []));
  const head = COLUMNS.map((key) => element("th", { scope: "col" }, t(`results.${key}`)));
  at("table").replaceChildren(element("table", {}, element("thead", {}, element("tr", {}, ...head)), element("tbody", {}, ...rows.map(lineOf))));
}

const number = (value, write) => (Number.isFinite(value) ? write(value) : "–");

function lineOf(row) {
  const spread = row.low === null ? "" : ` [${percent(row.low, true)}, ${percent(row.high, true)}]`;
  const cells = [number(row.dialogues, whole), row.replies ? whole(row.replies) : "–", number(row.before, (value) => decimal(value, 1)), number(row.after, (value) => decimal(value, 1)), number(row.likelier, (value) => percent(value, true) + spread), number(row.stranger, (value) => percent(value, true))];
  return element("tr", { class: row.likelier < 0 ? "worse" : "" }, element("th", { scope: "row" }, element("a", { href: pagePath(row.name) }, named(row.name))), ...cells.map((cell) => element("td", {}, cell)));
}

at("copy").addEventListener("click", () => {
  const columns = ["name", "dialogues", "replies", "before", "after", "likelier", "low", "high", "stranger"];
  copy(csv([columns, ...rows.map((row) => columns.map((key) => row[key]))]));
});
at("further").addEventListener("click", more);
at("further-runs").addEventListener("click", showRuns);
more();
showRuns();
