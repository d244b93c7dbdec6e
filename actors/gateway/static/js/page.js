// Small things that every panel needs: elements, numbers, times.

/** An element with attributes, listeners (`onclick`) and children; `null` children are left out. */
export function el(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (value !== null && value !== undefined && value !== false) made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return made;
}

export const byId = (id) => document.getElementById(id);

const numbers = new Map();

/** `value` with exactly `digits` decimals and thousands separators. */
export function number(value, digits = 2) {
  if (!numbers.has(digits))
    numbers.set(digits, new Intl.NumberFormat("en", { minimumFractionDigits: digits, maximumFractionDigits: digits }));
  return numbers.get(digits).format(value);
}

export const dollars = (value, digits = 2) => (value < 0 ? "−$" : "$") + number(Math.abs(value), digits);
export const sats = (value) => number(value, 0) + " sat";
export const percent = (value, digits = 1) => number(100 * value, digits) + " %";
export const shortened = (hex, ends = 8) => (hex.length > 2 * ends + 1 ? `${hex.slice(0, ends)}…${hex.slice(-ends)}` : hex);

/** How long `ms` is, in two units at most. */
export function duration(ms) {
  const units = [["d", 86400000], ["h", 3600000], ["min", 60000], ["s", 1000]];
  const first = units.findIndex(([, size]) => Math.abs(ms) >= size);
  if (first < 0) return `${Math.round(ms)} ms`;
  let left = Math.abs(ms);
  return units
    .slice(first, first + 2)
    .map(([name, size]) => {
      const count = Math.floor(left / size);
      left -= count * size;
      return `${count} ${name}`;
    })
    .join(" ");
}

let aheadMs = 0;

/** The server's time: `status` is of /v1/status. On a simulated clock the page says so. */
export function setClock(status) {
  aheadMs = status.now_ms - Date.now();
  byId("clock").hidden = !status.clock_offset_ms;
  byId("clock").textContent = "simulated clock";
}

export const now = () => Date.now() + aheadMs;

export const utc = (ms) => new Date(ms).toISOString().replace("T", " ").slice(0, 19) + " UTC";

export function facts(rows) {
  return el("dl", { class: "facts" }, ...rows.filter(Boolean).flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]));
}

export const badge = (text, kind = "") => el("span", { class: `badge ${kind}` }, text);

/** JSON of a route; with a `body` it is posted. An Error with the problem's own words where it is one. */
export async function api(path, body, headers = {}) {
  const json = { "content-type": "application/json", ...headers };
  const answer = await fetch(path, body && { method: "POST", headers: json, body: JSON.stringify(body) });
  const found = await answer.json();
  if (!answer.ok) throw new Error(found.detail ?? answer.statusText);
  return found;
}
