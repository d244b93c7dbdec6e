"""What one venue did so far, in numbers fit for metrics: every label comes from a small set."""

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum

from actors.feeds.events import Error, Event, Quote, Reject


class Poll(StrEnum):
    """How a REST request ended."""

    QUOTE = "quote"  # it gave a quote that was used
    SPARE = "spare"  # the stream had come back: not used
    ROUTINE = "routine"
    REFUSED = "refused"  # an error, or nothing usable, in a reply
    FAILED = "failed"  # no reply


@dataclass(slots=True)
class Health:
    """Live figures of one venue.

    ``connects`` are opened WebSocket connections, of which ``rotations`` replaced one that still
    worked and ``reconnects`` one that had ended. ``fault`` is what went wrong last. ``events`` is
    by ``Kind``, ``rejects`` by ``Reason``, ``polls`` by ``Poll``. Times are our unix ms; offsets
    are the venue's clock minus ours.
    """

    venue: str
    connected: bool = False
    subscribed: bool = False
    missing: tuple[str, ...] = ()  # symbols neither acknowledged nor quoted on this connection
    connects: int = 0
    reconnects: int = 0
    rotations: int = 0
    resubscribes: int = 0
    frames: int = 0
    last_frame_ms: int | None = None
    last_quote_ms: int | None = None
    venue_quote_ms: int | None = None  # the venue's time of its newest dated quote
    offset_ms: int | None = None
    clock_alarm: bool = False
    polling: bool = False  # REST stands in for the stream of at least one symbol
    disabled_until_ms: int | None = None
    fault: str | None = None
    events: Counter[str] = field(default_factory=Counter)
    rejects: Counter[str] = field(default_factory=Counter)
    polls: Counter[str] = field(default_factory=Counter)

    def age_ms(self, now_ms: int) -> int | None:
        """How long ago the newest quote of any symbol arrived."""
        return None if self.last_quote_ms is None else now_ms - self.last_quote_ms

    def venue_age_ms(self, now_ms: int) -> int | None:
        """The age of the newest dated quote by the venue's clock, as far as we know its offset."""
        if self.venue_quote_ms is None:
            return None
        return now_ms + (self.offset_ms or 0) - self.venue_quote_ms

    def count(self, events: list[Event], now_ms: int) -> None:
        """Take note of the events of one frame or reply."""
        for event in events:
            self.events[event.kind] += 1
            if isinstance(event, Quote):
                self.last_quote_ms = now_ms
                if event.venue_ts_ms is not None:
                    self.venue_quote_ms = event.venue_ts_ms
            elif isinstance(event, Reject):
                self.rejects[event.reason] += 1
            elif isinstance(event, Error):
                self.fault = event.message
