// Where a chat comes from: pasted, dropped as a file, or written row by row. Each becomes bytes under a file's name.

import { at, button, element, settled } from "./dom.js";
import { t } from "./labels.js";

const ROWS = 5;
const PAUSE = 600; // milliseconds without a key after which the text is read
export const PARTNER = "You"; // who asks in rows that are written here

// Tabs by click and by arrows, as WAI-ARIA has them.
export function tabs(changed) {
  const all = [...document.querySelectorAll("[role=tab]")];
  const choose = (tab) => {
    for (const one of all) {
      one.setAttribute("aria-selected", String(one === tab));
      one.tabIndex = one === tab ? 0 : -1;
      at(one.getAttribute("aria-controls")).hidden = one !== tab;
    }
    changed(tab.id.replace("tab-", ""));
  };
  for (const [place, tab] of all.entries()) {
    tab.addEventListener("click", () => choose(tab));
    tab.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!step) return;
      const next = all[(place + step + all.length) % all.length];
      next.focus();
      choose(next);
    });
  }
  return (name) => choose(at(`tab-${name}`));
}

// `given` is called with {body, filename, type} whenever there is something new to read, and with null for nothing.
export function pasted(given) {
  const area = at("paste");
  const read = settled(PAUSE, () => {
    const text = area.value;
    given(text.trim() ? { body: text, filename: "pasted.txt", type: "text/plain; charset=utf-8" } : null);
  });
  area.addEventListener("input", read);
  return read;
}

export function dropped(given) {
  const zone = at("drop");
  const take = (file) => file && given({ body: file, filename: file.name, type: "application/octet-stream" });
  at("file").addEventListener("change", () => take(at("file").files[0]));
  for (const event of ["dragenter", "dragover"]) zone.addEventListener(event, (one) => {
    one.preventDefault();
    zone.classList.add("over");
  });
  for (const event of ["dragleave", "drop"]) zone.addEventListener(event, () => zone.classList.remove("over"));
  zone.addEventListener("drop", (event) => {
    event.preventDefault();
    take(event.dataTransfer.files[0]);
  });
  // A file that misses the zone must not replace the page.
  for (const event of ["dragover", "drop"]) window.addEventListener(event, (one) => one.preventDefault());
}

export function written(given) {
  const list = at("written");
  const read = settled(PAUSE, () => {
    const rows = [...list.children].map((row) => [...row.querySelectorAll("textarea")].map((area) => area.value.trim()));
    const whole = rows.filter(([question, answer]) => question && answer);
    given(whole.length ? { rows: whole } : null);
  });
  const add = () => {
    const number = list.children.length + 1;
    const area = (kind) => element("textarea", { rows: 1, class: kind, maxLength: 4000, "aria-label": t(`new.write_${kind}`, { number }), placeholder: t(`new.write_${kind}_hint`), on: { input: read } });
    list.append(element("li", {}, area("question"), area("answer"), button("×", (event) => { event.target.closest("li").remove(); read(); }, { class: "close", "aria-label": t("new.write_remove", { number }) })));
  };
  for (let row = 0; row < ROWS; row += 1) add();
  at("more-rows").addEventListener("click", () => {
    add();
    list.lastElementChild.querySelector("textarea").focus();
  });
  return read;
}

// Rows as the lines of a JSONL file, each row a dialogue of its own.
export function asDialogues(rows, speaker) {
  const partner = speaker.toLowerCase() === PARTNER.toLowerCase() ? "Partner" : PARTNER;
  const lines = rows.map(([question, answer], place) => JSON.stringify({ dialogue_id: `row-${place + 1}`, turns: [{ speaker: partner, text: question }, { speaker, text: answer }] }));
  return { body: `${lines.join("\n")}\n`, filename: "written.jsonl", type: "application/octet-stream" };
}
