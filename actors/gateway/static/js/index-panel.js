// The certified price, and who signed it: every signature is verified here.

import { fromHex, toHex } from "./bytes.js";
import { checkCertificate, decodeCertificate, decodeConfig } from "./certificate.js";
import { badge, byId, dollars, duration, el, facts, now, number, percent, shortened } from "./page.js";
import { plot } from "./plot.js";

const HISTORY = 240;
const history = [];
let newest = null;

const WORDS = { valid: ["signed", "good"], absent: ["not in this quorum", ""], invalid: ["false signature", "bad"] };

/** Certificates of the past, oldest first, for the plot. */
export function remember(rows, symbol) {
  for (const row of rows) if (row.prices[symbol]) history.push([row.time_ms, Number(row.prices[symbol])]);
}

export function showIndex(state) {
  if (state.fault) {
    byId("price").replaceChildren(el("span", { class: "quiet" }, state.fault));
    return;
  }
  const config = decodeConfig(fromHex(state.config));
  const certificate = decodeCertificate(fromHex(state.certificate));
  const check = checkCertificate(certificate, config);
  const { report } = certificate;
  const price = Number(report.priceE8) / 1e8;
  newest = { timeMs: Number(report.timeMs), price };
  byId("price").replaceChildren(dollars(price), el("small", {}, `± ${number(Number(report.confE8) / 1e8)}`));
  byId("index-facts").replaceChildren(
    facts([
      ["Round", `${report.round} (${report.grade}, ${report.observations} observations)`],
      ["Volatility", state.vol === null ? "none" : percent(state.vol) + (state.vol_assumed ? ", assumed" : ", from the history")],
      ["Certificate", el("span", {}, badge(check.holds ? "holds" : "does not hold", check.holds ? "good" : "bad"), " verified in this page")],
    ]),
  );
  byId("seals").replaceChildren(
    ...state.sources.map((source) => {
      const [word, kind] = WORDS[check.oracles[source.index]];
      return el(
        "li",
        { class: check.oracles[source.index] },
        el("strong", {}, source.name, badge(word, kind)),
        el("div", { class: "quiet" }, report.observers & (1 << source.index) ? "its price is in the median" : "no price from it in this round"),
        el("code", { title: `key ${toHex(config.keys[source.index])}` }, shortened(toHex(config.keys[source.index]))),
      );
    }),
  );
  byId("quorum").textContent = `${config.quorum} of ${config.keys.length} sign. Configuration ${shortened(toHex(config.digest))}, epoch ${config.epoch}.`;
  if (!history.length || history.at(-1)[0] < newest.timeMs) history.push([newest.timeMs, price]);
  history.splice(0, history.length - HISTORY);
  plot(byId("index-plot"), {
    series: [{ name: "", points: history }],
    title: "The certified price",
    format: (ms) => new Date(ms).toISOString().slice(11, 19),
    value: (usd) => dollars(usd),
  });
}

/** The age of the price, which grows while nothing comes. */
export function showAge() {
  if (newest) byId("age").textContent = `${duration(Math.max(now() - newest.timeMs, 0))} old`;
}
