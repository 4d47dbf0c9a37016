// A chat with one persona.

import { ask, beforeSignIn, errorOf, get, personaPath, streamed } from "./api.js";
import { growing, toEnd } from "./candidates.js";
import { at, button, element, named } from "./dom.js";
import { copy, fail, wordsOf } from "./frame.js";
import { follow } from "./job.js";
import { counted, t, time } from "./labels.js";
import { mark } from "./mark.js";
import { personaMessage, userMessage } from "./messages.js";
import { chatPath } from "./persona_actions.js";

const name = at("chat").dataset.name;
const DRAFT = `menura.draft.${name}`;
const SHOWN = 12; // earlier chats
const TITLE = 80; // characters
const now = { chat: new URLSearchParams(location.search).get("chat"), messages: [], base: "", saying: "", stop: null };
const chatUrl = (further = "") => `/api/chats/${encodeURIComponent(now.chat)}${further}`;
const checked = (field) => document.querySelector(`input[name=${field}]:checked`).value;

// What is typed

const area = at("text");
function resize() {
  area.style.height = "auto";
  area.style.height = `${Math.min(area.scrollHeight + 2, 220)}px`;
}
// What is being said is a draft until the server has it.
const keepDraft = () => sessionStorage.setItem(DRAFT, area.value || now.saying);
function write(text) {
  area.value = text;
  keepDraft();
  resize();
}
beforeSignIn(keepDraft);
area.addEventListener("input", () => {
  keepDraft();
  resize();
});
area.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  at("composer").requestSubmit();
});
document.addEventListener("keydown", (event) => event.key === "Escape" && now.stop?.abort());
at("stop").addEventListener("click", () => now.stop?.abort());
at("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = area.value.trim();
  if (text && !now.stop) speak(text);
});

// What is shown

const does = { rate, use, again };
function draw() {
  const last = now.messages.length - 1;
  const shown = now.messages.map((message, place) => (message.role === "user" ? userMessage(message) : personaMessage(message, name, does, place === last)));
  at("log").replaceChildren(...(shown.length ? shown : [greeting()]));
  if (last >= 0 && now.messages[last].role === "user") at("log").append(element("p", { class: "links" }, button(t("chat.retry"), () => reply(null))));
  const rated = now.messages.some((message) => message.rating === "good");
  at("learn").disabled = !rated || !now.base;
  at("curl").disabled = !shown.length;
  for (const [id, form] of [["export-jsonl", "jsonl"], ["export-text", "text"]]) {
    at(id).hidden = !now.chat || !shown.length;
    if (now.chat) at(id).href = chatUrl(`/export?format=${form}`);
  }
  if (shown.length) toEnd();
}

const greeting = () => element("p", { class: "greeting quiet" }, t("chat.greeting", { name }));

function change(message, changes) {
  return ask("PATCH", chatUrl(`/messages/${message.place}`), { json: changes }).then((changed) => {
    Object.assign(message, changed);
    const open = Boolean(at("log").querySelector(`[data-place="${message.place}"] .strip[open]`));
    const view = personaMessage(message, name, does, message === now.messages.at(-1));
    at("log").querySelector(`[data-place="${message.place}"]`).replaceWith(view);
    if (open && view.querySelector(".strip")) view.querySelector(".strip").open = true;
    at("learn").disabled = !now.messages.some((one) => one.rating === "good") || !now.base;
    return view;
  });
}

function rate(message, rating) {
  const kind = rating ?? message.rating;
  change(message, { rating }).then((view) => view.querySelector(`.icon.${kind}`).focus()).catch(fail);
}

function use(message, candidate) {
  change(message, { candidate }).then((view) => view.querySelector(".strip summary").focus()).catch(fail);
}

async function again(message) {
  try {
    await ask("DELETE", chatUrl(`/messages/${message.place}`));
    now.messages = now.messages.filter((one) => one.place < message.place);
    draw();
    await reply(null);
  } catch (error) {
    fail(error);
  }
}

// What is said

async function speak(text) {
  now.saying = text;
  write("");
  at("log").querySelector(".greeting")?.remove();
  at("log").querySelector("p.links")?.remove();
  at("log").append(userMessage({ text }));
  try {
    if (!now.chat) await begin(text);
  } catch (error) {
    now.saying = "";
    write(text);
    draw();
    fail(error);
    return;
  }
  await reply(text);
}

async function begin(text) {
  const made = await ask("POST", "/api/chats", { json: { persona: name, title: text.slice(0, TITLE) } });
  now.chat = made.id;
  history.replaceState(null, "", `${chatPath(name)}?chat=${made.id}`);
  earlierChats().catch(fail);
}

function bodyOf(text) {
  const seed = at("seed").value;
  const sampling = { temperature: Number(at("temperature").value), top_p: 0.92 };
  if (seed !== "") sampling.seed = Number(seed);
  const body = { candidates: Number(checked("candidates")), sampling };
  if (text !== null) body.text = text;
  if (checked("who") === "base" && now.base) body.persona = now.base;
  return body;
}

