// The words of the page, in the reader's language; numbers and dates as that language writes them.

const words = JSON.parse(document.body.dataset.labels);
export const language = document.documentElement.lang;
const plural = new Intl.PluralRules(language);

export function t(key, values = {}) {
  const text = words[key] ?? key;
  return text.replace(/\{(\w+)\}/g, (whole, name) => (name in values ? String(values[name]) : whole));
}

// "3 replies": the form that the language has for this number.
export const counted = (key, count) => t(`${key}.${plural.select(count) === "one" ? "one" : "other"}`, { count: whole(count) });

export const has = (key) => key in words;

export const whole = (count) => new Intl.NumberFormat(language, { maximumFractionDigits: 0 }).format(count);

export const decimal = (value, digits = 2, signed = false) =>
  new Intl.NumberFormat(language, {
    minimumFractionDigits: digits,
    maximumFractionDigits: digits,
    signDisplay: signed ? "exceptZero" : "auto",
  }).format(value);

// Of less than one percent a tenth is told too.
export const percent = (share, signed = false) =>
  new Intl.NumberFormat(language, { style: "percent", maximumFractionDigits: Math.abs(share) < 0.0095 ? 1 : 0, signDisplay: signed ? "exceptZero" : "auto" }).format(share);

export function size(bytes) {
  const units = ["byte", "kilobyte", "megabyte", "gigabyte"];
  let place = 0;
  for (; bytes >= 1000 && place < units.length - 1; place += 1) bytes /= 1000;
  const format = { style: "unit", unit: units[place], unitDisplay: "short", maximumFractionDigits: place && bytes < 10 ? 1 : 0 };
  return new Intl.NumberFormat(language, format).format(bytes);
}

const days = new Intl.DateTimeFormat(language, { dateStyle: "medium" });
const times = new Intl.DateTimeFormat(language, { dateStyle: "medium", timeStyle: "short" });

// Of seconds since 1970, or of what the server writes as "2026-11-30 12:04".
function dateOf(value) {
  return typeof value === "number" ? new Date(value * 1000) : new Date(String(value).replace(" ", "T"));
}

export function day(value) {
  const date = dateOf(value);
  return Number.isNaN(date.valueOf()) ? String(value) : days.format(date);
}

export function time(value) {
  const date = dateOf(value);
  return Number.isNaN(date.valueOf()) ? String(value) : times.format(date);
}
