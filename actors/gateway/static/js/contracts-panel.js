// Contracts with their transactions on Bitcoin, and disputes as the tree that both sides walk down.

import { api, badge, byId, dollars, duration, el, facts, now, sats, shortened } from "./page.js";

const KINDS = { open: "good", settling: "busy", disputed: "bad", closed: "", failed: "bad" };

const WAITS = {
  INPUT: "the prover publishes the rest of its claim",
  WINDOW: "anybody may challenge the claim",
  NODES: "the prover reveals four nodes",
  RECORDS: "the prover reveals four records",
  DIGIT: "the challenger picks the first that is wrong",
  EXECUTE: "the prover executes the disputed step",
  VERDICT: "the challenger proves the lie",
  REFUTE: "the prover refutes the challenger's assertion",
  TAKE: "the challenger takes the pot",
  OVER: "it is decided",
};

function transactions(rows) {
  if (!rows.length) return el("p", { class: "empty" }, "No transaction yet.");
  return el(
    "div",
    { class: "scroll" },
    el(
      "table",
      {},
      el("thead", {}, el("tr", {}, ...["Transaction", "txid", "vB", "fee", "block"].map((title) => el("th", { scope: "col" }, title)))),
      el(
        "tbody",
        {},
        ...rows.map((tx) =>
          el(
            "tr",
            {},
            el("td", {}, tx.name),
            el("td", {}, el("code", { title: tx.txid }, shortened(tx.txid, 6))),
            el("td", {}, tx.vsize.toLocaleString("en")),
            el("td", {}, sats(tx.fee)),
            el("td", {}, tx.height ?? "mempool"),
          ),
        ),
      ),
    ),
  );
}

/** Keeps the items of a list by key, so that what is open stays open. */
class List {
  constructor(at, empty) {
    this.at = at;
    this.empty = empty;
    this.items = new Map();
  }
  show(keys, make) {
    for (const key of this.items.keys())
      if (!keys.includes(key)) {
        this.items.get(key).remove();
        this.items.delete(key);
      }
    if (keys.length && !this.items.size) this.at.replaceChildren();
    for (const key of keys)
      if (!this.items.has(key)) {
        const item = make(key);
        this.items.set(key, item);
        this.at.prepend(item);
      }
    if (!keys.length) this.at.replaceChildren(el("li", { class: "empty" }, this.empty));
  }
}

export class ContractsPanel {
  /** `stream` brings disputes; they are listened to while there are any. */
  constructor(stream) {
    this.stream = stream;
    this.contracts = {};
    this.list = new List(byId("contract-list"), "No contracts yet. Buy an option, and it is funded on Bitcoin.");
    this.disputes = new List(byId("dispute-list"), "Nobody disputes a claim.");
    this.ends = new Map();
  }

  show(state) {
    this.contracts = state;
    const ids = Object.keys(state);
    this.list.show(ids, (id) => this.contract(id));
    for (const id of ids) this.refresh(id);
    const disputed = ids.filter((id) => state[id].stage === "disputed" || this.ends.has(id));
    this.disputes.show(disputed, (id) => this.dispute(id));
  }

  contract(id) {
    const body = el("div");
    const details = el("details", { ontoggle: () => details.open && this.load(id, body) }, el("summary"), body);
    return el("li", {}, details);
  }

  refresh(id) {
    const contract = this.contracts[id];
    const details = this.list.items.get(id).firstChild;
    const left = contract.expiry_ms - now();
    details
      .querySelector("summary")
      .replaceChildren(
        el("span", {}, el("strong", {}, contract.instrument), ` `, el("span", { class: "quiet" }, sats(contract.quantity_sats))),
        el("span", {}, el("span", { class: "quiet" }, left > 0 ? `expires in ${duration(left)} ` : ""), badge(contract.stage, KINDS[contract.stage] ?? "busy")),
      );
    if (details.open) this.load(id, details.lastChild);
  }

  async load(id, body) {
    try {
      const found = await api(`/v1/contracts/${id}`);
      body.replaceChildren(
        facts([
          ["Premium", `${sats(found.premium_sats)} at ${dollars(found.index_usd)}`],
          ["Collateral", sats(found.collateral_sats)],
          found.margin && ["The writer may owe", `${sats(found.margin.mark_sats)} now, ${sats(found.margin.most_sats)} at most`],
          found.outcome && ["Outcome", found.outcome],
          found.fault && ["Trouble", found.fault],
          found.contract_id && ["Contract", el("code", { title: found.contract_id }, shortened(found.contract_id))],
        ]),
        transactions(found.transactions),
      );
    } catch (error) {
      body.replaceChildren(el("p", { class: "empty" }, error.message));
    }
  }

  dispute(id) {
    const body = el("div", { class: "tree" }, el("p", { class: "empty" }, "Reading the chain."));
    this.ends.set(id, this.stream.subscribe(`dispute.${id}`, (state) => body.replaceChildren(...this.tree(id, state))));
    return el("li", {}, body);
  }

  tree(id, state) {
    if (state.fault && !state.wait) return [el("p", { class: "empty" }, state.fault)];
    if (!state.wait) return [el("p", { class: "empty" }, "Reading the chain.")];
    const digits = state.digits ?? [];
    const over = state.wait === "OVER";
    const head = el(
      "p",
      {},
      el("strong", {}, this.contracts[id].instrument),
      ` — ${WAITS[state.wait] ?? state.wait}. `,
      over ? badge(`the ${state.winner} won`, "good") : null,
      over ? null : this.clock(state),
    );
    const walked = digits.reduceRight(
      (below, digit, turn) => {
        const cells = [0, 1, 2, 3].map((child) => el("i", { class: child === digit ? "picked" : null, title: `child ${child}` }));
        const what = turn === state.log4_steps - 1 ? "record" : "node";
        return [el("ol", {}, el("li", {}, el("span", { class: "children" }, ...cells), el("span", { class: "quiet" }, ` round ${turn + 1}: ${what} ${digit}`), ...below))];
      },
      state.step === null ? [] : [el("p", {}, `Step ${state.step.toLocaleString("en")}`, state.leaf ? `, judged by ${state.leaf}` : "", state.fault ? `: ${state.fault}` : "")],
    );
    return [head, ...walked, transactions(state.transactions)];
  }

  clock({ height, since, deadline }) {
    if (!deadline) return null;
    const left = Math.max(deadline - height, 0);
    const length = Math.max(deadline - (since ?? height), 1);
    return el("span", { class: "clock" }, el("meter", { min: 0, max: length, low: length / 3, optimum: length, value: left }), `${left} block${left === 1 ? "" : "s"} left`);
  }
}
