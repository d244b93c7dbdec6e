"""A simulated Binance Spot: raw and combined streams of bookTicker and aggTrade, priced in USDT."""

import json
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from itertools import count as count_from
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from websockets.asyncio.server import ServerConnection, broadcast

from actors.feeds.simulated.http import Reply, compact
from actors.feeds.simulated.market import Market, decimal
from actors.feeds.simulated.path import E8, PricePath
from actors.feeds.simulated.venue import SimulatedVenue

MESSAGES_PER_S: Final = 5
TRADE_EVERY: Final = 5
_UNKNOWN_METHOD: Final = (
    "Invalid request: unknown variant {}, expected one of `SUBSCRIBE`, `UNSUBSCRIBE`, "
    "`LIST_SUBSCRIPTIONS`, `SET_PROPERTY`, `GET_PROPERTY` at line 1 column 28"
)


class SimulatedBinance(SimulatedVenue):
    """Quotes ``BTCUSDT`` and the like; a stream is ``<symbol>@bookTicker`` or ``@aggTrade``."""

    name = "binance"
    url_path = "/ws"
    latency_ms = 5
    half_spread_ppm = 8
    tick_e8 = E8 // 100

    def __init__(
        self, path: PricePath, now_ms: Callable[[], int], products: Sequence[str], tick_s: float
    ) -> None:
        super().__init__(path, now_ms, products, tick_s)
        self._update_ids = count_from(400_900_217)
        self._trade_ids = count_from(3_301_234_567)
        self._ticks = count_from()
        self._symbols = {p.replace("-USD", "USDT"): p for p in self.products if p != "USDT-USD"}
        self._streams: defaultdict[str, set[ServerConnection]] = defaultdict(set)
        self._combined: set[ServerConnection] = set()
        self._heard: defaultdict[ServerConnection, deque[int]] = defaultdict(
            lambda: deque(maxlen=MESSAGES_PER_S + 1)
        )

    def _fair_e8(self, product: str, at_ms: int) -> int:
        return self.path.usdt_price_e8(product, at_ms)

    def skip(self, count: int) -> None:
        """The update ids go on from here plus ``count``."""
        self._update_ids = count_from(next(self._update_ids) + count)

    def shut_down(self) -> None:
        """Announce that the server is about to go down."""
        event = {"e": "serverShutdown", "E": self._now_ms()}
        broadcast(self._clients - self._combined, compact(event))
        broadcast(self._combined, compact({"stream": "!serverShutdown", "data": event}))

    def _is_stream_path(self, path: str) -> bool:
        return path.startswith(("/stream", self.url_path))

    def _get(self, path: str, query: dict[str, str], introduced: bool) -> Reply:
        match path:
            case "/api/v3/ping":
                return _weighed({})
            case "/api/v3/time":
                return _weighed({"serverTime": self._now_ms() - self.latency_ms})
            case "/api/v3/ticker/bookTicker" | "/api/v3/ticker/price":
                return self._ticker(path.endswith("price"), query)
        return Reply("<html><body><h2>404 Not found</h2></body></html>", 404)

    def _ticker(self, price_only: bool, query: dict[str, str]) -> Reply:
        try:
            names = json.loads(query["symbols"]) if "symbols" in query else [query["symbol"]]
        except (KeyError, ValueError):
            return Reply({"code": -1100, "msg": "Illegal characters found in a parameter."}, 400)
        if not all(name in self._symbols for name in names):
            return Reply({"code": -1121, "msg": "Invalid symbol."}, 400)
        rows = [self._rest_row(name, price_only) for name in names]
        return _weighed(rows if "symbols" in query else rows[0])

    def _rest_row(self, symbol: str, price_only: bool) -> dict[str, str]:
        market = self.market(self._symbols[symbol], self._now_ms())
        symbol = self._named(symbol)
        if price_only:
            return {"symbol": symbol, "price": decimal(market.last_e8)}
        return {
            "symbol": symbol,
            "bidPrice": decimal(market.bid_e8),
            "bidQty": decimal(market.bid_size_e8),
            "askPrice": decimal(market.ask_e8),
            "askQty": decimal(market.ask_size_e8),
        }

    def _named(self, symbol: str) -> str:
        return symbol.replace("USDT", "USDC") if self.faults.wrong_symbol else symbol

    async def _greet(self, socket: ServerConnection) -> None:
        assert socket.request is not None
        url = urlsplit(socket.request.path)
        if url.path == "/stream":
            self._combined.add(socket)
            names = parse_qs(url.query).get("streams", [""])[0].split("/")
        else:
            names = url.path.removeprefix("/ws").split("/")
        for name in filter(self._is_stream, names):
            self._streams[name].add(socket)

    def _is_stream(self, name: object) -> bool:
        symbol, _, kind = name.partition("@") if isinstance(name, str) else ("", "", "")
        return symbol.upper() in self._symbols and kind in ("bookTicker", "aggTrade")

    async def _hear(self, socket: ServerConnection, message: str | bytes) -> None:
        heard = self._heard[socket]
        heard.append(self._now_ms())
        if len(heard) > MESSAGES_PER_S and heard[-1] - heard[0] < 1000:
            await socket.close(1008, "Too many requests")
            return
        if not self.faults.unconfirmed:
            await socket.send(compact(self._answer(socket, message)))

    def _answer(self, socket: ServerConnection, message: str | bytes) -> dict[str, Any]:
        try:
            request = json.loads(message)
        except ValueError:
            return {"code": 3, "msg": "Invalid JSON: expected value at line 1 column 1"}
        if not isinstance(request, dict) or "method" not in request:
            error = {"code": 2, "msg": "Invalid request: missing field `method`"}
            return {"error": error, "id": None}
        method, number = request["method"], request.get("id")
        names = request.get("params", [])
        if method == "LIST_SUBSCRIPTIONS":
            return {
                "result": [s for s, who in self._streams.items() if socket in who],
                "id": number,
            }
        if method not in ("SUBSCRIBE", "UNSUBSCRIBE"):
            return {"code": 2, "msg": _UNKNOWN_METHOD.format(method)}
        known = isinstance(names, list) and all(map(self._is_stream, names))
        if not known or self.faults.refused:
            return {"error": {"code": 2, "msg": "Invalid request: invalid stream"}, "id": number}
        for name in names:
            change = (
                self._streams[name].add if method == "SUBSCRIBE" else self._streams[name].discard
            )
            change(socket)
        return {"result": None, "id": number}

    def _forget(self, socket: ServerConnection) -> None:
        for sockets in self._streams.values():
            sockets.discard(socket)
        self._combined.discard(socket)
        self._heard.pop(socket, None)

    def _tick(self, now_ms: int) -> None:
        trades = next(self._ticks) % TRADE_EVERY == 0
        for symbol, product in self._symbols.items():
            market = self._moved(product, now_ms)
            if market is None:
                continue
            self._publish(f"{symbol.lower()}@bookTicker", self._book_ticker(symbol, market))
            if trades:
                self._publish(f"{symbol.lower()}@aggTrade", self._agg_trade(symbol, market, now_ms))

    def _book_ticker(self, symbol: str, market: Market) -> dict[str, Any]:
        return {
            "u": next(self._update_ids),
            "s": self._named(symbol),
            "b": decimal(market.bid_e8),
            "B": decimal(market.bid_size_e8),
            "a": decimal(market.ask_e8),
            "A": decimal(market.ask_size_e8),
        }

    def _agg_trade(self, symbol: str, market: Market, now_ms: int) -> dict[str, Any]:
        trade_id = next(self._trade_ids)
        return {
            "e": "aggTrade",
            "E": now_ms,
            "s": self._named(symbol),
            "a": trade_id,
            "p": decimal(market.last_e8),
            "q": decimal(market.ask_size_e8),
            "f": 2 * trade_id,
            "l": 2 * trade_id + 1,
            "T": market.time_ms,
            "m": not market.buyer_was_taker,
            "M": True,
        }

    def _publish(self, stream: str, data: dict[str, Any]) -> None:
        sockets = self._streams.get(stream, set())
        wrapped = sockets & self._combined
        if sockets - wrapped:
            broadcast(sockets - wrapped, compact(data))
        if wrapped:
            frame = {"stream": stream, "data": data}
            broadcast(wrapped, compact(frame))


def _weighed(value: Any) -> Reply:
    return Reply(value, headers={"x-mbx-used-weight-1m": "4"})
