"""What an oracle and the aggregator share as programs: folder, identity, history, sockets, control.

A program runs as a plain process (``run``) or on a thread of a Ray actor (``Running``); it is the
same program, talking the same frames.
"""

import asyncio
import gc
import logging
import os
import sys
import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Awaitable, Coroutine, Iterator, Sequence
from contextlib import AsyncExitStack
from itertools import islice
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

from actors.clock import Clock
from actors.control import Control, Method
from actors.history import History
from actors.journal import Journal
from actors.keyfile import load_keys
from actors.logs import event, open_log
from actors.meters import Meters
from actors.metrics_server import MetricsServer
from actors.node import Node, Stored
from actors.operator import Operator
from actors.transport import Transport
from actors.transport_options import Host
from actors.until_stopped import until_stopped
from protocol.errors import ProtocolError
from protocol.oracle.batch_certificate import BatchCertificate
from protocol.oracle.evidence import Evidence
from protocol.oracle.layout import ZERO32
from protocol.oracle.messages import Effect

T = TypeVar("T")

NEWEST: Final = 256
"""Certificates at the end of the history in which holes are looked for."""
SWITCH_S: Final = 0.0005
"""How long one thread may keep the other waiting for the interpreter; Python's default is 5 ms."""
STALE: Final = 3
"""Times of the schedule without a certificate after which the process is not healthy."""

TIMES: Final = 20_000
"""Rounds whose times are remembered, for measurements."""

log = logging.getLogger(__name__)


class Program(ABC):
    """A node of the network with everything that it owns. Subclasses set ``member``."""

    member: Any

    def __init__(self, operator: Operator, clock: Clock) -> None:
        """Opens what must be this process's alone. ConfigError and GuardError name the file."""
        operator.folder.mkdir(parents=True, exist_ok=True)
        self.operator = operator
        self.clock = clock
        self.keys = load_keys(operator.keys, operator.publics)
        self.history = History.open(
            operator.folder / "history.sqlite",
            operator.network.config,
            feeds=operator.network.feeds,
        )
        self.evidence, records = Journal.open(operator.folder / "evidence.journal")
        self.convicted = [Evidence.decode(record) for record in records]
        self.meters = Meters(operator.network)
        self._times: deque[list[Any]] = deque(maxlen=TIMES)
        self._shown = -1
        self.metrics: MetricsServer
        self.node: Node
        self.transport: Transport

    def batches(self) -> list[BatchCertificate]:
        """The stored batches that hold the newest report of a feed."""
        heads = (self.history.head(feed.feed_id) for feed in self.operator.network.feeds)
        return [BatchCertificate.decode(c) for c in {head.certificate for head in heads if head}]

    async def serve(self) -> None:
        """Run until cancelled, or until the disk fails."""
        self.node = Node(
            self.member, self.history, self.evidence, self.clock, self._hear, self._on_stored
        )
        for certificate, after_round in self._holes():
            # The question is lost, nobody is connected yet; the member asks again.
            self.member.repair(certificate, after_round, self.clock.now_ms())
        operator = self.operator
        self.transport = Transport(
            me=operator.address,
            key=self.keys["identity"],
            roster=operator.network.peers,
            listen=(operator.listen.host, operator.listen.port),
            digest=operator.network.config.digest,
            receive=self.node.hear,
            host=Host(now_ms=self.clock.now_ms),
            limits=operator.limits,
            tls=operator.tls,
        )
        control = Control(operator.folder / "control.sock", self._methods())
        self.metrics = MetricsServer(
            self.meters.registry,
            operator.metrics.host,
            operator.metrics.port,
            refresh=self._measure,
            fault=self.fault,
        )
        async with AsyncExitStack() as running:
            running.callback(self._close)
            for part in (self.transport, control, self.metrics):
                await part.start()
                running.push_async_callback(part.stop)
            ports = {"port": self.transport.port, "metrics": self.metrics.port}
            event(log, "serving", oracle=operator.address, **ports)
            await self._run()

    def fault(self) -> str | None:
        """Why the price is not to be relied on, None if it is (``/healthz``)."""
        last, schedule = self.member.node.last, self.operator.network.schedule
        if last is None:
            return "no certificate yet"
        age_ms = self.clock.now_ms() - last.time
        if age_ms > STALE * schedule.schedule_ms + schedule.takeover_ms:
            return f"the newest certificate is {age_ms // 1000} s old"
        return None

    async def _run(self) -> None:
        """Drive the member; everything is open."""
        await self.node.run(self.transport)

    def _holes(self) -> Iterator[tuple[Any, int]]:
        """Certificates that link to one that is not stored, and the round of the newest before
        them (-1: none), oldest first: a crash while missed certificates were fetched leaves such a
        hole."""
        newest = [*islice(self.history.newest_first(), NEWEST)]
        known = {ZERO32, *(certificate.hash for certificate in newest)}
        before = [certificate.round for certificate in newest[1:]]
        if len(newest) < NEWEST:
            before.append(-1)
        for certificate, round_before in reversed([*zip(newest, before, strict=False)]):
            if certificate.previous_hash not in known:
                yield certificate, round_before

    def _hear(self, sender: int, message: Any, now_ms: int) -> Sequence[Effect] | None:
        if isinstance(message, self.member.node.observation) and message.oracle == sender:
            self.meters.heard(message, now_ms)
        return self._also(sender, message, now_ms)

    @abstractmethod
    def _also(self, sender: int, message: Any, now_ms: int) -> Sequence[Effect] | None:
        """What to do about a message that is not the member's, on its thread; None if it is."""

    @abstractmethod
    def _stored(self, stored: Stored) -> None:
        """A certificate is on disk."""

    def _on_stored(self, stored: Stored) -> None:
        if stored.round >= self._shown:  # one that was missed is no news
            self._shown = stored.round
            self.transport.publish(stored.certificate)
        self.meters.certificate(stored.certificate)
        grade, signers = max(stored.certificate.grades).name, str(stored.certificate.signers)
        self._times.append([stored.round, grade, stored.at_ns])
        event(log, "certified", round=stored.round, grade=grade, signers=signers)
        self._stored(stored)

    def _methods(self) -> dict[str, Method]:
        """What the operator may ask over the control socket."""
        return {"status": self.status, "certificates": self._recent_certificates}

    async def _recent_certificates(self) -> list[list[Any]]:
        """Round, worst grade, and when it was on disk (real monotonic ns)."""
        return list(self._times)

    async def status(self) -> dict[str, Any]:
        """Where this node stands, as plain values."""
        last = self.member.node.last
        return {
            "name": self.operator.name,
            "pid": os.getpid(),
            "metrics": self.metrics.port,
            "connected": sorted(self.transport.connected),
            "round": None if last is None else last.round,
            "refused": dict(self.member.node.inbox.refused),
            "certificates": await self.node.do(lambda: len(self.history)),
        }

    def _measure(self) -> None:
        """Bring the metrics up to date, before they are shown."""
        self.meters.node(self.node)
        self.meters.member(self.member, self.clock.now_ms())
        self.meters.peers(self.transport.traffic)

    def _close(self) -> None:
        self.node.close()
        self.history.close()
        self.evidence.close()


