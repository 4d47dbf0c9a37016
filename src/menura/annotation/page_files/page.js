"use strict";

const study = JSON.parse(document.getElementById("data").textContent);
const at = (id) => document.getElementById(id);
const screens = study.parts.flatMap((part, number) => part.items.map((item) => ({ part, number, item })));
const total = study.parts.reduce((sum, part) => sum + part.items.length * part.questions.length, 0);
let rater = "";
let votes = {}; // by item, then by question
let place = 0; // of the screen; screens.length is the end
let saved = ""; // the votes of the last file
let kept = true; // whether the browser keeps what it is given

// What is kept between visits: one entry a rater, and who was here last.

const entry = (name) => `menura:${study.study}:${name}`;

function keep() {
  try {
    localStorage.setItem(entry(rater), JSON.stringify({ votes, place, saved }));
    localStorage.setItem(`menura:${study.study}`, rater);
  } catch {
    kept = false;
  }
  at("not-kept").hidden = kept;
}

function recall(key) {
  try {
    return localStorage.getItem(key);
  } catch {
    kept = false;
    return null;
  }
}

// Votes

const voteOf = (item, question) => (votes[item.id] || {})[question.name];
const unanswered = (screen) => screen.part.questions.filter((question) => !voteOf(screen.item, question));
const given = () => screens.reduce((sum, one) => sum + one.part.questions.length - unanswered(one).length, 0);
const asText = () => JSON.stringify(votes);

function vote(screen, question, value) {
  votes[screen.item.id] = { ...votes[screen.item.id], [question.name]: value };
  keep();
  progress();
}

function progress() {
  at("done").max = total;
  at("done").value = given();
  at("done-label").textContent = `${rater}: ${given()} of ${total} answers`;
}

// Screens

