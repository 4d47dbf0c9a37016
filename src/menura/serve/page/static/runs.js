// Tables that evaluations wrote: listed by name, each read when it is opened.

import { get } from "./api.js";
import { at, button, element, told } from "./dom.js";
import { copy, fail } from "./frame.js";
import { csv } from "./csv.js";
import { counted, day, decimal, language, t } from "./labels.js";

const PAGE = 20;
const ARROW = { higher: "↑", lower: "↓" };
const number = new Intl.NumberFormat(language, { minimumSignificantDigits: 3, maximumSignificantDigits: 3 });
const written = (value) => (Number.isFinite(value) ? number.format(value) : "–");
let next = "";

export async function showRuns() {
  at("further-runs").disabled = true;
  try {
    const found = await get("/api/runs", { limit: PAGE, after: next });
    at("runs").append(...found.runs.map(runOf));
    next = found.next ?? "";
    at("further-runs").hidden = !next;
    at("no-runs").hidden = at("runs").childElementCount > 0;
  } catch (error) {
    fail(error);
  }
  at("further-runs").disabled = false;
}

function runOf(run) {
  const place = element("div", { class: "run-table" });
  const facts = [run.made ? day(run.made) : "", run.about.base ?? "", run.systems ? counted("results.systems", run.systems) : ""].filter(Boolean);
  const made = element("details", { class: "run" }, element("summary", {}, told(run.name, { class: "run-name" }), " ", told(facts.join(" · "), { class: "quiet" })), place);
  if (run.error) {
    place.append(element("p", { class: "wrong", dir: "auto" }, run.error));
    return element("li", {}, made);
  }
  made.addEventListener("toggle", () => read(run.id, place), { once: true });
  return element("li", {}, made);
}

async function read(id, place) {
  try {
    const table = await get(`/api/runs/${encodeURIComponent(id)}/metrics`);
    const scores = tableOf(t("results.system"), table.rows.map((row) => [row.label, row.scores]), table.metrics, scoreOf, table.rows);
    const differences = table.differences.map((one) => [`${one.ours} − ${one.theirs}`, one.scores]);
    place.append(scores, element("p", { class: "hint" }, t("results.how_to_read")));
    if (differences.length) place.append(tableOf(t("results.difference"), differences, table.metrics, differenceOf, table.rows));
    const about = Object.entries(table.about).map(([key, value]) => element("div", {}, element("dt", { dir: "auto" }, key), element("dd", { dir: "auto" }, value)));
    place.append(element("details", { class: "further" }, element("summary", {}, t("results.conditions")), element("dl", { class: "facts" }, ...about)),
      element("p", {}, button(t("results.copy"), () => copy(csvOf(table)))));
  } catch (error) {
    fail(error);
  }
}

function tableOf(title, rows, metrics, show, systems) {
  const better = (metric) => systems.map((row) => row.scores[metric]).find(Boolean)?.better;
  const head = [element("th", { scope: "col" }, title), ...metrics.map((metric) => element("th", { scope: "col", dir: "auto" }, `${metric} ${ARROW[better(metric)] ?? ""}`))];
  const body = rows.map(([label, scores]) => element("tr", {}, element("th", { scope: "row", dir: "auto" }, label), ...metrics.map((metric) => element("td", {}, ...show(scores[metric])))));
  return element("div", { class: "table-frame", tabIndex: 0, role: "region", "aria-label": title }, element("table", {}, element("thead", {}, element("tr", {}, ...head)), element("tbody", {}, ...body)));
}

const between = (score) => (Number.isFinite(score.low) && Number.isFinite(score.high) ? element("small", { class: "quiet interval-text" }, `[${written(score.low)}, ${written(score.high)}]`) : null);

const scoreOf = (score) => (score ? [written(score.value), " ", between(score)] : ["–"]);

// A difference whose interval holds no zero is one; the others are told in grey.
function differenceOf(score) {
  if (!score) return ["–"];
  const sure = score.low > 0 || score.high < 0;
  const sign = score.value > 0 ? "+" : "";
  const p = Number.isFinite(score.p) ? element("small", { class: "quiet" }, ` p = ${decimal(score.p, 3)}`) : null;
  return [element("span", { class: sure ? "" : "quiet" }, `${sign}${written(score.value)}`), " ", between(score), p];
}

function csvOf(table) {
  const columns = ["system", "metric", "value", "low", "high", "unit", "personas", "samples", "signature"];
  const lines = table.rows.flatMap((row) => Object.entries(row.scores).map(([metric, score]) => columns.map((key) => ({ system: row.label, metric })[key] ?? score[key])));
  return csv([columns, ...lines]);
}
