// The chosen instrument: its quote, what it pays, how its Greeks run along the strikes, and an order for it.

import { parsed, TYPES } from "./chain-panel.js";
import { api, badge, byId, dollars, el, facts, number, percent, sats } from "./page.js";
import { plot } from "./plot.js";

const BTC = 1e8;
const SLACK = 1.01; // what the premium may rise by between a quote and its order
const GREEKS = {
  Delta: ["delta", 3],
  Gamma: ["gamma", 8],
  Vega: ["vega_per_point", 2],
  Theta: ["theta_per_day", 2],
  Rho: ["rho_per_point", 2],
};

/** What one bitcoin of the option pays at price `S`, in dollars; the writer puts up one bitcoin for it. */
export function payoff({ kind, strike, binary }, S) {
  const call = kind === "C";
  if (binary) return call === S > strike && S !== strike ? S : 0;
  return Math.min(Math.max(call ? S - strike : strike - S, 0), S);
}

/** Whether a barrier such as UO70000 ends the option at price `S`. */
function isOut(barrier, S) {
  if (!barrier) return false;
  const level = Number(barrier.slice(2).replace("d", "."));
  return barrier.startsWith("UO") ? S >= level : S <= level;
}

export class InstrumentPanel {
  constructor() {
    this.name = null;
    this.chain = null;
    this.sold = false;
    this.order = null; // the key of an order that waits for its answer
    const greeks = byId("greek");
    greeks.replaceChildren(...Object.keys(GREEKS).map((name) => el("option", {}, name)));
    greeks.addEventListener("change", () => this.draw());
    byId("order").addEventListener("submit", (event) => this.buy(event));
    byId("quantity").addEventListener("input", () => this.draw());
  }

  show(name, chain) {
    if (this.name !== name) byId("order-answer").replaceChildren();
    this.name = name;
    this.chain = chain;
    this.draw();
  }

  /** Whether anything can be ordered, and from whom. */
  custody(custody) {
    this.sold = custody !== null;
    this.draw();
    byId("custody").textContent = {
      owners: "The parties run with their owners.",
      desk: "A demo: this machine runs both parties.",
    }[custody] ?? "No parties are connected: nothing can be ordered here.";
  }

  get quantitySats() {
    return Math.round(Number(byId("quantity").value) * BTC);
  }

  draw() {
    const quote = this.chain?.quotes?.[this.name];
    byId("instrument-name").textContent = this.name ?? "Choose an option";
    byId("buy").disabled = !(this.sold && quote);
    if (!quote) return;
    const name = parsed(this.name);
    const index = Number(this.chain.index_usd);
    const price = Number(quote.price_usd);
    byId("instrument-facts").replaceChildren(
      facts([
        ["Price", `${dollars(price)} for one bitcoin of it, ${sats(quote.price_sats)}`],
        ["Volatility", percent(quote.vol)],
        ["Delta, gamma", `${number(quote.delta, 4)}, ${number(quote.gamma, 8)}`],
        ["Vega a point", dollars(quote.vega_per_point)],
        ["Theta a day", dollars(quote.theta_per_day)],
        ["Rho a point", dollars(quote.rho_per_point)],
      ]),
    );
    this.drawPayoff(name, index, price);
    this.drawGreek(name, index);
  }

  drawPayoff(name, index, price) {
    const strikes = Object.values(this.chain.quotes).map((quote) => parsed(quote.instrument).strike);
    const low = Math.min(...strikes, index);
    const high = Math.max(...strikes, index);
    const prices = Array.from({ length: 141 }, (_, i) => low + ((high - low) * i) / 140);
    const paid = prices.map((S) => [S, isOut(name.barrier, S) ? 0 : payoff(name, S)]);
    plot(byId("payoff-plot"), {
      series: [
        { name: "pays", points: paid },
        { name: "less its price", points: paid.map(([S, usd]) => [S, usd - price]) },
      ],
      marks: [{ x: name.strike, name: "strike" }, { x: index, name: "index" }],
      title: `What ${this.name} pays at expiry, in dollars for one bitcoin of it`,
      format: (usd) => number(usd, 0),
      value: (usd) => number(usd, 0),
    });
  }

  drawGreek(name, index) {
    const [field, digits] = GREEKS[byId("greek").value];
    const same = Object.entries(TYPES).find(([, is]) => is(name))?.[1] ?? (() => false);
    const rows = Object.values(this.chain.quotes).filter((quote) => same(parsed(quote.instrument)));
    const along = (kind) =>
      rows
        .map((quote) => [parsed(quote.instrument), quote[field]])
        .filter(([other]) => other.kind === kind)
        .map(([other, value]) => [other.strike, value])
        .sort((a, b) => a[0] - b[0]);
    plot(byId("greek-plot"), {
      series: [{ name: "call", points: along("C") }, { name: "put", points: along("P") }],
      marks: [{ x: name.strike, name: "strike" }, { x: index, name: "index" }],
      title: `${byId("greek").value} of the listed strikes`,
      format: (usd) => number(usd, 0),
      value: (usd) => number(usd, digits),
    });
  }

  /** Asks for the premium, and orders at that much or a little more. A repeated click repeats the same order. */
  async buy(event) {
    event.preventDefault();
    const answer = byId("order-answer");
    this.order ??= Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
    try {
      const query = new URLSearchParams({ instrument: this.name, quantity_sats: this.quantitySats });
      const quote = await api(`/v1/quote?${query}`);
      const order = { instrument: this.name, quantity_sats: this.quantitySats, max_premium_sats: Math.ceil(SLACK * quote.premium_sats) };
      const made = await api("/v1/contracts", order, { "idempotency-key": this.order });
      this.order = null;
      answer.replaceChildren(badge("ordered", "good"), ` contract ${made.id} for ${sats(made.premium_sats)}`);
    } catch (error) {
      if (!(error instanceof TypeError)) this.order = null; // refused; what got lost is asked again under its key
      answer.replaceChildren(badge("refused", "bad"), ` ${error.message}`);
    }
  }
}
