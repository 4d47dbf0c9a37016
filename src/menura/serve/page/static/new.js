// A new persona: what was said is read, shown and learnt from.

import { ask, get, personaPath, withQuery } from "./api.js";
import { at, element, settled } from "./dom.js";
import { copy, fail, wordsOf } from "./frame.js";
import { follow } from "./job.js";
import { counted, t } from "./labels.js";
import { numbered } from "./numbered.js";
import { chatPath } from "./persona_actions.js";
import { marked, showPreview } from "./preview.js";
import { asDialogues, dropped, pasted, tabs, written } from "./sources.js";

const PACKAGES = /\.(persona|charx)$/i; // a file that may be a whole persona, which is imported as it is
const [USUAL, HELD_OUT] = [5, 2]; // conversations
const more = new URLSearchParams(location.search).get("more") ?? "";
const margin = numbered(at("paste"), at("margin"));
const now = { tab: "paste", source: null, upload: null, preview: null, speaker: null, started: false, typed: false, counted: false };
const sources = {}; // by tab
let asked = 0;

const settings = () => ({ redact: at("redact").checked });

async function read(source) {
  const question = (asked += 1);
  now.source = source;
  if (!source) return show(null);
  if (source.body instanceof Blob && PACKAGES.test(source.filename)) return showPackage(source);
  at("reading").textContent = t("new.reading");
  const sent = source.rows ? asDialogues(source.rows, at("name").value || "persona") : source;
  try {
    const upload = await ask("POST", withQuery("/api/uploads", { filename: sent.filename }), { raw: sent.body, type: sent.type });
    if (question !== asked) return discard(upload);
    show(upload);
    at("reading").textContent = "";
  } catch (error) {
    if (question !== asked) return undefined;
    show(null);
    at("reading").textContent = "";
    at("preview-content").replaceChildren(element("p", { class: "banner", role: "alert", dir: "auto" }, wordsOf(error)));
    at("preview-empty").hidden = true;
  }
  return undefined;
}

function discard(upload) {
  if (upload) ask("DELETE", `/api/uploads/${upload.id}`, { keepalive: true }).catch(() => {});
}

function show(upload) {
  if (now.upload !== upload) discard(now.upload);
  now.upload = upload;
  now.preview = upload ? upload.preview : null;
  at("preview-empty").hidden = Boolean(upload);
  at("preview-content").replaceChildren();
  at("how").hidden = !upload || now.preview.errors > 0 || !now.preview.speakers.length;
  if (now.tab === "paste") margin.mark(upload ? marked(now.preview) : new Map());
  if (!upload) return;
  const names = now.preview.speakers.map((speaker) => speaker.name);
  if (!names.includes(now.speaker)) now.speaker = now.source.rows ? names[names.length - 1] : now.preview.suggested.speaker ?? names[0] ?? null;
  if (now.source.rows) now.speaker = at("name").value || "persona";
  suggest();
  showFields(true);
  showPersons();
}

function showPersons() {
  showPreview(at("preview-content"), now.preview, now.speaker, (speaker) => {
    now.speaker = speaker;
    suggest();
    showPersons();
    at("preview-content").querySelector("input[name=speaker]:checked")?.focus();
  });
  const found = Object.values(now.preview.files.reduce((sum, file) => ({ ...sum, ...file.private }), {})).length;
  at("redact-hint").textContent = found ? t("new.redact_found") : t("new.redact_hint");
  const dialogues = now.preview.speakers.find((speaker) => speaker.name === now.speaker)?.dialogues ?? 1;
  at("k").max = Math.max(1, dialogues);
  if (!now.counted) at("k").value = usual(dialogues);
  at("k-hint").textContent = t("new.k_hint_of", { dialogues: counted("preview.dialogues", dialogues) });
  showCommand();
}

// Five, and fewer where there are few: two more tell whether it helped.
const usual = (dialogues) => Math.max(1, Math.min(USUAL, dialogues > HELD_OUT ? dialogues - HELD_OUT : dialogues));

// The name that the server suggests, until one is typed.
function suggest() {
  if (more || now.typed || now.source.rows) return;
  const { speaker, name } = now.preview.suggested;
  at("name").value = (speaker === now.speaker && name) || nameOf(now.speaker ?? "").toLowerCase();
  tellWhetherThere();
}

// A name that a persona may have, of a speaker's or a file's.
const nameOf = (text) => text.normalize("NFKD").replace(/\p{M}/gu, "").replace(/[^A-Za-z0-9_-]+/g, "-").replace(/^[-_]+|-+$/g, "").slice(0, 64);

// Of a name that is there already a further version is made, which one should know before.
const tellWhetherThere = settled(250, async () => {
  const name = at("name").value;
  let there = null;
  if (name && !more) {
    const { personas } = await get("/api/personas", { q: name, limit: 100 }).catch(() => ({ personas: [] }));
    there = personas.find((row) => row.name === name);
  }
  at("name-hint").textContent = there ? t("new.name_there", { name, version: there.version + 1 }) : t("new.name_hint");
});

