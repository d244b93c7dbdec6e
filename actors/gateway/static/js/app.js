// The dashboard: panels fed by one stream.

import { ChainPanel } from "./chain-panel.js";
import { ContractsPanel } from "./contracts-panel.js";
import { remember, showAge, showIndex } from "./index-panel.js";
import { InstrumentPanel } from "./instrument-panel.js";
import { api, byId, now, setClock, utc } from "./page.js";
import { PoolPanel } from "./pool-panel.js";
import { Stream } from "./stream.js";

const ASSET = "BTC";
const LISTED_MS = 60_000;

function themed() {
  const button = byId("theme");
  const themes = ["auto", "light", "dark"];
  const set = (theme) => {
    if (theme === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
    button.textContent = `Theme: ${theme}`;
    localStorage.setItem("theme", theme);
  };
  set(themes.includes(localStorage.getItem("theme")) ? localStorage.getItem("theme") : "auto");
  button.addEventListener("click", () => set(themes[(themes.indexOf(localStorage.getItem("theme")) + 1) % themes.length]));
}

function live(flag) {
  const status = byId("status");
  status.dataset.live = flag;
  status.textContent = flag ? "live" : "connecting";
}

async function main() {
  themed();
  const stream = new Stream(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/v1/stream`, live);
  const instrument = new InstrumentPanel();
  let leave = null;
  const chain = new ChainPanel(
    (expiry) => {
      leave?.();
      leave = stream.subscribe(`chain.${ASSET}.${expiry}`, (state) => {
        chain.show(state);
        if (chain.selected) instrument.show(chain.selected, state);
      });
    },
    (name) => instrument.show(name, chain.state),
  );
  const contracts = new ContractsPanel(stream);
  const pool = new PoolPanel();

  const listed = () =>
    api("/v1/instruments").then(
      ({ expiries }) => chain.list(expiries),
      () => setTimeout(listed, 1000),
    );
  const custody = () => api("/v1/contracts").then((found) => instrument.custody(found.custody), () => instrument.custody(null));
  await api("/v1/status").then(setClock, () => {});
  await api("/v1/certificates?limit=100").then(({ certificates }) => remember(certificates.toReversed(), `${ASSET}/USD`), () => {});
  stream.subscribe(`index.${ASSET}`, showIndex);
  stream.subscribe("contracts", (state) => contracts.show(state));
  stream.subscribe("pool.details", (state) => pool.show(state));
  listed();
  custody();
  setInterval(listed, LISTED_MS);
  setInterval(showAge, 250);
  setInterval(() => (byId("clock").title = utc(now())), 1000);
}

main();