async def run(program: Program) -> None:
    """Serve until SIGINT or SIGTERM; the process is the program's alone."""
    _tune()
    await until_stopped(program.serve())


class Serving(Protocol):
    """A program: it serves until it is cancelled, or cannot go on."""

    def serve(self) -> Coroutine[Any, Any, None]: ...


class Running:
    """A program on a thread of its own, for an actor: Ray's loop serves calls, not the network.

    If the program ends, so does the process: the actor's supervisor starts it again. Its log is
    ``node.log`` in ``folder``, from ``level`` up.
    """

    def __init__(self, program: Serving, folder: Path, level: str) -> None:
        _tune()
        open_log(folder / "node.log", getattr(logging, level.upper()))
        self._loop = asyncio.new_event_loop()
        self._serving = self._loop.create_task(program.serve())  # before anything that is asked
        threading.Thread(target=self._run, name="program", daemon=True).start()

    async def ask(self, work: Awaitable[T]) -> T:
        """The result of ``work``, run in the program's loop."""

        async def done() -> T:
            return await work

        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(done(), self._loop))

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._serving)
        except (ProtocolError, OSError) as error:
            event(log, "the node stops", logging.CRITICAL, reason=str(error))
        except Exception:  # the outermost loop of an actor: whatever it is, the log has to say it
            log.critical("the node stops", exc_info=True)
        finally:
            os._exit(1)


def _tune() -> None:
    """What a program needs of its process, once it is made."""
    sys.setswitchinterval(SWITCH_S)
    gc.collect()
    gc.freeze()  # imports and tables are for ever: no full collection in a round
