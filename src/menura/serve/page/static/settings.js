// How the server is, and how the page looks.

import { ask, get, getText } from "./api.js";
import { at, button, element, named } from "./dom.js";
import { fail, wordsOf } from "./frame.js";
import { size, t, time, whole } from "./labels.js";
import { chatPath } from "./persona_actions.js";

const YEAR = 31_536_000; // seconds
const AGAIN = 3000; // milliseconds between two looks at the server
const METRICS = { running: whole, waiting: whole, resident: whole, memory: size, tokens: whole };
const CALLED = { running: "menura_running", waiting: "menura_waiting", resident: "menura_resident_personas", memory: "menura_resident_bytes", tokens: "menura_tokens_total" };

function remember(name, value) {
  document.cookie = `${name}=${encodeURIComponent(value)}; path=/; max-age=${YEAR}; SameSite=Strict`;
}

for (const input of document.querySelectorAll("input[name=theme]")) input.addEventListener("change", () => {
  remember("menura_theme", input.value);
  document.documentElement.dataset.theme = input.value;
});
for (const input of document.querySelectorAll("input[name=language]")) input.addEventListener("change", () => {
  remember("menura_language", input.value);
  location.reload();
});

async function look() {
  try {
    await get("/readyz");
    state("ready");
  } catch {
    state("not_ready");
  }
  try {
    const lines = new Map((await getText("/metrics")).split("\n").filter((line) => line && !line.startsWith("#")).map((line) => line.split(" ")));
    for (const [id, show] of Object.entries(METRICS)) if (lines.has(CALLED[id])) at(id).textContent = show(Number(lines.get(CALLED[id])));
    await jobs();
  } catch (error) {
    if (error.code !== "unreachable") fail(error);
  }
  setTimeout(() => (document.hidden ? document.addEventListener("visibilitychange", look, { once: true }) : look()), AGAIN);
}

function state(kind) {
  if (at("ready").dataset.state === kind) return;
  at("ready").dataset.state = kind;
  at("ready").textContent = t(`settings.${kind}`);
}

async function jobs() {
  const found = await get("/api/jobs", { limit: 20 });
  at("no-jobs").hidden = found.jobs.length > 0;
  const known = JSON.stringify(found.jobs);
  if (at("jobs").dataset.known === known) return; // so that a button keeps the focus
  at("jobs").dataset.known = known;
  at("jobs").replaceChildren(...found.jobs.map((job) => element("li", { class: "row" },
    element("div", { class: "about" }, element("p", {}, named(job.persona), " ", element("span", { class: "quiet" }, `${t(`job.state_${job.state}`)} · ${time(job.created)}`)), ...(job.problems ?? []).map((problem) => element("p", { class: "hint", dir: "auto" }, wordsOf(problem)))),
    element("div", { class: "actions" }, job.state === "done" ? element("a", { href: chatPath(job.persona) }, t("personas.chat")) : null, ["waiting", "running"].includes(job.state) ? button(t("job.cancel"), () => ask("DELETE", `/api/jobs/${job.id}`).then(jobs).catch(fail)) : null))));
}

at("sign-out").addEventListener("click", async () => {
  try {
    await ask("POST", "/sign-out", { json: {} });
    sessionStorage.clear();
    location.assign("/sign-in");
  } catch (error) {
    fail(error);
  }
});

look();
