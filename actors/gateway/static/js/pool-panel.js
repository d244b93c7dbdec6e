// The pool: what it is made of, every token against its limits, and the batches that moved it.

import { api, badge, byId, dollars, el, facts, number, percent, shortened, utc } from "./page.js";
import { plot } from "./plot.js";

const HISTORY = 240;
const BATCHES = 6;
const WORDS = { halted: "bad", "close-only": "bad", "orders-only": "busy" };

const usd = (text, digits = 0) => dollars(Number(text), digits);
const signed = (text) => el("span", { class: Number(text) < 0 ? "loss" : "gain" }, usd(text));

/** How full a token is: its utilisation as a bar, its cap as a line across it. */
function meter(symbol, token) {
  const used = token.utilization_bps / 10_000;
  const cap = token.max_utilization_bps / 10_000;
  const said = `${symbol}: ${percent(used)} of the liquidity is reserved, at most ${percent(cap, 0)}`;
  return el(
    "div",
    { class: "meter", role: "img", "aria-label": said, title: said },
    bar("used", 0, Math.min(used, 1), used > 0.9 * cap ? "bad" : ""),
    bar("cap", Math.min(cap, 1), 0.004),
  );
}

function bar(kind, from, width, more = "") {
  const made = el("i", { class: `${kind} ${more}` });
  made.style.left = `${(100 * from).toFixed(2)}%`;
  made.style.width = `${(100 * width).toFixed(2)}%`;
  return made;
}

/** Open interest to both sides of a middle line, on one scale for all tokens. */
function balance(symbol, token, most) {
  const long = Number(token.open_interest_long_usd);
  const short = Number(token.open_interest_short_usd);
  const said = `${symbol}: long ${usd(long)}, short ${usd(short)}`;
  return el(
    "div",
    { class: "balance", role: "img", "aria-label": said, title: said },
    bar("short", 0.5 - (0.5 * short) / most, (0.5 * short) / most),
    bar("long", 0.5, (0.5 * long) / most),
  );
}

/** Who pays whom, and how much of the size per 8 h. */
function funding(token) {
  const [long, short] = [Number(token.funding_rate_long), Number(token.funding_rate_short)];
  const payer = long > 0 ? "longs pay" : short > 0 ? "shorts pay" : "nobody pays";
  const title = `long ${token.funding_rate_long}, short ${token.funding_rate_short} per 8 h; positive pays`;
  return el("span", { title }, percent(Math.max(long, short, 0), 2), " ", el("span", { class: "quiet" }, payer));
}

function composition(state) {
  const total = Number(state.total_liquidity_usd);
  const rows = Object.entries(state.tokens).map(([symbol, token]) => [symbol, Number(token.reserved_usd)]);
  const free = Math.max(total - rows.reduce((sum, [, value]) => sum + value, 0), 0);
  const shares = [...rows, ["free", free]].map(([name, value]) => [name, total ? value / total : 0, value]);
  const said = shares.map(([name, share]) => `${name} ${percent(share)}`).join(", ");
  let from = 0;
  const parts = shares.map(([, share], place) => {
    const made = bar(`part part-${place === rows.length ? "free" : place % 6}`, from, share);
    from += share;
    return made;
  });
  const legend = shares.map(([name, share, value], place) =>
    el("li", {}, el("i", { class: `part-${place === rows.length ? "free" : place % 6}` }), `${name} `, el("span", { class: "quiet" }, `${percent(share)} · ${usd(value)}`)),
  );
  return [el("div", { class: "stack", role: "img", "aria-label": `Liquidity: ${said}` }, ...parts), el("ul", { class: "legend" }, ...legend)];
}

function tokens(state) {
  const heads = ["Token", "Price", "Utilisation", "of cap", "Shorts | longs", "OI long", "OI short", "Funding / 8 h", "Traders' PnL"];
  const sides = Object.values(state.tokens).flatMap((token) => [Number(token.open_interest_long_usd), Number(token.open_interest_short_usd)]);
  const most = Math.max(...sides, 1);
  const rows = Object.entries(state.tokens).map(([symbol, token]) =>
    el(
      "tr",
      {},
      el("th", { scope: "row" }, symbol),
      el("td", {}, token.price_min_usd === null ? "—" : price(token)),
      el("td", {}, meter(symbol, token)),
      el("td", {}, `${percent(token.utilization_bps / 10_000)} / ${percent(token.max_utilization_bps / 10_000, 0)}`),
      el("td", {}, balance(symbol, token, most)),
      el("td", {}, usd(token.open_interest_long_usd)),
      el("td", {}, usd(token.open_interest_short_usd)),
      el("td", {}, funding(token)),
      el("td", {}, signed(token.trader_pnl_usd)),
    ),
  );
  return el(
    "table",
    {},
    el("caption", { class: "quiet" }, "Reserved liquidity against its cap, open interest, funding and PnL of every token"),
    el("thead", {}, el("tr", {}, ...heads.map((head) => el("th", { scope: "col" }, head)))),
    el("tbody", {}, ...rows),
  );
}

