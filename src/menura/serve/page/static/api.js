// What the page asks the server: JSON, raw files, and streams of events that come while a request runs.

import { t } from "./labels.js";

export class ApiError extends Error {
  constructor(message, { code = "", hint = "", status = 0, problems = [] } = {}) {
    super(message);
    Object.assign(this, { code, hint, status, problems });
  }
}

// Whoever has typed something keeps it here before the page goes to sign in.
const keepers = [];
export const beforeSignIn = (keep) => keepers.push(keep);

function signIn() {
  for (const keep of keepers) keep();
  const here = location.pathname + location.search;
  location.assign(`/sign-in?next=${encodeURIComponent(here)}`);
}

async function refusal(response) {
  let told = {};
  try {
    told = await response.json();
  } catch {
    // A proxy's page, or nothing at all: the status has to do.
  }
  const openai = typeof told.error === "object" && told.error !== null ? told.error : null;
  const message = openai ? openai.message : told.detail || told.title;
  const code = (openai ? openai.code : told.code) || "";
  return new ApiError(String(message || t("error.status", { status: response.status })), {
    code: String(code),
    status: response.status,
    problems: Array.isArray(told.errors) ? told.errors : [],
  });
}

async function send(method, path, { json, raw, type, headers = {}, signal, keepalive } = {}) {
  const request = { method, headers: { Accept: "application/json", ...headers }, signal, keepalive, cache: "no-store" };
  if (json !== undefined) {
    request.body = JSON.stringify(json);
    request.headers["Content-Type"] = "application/json";
  } else if (raw !== undefined) {
    request.body = raw;
    request.headers["Content-Type"] = type || "application/octet-stream";
  }
  let response;
  try {
    response = await fetch(path, request);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(t("error.unreachable"), { code: "unreachable" });
  }
  if (response.status === 401 && location.pathname !== "/sign-in") signIn();
  if (!response.ok) throw await refusal(response);
  return response;
}

export async function ask(method, path, options = {}) {
  const response = await send(method, path, options);
  return response.status === 204 ? null : response.json();
}

export const get = (path, query = {}) => ask("GET", withQuery(path, query));

export async function getText(path) {
  return (await send("GET", path)).text();
}

export function withQuery(path, query) {
  const given = Object.entries(query).filter(([, value]) => value !== "" && value !== undefined && value !== null);
  const asked = new URLSearchParams(given).toString();
  return asked ? `${path}?${asked}` : path;
}

export const personaPath = (name, further = "") => `/api/personas/${encodeURIComponent(name)}${further}`;

// Yields {event, data} of a stream; what the server tells as an error is thrown by whoever reads it.
export async function* streamed(path, json, signal) {
  const response = await send("POST", path, { json, signal, headers: { Accept: "text/event-stream" } });
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let waiting = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      waiting += value;
      const parts = waiting.split("\n\n");
      waiting = parts.pop();
      for (const part of parts) {
        const found = eventOf(part);
        if (found) yield found;
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

function eventOf(text) {
  let event = "message";
  const lines = [];
  for (const line of text.split("\n")) {
    if (line.startsWith("event:")) event = line.slice(6).trim();
    else if (line.startsWith("data:")) lines.push(line.slice(5).trimStart());
  }
  return lines.length ? { event, data: JSON.parse(lines.join("\n")) } : null;
}

export const errorOf = (told) => new ApiError(String(told.message || ""), { code: String(told.code || ""), hint: String(told.hint || "") });
