"""A node of the oracle network: a pure member with its disk, its sockets and its clock.

    loop      sockets, venue frames and timers; they only put events on a queue
    thread    the member: rules, fsync, signatures. One thread, so events have one order, and a slow
              disk never stops a venue's frames

What a member wants stored is on disk before anything that it says afterwards is sent.
"""

import asyncio
import logging
import time
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, Protocol

from actors.clock import Clock
from actors.history import History
from actors.journal import Journal
from actors.logs import event
from protocol.errors import GuardError, ProtocolError, QuorumError, SignerError
from protocol.oracle.messages import Convict, Effect, GivenUp, Send, Store

EVENTS_LIMIT: Final = 10_000
"""Messages that wait for the member, at most."""
ROUNDS_KEPT: Final = 256
"""Of the newest rounds, the certificates stay in memory for those who wait for them."""

log = logging.getLogger(__name__)


class Member(Protocol):
    """``OracleMember`` or ``AggregatorMember`` of ``protocol.oracle.member``."""

    node: Any

    def poll(self, now_ms: int) -> Sequence[Effect]:
        """Time passed, or a venue frame arrived."""

    def wake_ms(self, now_ms: int) -> int:
        """When to poll again at the latest, unix ms."""

    def receive(self, sender: int, message: Any, now_ms: int) -> Sequence[Effect]:
        """A message from the oracle with this index, or from the aggregator."""


class Outlet(Protocol):
    """Where what a node says goes (``actors.transport.Transport``)."""

    def send(self, to: Sequence[int], message: Any) -> None:
        """Put a message on the way; never blocks."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A certificate that is on disk, and the real monotonic time at which it was."""

    certificate: Any
    at_ns: int

    @property
    def round(self) -> int:
        round_id: int = self.certificate.round
        return round_id


class Node:
    """Runs ``member`` until cancelled.

    ``also`` is offered every message first, on the member's thread; it returns what to do, or None
    for a message that is the member's. ``stored`` hears of every certificate on disk, in the loop.
    ``dropped`` counts messages that found no room, ``given_up`` rounds without a certificate.
    """

    def __init__(
        self,
        member: Member,
        history: History,
        evidence: Journal,
        clock: Clock,
        also: Callable[[int, Any, int], Sequence[Effect] | None],
        stored: Callable[[Stored], None],
    ) -> None:
        self.member = member
        self.dropped = 0
        self.given_up = 0
        self._history = history
        self._evidence = evidence
        self._clock = clock
        self._also = also
        self._stored = stored
        self._events: asyncio.Queue[tuple[int, Any]] = asyncio.Queue(EVENTS_LIMIT)
        self._polled_ms = 0
        self._stirred = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="member")
        self._waiting: defaultdict[int, set[asyncio.Future[Stored]]] = defaultdict(set)
        self._recent: OrderedDict[int, Stored] = OrderedDict()

    def hear(self, sender: int, message: Any) -> None:
        """A message from the network; dropped and counted if too many wait already."""
        try:
            self._events.put_nowait((sender, message))
        except asyncio.QueueFull:
            self.dropped += 1
        self._stirred.set()

    def stir(self) -> None:
        """A venue frame arrived: the member should look."""
        self._stirred.set()

    async def run(self, outlet: Outlet) -> None:
        """Drive the member. GuardError if certificates or evidence cannot be stored, or if the sign
        guard was rolled back: a node that cannot remember must not speak."""
        loop = asyncio.get_running_loop()
        while True:
            self._stirred.clear()
            for done in await loop.run_in_executor(self._thread, self._step, self._drain()):
                if isinstance(done, Send):
                    outlet.send(done.to, done.message)
                elif isinstance(done, Stored):
                    self._tell(done)
                elif isinstance(done, GivenUp):
                    self._give_up(done)
            if not self._stirred.is_set():
                await self._rest()

    async def do(self, work: Callable[[], Any]) -> Any:
        """The result of ``work``, run on the member's thread between two events."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    async def certificate(self, round_id: int, deadline_s: float) -> Stored:
        """The certificate of a round, once it is on disk. QuorumError says why there is none, if
        the round was given up or ``deadline_s`` has passed."""
        if round_id in self._recent:
            return self._recent[round_id]
        waiting: asyncio.Future[Stored] = asyncio.get_running_loop().create_future()
        self._waiting[round_id].add(waiting)
        try:
            return await asyncio.wait_for(waiting, deadline_s)
        except TimeoutError:
            raise QuorumError(f"round {round_id}: no certificate within {deadline_s:g} s") from None
        finally:
            self._forget(round_id, waiting)

    @property
    def recent(self) -> Sequence[Stored]:
        """The certificates of the last rounds, oldest first."""
        return tuple(self._recent.values())

    def close(self) -> None:
        """End the thread, after what it does now."""
        self._thread.shutdown(wait=True, cancel_futures=True)

    def _drain(self) -> list[tuple[int, Any]]:
        return [self._events.get_nowait() for _ in range(self._events.qsize())]

    async def _rest(self) -> None:
        # Asked at the time of the poll: what has become due since then is due, not forgotten.
        wake_ms = self.member.wake_ms(self._polled_ms)
        with suppress(TimeoutError):
            async with asyncio.timeout(max(wake_ms - self._clock.now_ms(), 0) / 1000):
                await self._stirred.wait()

    def _step(self, events: list[tuple[int, Any]]) -> list[Effect | Stored]:
        """On the thread: each event in its order, then the time."""
        done: list[Effect | Stored] = []
        for sender, message in events:
            now_ms = self._clock.now_ms()
            try:
                effects = self._also(sender, message, now_ms)
                if effects is None:
                    effects = self.member.receive(sender, message, now_ms)
            except SignerError as error:
                event(log, "nothing is signed", logging.WARNING, reason=str(error))
                continue
            except GuardError:
                raise  # the sign guard is not to be relied on any more
            except ProtocolError as error:
                about = {"peer": sender, "round": getattr(message, "round", None)}
                event(log, "message refused", logging.WARNING, **about, reason=str(error))
                continue
            done += map(self._keep, effects)
        self._polled_ms = self._clock.now_ms()
        try:
            done += map(self._keep, self.member.poll(self._polled_ms))
        except SignerError as error:
            event(log, "nothing is signed", logging.WARNING, reason=str(error))
        return done

    def _keep(self, effect: Effect) -> Effect | Stored:
        """Writes what must be on disk before the effects after it."""
        if isinstance(effect, Store):
            self._history.append(effect.certificate.encode())
            return Stored(effect.certificate, time.monotonic_ns())
        if isinstance(effect, Convict):
            self._evidence.append(effect.evidence.encode())
            event(log, "an oracle has signed twice", logging.ERROR, oracle=effect.oracle)
        return effect

    def _tell(self, stored: Stored) -> None:
        self._recent[stored.round] = stored
        while len(self._recent) > ROUNDS_KEPT:
            self._recent.popitem(last=False)
        self._stored(stored)
        for waiting in self._waiting.pop(stored.round, ()):
            if not waiting.done():
                waiting.set_result(stored)

    def _give_up(self, given_up: GivenUp) -> None:
        self.given_up += 1
        event(
            log, "no certificate", logging.WARNING, round=given_up.round, reason=str(given_up.why)
        )
        for waiting in self._waiting.pop(given_up.round, ()):
            if not waiting.done():
                waiting.set_exception(given_up.why)

    def _forget(self, round_id: int, waiting: asyncio.Future[Stored]) -> None:
        self._waiting[round_id].discard(waiting)
        if not self._waiting[round_id]:
            del self._waiting[round_id]
