"""The edge of a feed: each venue's connections, kept alive, over pure adapters, on one board."""

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from types import TracebackType
from typing import Self

from actors.feeds.adapter import Adapter
from actors.feeds.backoff import Backoff
from actors.feeds.board import Arrival, QuoteBoard
from actors.feeds.endpoints import LIVE, Endpoint
from actors.feeds.events import Error, Event, Quote
from actors.feeds.fallback import Fallback
from actors.feeds.health import Health
from actors.feeds.host import NS_PER_S, Host, Policy, unix_ms
from actors.feeds.poller import Poller
from actors.feeds.products import ADAPTERS, VENUES, adapter_of, symbols_at
from actors.feeds.recording import Heard
from actors.feeds.restraint import Restraint
from actors.feeds.session import Session
from protocol.errors import ConfigError

__all__ = ["Feeds", "Health", "Host", "Policy", "Tap", "VenueConnection", "unix_ms"]

Tap = Callable[[Heard, Sequence[Event]], None]
"""Sees every frame on its way to the board, and what it means."""

log = logging.getLogger(__name__)


class VenueConnection:
    """Keeps the quotes of one venue coming; what it hears goes to ``board``.

    One WebSocket connection at a time, the next one opened before an old one is closed; REST where
    the stream is silent. ``changed`` is called after each frame that moved the board.
    """

    def __init__(
        self,
        venue: str,
        symbols: Sequence[str],
        endpoint: Endpoint,
        board: QuoteBoard,
        *,
        host: Host | None = None,
        policy: Policy | None = None,
        changed: Callable[[], None] | None = None,
        tap: Tap | None = None,
    ) -> None:
        self.health = Health(venue)
        self._adapter: Adapter = adapter_of(venue, endpoint.api)(symbols)
        self._endpoint = endpoint
        self._board = board
        self._host = host or Host()
        self._policy = policy or Policy()
        self._changed = changed
        self._tap = tap
        self._backoff = Backoff(self._host.uniform)
        self._restraint = Restraint(self.health)
        self._fallback = Fallback(
            symbols, self._policy.rest_after_s, self._policy.rest_until_s, self._host.now_s()
        )
        self._news = asyncio.Event()
        self._tasks: dict[Session, asyncio.Task[None]] = {}
        self._opened = 0

    async def run(self) -> None:
        """Connect, listen, reconnect, ask, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._stream(tasks))
            if self._endpoint.rest_url is not None:
                poller = Poller(
                    self._adapter.renewed(),
                    self._endpoint.rest_url,
                    fallback=self._fallback,
                    restraint=self._restraint,
                    health=self.health,
                    host=self._host,
                    policy=self._policy,
                    use=self._hear_reply,
                )
                tasks.create_task(poller.run())

    async def _stream(self, tasks: asyncio.TaskGroup) -> None:
        session = await self._open(tasks)
        while True:
            if session.ended:
                self._close(session)
                self.health.reconnects += 1
                session = await self._open(tasks)
            elif session.renewed:
                session = await self._replace(session, tasks)
            else:
                await self._hear_news()

    async def _replace(self, old: Session, tasks: asyncio.TaskGroup) -> Session:
        """Make before break: ``old`` goes on until a new connection has quotes."""
        self._backoff.renewing(old.healthy_s)
        while True:
            new = await self._open(tasks)
            while not (new.ready or new.ended or old.ended):
                await self._hear_news()
            if not new.ended:
                planned = not old.ended
                self._close(old)
                self.health.rotations += planned
                self.health.reconnects += not planned
                return new
            self._close(new)
            if old.ended:
                self._close(old)
                self.health.reconnects += 1
                return await self._open(tasks)

    async def _open(self, tasks: asyncio.TaskGroup) -> Session:
        """A new connection, begun as soon as budget, back-off and the venue allow it."""
        await self._host.sleep(self._backoff.delay_s(self._host.now_s()))
        while (wait_s := self._restraint.connect_from_s - self._host.now_s()) > 0:
            await self._host.sleep(wait_s)
        self._opened += 1
        session = Session(
            self._adapter.renewed(),
            self._endpoint,
            self._policy,
            self._host,
            self.health,
            hear=self._hear,
            notify=self._notice,
            number=self._opened,
        )
        self._tasks[session] = tasks.create_task(session.run())
        return session

    def _close(self, session: Session) -> None:
        self._tasks.pop(session).cancel()
        self.health.fault = session.fault or self.health.fault
        if not session.ended:
            return
        self._backoff.ended(session.healthy_s)
        if session.refusal is not None:
            now_ms = self._host.now_ms()
            for event in session.adapter.parse_reply(session.refusal, now_ms):
                if isinstance(event, Error):
                    self._restraint.obey(event, now_ms, self._host.now_s(), asked=False)
        log.info("%s: %s; connecting again", self.health.venue, session.fault)

    def _notice(self) -> None:
        """A session has changed."""
        live = [session for session in self._tasks if session.opened and not session.ended]
        self.health.connected = bool(live)
        self.health.subscribed = any(session.subscribed for session in live)
        self.health.missing = live[-1].missing if live else ()
        self._news.set()

    async def _hear_news(self) -> None:
        await self._news.wait()
        self._news.clear()

    def _hear(self, session: Session, frame: bytes) -> list[Event]:
        """Parse one frame, count it, and put what it says on the board."""
        health, host = self.health, self._host
        arrival = Arrival(frame, host.now_ms(), host.monotonic_ns())
        events = session.adapter.parse(frame, arrival.now_ms)
        health.frames += 1
        health.last_frame_ms = arrival.now_ms
        health.count(events, arrival.now_ms)
        for event in events:
            if type(event) is Quote:
                self._fallback.quoted(event.symbol, arrival.monotonic_ns / NS_PER_S)
                health.polling = self._fallback.polling
            elif isinstance(event, Error):
                self._restraint.obey(event, arrival.now_ms, host.now_s(), asked=False)
        if self._tap:
            self._tell(events, arrival, connection=session.number)
        self._put(events, arrival)
        return events

    def _hear_reply(self, events: list[Event], arrival: Arrival, symbols: tuple[str, ...]) -> None:
        if self._tap and events:
            self._tell(events, arrival, symbols=symbols)
        self._put(events, arrival)

    def _put(self, events: list[Event], arrival: Arrival) -> None:
        clock = self._adapter.memory.clock
        if clock.known:
            self.health.offset_ms = clock.offset_ms
            self.health.clock_alarm = clock.alarm
        if self._board.apply(self.health.venue, events, arrival) and self._changed:
            self._changed()

    def _tell(
        self,
        events: list[Event],
        arrival: Arrival,
        connection: int = 0,
        symbols: tuple[str, ...] = (),
    ) -> None:
        heard = Heard(
            at_ms=arrival.now_ms,
            venue=self.health.venue,
            frame=arrival.frame,
            transport=arrival.transport,
            connection=connection,
            offset_ms=self._adapter.memory.clock.offset_ms,
            symbols=symbols,
        )
        if self._tap:
            self._tap(heard, events)


class Feeds:
    """All venues of one oracle on one board. ``async with Feeds(...) as feeds: feeds.board``.

    ``venues`` are those that prices come from, by default all of ``endpoints``; a price from
    Binance needs the USDT-USD of Coinbase or Kraken too, which are then subscribed to for that
    alone. ``changed`` is called after each frame that moved the board; ``tap`` sees every frame.
    """

    def __init__(
        self,
        products: Sequence[str] = ("BTC-USD",),
        endpoints: Mapping[str, Endpoint] = LIVE,
        *,
        venues: Collection[str] | None = None,
        host: Host | None = None,
        policy: Policy | None = None,
        changed: Callable[[], None] | None = None,
        tap: Tap | None = None,
    ) -> None:
        self.board = QuoteBoard()
        self._connections = {
            venue: VenueConnection(
                venue,
                symbols,
                endpoints[venue],
                self.board,
                host=host,
                policy=policy,
                changed=changed,
                tap=tap,
            )
            for venue, symbols in _subscriptions(products, endpoints, venues).items()
        }
        self._running: list[asyncio.Task[None]] = []

    @property
    def health(self) -> dict[str, Health]:
        """The live health of each venue."""
        return {venue: c.health for venue, c in self._connections.items()}

    @property
    def offsets_ms(self) -> dict[str, int]:
        """The clock of each venue minus ours, of those that we could measure."""
        return {v: h.offset_ms for v, h in self.health.items() if h.offset_ms is not None}

    async def start(self) -> None:
        """Begin to connect; returns at once."""
        self._running = [asyncio.create_task(c.run()) for c in self._connections.values()]
        for task in self._running:
            task.add_done_callback(_report)

    async def stop(self) -> None:
        """Close every connection; raises what a connection died of, if one did."""
        for task in self._running:
            task.cancel()
        outcomes = await asyncio.gather(*self._running, return_exceptions=True)
        self._running = []
        for outcome in outcomes:
            if isinstance(outcome, Exception):
                raise outcome

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.stop()


def _subscriptions(
    products: Sequence[str], endpoints: Mapping[str, Endpoint], venues: Collection[str] | None
) -> dict[str, tuple[str, ...]]:
    """What to subscribe to at each venue that is needed."""
    unknown = [venue for venue in endpoints if venue not in ADAPTERS]
    if unknown or not endpoints:
        raise ConfigError(
            f"endpoints: no venue {', '.join(unknown) or '(empty)'}; use {', '.join(VENUES)}"
        )
    priced = tuple(endpoints) if venues is None else tuple(venues)
    lacking = [venue for venue in priced if venue not in endpoints]
    if lacking or not priced:
        raise ConfigError(
            f"venues: {', '.join(lacking) or '(empty)'} has no endpoint; choose from"
            f" {', '.join(endpoints)}"
        )
    wanted = {venue: symbols_at(venue, products, priced) for venue in endpoints}
    return {venue: symbols for venue, symbols in wanted.items() if symbols}


def _report(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and task.exception() is not None:
        log.critical("a venue's connection died of a bug", exc_info=task.exception())
