"""What the adapters of all venues share: the rules that turn parsed fields into events.

One adapter is the protocol state of ONE connection. It does no IO and reads no clock: the caller
gives the frame and its own time. ``parse`` never raises: what is wrong with a frame becomes a
``Reject``.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Final, NamedTuple, Self

from actors.feeds import events as ev
from actors.feeds.events import Drop, Event, Ignore, Quote, Reason, Reject, Trade
from actors.feeds.http_reply import HttpReply, http_event
from actors.feeds.offset import VenueClock
from actors.feeds.strict_json import Frame, as_frame, decode, shown
from actors.feeds.venue_time import NS_PER_MS
from protocol.errors import ConfigError, EncodingError

STALE_MS: Final = 10_000
"""A venue time older than this is a replayed or back-pressured stream."""
FUTURE_MS: Final = 10_000
"""Beyond this a venue time cannot be explained by our own clock running slow."""
JUMP_FACTOR: Final = 2
CONFIRM_MS: Final = 1_000
CONFIRM_WITHIN: Final = 10


class Book(NamedTuple):
    """Top of book as the venue sent it; ``order`` and ``venue_ns`` may be unknown."""

    bid_e8: int
    ask_e8: int
    sized: bool = True
    last_e8: int | None = None
    last_is_new: bool = False
    venue_ns: int | None = None
    seq: int | None = None
    order: int | None = None


class Question(NamedTuple):
    """A REST request: path and query, and the symbol it is about if the answer does not say."""

    path: str
    symbol: str | None = None


@dataclass(slots=True)
class Memory:
    """What the connections of one venue, WebSocket and REST, learn for each other: the last
    accepted mid of each symbol, the symbols that are closed and why, and the venue's clock."""

    last_good: dict[str, int] = field(default_factory=dict)
    closed: dict[str, str] = field(default_factory=dict)
    clock: VenueClock = field(default_factory=VenueClock)


class _Held(NamedTuple):
    order: int
    content: tuple[int | None, ...]


class _Suspect(NamedTuple):
    price_e8: int
    since_ms: int


