// The option chain: calls on the left, puts on the right, one expiry and one type at a time.

import { byId, dollars, el, number, percent } from "./page.js";

export const TYPES = {
  European: (name) => name.style === "" && !name.binary && !name.barrier,
  American: (name) => name.style === "A" && !name.barrier,
  Binary: (name) => name.binary,
  "Up and out": (name) => name.barrier.startsWith("UO") && name.style === "",
  "Down and out": (name) => name.barrier.startsWith("DO") && name.style === "",
};

const COLUMNS = [
  ["Θ/day", (q) => number(q.theta_per_day, 1)],
  ["Vega", (q) => number(q.vega_per_point, 1)],
  ["Γ", (q) => number(1e6 * q.gamma, 1)],
  ["Δ", (q) => number(q.delta, 3)],
  ["IV", (q) => percent(q.vol)],
];

/** The parts of BTC-27DEC26-50000-C-B-UO70000-A. */
export function parsed(name) {
  const [underlying, expiry, strike, kind, ...rest] = name.split("-");
  return {
    underlying,
    expiry,
    kind,
    strike: Number(strike.replace("d", ".")),
    binary: rest.includes("B"),
    barrier: rest.find((part) => /^[UD]O/.test(part)) ?? "",
    style: rest.includes("A") ? "A" : "",
  };
}

export class ChainPanel {
  /** `expiry(name)` and `select(instrument)` are told what a person chose. */
  constructor(expiry, select) {
    this.choose = { expiry, select };
    this.type = "European";
    this.expiry = null;
    this.selected = null;
    this.state = null;
    const types = byId("type");
    types.replaceChildren(...Object.keys(TYPES).map((name) => el("option", {}, name)));
    types.addEventListener("change", () => {
      this.type = types.value;
      this.selected = null;
      this.draw();
    });
    byId("chain-body").addEventListener("keydown", (event) => this.move(event));
  }

  /** The tabs; the first expiry is shown until another is chosen. */
  list(expiries) {
    if (!expiries.includes(this.expiry)) this.open(expiries[0]);
    byId("expiries").replaceChildren(
      ...expiries.map((name) =>
        el("button", { role: "tab", "aria-selected": String(name === this.expiry), "aria-controls": "chain-body", onclick: () => this.open(name, expiries) }, name),
      ),
    );
  }

  open(expiry, expiries) {
    this.expiry = expiry;
    this.selected = null;
    this.choose.expiry(expiry);
    if (expiries) this.list(expiries);
  }

  show(state) {
    this.state = state;
    this.draw();
  }

  /** Arrow keys walk over the instruments of the table. */
  move(event) {
    const at = event.target.closest("td")?.cellIndex;
    const step = { ArrowUp: -1, ArrowDown: 1 }[event.key];
    if (at === undefined || !step) return;
    const rows = [...byId("chain-body").querySelectorAll("tbody tr")];
    const row = rows[rows.indexOf(event.target.closest("tr")) + step];
    row?.cells[at].querySelector("button")?.focus();
    event.preventDefault();
  }

  draw() {
    const { state } = this;
    const body = byId("chain-body");
    if (!state || state.fault) {
      body.replaceChildren(el("p", { class: "empty" }, state?.fault ?? "Waiting for a certified price."));
      return;
    }
    const focused = document.activeElement?.dataset?.instrument;
    const rows = new Map();
    for (const quote of Object.values(state.quotes)) {
      const name = parsed(quote.instrument);
      if (!TYPES[this.type](name)) continue;
      if (!rows.has(name.strike)) rows.set(name.strike, {});
      rows.get(name.strike)[name.kind] = quote;
    }
    const index = Number(state.index_usd);
    const strikes = [...rows.keys()].sort((a, b) => a - b);
    const near = strikes.reduce((best, strike) => (Math.abs(strike - index) < Math.abs(best - index) ? strike : best), strikes[0]);
    const titles = COLUMNS.map(([title]) => title);
    const head = [...titles, "Call", "Strike", "Put", ...titles.toReversed()];
    body.replaceChildren(
      el(
        "table",
        {},
        el("caption", { class: "quiet", hidden: true }, `${this.type} options, ${this.expiry}`),
        el("thead", {}, el("tr", {}, ...head.map((title) => el("th", { scope: "col" }, title)))),
        el("tbody", {}, ...strikes.map((strike) => this.row(strike, rows.get(strike), strike === near))),
      ),
    );
    if (focused) body.querySelector(`[data-instrument="${CSS.escape(focused)}"]`)?.focus();
    if (!this.selected && near !== undefined) this.select((rows.get(near).C ?? rows.get(near).P).instrument);
  }

  row(strike, { C: call, P: put }, near) {
    const cells = (quote) => COLUMNS.map(([, write]) => el("td", {}, quote ? write(quote) : ""));
    return el(
      "tr",
      { class: near ? "near" : null },
      ...cells(call),
      el("td", {}, this.button(call)),
      el("td", { class: "strike" }, number(strike, strike % 1 ? 2 : 0)),
      el("td", {}, this.button(put)),
      ...cells(put).reverse(),
    );
  }

  button(quote) {
    if (!quote) return "";
    return el(
      "button",
      {
        "data-instrument": quote.instrument,
        "aria-pressed": String(quote.instrument === this.selected),
        "aria-label": `${quote.instrument}, ${dollars(quote.price_usd)}`,
        onclick: () => this.select(quote.instrument),
      },
      dollars(quote.price_usd),
    );
  }

  select(instrument) {
    this.selected = instrument;
    for (const button of byId("chain-body").querySelectorAll("button"))
      button.setAttribute("aria-pressed", String(button.dataset.instrument === instrument));
    this.choose.select(instrument);
  }
}
