"""Kraken: WebSocket v2 ticker and public REST.

Source: Kraken API Center, "Spot WebSocket API v2" and "Spot REST API". Prices in v2 are JSON
numbers, in REST strings. A ticker message is the whole state; ``last`` is undated, it may be a day
old.
"""

import json
from collections.abc import Mapping, Sequence
from typing import ClassVar, Final

from actors.feeds import events as ev
from actors.feeds.adapter import Adapter, Book, Memory, Question, events_of
from actors.feeds.events import (
    Action,
    Control,
    Error,
    Event,
    Heartbeat,
    Ignore,
    Quote,
    Reason,
    Reject,
)
from actors.feeds.price_text import get_price, has_size, price_e8
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

SUBSCRIBE_ID: Final = 1
FIRST_PING_ID: Final = 101
TICKERS_PER_STATUS: Final = 9
MAX_ERROR_CHARS: Final = 200
_STATUSES: Final = frozenset({"online", "maintenance", "cancel_only", "post_only", "limit_only"})
_THROTTLED: Final = "EService: Throttled: "

# How a REST or subscription error begins -> what to do.
_ACTIONS: Final[tuple[tuple[str, Action], ...]] = (
    ("EQuery:", Action.CONFIG_FAULT),
    ("EGeneral:Invalid", Action.CONFIG_FAULT),
    ("EAPI:Rate limit", Action.BACKOFF),
    ("EGeneral:Too many", Action.BACKOFF),
    (_THROTTLED, Action.STOP_UNTIL),
    ("Already subscribed", Action.TREAT_AS_ACK),
    ("Exceeded msg rate", Action.BACKOFF),
    ("Currency pair", Action.CONFIG_FAULT),
)