function price(token) {
  const middle = (Number(token.price_min_usd) + Number(token.price_max_usd)) / 2;
  const digits = middle >= 1000 ? 0 : middle >= 10 ? 2 : 4;
  return el("span", { title: `${token.price_min_usd} to ${token.price_max_usd}` }, dollars(middle, digits));
}

function batch(row, wasOpen) {
  const count = `${row.accepted} accepted${row.rejected ? `, ${row.rejected} refused` : ""}`;
  const root = (name, value) => [name, el("code", { title: value }, shortened(value, 10))];
  const carried = row.transactions.map((tx) => el("div", {}, `${tx.name} `, el("code", { title: tx.txid }, shortened(tx.txid, 8)), el("span", { class: "quiet" }, ` block ${tx.height ?? "pending"}`)));
  return el(
    "li",
    {},
    el(
      "details",
      { "data-batch": row.seq, open: wasOpen },
      el(
        "summary",
        {},
        el("span", {}, el("strong", {}, `Batch ${row.seq}`), " ", el("span", { class: "quiet" }, count)),
        el("span", {}, row.liquidations ? badge(`${row.liquidations} liquidated`, "bad") : null, " ", el("code", { class: "quiet" }, shortened(row.new_root, 6))),
      ),
      facts([
        ["Certified", `round ${row.round}, ${utc(row.time_ms)}`],
        root("From root", row.old_root),
        root("To root", row.new_root),
        root("Operations", row.ops_root),
        root("Prices", row.prices_root),
        root("Payments", row.payments_root),
        ["Fees", usd(row.fees_usd, 2)],
        carried.length ? ["On Bitcoin", el("div", {}, ...carried)] : null,
      ]),
    ),
  );
}

export class PoolPanel {
  constructor() {
    this.values = [];
    this.seq = null;
  }

  /** A new state of the channel `pool.details`. */
  show(state) {
    byId("pool").hidden = false;
    if (state.fault) {
      byId("pool-facts").replaceChildren(el("p", { class: "empty" }, state.fault));
      return;
    }
    byId("pool-value").replaceChildren(usd(state.aum_usd), el("small", {}, state.stablecoin));
    byId("pool-facts").replaceChildren(
      facts([
        ["GLP", state.glp_price_usd === null ? "no shares yet" : `${number(Number(state.glp_supply), 0)} at ${usd(state.glp_price_usd, 4)}`],
        ["Traders' PnL", signed(state.trader_pnl_usd)],
        ["Positions", `${state.positions}, collateral ${usd(state.collateral_usd)}`],
        ["Waiting", `${state.pending} operation${state.pending === 1 ? "" : "s"}`],
        state.vault_sats === null ? null : ["On Bitcoin", `${number(state.vault_sats, 0)} sat`],
        ["State", el("code", { title: state.state_root }, shortened(state.state_root, 8))],
      ]),
    );
    byId("pool-flags").replaceChildren(...state.flags.map((flag) => badge(flag, WORDS[flag])));
    byId("pool-composition").replaceChildren(...composition(state));
    byId("pool-tokens").replaceChildren(tokens(state));
    if (state.seq !== this.seq) this.follow(state.seq);
  }

  async follow(seq) {
    this.seq = seq;
    try {
      const { batches } = await api(`/v1/pool/batches?limit=${HISTORY}`);
      this.list(batches.slice(0, BATCHES));
      plot(byId("pool-plot"), {
        series: [{ name: "", points: batches.toReversed().map((row) => [row.time_ms, Number(row.aum_usd)]) }],
        title: "The pool's value after each batch",
        format: (ms) => new Date(ms).toISOString().slice(11, 19),
        value: (value) => usd(value, 2),
      });
    } catch (error) {
      byId("pool-batches").replaceChildren(el("li", { class: "empty" }, error.message));
    }
  }

  list(rows) {
    const at = byId("pool-batches");
    if (!rows.length) {
      at.replaceChildren(el("li", { class: "empty" }, "No batch yet: the next certified price makes one."));
      return;
    }
    const focused = document.activeElement?.closest?.("[data-batch]")?.dataset.batch;
    const open = new Set([...at.querySelectorAll("details[open]")].map((one) => one.dataset.batch));
    at.replaceChildren(...rows.map((row) => batch(row, open.has(String(row.seq)))));
    if (focused) at.querySelector(`[data-batch="${focused}"] summary`)?.focus();
  }
}
