// A key that is typed here becomes a session; the key itself is kept nowhere.

import { ask } from "./api.js";
import { at } from "./dom.js";
import { wordsOf } from "./frame.js";
import { t } from "./labels.js";

// Where somebody was before; another site's address is none.
function next() {
  const wanted = new URLSearchParams(location.search).get("next") || "/";
  if (!URL.canParse(wanted, location.origin)) return "/";
  const place = new URL(wanted, location.origin);
  return place.origin === location.origin && place.pathname !== "/sign-in" ? place.href : "/";
}

at("sign-in").addEventListener("submit", async (event) => {
  event.preventDefault();
  at("wrong").textContent = "";
  try {
    await ask("POST", "/sign-in", { json: { key: at("key").value } });
    at("key").value = "";
    location.assign(next());
  } catch (error) {
    at("wrong").textContent = error.status === 401 ? t("sign-in.wrong") : wordsOf(error);
    at("key").select();
  }
});
// Until here a key that is typed would be lost with the page that the form would load.
for (const part of ["key", "go"]) at(part).disabled = false;
at("key").focus();
