"""Coinbase: the Exchange feed and the Advanced Trade feed, and their public REST replies.

Sources: Coinbase Exchange "WebSocket Channels" and Advanced Trade "WebSocket Channels". On Exchange
``sequence`` counts all messages of a product, so a jump is normal and a step back is stale. On
Advanced Trade ``sequence_num`` counts the messages of the connection without gaps.
"""

import json
from collections.abc import Mapping, Sequence
from typing import ClassVar, Final, NamedTuple

from actors.feeds import events as ev
from actors.feeds.adapter import STALE_MS, Adapter, Book, Memory, Question, events_of
from actors.feeds.events import (
    Action,
    Control,
    Drop,
    Error,
    Event,
    Heartbeat,
    Ignore,
    Reason,
    Reject,
)
from actors.feeds.price_text import get_price, has_size
from actors.feeds.strict_json import (
    Frame,
    as_frame,
    as_list,
    get_frame,
    get_int,
    get_list,
    get_text,
    shown,
)
from actors.feeds.venue_time import NS_PER_MS, get_unix_ns

STALL_MS: Final = 2_000
_CLOSED_FLAGS: Final = ("cancel_only", "post_only", "trading_disabled")
_SIZES: Final = ("best_bid_size", "best_ask_size")
_QUANTITIES: Final = ("best_bid_quantity", "best_ask_quantity")
LAST_WITHIN: Final = 10
"""A ticker is sent because of a trade: one farther than a tenth from the mid contradicts itself."""


class _Ticker(NamedTuple):
    trade_id: int
    received_ms: int