function element(name, properties, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

function show(name) {
  for (const id of ["start", "item", "end"]) at(id).hidden = id !== name;
  at("bar").hidden = name === "start";
  at("status").textContent = "";
}

function go(to) {
  place = Math.max(0, Math.min(to, screens.length));
  keep();
  progress();
  if (place === screens.length) showEnd();
  else showItem(screens[place]);
  window.scrollTo(0, 0);
}

function showItem(screen) {
  const { part, number, item } = screen;
  const own = part.items.indexOf(item);
  const many = study.parts.length > 1;
  show("item");
  at("place").textContent = `${many ? `Part ${number + 1} of ${study.parts.length}, i` : "I"}tem ${own + 1} of ${part.items.length}`;
  at("part-note").hidden = !(many && own === 0);
  at("part-note").textContent = number
    ? "From here on there is another question about the same dialogues. Answer it for itself, whatever you answered before."
    : "Read both dialogues. They differ in the marked replies.";
  at("person").hidden = !item.person;
  at("person-title").textContent = item.person ? item.person.title : "";
  at("person-lines").replaceChildren(...(item.person ? item.person.lines : []).map((text) => element("li", { textContent: text })));
  at("sides").replaceChildren(...item.sides.map(sideOf));
  at("questions").replaceChildren(...part.questions.map((question) => fieldOf(screen, question)));
  at("answer-keys").replaceChildren(...part.questions[0].answers.flatMap((answer) => [element("kbd", { textContent: keyOf(answer) }), " "]), "answer,");
  at("back").disabled = place === 0;
  mark(screen);
  at("place").focus({ preventScroll: true });
}

function sideOf(side) {
  const lines = side.lines.map(([who, text, judged]) =>
    element("li", { className: judged ? "judged" : "" },
      element("span", { className: "who", textContent: judged ? `${who}, the reply to judge` : who }),
      element("span", { className: "said", textContent: text })));
  const section = element("section", { className: "card" },
    element("h2", { textContent: study.pairs ? side.speaker : "Dialogue" }),
    element("ol", { className: "lines" }, ...lines));
  section.setAttribute("aria-label", study.pairs ? `Dialogue of ${side.speaker}` : "Dialogue");
  return section;
}

const keyOf = (answer) => answer.value[0].toLowerCase();

function fieldOf(screen, question) {
  const answers = question.answers.map((answer) => {
    const radio = element("input", { type: "radio", name: question.name, value: answer.value });
    radio.checked = voteOf(screen.item, question) === answer.value;
    radio.addEventListener("change", () => {
      vote(screen, question, answer.value);
      mark(screen);
    });
    return element("label", {}, radio, element("kbd", { textContent: keyOf(answer) }), element("span", { className: "meaning", textContent: answer.text }));
  });
  const field = element("fieldset", {}, element("legend", { textContent: question.text }), element("div", { className: "answers" }, ...answers));
  field.dataset.question = question.name;
  return field;
}

const fields = () => [...at("questions").children];
const focused = () => fields().find((field) => field.contains(document.activeElement));

// The question that a key answers: the one in focus, or else the first that has no answer.
function current(screen) {
  const open = unanswered(screen)[0];
  return focused() || fields().find((field) => field.dataset.question === (open || screen.part.questions[0]).name);
}

function mark(screen) {
  const now = current(screen);
  for (const field of fields()) field.classList.toggle("now", field === now && screen.part.questions.length > 1);
}

function showEnd() {
  const missing = total - given();
  show("end");
  at("end-title").textContent = missing ? `${missing} ${missing === 1 ? "answer is" : "answers are"} missing` : "All questions are answered";
  at("end-text").textContent = missing
    ? "You can save what is there, or go on with what is missing."
    : "Save the file and send it to whoever gave you this page. Thank you.";
  at("again").textContent = missing ? "Go to what is missing" : "Back to the items";
  at("end-title").focus();
}

// Keys

function answer(screen, key) {
  const field = current(screen);
  const radio = [...field.querySelectorAll("input")].find((one) => one.value[0].toLowerCase() === key);
  if (!radio) return false;
  radio.checked = true;
  radio.dispatchEvent(new Event("change"));
  const open = unanswered(screen)[0];
  const target = open ? fields().find((one) => one.dataset.question === open.name).querySelector("input") : at("next");
  target.focus();
  mark(screen);
  at("status").textContent = open ? "" : "All answered. Enter goes on.";
  return true;
}

document.addEventListener("keydown", (event) => {
  if (at("item").hidden || event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  const screen = screens[place];
  const onButton = document.activeElement instanceof HTMLButtonElement;
  if (event.key === "Enter" && !onButton) next();
  else if (event.key === "Backspace") go(place - 1);
  else if (event.key.length !== 1 || !answer(screen, event.key.toLowerCase())) return;
  event.preventDefault();
});

function next() {
  const missing = unanswered(screens[place]).length;
  if (!missing) return go(place + 1);
  at("status").textContent = `${missing} ${missing === 1 ? "question has" : "questions have"} no answer yet.`;
  const open = unanswered(screens[place])[0];
  fields().find((field) => field.dataset.question === open.name).querySelector("input").focus();
  mark(screens[place]);
}

// The file

const cell = (text) => (/[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);

function file() {
  const questions = [...new Set(study.parts.flatMap((part) => part.questions.map((question) => question.name)))];
  const ids = [...new Set(screens.map((screen) => screen.item.id))].sort();
  const rows = ids.map((id) => [study.study, id, rater, ...questions.map((name) => (votes[id] || {})[name] || "")]);
  return [["study", "item", "rater", ...questions], ...rows].map((row) => row.map(cell).join(",")).join("\r\n") + "\r\n";
}

function save() {
  const link = element("a", {
    href: URL.createObjectURL(new Blob(["\ufeff", file()], { type: "text/csv" })),
    download: `votes-${study.study}-${rater.replace(/[^A-Za-z0-9_-]+/g, "-") || "rater"}.csv`,
  });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
  saved = asText();
  keep();
  at("status").textContent = `Saved ${link.download}, ${given()} of ${total} answers.`;
}

// Begin

function begin(name) {
  rater = name;
  const before = JSON.parse(recall(entry(name)) || "{}");
  votes = before.votes || {};
  saved = before.saved || "";
  go(before.place || 0);
}

at("start").addEventListener("submit", (event) => {
  event.preventDefault();
  // A name must be no formula in a spreadsheet.
  const name = at("rater").value.replace(/^[=+\-@'\s]+/, "").trim();
  if (name) begin(name);
  else at("rater").focus();
});
at("questions").addEventListener("submit", (event) => event.preventDefault());
at("questions").addEventListener("focusin", () => mark(screens[place]));
at("back").addEventListener("click", () => go(place - 1));
at("next").addEventListener("click", next);
at("save").addEventListener("click", save);
at("end-save").addEventListener("click", save);
at("again").addEventListener("click", () => {
  const missing = screens.findIndex((screen) => unanswered(screen).length);
  go(missing < 0 ? 0 : missing);
});
window.addEventListener("beforeunload", (event) => {
  if (!kept && asText() !== saved && given()) event.preventDefault();
});

const count = screens.length;
at("what").textContent = `You will see ${count} short ${study.pairs ? "pairs of dialogues" : "dialogues"} and answer ${total} questions.`;
document.body.classList.toggle("pairs", study.pairs);
at("rater").value = recall(`menura:${study.study}`) || "";
at("not-kept").hidden = kept;
show("start");
at("rater").focus();
