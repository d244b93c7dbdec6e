"""Binance Spot: market streams (raw and combined) and public REST.

Source: Binance Spot API documentation, "WebSocket Streams" and "Market Data endpoints". The best
bid and ask (bookTicker) carry neither type nor time; their order is the update id ``u``, which may
restart on reconnect.
"""

import json
from collections.abc import Mapping, Sequence
from typing import ClassVar, Final

from actors.feeds.adapter import Adapter, Book, Question, events_of
from actors.feeds.events import Action, Control, Error, Event, Ignore, Reason, Reject
from actors.feeds.price_text import get_price, has_size
from actors.feeds.strict_json import Frame, get_frame, get_int, get_text, shown
from actors.feeds.venue_time import NS_PER_MS
from protocol.errors import EncodingError

SUBSCRIBE_ID: Final = 1
_BOOK_KEYS: Final = frozenset("usbBaA")

# event type -> (field of the price, field of the time, field of the id)
_TRADES: Final[Mapping[str, tuple[str, str, str | None]]] = {
    "aggTrade": ("p", "T", "a"),
    "trade": ("p", "T", "t"),
    "24hrMiniTicker": ("c", "E", None),
}


class Binance(Adapter):
    """One connection to Binance Spot; prices are in USDT."""

    venue = "binance"
    symbol_names: ClassVar[Mapping[str, str]] = {
        "BTC-USDT": "BTCUSDT",
        "ETH-USDT": "ETHUSDT",
        "ADA-USDT": "ADAUSDT",
        "SOL-USDT": "SOLUSDT",
    }

    def subscriptions(self) -> list[str]:
        """One SUBSCRIBE for best bid and ask and for trades; stream names are in lower case."""
        names = [self.symbol_names[symbol].lower() for symbol in self.symbols]
        streams = [f"{name}@{stream}" for name in names for stream in ("bookTicker", "aggTrade")]
        request = {"method": "SUBSCRIBE", "params": streams, "id": SUBSCRIBE_ID}
        return [json.dumps(request, separators=(",", ":"))]

    def quote_questions(self, symbols: Sequence[str]) -> list[Question]:
        """One request for all symbols."""
        names = ",".join(f"%22{self.symbol_names[symbol]}%22" for symbol in symbols)
        return [Question(f"/api/v3/ticker/bookTicker?symbols=%5B{names}%5D")]

    def routine_questions(self) -> list[Question]:
        """The time: no stream of the best bid and ask carries one."""
        return [Question("/api/v3/time")]

    def _frame_events(self, frame: Frame, now_ms: int) -> list[Event]:
        if "stream" in frame:
            stream = get_text(frame, "stream")
            frame = get_frame(frame, "data")
            name = stream.partition("@")[0].upper()
            if "s" in frame and frame["s"] != name:
                what = f"stream {shown(stream)} carries {shown(frame['s'])}"
                return [Reject(Reason.SYMBOL, what)]
        return [self._event(frame, now_ms)]

    def _event(self, frame: Frame, now_ms: int) -> Event:
        if "e" in frame:
            return self._typed(get_text(frame, "e"), frame, now_ms)
        if "s" in frame and not _BOOK_KEYS.isdisjoint(frame):
            return self._book_ticker(frame, now_ms)
        if "result" in frame:
            return Control(Action.ACK, symbols=self.symbols, id_echo=_optional_id(frame))
        if "error" in frame:
            return _refusal(get_frame(frame, "error"))
        if "code" in frame:
            return _refusal(frame)
        if "lastUpdateId" in frame:
            return Ignore("partial book depth")
        return Reject(Reason.FRAME, f"no frame of Binance Spot: {shown(sorted(frame))}")

    def _typed(self, kind: str, frame: Frame, now_ms: int) -> Event:
        if kind == "serverShutdown":
            return Control(Action.RECONNECT)
        if kind not in _TRADES:
            return Ignore(shown(kind))
        name = get_text(frame, "s")
        symbol = self._ours.get(name)
        if symbol is None:
            return self._not_ours(name)
        price, time, trade_id = _TRADES[kind]
        return self._trade(
            symbol,
            get_price(frame, price),
            get_int(frame, time) * NS_PER_MS,
            now_ms,
            get_int(frame, trade_id) if trade_id else None,
        )

    def _book_ticker(self, frame: Frame, now_ms: int) -> Event:
        name = get_text(frame, "s")
        symbol = self._ours.get(name)
        if symbol is None:
            return self._not_ours(name)
        update_id = get_int(frame, "u")
        book = Book(
            get_price(frame, "b"),
            get_price(frame, "a"),
            has_size(frame, "B") and has_size(frame, "A"),
            seq=update_id,
            order=update_id,
        )
        return self._quote(symbol, book, now_ms)

    def _reply_events(self, value: object, now_ms: int, symbol: str) -> list[Event]:
        rows = value if isinstance(value, list) else [value]
        return events_of(rows, lambda row: self._reply_event(row, now_ms))

    def _reply_event(self, frame: Frame, now_ms: int) -> Event:
        if not frame:
            return Control(Action.ALIVE)
        if "serverTime" in frame:
            return Control(Action.CLOCK_SAMPLE, venue_ts_ms=get_int(frame, "serverTime"))
        if "code" in frame:
            return _refusal(frame)
        name = get_text(frame, "symbol")
        symbol = self._ours.get(name)
        if symbol is None:
            return self._not_ours(name)
        if "price" in frame:
            return self._trade(symbol, get_price(frame, "price"), None, now_ms)
        sized = has_size(frame, "bidQty") and has_size(frame, "askQty")
        book = Book(get_price(frame, "bidPrice"), get_price(frame, "askPrice"), sized)
        return self._quote(symbol, book, now_ms)

    def _code_action(self, code: int) -> Action | None:
        return _code_action(code)


def _optional_id(frame: Frame) -> int | None:
    value = frame.get("id")
    return value if type(value) is int else None


def _refusal(frame: Frame) -> Error:
    code = frame.get("code")
    if type(code) is not int:
        raise EncodingError(f"error code is not an integer: {shown(code)}")
    return Error(shown(frame.get("msg", "")), _code_action(code), code)


def _code_action(code: int) -> Action:
    """Binance's error codes: 0 to 3 from streams, -1000 to -1999 from REST."""
    if code in (-1003, -1015):
        return Action.BACKOFF
    if code == -1220:
        return Action.NOT_TRADING
    if 0 <= code <= 3 or -1199 <= code <= -1100:
        return Action.CONFIG_FAULT
    return Action.RETRY