class Kraken(Adapter):
    """One connection to Kraken's WebSocket v2."""

    venue = "kraken"
    data_deadline_s = 5.0
    rest_interval_s = 1.0
    ordered_by_time = True
    symbol_names: ClassVar[Mapping[str, str]] = {
        f"{base}-USD": f"{base}/USD" for base in ("BTC", "ETH", "ADA", "SOL", "USDT")
    }
    # The key of a REST result depends on how the pair was asked for.
    reply_names: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "BTC-USD": ("XXBTZUSD", "XBTUSD", "XBT/USD", "BTC/USD"),
        "ETH-USD": ("XETHZUSD", "ETHUSD", "ETH/USD"),
        "ADA-USD": ("ADAUSD", "ADA/USD"),
        "SOL-USD": ("SOLUSD", "SOL/USD"),
        "USDT-USD": ("USDTZUSD", "USDTUSD", "USDT/USD"),
    }

    def __init__(self, symbols: Sequence[str], memory: Memory | None = None) -> None:
        super().__init__(symbols, memory)
        self._lasts: dict[str, int] = {}
        self._ping_id = FIRST_PING_ID - 1
        self._pinged_ms: int | None = None

    def subscriptions(self) -> list[str]:
        """One subscribe for every change of the best bid or offer (the default is trades only)."""
        params = {
            "channel": "ticker",
            "symbol": [self.symbol_names[symbol] for symbol in self.symbols],
            "event_trigger": "bbo",
            "snapshot": True,
        }
        request = {"method": "subscribe", "params": params, "req_id": SUBSCRIBE_ID}
        return [json.dumps(request, separators=(",", ":"))]

    def ping(self, now_ms: int) -> str | None:
        """The next ping; its pong carries the venue's time."""
        self._ping_id += 1
        self._pinged_ms = now_ms
        request = {"method": "ping", "req_id": self._ping_id}
        return json.dumps(request, separators=(",", ":"))

    def quote_questions(self, symbols: Sequence[str]) -> list[Question]:
        """One request for all symbols and, now and then, one that tells whether Kraken trades."""
        pairs = ",".join(s.replace("BTC", "XBT").replace("-", "") for s in symbols)
        ticker = Question(f"/0/public/Ticker?pair={pairs}")
        return [*[ticker] * TICKERS_PER_STATUS, Question("/0/public/SystemStatus")]

    def _frame_events(self, frame: Frame, now_ms: int) -> list[Event]:
        if "channel" in frame:
            return self._channel(get_text(frame, "channel"), frame, now_ms)
        if "method" in frame:
            return [self._method_event(frame, now_ms)]
        if "event" in frame:
            return [Ignore(f"v1 event {shown(frame['event'])}")]
        return [Reject(Reason.FRAME, f"no frame of Kraken v2: {shown(sorted(frame))}")]

    def _channel(self, channel: str, frame: Frame, now_ms: int) -> list[Event]:
        if channel == "ticker":
            return events_of(get_list(frame, "data"), lambda row: self._ticker(row, now_ms))
        if channel == "heartbeat":
            return [Heartbeat()]
        if channel == "trade":
            return events_of(get_list(frame, "data"), lambda row: self._trade_row(row, now_ms))
        if channel == "status":
            return events_of(
                get_list(frame, "data"), lambda row: self._venue_status(get_text(row, "system"))
            )
        return [Ignore(shown(channel))]

    def _venue_status(self, system: str) -> Control:
        if system not in _STATUSES:
            raise EncodingError(f"unknown system status {shown(system)}")
        return self.set_status(ev.ONLINE if system == "online" else ev.NOT_TRADING, self.symbols)

    def _ticker(self, frame: Frame, now_ms: int) -> Event:
        name = get_text(frame, "symbol")
        symbol = self._ours.get(name)
        if symbol is None:
            return self._not_ours(name)
        last_e8 = get_price(frame, "last")
        venue_ns = get_unix_ns(frame, "timestamp")
        # Only a change of `last` proves a trade; the first one seen may be a day old.
        known = self._lasts.get(symbol)
        event = self._quote(
            symbol,
            Book(
                get_price(frame, "bid"),
                get_price(frame, "ask"),
                has_size(frame, "bid_qty") and has_size(frame, "ask_qty"),
                last_e8,
                known is not None and known != last_e8,
                venue_ns,
                None,
                venue_ns,
            ),
            now_ms,
        )
        if type(event) is Quote:
            self._lasts[symbol] = last_e8
        return event

    def _trade_row(self, frame: Frame, now_ms: int) -> Event:
        name = get_text(frame, "symbol")
        symbol = self._ours.get(name)
        if symbol is None:
            return self._not_ours(name)
        price, venue_ns = get_price(frame, "price"), get_unix_ns(frame, "timestamp")
        return self._trade(symbol, price, venue_ns, now_ms, get_int(frame, "trade_id"))

    def _method_event(self, frame: Frame, now_ms: int) -> Event:
        method = get_text(frame, "method")
        req_id = frame.get("req_id")
        id_echo = req_id if type(req_id) is int else None
        if frame.get("success") is False or "error" in frame:
            return _refusal(frame.get("error"), frame.get("symbol"))
        if method == "pong":
            venue_ts_ms = get_unix_ns(frame, "time_in") // NS_PER_MS
            if id_echo == self._ping_id and self._pinged_ms is not None:
                self.memory.clock.answered(self._pinged_ms, venue_ts_ms, now_ms)
            return Control(Action.ALIVE, id_echo=id_echo, venue_ts_ms=venue_ts_ms)
        if method in ("subscribe", "unsubscribe"):
            if frame.get("success") is not True:
                raise EncodingError("field success is missing")
            return Control(Action.ACK, symbols=self._acknowledged(frame), id_echo=id_echo)
        return Ignore(f"method {shown(method)}")

    def _acknowledged(self, frame: Frame) -> tuple[str, ...]:
        """Kraken acknowledges each symbol in a message of its own."""
        name = get_text(get_frame(frame, "result"), "symbol")
        return (self._ours[name],) if name in self._ours else ()

    def _reply_events(self, value: object, now_ms: int, symbol: str) -> list[Event]:
        frame = as_frame(value)
        refusals = [e for e in get_list(frame, "error") if not _is_warning(e)]
        if refusals:
            return [_refusal(refusals[0])]
        result = get_frame(frame, "result")
        if "unixtime" in result:
            venue_ts_ms = get_int(result, "unixtime") * 1000
            return [Control(Action.CLOCK_SAMPLE, venue_ts_ms=venue_ts_ms)]
        if "status" in result:
            return [self._venue_status(get_text(result, "status"))]
        # A result may hold other pairs, in any order: only the names that we know count.
        return [
            self._pair(symbol, get_frame(result, name), now_ms)
            for symbol in self.symbols
            for name in self.reply_names[symbol]
            if name in result
        ]

    def _pair(self, symbol: str, row: Frame, now_ms: int) -> Event:
        """One pair of the REST ticker; ask, bid and last are lists that begin with the price."""
        bid, ask, last = (get_list(row, key) for key in ("b", "a", "c"))
        if not (bid and ask and last):
            return Reject(Reason.BOOK, "one side of the book is empty")
        book = Book(price_e8(bid[0]), price_e8(ask[0]), last_e8=price_e8(last[0]))
        return self._quote(symbol, book, now_ms)


def _is_warning(item: object) -> bool:
    return isinstance(item, str) and item.startswith("W")


def _refusal(message: object, symbol: object = None) -> Error:
    if not isinstance(message, str):
        raise EncodingError(f"error is not a string: {shown(message)}")
    action = next((a for start, a in _ACTIONS if message.startswith(start)), Action.RETRY)
    until = message.removeprefix(_THROTTLED) if action is Action.STOP_UNTIL else ""
    until_unix = int(until) if until.isascii() and until.isdigit() and len(until) <= 12 else None
    text = shown(message[:MAX_ERROR_CHARS])
    if isinstance(symbol, str) and symbol not in message:
        text += f" ({shown(symbol)})"
    return Error(text, action, until_unix=until_unix)
