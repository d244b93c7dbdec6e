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
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Awaitable, Coroutine, Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

from actors.clock import Clock
from actors.control import Control, Method
from actors.epochs import Installed, epochs_json, installed, load_networks
from actors.history import History
from actors.journal import Journal
from actors.logs import event, open_log
from actors.meters import Meters
from actors.metrics_server import MetricsServer
from actors.network import Network
from actors.node import Node, Stored
from actors.operator import Operator
from actors.signer_client import Signer, open_signer
from actors.transport import Transport
from actors.transport_options import Host
from actors.transport_tls import read_certificate
from actors.until_stopped import first_ended, until_stopped
from protocol.errors import ConfigError, ProtocolError
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

BACK_MS: Final = 5_000
"""A clock that was set back so far before an epoch takes its node back to the one before: so far
from each other's clocks peers do not talk."""
LOOK_S: Final = 1.0
"""Between two looks at whether a rotation was installed."""
TEND_S: Final = 0.5
"""Between two signs of life of the signer."""
CLOSE_S: Final = 0.2
"""How long the connections of an epoch that is over may take to end."""
TIMES: Final = 20_000
"""Rounds whose times are remembered, for measurements."""

log = logging.getLogger(__name__)


class Program(ABC):
    """A node of the network with everything that it owns.

    Disk, keys, venues and control socket are the process's; the member, its thread and its
    connections are of one epoch, and made anew in the round in which the next one begins.
    """

    member: Any

    def __init__(self, operator: Operator, clock: Clock, keys: Signer | None = None) -> None:
        """Opens what must be this process's alone, and a session with the signer if ``keys`` is
        none. ConfigError and GuardError name the file."""
        operator.folder.mkdir(parents=True, exist_ok=True)
        self.operator = operator
        self.clock = clock
        self.history = History.open(operator.folder / "history.sqlite")
        self.evidence, records = Journal.open(operator.folder / "evidence.journal")
        self.convicted = [Evidence.decode(record) for record in records]
        self._times: deque[list[Any]] = deque(maxlen=TIMES)
        self._shown = -1
        self._installed = Installed()
        # After the journal: of two programs on one folder the second ends before it takes the keys.
        self.keys = keys or open_signer(operator)
        self.metrics: MetricsServer
        self.meters: Meters
        self.node: Node
        self.transport: Transport

    def batches(self) -> list[BatchCertificate]:
        """The stored batches that hold the newest report of a feed."""
        heads = (self.history.head(feed.feed_id) for feed in self.operator.network.feeds)
        return [BatchCertificate.decode(c) for c in {head.certificate for head in heads if head}]

    def enter(self, operator: Operator) -> None:
        """Take this operator's place in the epoch of its network. No other epoch is running."""
        self.operator, networks = operator, operator.networks
        self.history.describe(networks.epochs.configs, networks.feeds)
        self.history.follow(networks.epochs)
        self.meters = Meters(operator.network)
        self.member = self._member()
        self.node = Node(
            self.member, self.history, self.evidence, self.clock, self._hear, self._on_stored
        )
        self.transport = Transport(
            me=operator.address,
            key=self.keys.identity(operator.publics["identity"]),
            roster=operator.roster,
            listen=(operator.listen.host, operator.listen.port),
            digest=operator.network.config.digest,
            receive=self.node.hear,
            host=Host(now_ms=self.clock.now_ms),
            limits=replace(operator.limits, close_s=CLOSE_S),
            tls=operator.tls,
        )

    async def serve(self) -> None:
        """Run until cancelled, until the disk fails, or until the operator has left the network."""
        operator = self.operator
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
            for part in (control, self.metrics):
                running.push_async_callback(part.stop)  # also if it is cancelled half way
                await part.start()
            await first_ended(self._epochs(), self._tend())

    def fault(self) -> str | None:
        """Why the price is not to be relied on, None if it is (``/healthz``)."""
        if self.keys.fault is not None:
            return self.keys.fault
        last, schedule = self.member.node.last, self.operator.network.schedule
        if last is None:
            return "no certificate yet"
        age_ms = self.clock.now_ms() - last.time
        if age_ms > STALE * schedule.schedule_ms + schedule.takeover_ms:
            return f"the newest certificate is {age_ms // 1000} s old"
        return None

    @abstractmethod
    def _member(self) -> Any:
        """The pure member of the epoch of ``operator.network``."""

    async def _run(self) -> None:
        """Drive the member; everything is open."""
        await self.node.run(self.transport)

    async def _epochs(self) -> None:
        while True:
            await self._wait_begin()
            await self._epoch()
            if not await self._move():
                return

    async def _tend(self) -> None:
        """Look after the signer; SignerError once it is lost for good."""
        told: str | None = None
        while True:
            await asyncio.to_thread(self.keys.check)
            if self.keys.fault != told:
                told = self.keys.fault
                event(log, "signer", logging.WARNING, reason=told or "it answers again")
            await asyncio.sleep(TEND_S)

    async def _epoch(self) -> None:
        """Take part in an epoch until the next one begins."""
        for certificate, after_round in self._holes():
            # The question is lost, nobody is connected yet; the member asks again.
            self.member.repair(certificate, after_round, self.clock.now_ms())
        async with AsyncExitStack() as closing:
            closing.push_async_callback(self.transport.stop)  # also if its start is cancelled
            await self.transport.start()
            ports = {"port": self.transport.port, "metrics": self.metrics.port}
            epoch = self.operator.network.config.epoch
            event(log, "serving", oracle=self.operator.address, epoch=epoch, **ports)
            running = asyncio.create_task(self._run())
            try:
                while not running.done() and (left_s := self._look_s()) > 0:
                    await asyncio.wait({running}, timeout=left_s)
            finally:
                running.cancel()
                await asyncio.wait({running})
        if not running.cancelled():
            running.result()  # what it died of, in the round of a switch too

    async def _wait_begin(self) -> None:
        """A member to be waits for the round in which it joins."""
        own = self.operator.network
        begins_ms = own.config.starts_ms(self.operator.networks.begins(own))
        if self.clock.now_ms() < begins_ms:
            event(log, "waiting to join", epoch=own.config.epoch, at_ms=begins_ms)
        while (left_ms := begins_ms - self.clock.now_ms()) > 0:
            await asyncio.sleep(min(left_ms / 1000, LOOK_S))

    def _look_s(self) -> float:
        """How long to go on without another look; 0 once the next epoch has begun, or if this one
        has not: the clock was ahead."""
        self._look_for_rotation()
        networks, network = self.operator.networks, self.operator.network
        starts_ms, now_ms = network.config.starts_ms, self.clock.now_ms()
        if now_ms < starts_ms(networks.begins(network)) - BACK_MS:
            return 0
        next_round = networks.ends(network)
        if next_round is None:
            return LOOK_S
        return min(LOOK_S, max(0, starts_ms(next_round) - now_ms) / 1000)

    def _look_for_rotation(self) -> None:
        found = installed(self.operator.networks.path)
        if found == self._installed:
            return
        self._installed = found
        try:
            networks = load_networks(self.operator.networks.path)
            networks.require_later(self.operator.networks)
        except ProtocolError as error:
            event(log, "rotation refused", logging.ERROR, reason=str(error))
            return
        self.operator = replace(self.operator, networks=networks)
        newest = networks.newest
        at = {"epoch": newest.config.epoch, "round": networks.begins(newest)}
        event(log, "rotation installed", **at, configuration=newest.config.digest.hex())
        try:
            self._require_keys(newest)
        except ProtocolError as error:
            event(log, "not ready for the rotation", logging.ERROR, **at, reason=str(error))

    def _require_keys(self, network: Network) -> None:
        """ConfigError if the signer lacks a key that this operator needs in an epoch to come."""
        address = self.operator.address_in(network)
        if address is not None:
            publics = replace(self.operator, network=network, address=address).publics
            for purpose, public in publics.items():
                self.keys.require(purpose, public)

    async def _move(self) -> bool:
        """Enter the epoch of now or, if this operator is not in its roster, the one that it joins.
        False if there is none. Nothing is read again: what was accepted while there was time
        counts."""
        old = self.operator
        now = old.networks.at(old.network.config.round_at(self.clock.now_ms()))
        for network in old.networks.since(now):
            address = old.address_in(network)
            if address is not None:
                self.node.close()  # one thread uses the disk at a time
                operator = replace(old, network=network, address=address)
                await self.keys.retry(partial(self.enter, operator))
                self.metrics.registry = self.meters.registry
                return True
        event(log, "left the network", logging.WARNING, epoch=now.config.epoch)
        return False

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
            "faults": {
                self.operator.name_of(peer): traffic.fault
                for peer, traffic in self.transport.traffic.items()
                if not traffic.connected
            },
            "round": None if last is None else last.round,
            "refused": dict(self.member.node.inbox.refused),
            "certificates": await self.node.do(lambda: len(self.history)),
            "epochs": epochs_json(self.operator.networks),
            "signer": {
                "pid": self.keys.pid,
                "fault": self.keys.fault,
                "reconnects": self.keys.reconnects,
            },
        }

    def _measure(self) -> None:
        """Bring the metrics up to date, before they are shown."""
        self.meters.node(self.node)
        self.meters.member(self.member, self.clock.now_ms())
        self.meters.peers(self.transport.traffic)
        self.meters.signer_up.set(int(self.keys.fault is None))
        self._measure_epoch()
        self.meters.tls_left.set(self._tls_left_s())

    def _measure_epoch(self) -> None:
        network, networks = self.operator.network, self.operator.networks
        first = networks.ends(network)
        if first is None:
            self.meters.next_epoch(None, ready=True)
            return
        begins_s = (network.config.starts_ms(first) - self.clock.now_ms()) / 1000
        try:
            self._require_keys(networks.newest)
        except ProtocolError:
            self.meters.next_epoch(begins_s, ready=False)
        else:
            self.meters.next_epoch(begins_s, ready=True)

    def _tls_left_s(self) -> float | None:
        """Until the TLS certificate ends; 0 if it cannot be read any more."""
        tls = self.operator.tls
        if tls is None or tls.cert is None:
            return None
        try:
            return max(read_certificate(tls.cert).expires_s - time.time(), 0)
        except ConfigError:
            return 0

    def _begin(self) -> None:
        """The end of a constructor: enter the first epoch, or close what was opened."""
        try:
            self.enter(self.operator)
        except BaseException:
            self._close_disk()
            raise

    def _close(self) -> None:
        self.node.close()
        self._close_disk()

    def _close_disk(self) -> None:
        self.keys.close()
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
