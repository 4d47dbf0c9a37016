// All chats that were held, the latest first.

import { ask, get } from "./api.js";
import { at, button, element, named, settled } from "./dom.js";
import { fail } from "./frame.js";
import { counted, t, time } from "./labels.js";
import { mark } from "./mark.js";
import { chatPath } from "./persona_actions.js";

const PAGE = 30;
let next = "";
let asked = 0;

async function show(fresh) {
  const question = (asked += 1);
  try {
    const found = await get("/api/chats", { q: at("query").value.trim(), limit: PAGE, after: fresh ? "" : next });
    if (question !== asked) return;
    if (fresh) at("rows").replaceChildren();
    at("rows").append(...found.chats.map(rowOf));
    next = found.next ?? "";
    at("further").hidden = !next;
    at("none").hidden = at("rows").childElementCount > 0;
  } catch (error) {
    fail(error);
  }
}

function rowOf(chat) {
  const remove = button(t("chats.delete"), async () => {
    if (remove.dataset.sure !== "yes") {
      remove.dataset.sure = "yes";
      remove.textContent = t("chats.sure");
      return;
    }
    try {
      await ask("DELETE", `/api/chats/${encodeURIComponent(chat.id)}`);
      row.remove();
      at("none").hidden = at("rows").childElementCount > 0;
    } catch (error) {
      fail(error);
    }
  }, { class: "quiet" });
  remove.addEventListener("blur", () => {
    delete remove.dataset.sure;
    remove.textContent = t("chats.delete");
  });
  const facts = element("p", { class: "quiet facts-line" }, named(chat.persona), ` · ${counted("chats.messages", chat.messages)} · ${time(chat.created)}`);
  const row = element("li", { class: "row" }, mark(chat.persona),
    element("div", { class: "about" }, element("h2", {}, element("a", { href: `${chatPath(chat.persona.split("@")[0])}?chat=${chat.id}`, dir: "auto" }, chat.title || t("chats.untitled"))), facts),
    element("div", { class: "actions" }, remove));
  return row;
}

at("query").addEventListener("input", settled(200, () => show(true)));
at("search").addEventListener("submit", (event) => event.preventDefault());
at("further").addEventListener("click", () => show(false));
show(true);
