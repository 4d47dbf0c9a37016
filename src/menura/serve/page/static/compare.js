// One prompt to several models side by side; a vote, and what the votes add up to.

import { ask, errorOf, get, streamed } from "./api.js";
import { bar, intervals } from "./chart.js";
import { at, button, element, named, settled, told } from "./dom.js";
import { fail, wordsOf } from "./frame.js";
import { counted, decimal, t, whole } from "./labels.js";

const [FEWEST, MOST] = [2, 4];
const LETTERS = ["A", "B", "C", "D"];
const now = { id: "", stop: null, blind: true, models: null };
let lanes = [];

// Who is asked

function addModel(value = "") {
  const number = at("models").childElementCount + 1;
  const input = element("input", { list: null, value, required: true, maxLength: 72, autocomplete: "off", spellcheck: false, "aria-label": t("compare.model", { number }), on: { input: () => suggest(input.value) } });
  input.setAttribute("list", "known");
  at("models").append(element("li", {}, input, button("×", (event) => { event.target.closest("li").remove(); limits(); }, { class: "close", "aria-label": t("compare.remove", { number }) })));
  limits();
  return input;
}

function limits() {
  const rows = [...at("models").children];
  at("add").hidden = rows.length >= MOST;
  for (const row of rows) row.querySelector(".close").disabled = rows.length <= FEWEST;
}

const suggest = settled(150, async (query) => {
  try {
    await known(query);
  } catch (error) {
    fail(error);
  }
});

async function known(query) {
  const { personas } = await get("/api/personas", { q: query, limit: 20 });
  const good = personas.filter((row) => !row.error);
  const names = [...new Set([...good.map((row) => row.name), ...good.map((row) => row.base)])];
  at("known").replaceChildren(...names.map((name) => element("option", { value: name })));
  return names;
}

// What they say

async function compare() {
  const models = [...at("models").querySelectorAll("input")].map((input) => input.value.trim());
  now.blind = at("blind").checked;
  now.stop = new AbortController();
  running(true);
  at("revealed").textContent = "";
  at("voting").hidden = true;
  lay(models.length, now.blind ? null : models);
  const body = { prompt: at("prompt").value, models, blind: now.blind, sampling: { temperature: 0.8, top_p: 0.92 } };
  try {
    for await (const { event, data } of streamed("/api/compare", body, now.stop.signal)) take(event, data);
  } catch (error) {
    fail(error);
  }
  for (const lane of lanes) lane.view.removeAttribute("aria-busy");
  running(false);
}

function take(event, data) {
  if (event === "compared") Object.assign(now, { id: data.id, models: data.models });
  if (event === "delta") lanes[data.lane]?.words.append(data.text);
  if (event === "finished") lanes[data.lane]?.view.removeAttribute("aria-busy");
  if (event === "error") lanes[data.lane]?.view.append(element("p", { class: "wrong", role: "alert", dir: "auto" }, wordsOf(errorOf(data.error))));
  if (event === "ended" && data.finished) askForVote();
}

function lay(count, models) {
  lanes = LETTERS.slice(0, count).map((letter, place) => {
    const title = element("h2", {}, models ? named(models[place]) : t("compare.lane", { letter }));
    const words = told("", { class: "words" });
    return { title, words, view: element("section", { class: "lane", "aria-busy": "true" }, title, element("p", {}, words)) };
  });
  at("lanes").replaceChildren(...lanes.map((lane) => lane.view));
  at("lanes").dataset.lanes = String(count);
}

function running(runs) {
  at("go").hidden = runs;
  at("stop").hidden = !runs;
  if (!runs) now.stop = null;
}

// The vote

function askForVote() {
  const votes = lanes.map((_, place) => button(now.models ? now.models[place] : LETTERS[place], () => vote(String(place)), { class: "vote" }));
  votes.push(button(t("compare.tie"), () => vote("tie"), { class: "vote" }), button(t("compare.bad"), () => vote("bad"), { class: "vote" }));
  at("voting").replaceChildren(element("p", {}, t("compare.which")), ...votes);
  at("voting").hidden = false;
}

async function vote(choice) {
  try {
    const told_ = await ask("POST", `/api/compare/${encodeURIComponent(now.id)}/vote`, { json: { choice }, headers: { "Idempotency-Key": `${now.id}` } });
    reveal(told_.models, told_.choice);
    await standing();
  } catch (error) {
    fail(error);
  }
}

function reveal(models, choice) {
  for (const [place, lane] of lanes.entries()) {
    lane.title.replaceChildren(now.blind ? `${LETTERS[place]} · ` : "", named(models[place]));
    lane.view.classList.toggle("best", String(place) === choice);
  }
  at("voting").hidden = true;
  const best = models[Number(choice)];
  at("revealed").replaceChildren(best === undefined ? t(`compare.was_${choice}`) : t("compare.was", { name: best }));
}

async function standing() {
  const { models, votes, note } = await get("/api/compare/results");
  if (!votes) return at("standing").replaceChildren(element("p", { class: "quiet" }, t("compare.no_votes")));
  const rows = [...models].sort((a, b) => (b.strength?.value ?? b.wins) - (a.strength?.value ?? a.wins));
  const head = ["name", "wins", "losses", "ties", "bad_count", "strength"].map((key) => element("th", { scope: "col" }, t(`compare.${key}`)));
  const body = rows.map((row) => element("tr", {}, element("th", { scope: "row" }, named(row.model)), element("td", {}, bar(row.wins / Math.max(1, row.comparisons)), ` ${whole(row.wins)}`), ...["losses", "ties", "bad"].map((key) => element("td", {}, whole(row[key]))), element("td", {}, strengthOf(row.strength))));
  const table = element("div", { class: "table-frame", tabIndex: 0, role: "region", "aria-label": t("compare.results") }, element("table", {}, element("thead", {}, element("tr", {}, ...head)), element("tbody", {}, ...body)));
  const strong = rows.filter((row) => row.strength);
  const chart = strong.length > 1 ? intervals(strong.map((row) => ({ name: row.model, ...row.strength })), t("compare.strengths"), (value) => decimal(value, 1, true)) : null;
  return at("standing").replaceChildren(...[element("p", { class: "quiet" }, counted("compare.votes", votes), note ? ` · ${note}` : ""), chart, table].filter(Boolean));
}

const strengthOf = (strength) => (strength ? `${decimal(strength.value, 2, true)}${strength.low === null ? "" : ` (${decimal(strength.low, 2, true)} – ${decimal(strength.high, 2, true)})`}` : "–");

at("add").addEventListener("click", () => addModel().focus());
at("stop").addEventListener("click", () => now.stop?.abort());
document.addEventListener("keydown", (event) => event.key === "Escape" && now.stop?.abort());
at("prompt").addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  at("ask").requestSubmit();
});
at("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  if (!now.stop) compare();
});

async function start() {
  const wanted = new URLSearchParams(location.search).getAll("with");
  try {
    const names = await known("");
    const chosen = [...new Set([...wanted, ...names])].slice(0, Math.max(FEWEST, wanted.length));
    for (let place = 0; place < Math.min(MOST, Math.max(FEWEST, chosen.length)); place += 1) addModel(chosen[place] ?? "");
    await standing();
  } catch (error) {
    fail(error);
  }
}

start();