function showPackage(source) {
  show(null);
  at("how").hidden = false;
  showFields(false);
  at("preview-empty").hidden = true;
  at("preview-content").replaceChildren(element("p", { class: "found" }, element("strong", { dir: "auto" }, source.filename)), element("p", { class: "quiet" }, t("new.package")));
  if (!now.typed) at("name").value = nameOf(source.filename.replace(PACKAGES, ""));
  showCommand();
}

// A package needs a name alone.
function showFields(learns) {
  for (const id of ["k-field", "learning", "further"]) at(id).hidden = !learns;
  at("k").disabled = !learns;
  at("adapt").textContent = t(learns ? (more ? "new.adapt_more" : "new.adapt") : "new.import");
}

const quoted = (text) => (/^[\w./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);

function showCommand() {
  const name = at("name").value || "NAME";
  const file = now.source?.filename ?? "written.jsonl";
  if (now.source && !now.upload) {
    at("command").textContent = `menura persona import ${quoted(file)} ${quoted(name)}`;
    return;
  }
  const words = ["menura", "adapt", quoted(name), quoted(file)];
  if (now.speaker) words.push("--speaker", quoted(now.speaker));
  if (at("k").value !== String(USUAL)) words.push("-k", at("k").value);
  for (const [id, option] of [["remember", "--remember"], ["redact", "--redact"]]) if (at(id).checked) words.push(option);
  if (at("pick").value !== "recent") words.push("--pick", at("pick").value);
  if (at("base").selectedIndex !== usualBase) words.push("--base", at("base").value);
  if (more) words.push("--more");
  at("command").textContent = words.join(" ");
}

async function adapt() {
  const name = at("name").value;
  at("adapt").disabled = true;
  try {
    const job = now.upload ? await begin(name) : await bringIn(name);
    if (!job) return ended(name, "done");
    now.started = true;
    at("how").hidden = true;
    at("making").hidden = true;
    follow(job, at("job"), { name, speaker: now.speaker, ended: (state) => ended(name, state) });
    at("main").focus();
    scrollTo(0, 0);
  } catch (error) {
    fail(error);
  }
  at("adapt").disabled = false;
  return undefined;
}

async function begin(name) {
  if (now.source.rows) await read(now.source); // the speaker is called as the persona is
  const body = { upload: now.upload.id, speaker: now.speaker, k: Number(at("k").value), pick: at("pick").value };
  const options = { remember: at("remember").checked, more: Boolean(more), consent: at("consent").checked, reading: settings() };
  const base = more ? {} : { base: at("base").value };
  return (await ask("POST", personaPath(name, "/adapt"), { json: { ...body, ...options, ...base } })).job;
}

async function bringIn(name) {
  const { body, filename } = now.source;
  const made = await ask("POST", withQuery("/api/personas/import", { name, filename, consent: at("consent").checked }), { raw: body });
  return made.job ?? null;
}

function ended(name, state) {
  at("job").hidden = false;
  const further = element("p", { class: "links" });
  if (state === "done") {
    now.upload = null;
    if (!at("job").childElementCount) at("job").append(element("h2", {}, t("job.done", { name })));
    further.append(element("a", { class: "button primary", href: chatPath(name) }, t("new.talk", { name })), element("a", { href: "/" }, t("personas.link")));
    at("how").hidden = true;
  } else {
    now.started = false;
    now.upload = null; // a job's upload goes with it
    at("making").hidden = false;
    read(now.source);
  }
  at("job").append(further);
  further.querySelector("a")?.focus();
  return undefined;
}

const given = (tab) => (source) => {
  sources[tab] = source;
  if (now.tab === tab) read(source);
};
pasted(given("paste"));
dropped(given("drop"));
const readRows = written(given("write"));
tabs((tab) => {
  if (now.tab === tab) return;
  now.tab = tab;
  read(sources[tab] ?? null);
});

const usualBase = at("base").selectedIndex;
at("name").addEventListener("input", () => {
  now.typed = true;
  tellWhetherThere();
  showCommand();
});
at("name").addEventListener("change", () => now.source?.rows && readRows());
at("k").addEventListener("input", () => (now.counted = true));
for (const id of ["k", "remember", "redact", "pick", "base"]) at(id).addEventListener("change", showCommand);
at("copy-command").addEventListener("click", () => copy(at("command").textContent));
at("how").addEventListener("submit", (event) => {
  event.preventDefault();
  adapt();
});
addEventListener("pagehide", () => !now.started && discard(now.upload));

if (more) {
  at("heading").textContent = t("new.more_title", { name: more });
  at("about").textContent = t("new.more_about");
  at("name").value = more;
  at("name").readOnly = true;
  at("base").disabled = true;
}
settled(0, showCommand)();
