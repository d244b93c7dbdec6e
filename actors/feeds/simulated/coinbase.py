"""A simulated Coinbase: Exchange (ticker and heartbeat channels, REST) and Advanced Trade."""

import asyncio
import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any, Final

from websockets.asyncio.server import ServerConnection, broadcast

from actors.feeds.simulated.advanced_trade import AdvancedTrade
from actors.feeds.simulated.http import Reply, compact
from actors.feeds.simulated.market import Market, decimal, short, stamp
from actors.feeds.simulated.path import E8, PricePath
from actors.feeds.simulated.venue import SimulatedVenue

SUBSCRIBE_WITHIN_S: Final = 5.0
HEARTBEAT_MS: Final = 1000
CHANNELS: Final = ("ticker", "heartbeat")


class SimulatedCoinbase(SimulatedVenue):
    """Every change is a trade, so every change has a ticker; ``sequence`` counts with gaps."""

    name = "coinbase"
    latency_ms = 15
    half_spread_ppm = 15
    tick_e8 = E8 // 100

    def __init__(
        self, path: PricePath, now_ms: Callable[[], int], products: Sequence[str], tick_s: float
    ) -> None:
        super().__init__(path, now_ms, products, tick_s)
        self.cancel_only = False
        self._channels: defaultdict[tuple[str, str], set[ServerConnection]] = defaultdict(set)
        self._deadlines: dict[ServerConnection, asyncio.TimerHandle] = {}
        self._sequence = dict.fromkeys(self.products, 37_475_248_783)
        self._trade_id = dict.fromkeys(self.products, 1_040_406_588)
        self._heartbeat_ms = 0
        self._advanced = AdvancedTrade(self.products, self.faults)

    def skip(self, count: int) -> None:
        """The sequence numbers of both feeds move by ``count``."""
        for product in self.products:
            self._sequence[product] += count
        self._advanced.skip(count)

    def _get(self, path: str, query: dict[str, str], introduced: bool) -> Reply:
        now_ms = self._now_ms()
        if not introduced:
            return Reply({"message": "User-Agent header is required."}, 400)
        match path.strip("/").split("/"):
            case ["time"]:
                return Reply({"iso": stamp(now_ms)[:23] + "Z", "epoch": now_ms / 1000})
            case ["products", product] if product in self.products:
                return Reply(self._product(product))
            case ["products", product, "ticker"] if product in self.products:
                return Reply(self._rest_ticker(self.market(product, now_ms)))
            case ["api", "v3", "brokerage", "market", "product_book"]:
                product = query.get("product_id", "")
                if product in self.products:
                    return Reply(self._product_book(product, self.market(product, now_ms)))
        return Reply({"message": "NotFound"}, 404)

    def _product(self, product: str) -> dict[str, Any]:
        base, quote = product.split("-")
        return {
            "id": product,
            "base_currency": base,
            "quote_currency": quote,
            "quote_increment": "0.01",
            "base_increment": "0.00000001",
            "display_name": product,
            "min_market_funds": "1",
            "margin_enabled": False,
            "post_only": False,
            "limit_only": False,
            "cancel_only": self.cancel_only,
            "status": "online",
            "status_message": "",
            "trading_disabled": False,
            "fx_stablecoin": product == "USDT-USD",
            "auction_mode": False,
        }

    def _rest_ticker(self, market: Market) -> dict[str, Any]:
        return {
            "ask": short(market.ask_e8),
            "bid": short(market.bid_e8),
            "volume": "4916.94797396",
            "trade_id": self._trade_id["BTC-USD"],
            "price": short(market.last_e8),
            "size": "0.00782662",
            "time": stamp(market.time_ms)[:-1] + "911Z",
            "rfq_volume": "31.625279",
        }

    def _product_book(self, product: str, market: Market) -> dict[str, Any]:
        middle = short((market.bid_e8 + market.ask_e8) // 2)
        book = {
            "product_id": "BTC-EUR" if self.faults.wrong_symbol else product,
            "bids": [{"price": short(market.bid_e8), "size": decimal(market.bid_size_e8)}],
            "asks": [{"price": short(market.ask_e8), "size": decimal(market.ask_size_e8)}],
            "time": stamp(market.time_ms),
        }
        spread = short(market.ask_e8 - market.bid_e8)
        return {
            "pricebook": book,
            "last": short(market.last_e8),
            "mid_market": middle,
            "spread_bps": "0.001194113",
            "spread_absolute": spread,
        }

    async def _greet(self, socket: ServerConnection) -> None:
        loop = asyncio.get_running_loop()
        self._deadlines[socket] = loop.call_later(SUBSCRIBE_WITHIN_S, socket.transport.close)

    async def _hear(self, socket: ServerConnection, message: str | bytes) -> None:
        if self.faults.unconfirmed:
            return
        if b'"channel"' in (message if isinstance(message, bytes) else message.encode()):
            self._cancel_deadline(socket)
            await self._advanced.hear(socket, message, self._now_ms())
        else:
            await socket.send(compact(self._answer(socket, message)))

    def _answer(self, socket: ServerConnection, message: str | bytes) -> dict[str, Any]:
        try:
            request = json.loads(message)
        except ValueError:
            return {"type": "error", "message": "Malformed JSON"}
        if not isinstance(request, dict) or request.get("type") not in ("subscribe", "unsubscribe"):
            return {"type": "error", "message": "Type has to be either subscribe or unsubscribe"}
        products = [str(item) for item in request.get("product_ids", [])]
        channels = [str(item) for item in request.get("channels", [])]
        reason = "refused" if self.faults.refused else self._refusal(products, channels)
        if reason:
            return {"type": "error", "message": "Failed to subscribe", "reason": reason}
        for channel in channels:
            for product in products:
                who = self._channels[channel, product]
                (who.add if request["type"] == "subscribe" else who.discard)(socket)
        self._cancel_deadline(socket)
        return {"type": "subscriptions", "channels": self._subscriptions(socket)}

    def _refusal(self, products: list[str], channels: list[str]) -> str | None:
        """One bad product or channel voids the whole request."""
        if not channels:
            return "No channels provided"
        wrong = [f"{p} is not a valid product" for p in products if p not in self.products]
        wrong += [f"{c} is not a valid channel" for c in channels if c not in CHANNELS]
        return wrong[0] if wrong else None

    def _subscriptions(self, socket: ServerConnection) -> list[dict[str, Any]]:
        return [
            {
                "name": channel,
                "product_ids": [p for p in self.products if socket in self._channels[channel, p]],
            }
            for channel in CHANNELS
            if any(socket in self._channels[channel, p] for p in self.products)
        ]

    def _cancel_deadline(self, socket: ServerConnection) -> None:
        deadline = self._deadlines.pop(socket, None)
        if deadline:
            deadline.cancel()

    def _forget(self, socket: ServerConnection) -> None:
        self._cancel_deadline(socket)
        for sockets in self._channels.values():
            sockets.discard(socket)
        self._advanced.forget(socket)

    def _tick(self, now_ms: int) -> None:
        for product in self.products:
            market = self._moved(product, now_ms)
            if market is None:
                continue
            frame = self._ticker(product, market)
            if not self.faults.stalled:
                self._publish("ticker", product, frame)
                self._advanced.publish(product, market, now_ms)
        if not 0 <= now_ms - self._heartbeat_ms < HEARTBEAT_MS:
            self._heartbeat_ms = now_ms
            self._advanced.beat(now_ms)
            for product in self.products:
                self._publish("heartbeat", product, self._heartbeat(product, now_ms))

    def _ticker(self, product: str, market: Market) -> dict[str, Any]:
        self._sequence[product] += 1 + market.time_ms % 97
        self._trade_id[product] += 1
        opened_e8 = self.day_ago_e8(product, market.time_ms)
        return {
            "type": "ticker",
            "sequence": self._sequence[product],
            "product_id": "BTC-EUR" if self.faults.wrong_symbol else product,
            "price": short(market.last_e8),
            "open_24h": short(opened_e8),
            "volume_24h": "4916.94797396",
            "low_24h": short(min(opened_e8, market.last_e8)),
            "high_24h": short(max(opened_e8, market.last_e8)),
            "volume_30d": "188783.60117027",
            "best_bid": short(market.bid_e8),
            "best_bid_size": decimal(market.bid_size_e8),
            "best_ask": short(market.ask_e8),
            "best_ask_size": decimal(market.ask_size_e8),
            "side": "buy" if market.buyer_was_taker else "sell",
            "time": stamp(market.time_ms),
            "trade_id": self._trade_id[product],
            "last_size": "0.00782662",
        }

    def _heartbeat(self, product: str, now_ms: int) -> dict[str, Any]:
        self._sequence[product] += 1
        return {
            "type": "heartbeat",
            "sequence": self._sequence[product],
            "last_trade_id": self._trade_id[product],
            "product_id": product,
            "time": stamp(now_ms - self.latency_ms),
        }

    def _publish(self, channel: str, product: str, frame: dict[str, Any]) -> None:
        sockets = self._channels.get((channel, product))
        if sockets:
            broadcast(sockets, compact(frame))
