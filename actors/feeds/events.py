"""What a frame of a venue means. ``Adapter.parse`` turns each frame into one or more of these.

Prices are integers in 10^-8 of the quote currency, times are unix ms of the venue's clock. The
classes are structs, not dataclasses: one is made for every frame, and it is made ten times faster.
"""

from enum import StrEnum
from typing import ClassVar

from msgspec import Struct


class Kind(StrEnum):
    """The classes of the fixture files (tests/vectors/feeds/README.md)."""

    QUOTE = "quote"
    TRADE = "trade"
    CONTROL = "control"
    HEARTBEAT = "heartbeat"
    ERROR = "error"
    IGNORE = "ignore"
    DROP = "drop"
    REJECT = "reject"
    REQUEST = "request"


class Action(StrEnum):
    """What the connection, or its operator, has to do about a control, heartbeat or error event."""

    ACK = "ack"
    ALIVE = "alive"
    CLOCK_SAMPLE = "clock-sample"
    VENUE_STATUS = "venue-status"
    RECONNECT = "reconnect"
    RESUBSCRIBE = "resubscribe"
    STALLED = "stalled"
    CONFIG_FAULT = "config-fault"
    NOT_TRADING = "symbol-not-trading"
    BACKOFF = "backoff"
    STOP_UNTIL = "stop-until"
    RETRY = "retry"
    TREAT_AS_ACK = "treat as ack"
    TOO_SLOW = "reconnect; raise consumer-lag alert"


class Reason(StrEnum):
    """Why a frame was rejected: a small fixed set, fit for a metric label."""

    FRAME = "frame"
    FIELD = "field"
    SYMBOL = "symbol"
    BOOK = "book"
    SIZE = "size"
    STATUS = "status"
    STALE = "stale"
    FUTURE = "future"
    JUMP = "jump"
    LAST = "last"
    REDIRECT = "redirect"


ONLINE = "online"
NOT_TRADING = "not-trading"
AUCTION = "auction"


class Quote(Struct, frozen=True):
    """Best bid and ask; ``last_is_new`` says that the frame proves a trade just now."""

    kind: ClassVar[Kind] = Kind.QUOTE
    symbol: str
    bid_e8: int
    ask_e8: int
    last_e8: int | None = None
    last_is_new: bool = False
    venue_ts_ms: int | None = None
    seq: int | None = None

    @property
    def mid_e8(self) -> int:
        """``(bid + ask) // 2``."""
        return (self.bid_e8 + self.ask_e8) // 2


class Trade(Struct, frozen=True):
    """A last price without a book."""

    kind: ClassVar[Kind] = Kind.TRADE
    symbol: str
    last_e8: int
    venue_ts_ms: int | None = None


class Control(Struct, frozen=True):
    """An acknowledgement, a pong, a clock sample, or a venue status; the first and the last of
    ``symbols``."""

    kind: ClassVar[Kind] = Kind.CONTROL
    action: Action
    status: str | None = None
    symbols: tuple[str, ...] = ()
    id_echo: int | None = None
    venue_ts_ms: int | None = None


class Heartbeat(Struct, frozen=True):
    """The venue is alive; ``action`` is STALLED when it proves that we missed trades."""

    kind: ClassVar[Kind] = Kind.HEARTBEAT
    symbol: str | None = None
    venue_ts_ms: int | None = None
    action: Action | None = None


class Error(Struct, frozen=True):
    """The venue refuses something; ``until_unix`` is in seconds."""

    kind: ClassVar[Kind] = Kind.ERROR
    message: str
    action: Action
    code: int | None = None
    retry_after_s: int | None = None
    until_unix: int | None = None


class Ignore(Struct, frozen=True):
    """Well-formed and not for us; it proves only that the connection lives."""

    kind: ClassVar[Kind] = Kind.IGNORE
    detail: str


class Drop(Struct, frozen=True):
    """Valid, but superseded by what we hold: a duplicate, or out of order."""

    kind: ClassVar[Kind] = Kind.DROP
    symbol: str
    detail: str


class Reject(Struct, frozen=True):
    """Never to be used: count it by ``reason``."""

    kind: ClassVar[Kind] = Kind.REJECT
    reason: Reason
    detail: str


Event = Quote | Trade | Control | Heartbeat | Error | Ignore | Drop | Reject
