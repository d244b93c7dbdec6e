"""The edge of a feed: one WebSocket client loop per venue over a pure adapter, all on one board."""

import asyncio
import logging
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Self

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from actors.feeds.adapter import Adapter
from actors.feeds.backoff import Backoff
from actors.feeds.board import Arrival, QuoteBoard
from actors.feeds.endpoints import LIVE, Endpoint
from actors.feeds.events import Action, Control, Error, Event, Heartbeat, Quote, Reason, Reject
from actors.feeds.products import ADAPTERS, VENUES, symbols_at
from actors.feeds.strict_json import MAX_BYTES
from protocol.errors import ConfigError

OPEN_TIMEOUT_S: Final = 5.0
CLOSE_TIMEOUT_S: Final = 1.0
KEEPALIVE_S: Final = 20.0
PING_EVERY_S: Final = 15.0
NS_PER_S: Final = 10**9
USER_AGENT: Final = "oracle-vm"

log = logging.getLogger(__name__)

_LEAVE: Final = {Action.RECONNECT, Action.RESUBSCRIBE, Action.STALLED, Action.TOO_SLOW}
_ACKS: Final = {Action.ACK, Action.TREAT_AS_ACK}


def unix_ms() -> int:
    """The host's clock."""
    return time.time_ns() // 10**6


@dataclass(frozen=True, slots=True)
class Host:
    """Clock, entropy and sleep of a connection. ``now_ms`` may be virtual, the rest is real."""

    now_ms: Callable[[], int] = unix_ms
    monotonic_ns: Callable[[], int] = time.monotonic_ns
    uniform: Callable[[float, float], float] = random.uniform
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep


@dataclass(slots=True)
class Health:
    """What one connection did so far; ``fault`` is why it is, or was last, not connected."""

    venue: str
    connected: bool = False
    subscribed: bool = False
    connects: int = 0
    frames: int = 0
    last_frame_ms: int | None = None
    fault: str | None = None
    events: Counter[str] = field(default_factory=Counter)
    rejects: Counter[str] = field(default_factory=Counter)


class _Connect(connect):
    """A venue that redirects is not the venue: the redirect is an error."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


class VenueConnection:
    """Keeps one subscription to one venue alive; what it hears goes to ``board``.

    ``data_deadline_s`` (default: the venue's) is the longest silence, counted in well-formed
    frames, before the connection is given up for a new one.
    """

    def __init__(
        self,
        venue: str,
        symbols: Sequence[str],
        endpoint: Endpoint,
        board: QuoteBoard,
        *,
        host: Host | None = None,
        data_deadline_s: float | None = None,
    ) -> None:
        self._adapter: Adapter = ADAPTERS[venue](symbols)
        self._endpoint = endpoint
        self._board = board
        self._host = host or Host()
        self._deadline_s = data_deadline_s or self._adapter.data_deadline_s
        self._backoff = Backoff(self._host.uniform)
        self._healthy_since_s: float | None = None
        self.health = Health(venue)

    async def run(self) -> None:
        """Connect, listen, reconnect, until cancelled."""
        while True:
            await self._host.sleep(self._backoff.delay_s(self._now_s()))
            self._healthy_since_s = None
            try:
                fault = await self._session()
            except (OSError, WebSocketException) as error:
                fault = str(error) or type(error).__name__
            finally:
                self.health.connected = self.health.subscribed = False
            since = self._healthy_since_s
            self._backoff.ended(0.0 if since is None else self._now_s() - since)
            self.health.fault = fault
            log.info("%s: %s; connecting again", self.health.venue, fault)

    async def _session(self) -> str:
        """One connection from open to end; returns why it ended."""
        self._adapter = self._adapter.renewed()
        async with _Connect(
            self._endpoint.websocket_url,
            max_size=MAX_BYTES,
            compression=None,
            open_timeout=OPEN_TIMEOUT_S,
            close_timeout=CLOSE_TIMEOUT_S,
            ping_interval=KEEPALIVE_S,
            ping_timeout=KEEPALIVE_S,
            user_agent_header=USER_AGENT,
            proxy=None if self._endpoint.on_loopback else True,
        ) as socket:
            self.health.connected = True
            self.health.connects += 1
            for message in self._adapter.subscriptions():
                await socket.send(message)
            return await self._listen(socket)

    async def _listen(self, socket: ClientConnection) -> str:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._deadline_s
        next_ping = loop.time()
        while True:
            try:
                async with asyncio.timeout_at(deadline):
                    frame = await socket.recv(decode=False)
            except TimeoutError:
                what = "no data" if self.health.subscribed else "no subscription"
                return f"{what} for {self._deadline_s:g} s"
            events = self._take(frame)
            for event in events:
                if isinstance(event, Control | Error | Heartbeat) and event.action in _LEAVE:
                    return f"the venue asks to {event.action}"
            # Until the subscription is confirmed the first deadline stands, whatever else is sent.
            if self.health.subscribed and any(map(_well_formed, events)):
                deadline = loop.time() + self._deadline_s
            if loop.time() >= next_ping:
                next_ping = loop.time() + PING_EVERY_S
                ping = self._adapter.ping(self._host.now_ms())
                if ping:
                    await socket.send(ping)

    def _take(self, frame: bytes) -> list[Event]:
        """Parse one frame, count it, and put what it says on the board."""
        arrival = Arrival(frame, self._host.now_ms(), self._host.monotonic_ns())
        events = self._adapter.parse(frame, arrival.now_ms)
        self._board.apply(self.health.venue, events, arrival)
        health = self.health
        health.frames += 1
        health.last_frame_ms = arrival.now_ms
        for event in events:
            health.events[event.kind] += 1
            if isinstance(event, Reject):
                health.rejects[event.reason] += 1
            elif isinstance(event, Error):
                health.fault = event.message
            if isinstance(event, Quote):
                health.subscribed = True
                if self._healthy_since_s is None:
                    self._healthy_since_s = self._now_s()
            elif isinstance(event, Control | Error) and event.action in _ACKS:
                health.subscribed = True
        return events

    def _now_s(self) -> float:
        return self._host.monotonic_ns() / NS_PER_S


def _well_formed(event: Event) -> bool:
    return not isinstance(event, Reject) or event.reason not in (Reason.FRAME, Reason.FIELD)


class Feeds:
    """All venues of one oracle on one board. ``async with Feeds(...) as feeds: feeds.board``."""

    def __init__(
        self,
        products: Sequence[str] = ("BTC-USD",),
        endpoints: Mapping[str, Endpoint] = LIVE,
        *,
        host: Host | None = None,
        data_deadline_s: float | None = None,
    ) -> None:
        unknown = [venue for venue in endpoints if venue not in ADAPTERS]
        if unknown or not endpoints:
            raise ConfigError(
                f"endpoints: no venue {', '.join(unknown) or '(empty)'}; use {', '.join(VENUES)}"
            )
        self.board = QuoteBoard()
        self._connections = {
            venue: VenueConnection(
                venue,
                symbols_at(venue, products),
                endpoint,
                self.board,
                host=host,
                data_deadline_s=data_deadline_s,
            )
            for venue, endpoint in endpoints.items()
        }
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def health(self) -> dict[str, Health]:
        """The live health of each venue's connection."""
        return {venue: c.health for venue, c in self._connections.items()}

    async def start(self) -> None:
        """Begin to connect; returns at once."""
        self._tasks = [asyncio.create_task(c.run()) for c in self._connections.values()]

    async def stop(self) -> None:
        """Close every connection; raises what a connection died of, if one did."""
        for task in self._tasks:
            task.cancel()
        outcomes = await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
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
