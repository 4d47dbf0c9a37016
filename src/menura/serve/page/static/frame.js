// What every page has: the menu, notices, and deletions that can be undone for ten seconds, on whichever page one is.

import { ask, personaPath } from "./api.js";
import { at, button, element } from "./dom.js";
import { has, t } from "./labels.js";

const SHOWN = 6000; // milliseconds of a notice
export const UNDO = 10_000; // milliseconds in which a deletion can be undone
const PENDING = "menura.pending";

const menu = at("menu-button");
if (menu) {
  menu.addEventListener("click", () => openMenu(menu.getAttribute("aria-expanded") !== "true"));
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || menu.getAttribute("aria-expanded") !== "true") return;
    openMenu(false);
    menu.focus();
  });
}

function openMenu(open) {
  menu.setAttribute("aria-expanded", String(open));
  at("sections").classList.toggle("open", open);
}

// Menus that fold out close when one goes elsewhere.
document.addEventListener("click", (event) => closeMenus(event.target));
document.addEventListener("focusin", (event) => closeMenus(event.target));
document.addEventListener("keydown", (event) => {
  const open = event.key === "Escape" && event.target.closest("details.menu[open]");
  if (!open) return;
  open.open = false;
  open.querySelector("summary").focus();
});

function closeMenus(target) {
  for (const open of document.querySelectorAll("details.menu[open]")) if (!open.contains(target)) open.open = false;
}

function notice(kind, ...children) {
  const made = element("div", { class: `notice ${kind}` }, ...children);
  made.append(button("×", () => made.remove(), { class: "close", "aria-label": t("frame.close") }));
  at("notices").append(made);
  return made;
}

export function say(text) {
  const made = notice("", element("span", { dir: "auto" }, text));
  setTimeout(() => made.remove(), SHOWN);
}

// An error stays until it is closed.
export function fail(error) {
  if (error.name === "AbortError") return;
  const made = notice("wrong", element("span", { dir: "auto" }, wordsOf(error)));
  made.setAttribute("role", "alert");
}

// What an error says, in the reader's language where it is one that readers meet, else in the server's words.
export function wordsOf(error) {
  const known = `error.${error.code}`;
  const said = error.code && has(known) ? t(known) : error.message;
  return error.hint ? `${said} (${error.hint})` : said;
}

export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    say(t("frame.copied"));
  } catch {
    fail(new Error(t("frame.not_copied")));
  }
}

// Deletions: the request is sent when the time is over; until then a click takes it back.

const read = () => JSON.parse(sessionStorage.getItem(PENDING) || "[]");
const keep = (pending) => sessionStorage.setItem(PENDING, JSON.stringify(pending));
const drop = (name) => keep(read().filter((one) => one.name !== name));
export const pendingNames = () => new Set(read().map((one) => one.name));

export function deletePersona(name) {
  const until = Date.now() + UNDO;
  keep([...read(), { name, until }]);
  awaitDeletion(name, until);
  changed();
}

function awaitDeletion(name, until) {
  const undo = button(t("frame.undo"), () => {
    clearTimeout(timer);
    drop(name);
    made.remove();
    changed();
  });
  const made = notice("undo", element("span", {}, t("personas.deleted", { name })), undo, element("span", { class: "time", "aria-hidden": "true" }));
  const timer = setTimeout(async () => {
    made.remove();
    try {
      await ask("DELETE", personaPath(name, "?chats=true"));
      drop(name);
    } catch (error) {
      drop(name);
      fail(error);
    }
    changed();
  }, Math.max(0, until - Date.now()));
}

const changed = () => document.dispatchEvent(new CustomEvent("personas-changed"));

for (const { name, until } of read()) awaitDeletion(name, until);