class Coinbase(Adapter):
    """One connection to Coinbase Exchange (or Advanced Trade: the frames tell which)."""

    venue = "coinbase"
    symbol_names: ClassVar[Mapping[str, str]] = {
        symbol: symbol for symbol in ("BTC-USD", "ETH-USD", "ADA-USD", "SOL-USD", "USDT-USD")
    }

    def __init__(self, symbols: Sequence[str], memory: Memory | None = None) -> None:
        super().__init__(symbols, memory)
        self._tickers: dict[str, _Ticker] = {}
        self._sequence_num: int | None = None

    def subscriptions(self) -> list[str]:
        """One subscribe; the server closes a connection that sends none within 5 s."""
        request = {
            "type": "subscribe",
            "product_ids": [self.symbol_names[symbol] for symbol in self.symbols],
            "channels": ["ticker", "heartbeat"],
        }
        return [json.dumps(request, separators=(",", ":"))]

    def quote_questions(self, symbols: Sequence[str]) -> list[Question]:
        """A request for each symbol."""
        return [Question(f"/products/{self.symbol_names[s]}/ticker", s) for s in symbols]

    def routine_questions(self) -> list[Question]:
        """The time, and whether each product trades. (The ``status`` channel says so too, in
        messages about all products and currencies that near our limit of 1 MiB.)"""
        return [Question("/time"), *(Question(f"/products/{s}", s) for s in self.symbols)]

    def _frame_events(self, frame: Frame, now_ms: int) -> list[Event]:
        if "channel" in frame:
            return self._advanced(frame, now_ms)
        kind = get_text(frame, "type")
        if kind in ("ticker", "heartbeat", "match", "last_match", "auction"):
            return [self._product_event(kind, frame, now_ms)]
        if kind == "status":
            return self._status(frame)
        if kind == "error":
            return [_refusal(frame)]
        if kind == "subscriptions":
            return [Control(Action.ACK, symbols=self._acknowledged(frame))]
        return [Ignore(shown(kind))]

    def _acknowledged(self, frame: Frame) -> tuple[str, ...]:
        """The symbols whose ticker is in the list of the subscriptions that now hold."""
        channels = [as_frame(item) for item in get_list(frame, "channels")]
        tickers = [channel for channel in channels if channel.get("name") == "ticker"]
        names = [name for channel in tickers for name in get_list(channel, "product_ids")]
        return tuple(symbol for symbol in self.symbols if self.symbol_names[symbol] in names)

    def _product_event(self, kind: str, frame: Frame, now_ms: int) -> Event:
        name = get_text(frame, "product_id")
        symbol = self._ours.get(name)
        if symbol is None:
            return self._not_ours(name)
        if kind == "ticker":
            return self._exchange_ticker(symbol, frame, now_ms)
        if kind == "heartbeat":
            return self._heartbeat(symbol, frame, now_ms)
        if kind == "auction":
            over = get_text(frame, "auction_state") == "complete"
            return self.set_status(ev.ONLINE if over else ev.AUCTION, [symbol])
        price_e8 = get_price(frame, "price")
        return self._trade(
            symbol, price_e8, get_unix_ns(frame, "time"), now_ms, get_int(frame, "trade_id")
        )

    def _exchange_ticker(self, symbol: str, frame: Frame, now_ms: int) -> Event:
        if "trade_id" in frame:
            self._tickers[symbol] = _Ticker(get_int(frame, "trade_id"), now_ms)
        venue_ns = get_unix_ns(frame, "time") if "time" in frame else None
        return self._ticker(symbol, frame, _SIZES, venue_ns, get_int(frame, "sequence"), now_ms)

    def _ticker(
        self,
        symbol: str,
        frame: Frame,
        sizes: tuple[str, str],
        venue_ns: int | None,
        seq: int | None,
        now_ms: int,
    ) -> Event:
        """A ticker of either feed; ``sizes`` are the fields of the sizes at bid and ask."""
        last_e8 = get_price(frame, "price")
        if frame.get("best_bid", "") == frame.get("best_ask", "") == "":
            return self._trade(symbol, last_e8, venue_ns, now_ms)
        bid_e8, ask_e8 = get_price(frame, "best_bid"), get_price(frame, "best_ask")
        sized = has_size(frame, sizes[0]) and has_size(frame, sizes[1])
        mid_e8 = (bid_e8 + ask_e8) // 2
        if bid_e8 and abs(last_e8 - mid_e8) * LAST_WITHIN > mid_e8:
            return Reject(Reason.LAST, f"last trade {last_e8} contradicts the book at {mid_e8}")
        book = Book(bid_e8, ask_e8, sized, last_e8, True, venue_ns, seq, seq)
        return self._quote(symbol, book, now_ms)

    def _heartbeat(self, symbol: str, frame: Frame, now_ms: int) -> Heartbeat:
        """Liveness of one product; the id of its last trade proves whether we missed a ticker."""
        venue_ts_ms = get_unix_ns(frame, "time") // NS_PER_MS
        self.memory.clock.heard(venue_ts_ms, now_ms)
        last_trade_id = get_int(frame, "last_trade_id")
        ticker = self._tickers.get(symbol)
        stalled = (
            ticker is not None
            and last_trade_id > ticker.trade_id
            and now_ms - ticker.received_ms > STALL_MS
        )
        return Heartbeat(symbol, venue_ts_ms, Action.STALLED if stalled else None)

    def _status(self, frame: Frame) -> list[Event]:
        statuses: list[Event] = []
        for item in get_list(frame, "products"):
            product = as_frame(item)
            symbol = self._ours.get(get_text(product, "id"))
            if symbol:
                statuses.append(self.set_status(_product_status(product), [symbol]))
        return statuses

    def _advanced(self, frame: Frame, now_ms: int) -> list[Event]:
        channel = get_text(frame, "channel")
        number = get_int(frame, "sequence_num")
        expected = None if self._sequence_num is None else self._sequence_num + 1
        if expected is not None and number < expected:
            return [Drop("", f"message {number} is older than {expected}")]
        venue_ns = get_unix_ns(frame, "timestamp")
        self._sequence_num = number
        events = self._advanced_events(channel, frame, venue_ns, now_ms)
        if expected is not None and number > expected:
            events.append(Control(Action.RESUBSCRIBE))
        return events

    def _advanced_events(
        self, channel: str, frame: Frame, venue_ns: int, now_ms: int
    ) -> list[Event]:
        if channel in ("ticker", "ticker_batch"):
            return [
                event
                for item in get_list(frame, "events")
                for event in events_of(
                    get_list(as_frame(item), "tickers"),
                    lambda ticker: self._advanced_ticker(ticker, venue_ns, now_ms),
                )
            ]
        if channel == "heartbeats":
            self.memory.clock.heard(venue_ns // NS_PER_MS, now_ms)
            return [Heartbeat(None, venue_ns // NS_PER_MS)]
        if channel == "subscriptions":
            return [Control(Action.ACK, symbols=self._advanced_acknowledged(frame))]
        return [Ignore(shown(channel))]

    def _advanced_acknowledged(self, frame: Frame) -> tuple[str, ...]:
        subscriptions = [
            get_frame(as_frame(item), "subscriptions") for item in get_list(frame, "events")
        ]
        names = [n for held in subscriptions for n in as_list(held.get("ticker", []))]
        return tuple(symbol for symbol in self.symbols if self.symbol_names[symbol] in names)

    def _advanced_ticker(self, frame: Frame, venue_ns: int, now_ms: int) -> Event:
        name = get_text(frame, "product_id")
        symbol = self._ours.get(name)
        if symbol is None:
            return self._not_ours(name)
        return self._ticker(symbol, frame, _QUANTITIES, venue_ns, None, now_ms)

    def _reply_events(self, value: object, now_ms: int, symbol: str) -> list[Event]:
        frame = as_frame(value)
        if "pricebook" in frame:
            return [self._product_book(frame, now_ms)]
        if "epoch" in frame:
            ns = get_unix_ns(frame, "iso")
            return [Control(Action.CLOCK_SAMPLE, venue_ts_ms=ns // NS_PER_MS)]
        if "message" in frame:
            return [Error(shown(frame["message"]), Action.RETRY)]
        if "quote_currency" in frame:
            return self._status({"products": [frame]})
        return [self._rest_ticker(symbol, frame, now_ms)]

    def _rest_ticker(self, symbol: str, frame: Frame, now_ms: int) -> Event:
        """A ticker without a product id; its time is that of the last trade, not of the book."""
        trade_ns = get_unix_ns(frame, "time")
        trade_ms = trade_ns // NS_PER_MS
        fresh = abs(now_ms + self.memory.clock.offset_ms - trade_ms) <= STALE_MS
        book = Book(
            get_price(frame, "bid"),
            get_price(frame, "ask"),
            last_e8=get_price(frame, "price"),
            last_is_new=fresh,
            venue_ns=trade_ns if fresh else None,
        )
        return self._quote(symbol, book, now_ms)

    def _product_book(self, frame: Frame, now_ms: int) -> Event:
        pricebook = get_frame(frame, "pricebook")
        name = get_text(pricebook, "product_id")
        symbol = self._ours.get(name)
        if symbol is None:
            return self._not_ours(name)
        bids, asks = get_list(pricebook, "bids"), get_list(pricebook, "asks")
        if not bids or not asks:
            return Reject(Reason.BOOK, "one side of the book is empty")
        bid, ask = as_frame(bids[0]), as_frame(asks[0])
        book = Book(
            get_price(bid, "price"),
            get_price(ask, "price"),
            has_size(bid, "size") and has_size(ask, "size"),
            venue_ns=get_unix_ns(pricebook, "time"),
        )
        return self._quote(symbol, book, now_ms)


class AdvancedTrade(Coinbase):
    """The same over Advanced Trade, which names one channel a message and closes a connection
    that is not subscribed to its heartbeats."""

    def subscriptions(self) -> list[str]:
        """A subscribe for each channel."""
        names = [self.symbol_names[symbol] for symbol in self.symbols]
        requests: list[dict[str, object]] = [
            {"type": "subscribe", "product_ids": names, "channel": "ticker"},
            {"type": "subscribe", "channel": "heartbeats"},
        ]
        return [json.dumps(request, separators=(",", ":")) for request in requests]

    def quote_questions(self, symbols: Sequence[str]) -> list[Question]:
        """A request for each symbol."""
        path = "/api/v3/brokerage/market/product_book?product_id={}&limit=1"
        return [Question(path.format(self.symbol_names[symbol]), symbol) for symbol in symbols]

    def routine_questions(self) -> list[Question]:
        """None: every message has a time."""
        return []


def _product_status(product: Frame) -> str:
    if product.get("auction_mode") is True:
        return ev.AUCTION
    closed = any(product.get(flag) is True for flag in _CLOSED_FLAGS)
    return ev.NOT_TRADING if closed or get_text(product, "status") != "online" else ev.ONLINE


def _refusal(frame: Frame) -> Error:
    message = get_text(frame, "message")
    reason = frame.get("reason")
    if message.startswith("ErrSlow"):
        action = Action.TOO_SLOW
    elif "rate limit" in message.lower():
        action = Action.BACKOFF
    else:
        action = Action.CONFIG_FAULT
    return Error(shown(f"{message}: {reason}" if reason else message), action)
