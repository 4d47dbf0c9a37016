// The list of personas: searched, by pages, each with what can be done with it.

import { get } from "./api.js";
import { at, element, named, settled } from "./dom.js";
import { fail, pendingNames } from "./frame.js";
import { counted, day, size, t } from "./labels.js";
import { mark } from "./mark.js";
import { actions, chatPath, pagePath, tagLinks } from "./persona_actions.js";

const PAGE = 25;
const earlier = []; // the `after` of the pages before this one
let after = "";
at("query").value = new URLSearchParams(location.search).get("q") ?? "";
let asked = 0; // replies that come late to an earlier question are not shown

async function show() {
  const question = (asked += 1);
  const query = at("query").value.trim();
  try {
    const found = await get("/api/personas", { q: query, limit: PAGE, after });
    if (question === asked) list(found, query);
  } catch (error) {
    fail(error);
  }
}

function list(found, query) {
  const pending = pendingNames();
  const rows = found.personas.filter((row) => !pending.has(row.name));
  const total = found.total - (found.personas.length - rows.length);
  at("rows").replaceChildren(...rows.map(rowOf));
  const begun = !query && !after;
  at("empty").hidden = !(begun && !total);
  at("none").hidden = !(query && !rows.length);
  at("search").hidden = !at("empty").hidden;
  at("count").textContent = total ? counted("personas.count", total) : "";
  at("pages").hidden = !found.next && !after;
  at("before").disabled = !earlier.length;
  at("after").disabled = !found.next;
  at("after").dataset.next = found.next ?? "";
}

function rowOf(row) {
  const about = element("p", { class: "quiet facts-line" });
  if (row.error) about.append(element("span", { class: "wrong" }, t("personas.damaged", { why: row.error })));
  else about.append(...joined(factsOf(row)));
  const chat = row.error ? null : element("a", { class: "button", href: chatPath(row.name), "aria-label": t("personas.chat_with", { name: row.name }) }, t("personas.chat"));
  return element("li", { class: "row", "data-name": row.name }, mark(row.name),
    element("div", { class: "about" }, element("h2", {}, element("a", { href: pagePath(row.name) }, named(row.name))), about, tagLinks(row.tags)),
    element("div", { class: "actions" }, chat, actions(row.name, { tags: row.tags, renamed: show, tagged: show })));
}

function factsOf(row) {
  const facts = [];
  if (row.replies) facts.push(element("span", {}, `${counted("personas.replies", row.replies)} `, t("personas.of"), " ", named(row.speaker)));
  facts.push(element("span", {}, named(row.base)));
  if (row.version > 1) facts.push(element("span", {}, t("personas.version", { version: row.version })));
  facts.push(element("span", {}, day(row.made)), element("span", {}, size(row.bytes)));
  if (row.last_used) facts.push(element("span", {}, t("personas.used", { day: day(row.last_used) })));
  return facts;
}

const joined = (facts) => facts.flatMap((fact, place) => (place ? [" · ", fact] : [fact]));

function turn(to) {
  after = to;
  show();
  at("main").focus();
}

at("query").addEventListener("input", settled(200, () => {
  earlier.length = 0;
  after = "";
  show();
}));
at("search").addEventListener("submit", (event) => event.preventDefault());
at("after").addEventListener("click", () => {
  earlier.push(after);
  turn(at("after").dataset.next);
});
at("before").addEventListener("click", () => turn(earlier.pop()));
document.addEventListener("personas-changed", show);
show();
