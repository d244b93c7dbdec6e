"""Watching venues: what each says now, what we do not understand of it, and a summary."""

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from actors.feeds.connection import Feeds
from actors.feeds.endpoints import Endpoint
from actors.feeds.events import Event, Ignore, Reason, Reject
from actors.feeds.host import unix_ms
from actors.feeds.price_text import dollars
from actors.feeds.recording import Heard, Recorder
from protocol.errors import PriceError

SHOWN_CHARS: Final = 160
MAX_KINDS: Final = 1000
"""A hostile venue could invent kinds of frames without end."""
EVERY_S: Final = 1.0
_FOREIGN: Final = {Reason.FRAME, Reason.FIELD, Reason.SYMBOL}
"""Refused because we do not know it; other refusals are of frames that we understand."""


@dataclass(slots=True)
class Watch:
    """Follows ``products`` and tells ``say`` a line a second, and each kind of frame that an
    adapter does not know the first time that it comes."""

    products: Sequence[str]
    endpoints: Mapping[str, Endpoint]
    venues: Collection[str]
    say: Callable[[str], None]
    recorder: Recorder | None = None
    quotes: int | None = None
    """Enough: with so many of every venue it ends."""
    unknown: Counter[str] = field(default_factory=Counter)

    async def run(self, seconds: float, stop: asyncio.Event) -> dict[str, Any]:
        """Watch until time is up, there are enough quotes or ``stop`` is set; the summary."""
        loop = asyncio.get_running_loop()
        began = loop.time()

        def hear(heard: Heard, events: Sequence[Event]) -> None:
            self._hear(heard, events)
            if self._is_enough(feeds):
                stop.set()

        feeds = Feeds(self.products, self.endpoints, venues=self.venues, tap=hear)
        async with feeds:
            before: Counter[str] = Counter()
            while not stop.is_set() and (left_s := began + seconds - loop.time()) > 0:
                try:
                    async with asyncio.timeout(min(EVERY_S, left_s)):
                        await stop.wait()
                except TimeoutError:
                    pass
                frames = Counter({venue: h.frames for venue, h in feeds.health.items()})
                for line in self._lines(feeds, frames - before):
                    self.say(line)
                before = frames
            return self._summary(feeds, loop.time() - began)

    def _is_enough(self, feeds: Feeds) -> bool:
        if self.quotes is None:
            return False
        return all(health.events["quote"] >= self.quotes for health in feeds.health.values())

    def _hear(self, heard: Heard, events: Sequence[Event]) -> None:
        if self.recorder is not None:
            self.recorder.write(heard)
        for event in events:
            if isinstance(event, Ignore) or (
                isinstance(event, Reject) and event.reason in _FOREIGN
            ):
                self._meet(heard, f"{heard.venue}: {event.kind} {event.detail}")

    def _meet(self, heard: Heard, what: str) -> None:
        if what not in self.unknown:
            if len(self.unknown) == MAX_KINDS:
                return
            text = ascii(heard.frame[:SHOWN_CHARS].decode(errors="replace"))[1:-1]
            self.say(f"not known: {what}: {text[:SHOWN_CHARS]}")
        self.unknown[what] += 1

    def _lines(self, feeds: Feeds, frames: Counter[str]) -> list[str]:
        now_ms = unix_ms()
        lines = []
        for product in self.products:
            snapshot = feeds.board.snapshot(product)
            parts = [
                f"{venue} {dollars((s.quote.bid_e8 + s.quote.ask_e8) // 2)}"
                f" {s.quote.transport} {now_ms - s.quote.received_ms} ms"
                for venue, s in snapshot.pair.items()
            ]
            lines.append(f"{product} {self._price(feeds, product)} | " + " | ".join(parts))
        rates = ", ".join(f"{venue} {frames[venue]}/s" for venue in feeds.health)
        return [*lines, f"messages {rates}"]

    def _price(self, feeds: Feeds, product: str) -> str:
        try:
            return dollars(self._price_e8(feeds, product))
        except PriceError:
            return "no price"

    def _price_e8(self, feeds: Feeds, product: str) -> int:
        needed = min(2, len(self.venues))
        return feeds.board.snapshot(product).price(unix_ms(), needed).price_e8

    def _summary(self, feeds: Feeds, seconds: float) -> dict[str, Any]:
        now_ms = unix_ms()
        prices: dict[str, int | None] = {}
        for product in self.products:
            try:
                prices[product] = self._price_e8(feeds, product)
            except PriceError:
                prices[product] = None
        return {
            "seconds": round(seconds, 3),
            "prices_e8": prices,
            "venues": {
                venue: {
                    "messages": health.frames,
                    "messages_per_s": round(health.frames / seconds, 1),
                    "quotes": health.events["quote"],
                    "age_ms": health.age_ms(now_ms),
                    "offset_ms": health.offset_ms,
                    "events": dict(health.events),
                    "rejects": dict(health.rejects),
                    "polls": dict(health.polls),
                    "connects": health.connects,
                    "rotations": health.rotations,
                    "reconnects": health.reconnects,
                    "fault": health.fault,
                }
                for venue, health in feeds.health.items()
            },
            "unknown": dict(self.unknown),
        }
