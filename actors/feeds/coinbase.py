"""Coinbase: the Exchange feed and the Advanced Trade feed, and their public REST replies.

Sources: Coinbase Exchange "WebSocket Channels" and Advanced Trade "WebSocket Channels". On Exchange
``sequence`` counts all messages of a product, so a jump is normal and a step back is stale. On
Advanced Trade ``sequence_num`` counts the messages of the connection without gaps.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar, Final, NamedTuple

from actors.feeds import events as ev
from actors.feeds.adapter import STALE_MS, Adapter, Book
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
    get_frame,
    get_int,
    get_list,
    get_text,
    shown,
)
from actors.feeds.venue_time import NS_PER_MS, get_unix_ns
from protocol.errors import EncodingError

STALL_MS: Final = 2_000
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

    def __init__(
        self,
        symbols: Sequence[str],
        *,
        clock_offset_ms: int = 0,
        last_good: Mapping[str, int] | None = None,
    ) -> None:
        super().__init__(symbols, clock_offset_ms=clock_offset_ms, last_good=last_good)
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

    def _frame_events(self, frame: Frame, now_ms: int) -> Iterator[Event]:
        if "channel" in frame:
            yield from self._advanced(frame, now_ms)
            return
        kind = get_text(frame, "type")
        if kind == "status":
            yield from self._status(frame)
        elif kind == "error":
            yield _refusal(frame)
        elif kind == "subscriptions":
            yield Control(Action.ACK)
        elif kind in ("ticker", "heartbeat", "match", "last_match", "auction"):
            yield self._product_event(kind, frame, now_ms)
        else:
            yield Ignore(shown(kind))

    def _product_event(self, kind: str, frame: Frame, now_ms: int) -> Event:
        name = get_text(frame, "product_id")
        symbol = self._symbol(name)
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
        return self._ticker(symbol, frame, "size", venue_ns, get_int(frame, "sequence"), now_ms)

    def _ticker(
        self,
        symbol: str,
        frame: Frame,
        size: str,
        venue_ns: int | None,
        seq: int | None,
        now_ms: int,
    ) -> Event:
        """A ticker of either feed; its sizes are ``best_bid_<size>`` and ``best_ask_<size>``."""
        last_e8 = get_price(frame, "price")
        if frame.get("best_bid", "") == frame.get("best_ask", "") == "":
            return self._trade(symbol, last_e8, venue_ns, now_ms)
        book = Book(
            get_price(frame, "best_bid"),
            get_price(frame, "best_ask"),
            has_size(frame, f"best_bid_{size}") and has_size(frame, f"best_ask_{size}"),
            last_e8,
            last_is_new=True,
            venue_ns=venue_ns,
            seq=seq,
            order=seq,
        )
        mid_e8 = (book.bid_e8 + book.ask_e8) // 2
        if abs(last_e8 - mid_e8) * LAST_WITHIN > mid_e8:
            return Reject(Reason.LAST, f"last trade {last_e8} contradicts the book at {mid_e8}")
        return self._quote(symbol, book, now_ms)

    def _heartbeat(self, symbol: str, frame: Frame, now_ms: int) -> Heartbeat:
        """Liveness of one product; the id of its last trade proves whether we missed a ticker."""
        venue_ts_ms = get_unix_ns(frame, "time") // NS_PER_MS
        last_trade_id = get_int(frame, "last_trade_id")
        ticker = self._tickers.get(symbol)
        stalled = (
            ticker is not None
            and last_trade_id > ticker.trade_id
            and now_ms - ticker.received_ms > STALL_MS
        )
        return Heartbeat(symbol, venue_ts_ms, Action.STALLED if stalled else None)

    def _status(self, frame: Frame) -> Iterator[Event]:
        for item in get_list(frame, "products"):
            product = as_frame(item)
            symbol = self._symbol(get_text(product, "id"))
            if symbol:
                yield self.set_status(_product_status(product), [symbol])

    def _advanced(self, frame: Frame, now_ms: int) -> Iterator[Event]:
        channel = get_text(frame, "channel")
        number = get_int(frame, "sequence_num")
        expected = None if self._sequence_num is None else self._sequence_num + 1
        if expected is not None and number < expected:
            yield Drop("", f"message {number} is older than {expected}")
            return
        venue_ns = get_unix_ns(frame, "timestamp")
        self._sequence_num = number
        if channel in ("ticker", "ticker_batch"):
            yield from self._advanced_tickers(frame, venue_ns, now_ms)
        elif channel == "heartbeats":
            yield Heartbeat(None, venue_ns // NS_PER_MS)
        elif channel == "subscriptions":
            yield Control(Action.ACK)
        else:
            yield Ignore(shown(channel))
        if expected is not None and number > expected:
            yield Control(Action.RESUBSCRIBE)

    def _advanced_tickers(self, frame: Frame, venue_ns: int, now_ms: int) -> Iterator[Event]:
        for event in get_list(frame, "events"):
            for item in get_list(as_frame(event), "tickers"):
                try:
                    yield self._advanced_ticker(as_frame(item), venue_ns, now_ms)
                except EncodingError as error:
                    yield Reject(Reason.FIELD, str(error))

    def _advanced_ticker(self, frame: Frame, venue_ns: int, now_ms: int) -> Event:
        name = get_text(frame, "product_id")
        symbol = self._symbol(name)
        if symbol is None:
            return self._not_ours(name)
        return self._ticker(symbol, frame, "quantity", venue_ns, None, now_ms)

    def _reply_events(self, value: object, now_ms: int, symbol: str) -> Iterator[Event]:
        frame = as_frame(value)
        if "pricebook" in frame:
            yield self._product_book(frame, now_ms)
        elif "epoch" in frame:
            ns = get_unix_ns(frame, "iso")
            yield Control(Action.CLOCK_SAMPLE, venue_ts_ms=ns // NS_PER_MS)
        elif "message" in frame:
            yield Error(shown(frame["message"]), Action.RETRY)
        else:
            yield self._rest_ticker(symbol, frame, now_ms)

    def _rest_ticker(self, symbol: str, frame: Frame, now_ms: int) -> Event:
        """A ticker without a product id; its time is that of the last trade, not of the book."""
        trade_ns = get_unix_ns(frame, "time")
        trade_ms = trade_ns // NS_PER_MS
        fresh = abs(now_ms + self.clock_offset_ms - trade_ms) <= STALE_MS
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
        symbol = self._symbol(name)
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


def _product_status(product: Frame) -> str:
    if product.get("auction_mode") is True:
        return ev.AUCTION
    closed = any(product.get(flag) is True for flag in ("cancel_only", "post_only"))
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
