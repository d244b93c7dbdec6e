"""A simulated Kraken WebSocket v2: status, ticker (prices as JSON numbers), heartbeat, ping."""

import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from email.utils import formatdate
from typing import Any, Final

from websockets.asyncio.server import ServerConnection, broadcast

from actors.feeds.simulated.http import Reply, compact
from actors.feeds.simulated.market import Market, decimal, stamp
from actors.feeds.simulated.path import E8, PricePath
from actors.feeds.simulated.venue import SimulatedVenue

HEARTBEAT_MS: Final = 1000
CONNECTION_ID: Final = 18_125_794_168_470_749_634


def number(value_e8: int) -> str:
    """A JSON number with at least one decimal, as Kraken prints prices."""
    text = decimal(value_e8).rstrip("0")
    return text + "0" if text.endswith(".") else text


REST_NAMES: Final = {"XBTUSD": "XXBTZUSD", "ETHUSD": "XETHZUSD", "USDTUSD": "USDTZUSD"}


class SimulatedKraken(SimulatedVenue):
    """Symbols are ``BTC/USD``; a ticker frame is the whole state: a snapshot, then updates."""

    name = "kraken"
    url_path = "/v2"
    latency_ms = 25
    half_spread_ppm = 12
    tick_e8 = E8 // 10

    def __init__(
        self, path: PricePath, now_ms: Callable[[], int], products: Sequence[str], tick_s: float
    ) -> None:
        super().__init__(path, now_ms, products, tick_s)
        self.system = "online"
        self._pairs = {product.replace("-", "/"): product for product in self.products}
        self._tickers: defaultdict[str, set[ServerConnection]] = defaultdict(set)
        self._spoke_ms = 0
        self._skew_ms = 0

    def status_frame(self) -> str:
        """The status channel's frame for the current ``system``."""
        data = {
            "version": "2.0.10",
            "system": self.system,
            "api_version": "v2",
            "connection_id": CONNECTION_ID,
        }
        return compact({"channel": "status", "type": "update", "data": [data]})

    def skip(self, count: int) -> None:
        """The ticker channel has no sequence numbers; its times move by ``count`` ms."""
        self._skew_ms += count

    def _get(self, path: str, query: dict[str, str], introduced: bool) -> Reply:
        now_ms = self._now_ms()
        match path:
            case "/0/public/Time":
                at_s = now_ms // 1000
                return _result({"unixtime": at_s, "rfc1123": formatdate(at_s, usegmt=True)})
            case "/0/public/SystemStatus":
                return _result({"status": self.system, "timestamp": stamp(now_ms)[:19] + "Z"})
            case "/0/public/Ticker":
                return self._rest_ticker(query.get("pair", "").split(","), now_ms)
        return Reply({"error": ["EGeneral:Unknown method"]})

    def _rest_ticker(self, pairs: list[str], now_ms: int) -> Reply:
        """Kraken answers under names of its own, unless it was asked with a slash."""
        rows = {}
        for pair in pairs:
            product = _product(pair)
            if product not in self.products:
                return Reply({"error": ["EQuery:Unknown asset pair"]})
            asked = "ETHUSD" if self.faults.wrong_symbol else pair
            rows[REST_NAMES.get(asked, asked)] = self._rest_row(self.market(product, now_ms))
        return _result(rows)

    def _rest_row(self, market: Market) -> dict[str, Any]:
        bid, ask, last = (decimal(p, 5) for p in (market.bid_e8, market.ask_e8, market.last_e8))
        return {
            "a": [ask, "1", "1.000"],
            "b": [bid, "1", "1.000"],
            "c": [last, "0.00009443"],
            "v": ["0.78648221", "163.28908096"],
            "p": [last, last],
            "t": [35, 3276],
            "l": [bid, bid],
            "h": [ask, ask],
            "o": last,
        }

    async def _greet(self, socket: ServerConnection) -> None:
        await socket.send(self.status_frame())

    async def _hear(self, socket: ServerConnection, message: str | bytes) -> None:
        if self.faults.unconfirmed:
            return
        time_in = stamp(self._now_ms())
        try:
            request = json.loads(message)
        except ValueError:
            request = None
        if not isinstance(request, dict):
            await self._refuse(socket, {}, "Malformed request", time_in)
        elif request.get("method") == "ping":
            pong = {"method": "pong", **_echo(request)}
            await socket.send(compact({**pong, "time_in": time_in, "time_out": time_in}))
        elif request.get("method") in ("subscribe", "unsubscribe"):
            await self._subscribe(socket, request, time_in)
        else:
            await self._refuse(socket, request, "Method not supported", time_in)

    async def _subscribe(self, socket: ServerConnection, request: dict[str, Any], at: str) -> None:
        params = request.get("params")
        if not isinstance(params, dict) or params.get("channel") != "ticker":
            await self._refuse(socket, request, "Channel not supported", at)
            return
        for symbol in map(str, params.get("symbol", [])):
            if symbol not in self._pairs or self.faults.refused:
                error = f"Currency pair not supported {symbol}"
                await self._refuse(socket, request, error, at, symbol)
            elif request["method"] == "unsubscribe":
                self._tickers[symbol].discard(socket)
                await socket.send(self._ack(request, symbol, at))
            elif socket in self._tickers[symbol]:
                await self._refuse(socket, request, "Already subscribed", at, symbol)
            else:
                await socket.send(self._ack(request, symbol, at))
                if params.get("snapshot", True):
                    market = self.market(self._pairs[symbol], self._now_ms())
                    await socket.send(self._ticker("snapshot", symbol, market))
                self._tickers[symbol].add(socket)

    def _ack(self, request: dict[str, Any], symbol: str, at: str) -> str:
        params = request["params"]
        result = {
            "channel": "ticker",
            "event_trigger": params.get("event_trigger", "trades"),
            "snapshot": params.get("snapshot", True),
            "symbol": symbol,
        }
        answer = {"method": request["method"], **_echo(request), "result": result}
        return compact({**answer, "success": True, "time_in": at, "time_out": at})

    async def _refuse(
        self,
        socket: ServerConnection,
        request: dict[str, Any],
        error: str,
        at: str,
        symbol: str | None = None,
    ) -> None:
        answer: dict[str, Any] = {"error": error, "method": request.get("method", "")}
        answer |= {**_echo(request), "success": False}
        if symbol:
            answer["symbol"] = symbol
        await socket.send(compact({**answer, "time_in": at, "time_out": at}))

    def _forget(self, socket: ServerConnection) -> None:
        for sockets in self._tickers.values():
            sockets.discard(socket)

    def _tick(self, now_ms: int) -> None:
        for symbol, product in self._pairs.items():
            market = self._moved(product, now_ms)
            if market:
                self._spoke_ms = now_ms
                broadcast(self._tickers[symbol], self._ticker("update", symbol, market))
        if not 0 <= now_ms - self._spoke_ms < HEARTBEAT_MS:
            self._spoke_ms = now_ms
            listening = set().union(*self._tickers.values())
            broadcast(listening, compact({"channel": "heartbeat"}))

    def _ticker(self, kind: str, symbol: str, market: Market) -> str:
        # Written by hand: a price must not pass through a float on its way to a JSON number.
        opened = self.day_ago_e8(self._pairs[symbol], market.time_ms)
        change = market.last_e8 - opened
        sign = "-" if change < 0 else ""
        fields = [
            f'"symbol":"{symbol.replace("BTC", "XBT") if self.faults.wrong_symbol else symbol}"',
            f'"bid":{number(market.bid_e8)}',
            f'"bid_qty":{decimal(market.bid_size_e8)}',
            f'"ask":{number(market.ask_e8)}',
            f'"ask_qty":{decimal(market.ask_size_e8)}',
            f'"last":{number(market.last_e8)}',
            '"volume":3156.84782110',
            f'"vwap":{number(opened)}',
            f'"low":{number(min(opened, market.last_e8))}',
            f'"high":{number(max(opened, market.last_e8))}',
            f'"change":{sign}{number(abs(change))}',
            f'"change_pct":{sign}{decimal(abs(change) * 100 * E8 // opened, 2)}',
            '"trades":135262',
            f'"timestamp":"{stamp(market.time_ms + self._skew_ms)}"',
        ]
        return f'{{"channel":"ticker","type":"{kind}","data":[{{{",".join(fields)}}}]}}'


def _echo(request: dict[str, Any]) -> dict[str, Any]:
    return {"req_id": request["req_id"]} if "req_id" in request else {}


def _result(result: dict[str, Any]) -> Reply:
    return Reply({"error": [], "result": result})


def _product(pair: str) -> str:
    plain = pair.replace("/", "").replace("XBT", "BTC")
    return f"{plain.removesuffix('USD')}-USD" if plain.endswith("USD") else ""