class Adapter(ABC):
    """Parser and protocol state of one connection to one venue.

    ``symbols`` are ours (``BTC-USD``, on Binance ``BTC-USDT``); ``memory`` is what outlives the
    connection.
    """

    venue: ClassVar[str]
    symbol_names: ClassVar[Mapping[str, str]]
    """Our symbol -> the venue's."""
    data_deadline_s: ClassVar[float] = 10.0
    """Without a well-formed frame for this long the connection counts as dead."""
    rest_interval_s: ClassVar[float] = 0.5
    """The least time between two REST requests."""
    ordered_by_time: ClassVar[bool] = False
    """Quotes are ordered by a time, which two different quotes may share."""

    def __init__(self, symbols: Sequence[str], memory: Memory | None = None) -> None:
        unknown = [symbol for symbol in symbols if symbol not in self.symbol_names]
        if unknown or not symbols:
            raise ConfigError(
                f"{self.venue}: no feed {', '.join(unknown) or '(empty list)'}; "
                f"choose from {', '.join(self.symbol_names)}"
            )
        self.symbols = tuple(symbols)
        self.memory = memory or Memory()
        self._ours = {self.symbol_names[symbol]: symbol for symbol in symbols}
        self._quotes: dict[str, _Held] = {}
        self._trades: dict[str, _Held] = {}
        self._suspects: dict[tuple[str, str], _Suspect] = {}

    def renewed(self) -> Self:
        """The adapter of the next connection: no protocol state, the same memory."""
        return type(self)(self.symbols, self.memory)

    @abstractmethod
    def subscriptions(self) -> list[str]:
        """The messages to send as soon as the connection is open."""

    def ping(self, now_ms: int) -> str | None:
        """An application ping to send now; None where the venue's protocol has none."""
        return None

    @abstractmethod
    def quote_questions(self, symbols: Sequence[str]) -> list[Question]:
        """The REST requests, asked in turn, that stand in for the stream of ``symbols``."""

    def routine_questions(self) -> list[Question]:
        """The REST requests that are asked once a minute whatever the stream does."""
        return []

    def parse(self, raw: str | bytes, now_ms: int) -> list[Event]:
        """The events of one frame, at least one. ``now_ms`` is our clock at its arrival."""
        try:
            frame = as_frame(decode(raw))
        except EncodingError as error:
            return [Reject(Reason.FRAME, str(error))]
        try:
            return self._frame_events(frame, now_ms) or [Ignore("nothing in it")]
        except EncodingError as error:
            return [Reject(Reason.FIELD, str(error))]

    def parse_reply(self, reply: HttpReply, now_ms: int, symbol: str | None = None) -> list[Event]:
        """The events of one REST reply to a question about ``symbol`` (default: our first)."""
        refused = http_event(reply, self._code_action)
        if refused:
            return [refused]
        try:
            value = decode(reply.body)
        except EncodingError as error:
            return [Reject(Reason.FRAME, str(error))]
        try:
            events = self._reply_events(value, now_ms, symbol or self.symbols[0])
        except EncodingError as error:
            return [Reject(Reason.FIELD, str(error))]
        return events or [Reject(Reason.SYMBOL, "none of our symbols in the reply")]

    @abstractmethod
    def _frame_events(self, frame: Frame, now_ms: int) -> list[Event]:
        """The events of a decoded frame."""

    @abstractmethod
    def _reply_events(self, value: object, now_ms: int, symbol: str) -> list[Event]:
        """The events of the decoded body of a reply with HTTP status 200."""

    def _code_action(self, code: int) -> ev.Action | None:
        """What the venue's numeric error code asks for, if its HTTP status does not say."""
        return None

    def _not_ours(self, name: object) -> Reject:
        return Reject(Reason.SYMBOL, f"not subscribed: {shown(name)}")

    def set_status(self, status: str, symbols: Sequence[str]) -> ev.Control:
        """Open (ONLINE) or close ``symbols``; a quote of a closed symbol is refused."""
        for symbol in symbols:
            if status == ev.ONLINE:
                self.memory.closed.pop(symbol, None)
            else:
                self.memory.closed[symbol] = status
        return ev.Control(ev.Action.VENUE_STATUS, status, tuple(symbols))

    def _quote(self, symbol: str, book: Book, now_ms: int) -> Event:
        """The quote, or why it is none. Only an accepted one moves order and last good price."""
        bid_e8, ask_e8, sized, last_e8, last_is_new, venue_ns, seq, order = book
        content = (bid_e8, ask_e8, last_e8)
        mid_e8 = (bid_e8 + ask_e8) // 2
        held = self._quotes.get(symbol)
        refused = (
            _book_fault(bid_e8, ask_e8, sized)
            or (held and self._superseded(symbol, "quote", held, order, content))
            or (venue_ns is not None and self._untimely(venue_ns, now_ms))
            or (self.memory.closed and self._not_trading(symbol))
            or self._jumped(symbol, "quote", mid_e8, now_ms)
        )
        if refused:
            return refused
        if order is not None:
            self._quotes[symbol] = _Held(order, content)
        self.memory.last_good[symbol] = mid_e8
        venue_ms = None if venue_ns is None else venue_ns // NS_PER_MS
        return Quote(symbol, bid_e8, ask_e8, last_e8, last_is_new, venue_ms, seq)

    def _trade(
        self,
        symbol: str,
        price_e8: int,
        venue_ns: int | None,
        now_ms: int,
        trade_id: int | None = None,
    ) -> Event:
        """The last price, or why it is not one. Trades are ordered by the venue's time."""
        content = (price_e8, trade_id)
        held = self._trades.get(symbol)
        refused = (
            (Reject(Reason.BOOK, "price of zero") if price_e8 == 0 else None)
            or (held and self._superseded(symbol, "trade", held, venue_ns, content))
            or (venue_ns is not None and self._untimely(venue_ns, now_ms))
            or (self.memory.closed and self._not_trading(symbol))
            or self._jumped(symbol, "trade", price_e8, now_ms)
        )
        if refused:
            return refused
        if venue_ns is not None:
            self._trades[symbol] = _Held(venue_ns, content)
        return Trade(symbol, price_e8, None if venue_ns is None else venue_ns // NS_PER_MS)

    def _superseded(
        self,
        symbol: str,
        what: str,
        held: _Held,
        order: int | None,
        content: tuple[int | None, ...],
    ) -> Drop | None:
        if order is None or order > held.order:
            return None
        if order < held.order:
            return Drop(symbol, f"{what} {order} is older than {held.order}")
        timed = self.ordered_by_time or what == "trade"
        return Drop(symbol, f"duplicate {what}") if content == held.content or not timed else None

    def _untimely(self, venue_ns: int, now_ms: int) -> Reject | None:
        age_ms = now_ms + self.memory.clock.offset_ms - venue_ns // NS_PER_MS
        if age_ms > STALE_MS:
            return Reject(Reason.STALE, f"venue time is {age_ms} ms old")
        if age_ms < -FUTURE_MS:
            return Reject(
                Reason.FUTURE, f"venue time is {-age_ms} ms ahead; check the host's clock"
            )
        return None

    def _not_trading(self, symbol: str) -> Reject | None:
        status = self.memory.closed.get(symbol)
        return Reject(Reason.STATUS, f"{symbol} is {status}") if status else None

    def _jumped(self, symbol: str, what: str, price_e8: int, now_ms: int) -> Reject | None:
        """Refuses a price beyond twice or half the last good one until a later one confirms it."""
        good = self.memory.last_good.get(symbol)
        if good is None or (price_e8 <= JUMP_FACTOR * good and good <= JUMP_FACTOR * price_e8):
            if self._suspects:
                self._suspects.pop((symbol, what), None)
            return None
        key = (symbol, what)
        suspect = self._suspects.get(key)
        if suspect and abs(price_e8 - suspect.price_e8) * CONFIRM_WITHIN <= suspect.price_e8:
            if now_ms - suspect.since_ms >= CONFIRM_MS:
                del self._suspects[key]
                return None
        else:
            self._suspects[key] = _Suspect(price_e8, now_ms)
        return Reject(Reason.JUMP, f"{symbol} jumped from {good} to {price_e8}; not confirmed yet")


def events_of(items: Sequence[object], read: Callable[[Frame], Event]) -> list[Event]:
    """The event of each item of a list; one that is not what it must be spoils no other."""
    collected: list[Event] = []
    for item in items:
        try:
            collected.append(read(as_frame(item)))
        except EncodingError as error:
            collected.append(Reject(Reason.FIELD, str(error)))
    return collected


def _book_fault(bid_e8: int, ask_e8: int, sized: bool) -> Reject | None:
    if bid_e8 == 0 or ask_e8 == 0:
        return Reject(Reason.BOOK, "one side of the book is empty")
    if bid_e8 >= ask_e8:
        return Reject(Reason.BOOK, "crossed or locked book")
    if not sized:
        return Reject(Reason.SIZE, "zero size at the touch")
    return None