async function reply(text) {
  const body = bodyOf(text);
  const live = growing(body.candidates);
  const view = element("article", { class: `message persona writing ${body.persona ? "of-base" : ""}`, "aria-busy": "true", "aria-label": name }, live.view);
  at("log").querySelector("p.links")?.remove();
  at("log").append(view);
  now.stop = new AbortController();
  writing(true);
  toEnd();
  try {
    await take(body, live);
  } catch (error) {
    await reload(text, error.name === "AbortError");
    if (error.name !== "AbortError") at("log").append(element("p", { class: "banner", role: "alert", dir: "auto" }, wordsOf(error)));
  }
  now.stop = null;
  writing(false);
}

async function take(body, live) {
  for await (const { event, data } of streamed(chatUrl("/reply"), body, now.stop.signal)) {
    now.saying = "";
    keepDraft();
    if (event === "error") throw errorOf(data.error);
    if (event === "delta") live.grow(data.index, data.text);
    if (event === "begun") for (const note of data.notes) at("log").lastElementChild.append(element("p", { class: "hint", dir: "auto" }, note));
    if (event === "stored") {
      if (body.text !== undefined) now.messages = (await get(chatUrl("/messages"))).messages;
      else now.messages.push(data.message);
      draw();
      at("said").textContent = data.message.text;
      return;
    }
  }
  throw new Error(t("error.broken"));
}

// After a stream that was cut, what the server has kept; it takes it a moment to notice.
async function reload(text, wasStopped) {
  for (let tries = 0; tries < (wasStopped ? 8 : 1); tries += 1) {
    try {
      now.messages = (await get(chatUrl("/messages"))).messages;
    } catch {
      break;
    }
    if (now.messages.at(-1)?.role === "persona") break;
    await new Promise((go) => setTimeout(go, 150));
  }
  now.saying = "";
  const kept = text === null || now.messages.some((message) => message.role === "user" && message.text === text);
  if (kept) keepDraft();
  else write(text);
  draw();
}

function writing(runs) {
  at("send").hidden = runs;
  at("stop").hidden = !runs;
  if (!runs) area.focus({ preventScroll: true });
}

// Beside the chat

at("temperature").addEventListener("input", () => (at("temperature-shown").value = at("temperature").value));
at("curl").addEventListener("click", () => {
  const messages = now.messages.map((message) => ({ role: message.role === "user" ? "user" : "assistant", content: message.text }));
  while (messages.length && messages.at(-1).role === "assistant") messages.pop();
  const { sampling, candidates, persona } = bodyOf(null);
  const body = { model: persona || name, messages, ...sampling, menura: { candidates, return_scores: true } };
  const json = JSON.stringify(body).replaceAll("'", "'\\''");
  copy(`curl ${location.origin}/v1/chat/completions -H 'Authorization: Bearer KEY' -H 'Content-Type: application/json' -d '${json}'`);
});
at("learn").addEventListener("click", async () => {
  try {
    const { job } = await ask("POST", personaPath(name, "/adapt"), { json: { chat: now.chat, only_good: true, more: true } });
    at("learn").disabled = true;
    follow(job, at("job"), { name, ended: (state) => { if (state === "done") about().catch(fail); } });
  } catch (error) {
    fail(error);
  }
});

async function about() {
  const facts = await get(personaPath(name));
  now.base = facts.base;
  at("who-base").disabled = false;
  const learnt = facts.replies ? `${counted("personas.replies", facts.replies)} ${t("personas.of")} ` : "";
  at("with-about").replaceChildren(learnt, ...(learnt ? [named(facts.speaker)] : []), ` · ${facts.base} · ${t("personas.version", { version: facts.version })}`);
}

async function earlierChats() {
  const { chats } = await get("/api/chats", { persona: name, limit: SHOWN });
  const rows = chats.map((one) => element("li", {}, element("a", { href: `${chatPath(name)}?chat=${one.id}`, "aria-current": one.id === now.chat ? "page" : null }, element("bdi", {}, one.title || time(one.created))), element("span", { class: "quiet" }, time(one.created))));
  at("earlier").replaceChildren(...rows);
}

async function start() {
  at("mark").replaceChildren(mark(name));
  at("controls").open = matchMedia("(min-width: 64rem)").matches;
  write(sessionStorage.getItem(DRAFT) ?? "");
  draw();
  // A base has no page of its own, and can be talked to all the same.
  about().catch((error) => error.status === 404 || fail(error));
  if (now.chat) {
    try {
      now.messages = (await get(chatUrl())).messages;
      draw();
    } catch (error) {
      now.chat = null;
      fail(error);
    }
  }
  earlierChats().catch(fail);
  area.focus({ preventScroll: true });
}

start();
