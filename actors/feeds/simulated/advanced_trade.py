"""Coinbase's Advanced Trade feed: one channel a message, one count of messages a connection."""

import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from websockets.asyncio.server import ServerConnection, broadcast

from actors.feeds.simulated.faults import Faults
from actors.feeds.simulated.http import compact
from actors.feeds.simulated.market import EPOCH, Market, decimal, short, stamp


class AdvancedTrade:
    """Who is subscribed to what; ``publish`` and ``beat`` send."""

    def __init__(self, products: Sequence[str], faults: Faults) -> None:
        self._products = tuple(products)
        self._faults = faults
        self._tickers: defaultdict[str, set[ServerConnection]] = defaultdict(set)
        self._beating: set[ServerConnection] = set()
        self._numbers: Counter[ServerConnection] = Counter()
        self._beats = 3048

    async def hear(self, socket: ServerConnection, message: str | bytes, now_ms: int) -> None:
        """Answer a subscribe request."""
        try:
            request = json.loads(message)
        except ValueError:
            request = {}
        channel, products = request.get("channel"), request.get("product_ids", [])
        known = channel in ("ticker", "heartbeats") and set(products) <= set(self._products)
        if not known or self._faults.refused:
            await socket.send(compact({"type": "error", "message": "subscription failed"}))
            return
        if channel == "heartbeats":
            self._beating.add(socket)
        for product in products:
            self._tickers[product].add(socket)
        held: dict[str, Any] = {"ticker": [p for p, s in self._tickers.items() if socket in s]}
        if socket in self._beating:
            held["heartbeats"] = ["heartbeats"]
        self._send(socket, "subscriptions", [{"subscriptions": held}], now_ms)

    def publish(self, product: str, market: Market, now_ms: int) -> None:
        """A ticker of ``product`` to all who asked for it."""
        ticker = {
            "type": "ticker",
            "product_id": "BTC-EUR" if self._faults.wrong_symbol else product,
            "price": short(market.last_e8),
            "volume_24_h": "4917",
            "low_24_h": "83163.6",
            "high_24_h": "85247.4",
            "price_percent_chg_24_h": "-0.5",
            "best_bid": short(market.bid_e8),
            "best_bid_quantity": decimal(market.bid_size_e8),
            "best_ask": short(market.ask_e8),
            "best_ask_quantity": decimal(market.ask_size_e8),
        }
        for socket in self._tickers[product]:
            self._send(socket, "ticker", [{"type": "update", "tickers": [ticker]}], now_ms)

    def beat(self, now_ms: int) -> None:
        """The heartbeat of the second."""
        self._beats += 1
        time = f"{EPOCH + timedelta(milliseconds=now_ms)} +0000 UTC m=+91717.525857105"
        for socket in self._beating:
            beat = {"current_time": time, "heartbeat_counter": str(self._beats)}
            self._send(socket, "heartbeats", [beat], now_ms)

    def skip(self, count: int) -> None:
        """Every connection misses ``count`` messages."""
        for socket in self._numbers:
            self._numbers[socket] += count

    def forget(self, socket: ServerConnection) -> None:
        """The connection ended."""
        for sockets in self._tickers.values():
            sockets.discard(socket)
        self._beating.discard(socket)
        self._numbers.pop(socket, None)

    def _send(self, socket: ServerConnection, channel: str, events: list[Any], now_ms: int) -> None:
        frame = {
            "channel": channel,
            "client_id": "",
            "timestamp": stamp(now_ms),
            "sequence_num": self._numbers[socket],
            "events": events,
        }
        self._numbers[socket] += 1
        broadcast([socket], compact(frame))
