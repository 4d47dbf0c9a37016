// What can be done with a persona, wherever it is listed: a menu that folds out, and a form for a new name.

import { ask, personaPath, withQuery } from "./api.js";
import { button, element } from "./dom.js";
import { deletePersona, fail, say } from "./frame.js";
import { t } from "./labels.js";

const FORMS = ["charx", "png", "json", "peft"];

export const chatPath = (name) => `/chat/${encodeURIComponent(name)}`;
export const pagePath = (name) => `/personas/${encodeURIComponent(name)}`;

export function actions(name, { renamed, deleted = () => {} }) {
  const link = (label, href, properties = {}) => element("a", { href, ...properties }, label);
  const exports = FORMS.map((form) => link(t(`export.${form}`), withQuery(personaPath(name, "/export"), { format: form }), { download: "" }));
  const rename = button(t("personas.rename"), () => askName(name, menu, renamed));
  const menu = element("details", { class: "menu" },
    element("summary", { "aria-label": t("personas.more_about", { name }) }, t("personas.more")),
    element("div", { class: "folded" },
      link(t("personas.learn"), withQuery("/new", { more: name })),
      link(t("personas.compare"), withQuery("/compare", { with: name })),
      link(t("personas.details"), pagePath(name)),
      rename,
      element("p", { class: "hint" }, t("personas.export")), ...exports,
      button(t("personas.delete"), () => { menu.open = false; deletePersona(name); deleted(); }, { class: "danger" })));
  return menu;
}

function askName(name, menu, renamed) {
  const input = element("input", { value: name, required: true, maxLength: 64, pattern: "[A-Za-z0-9][A-Za-z0-9_\\-]*", "aria-label": t("personas.new_name"), spellcheck: false, autocomplete: "off" });
  const close = () => { form.remove(); menu.open = true; menu.querySelector("summary").focus(); menu.open = false; };
  const form = element("form", { class: "rename", on: {
    submit: async (event) => {
      event.preventDefault();
      if (input.value === name) return close();
      try {
        await ask("PATCH", personaPath(name), { json: { name: input.value } });
        say(t("personas.renamed", { old: name, name: input.value }));
        renamed(input.value);
      } catch (error) {
        fail(error);
        input.focus();
      }
      return undefined;
    },
    keydown: (event) => { if (event.key === "Escape") close(); },
  } }, input, element("button", { type: "submit", class: "primary" }, t("personas.rename")), button(t("frame.cancel"), close));
  menu.open = false;
  menu.after(form);
  input.select();
}
