"""The supervisor of an operator's Ray cluster: joins it, starts the actors of its roles, asks each
of them every second, ends one that hangs and starts again what ended.

It may be killed at any moment: the actors live on, and the next supervisor finds them by name.
When the head is lost, actors on other machines go on for Ray's minute, and this process begins
anew and waits for a head, for a process joins one cluster.
"""

import asyncio
import logging
import os
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeVar

from actors import placement
from actors.cluster_actors import (
    ClusterAggregator,
    ClusterCoordinator,
    ClusterOracle,
    ClusterProver,
)
from actors.cluster_config import ClusterConfig
from actors.cluster_meters import ClusterMeters
from actors.cluster_state import ActorState, ClusterState, RoleState
from actors.files import open_locked
from actors.logs import event
from actors.metrics_server import MetricsServer
from actors.outcomes import Answered, Lost, NameTaken, Refused, ask
from actors.placement import AGGREGATOR, COORDINATOR, ORACLE, PROVER, Kind
from actors.restarts import Restarts
from actors.runtime import Look, answers, joined_cluster, look
from actors.supervision import Phase, State, Watched, role_state, worst
from actors.until_stopped import until_stopped
from protocol.errors import ConfigError
from protocol.settlement.terms import settlement_template

KNOCK_S: Final = 0.5
"""Between two looks whether there is a head: less than a new one takes to start."""
LOST_S: Final = 45.0
"""With a head that is silent; Ray ends this process after 60 s."""
FOR_EVER_S: Final = 1e6
"""Silence is counted, not timed."""
STAND_IN: Final = frozenset({ORACLE, AGGREGATOR, PROVER})
"""Kinds whose work others do while they are out: the quorum of the other oracles, oracles without
an aggregator, parties that prove themselves."""
CLASSES: Final[Mapping[Kind, type]] = {
    ORACLE: ClusterOracle,
    AGGREGATOR: ClusterAggregator,
    COORDINATOR: ClusterCoordinator,
    PROVER: ClusterProver,
}

log = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(slots=True)
class Kept:
    """An actor that is to run, and what is known of it. ``host`` is where it ran last."""

    kind: Kind
    name: str
    arguments: tuple[Any, ...]
    watched: Watched
    host: str = ""
    pid: int | None = None
    handle: Any = None

    @property
    def full_name(self) -> str:
        """Its name in the cluster."""
        return self.kind.full_name(self.name)

    @property
    def state(self) -> ActorState:
        """As it is shown."""
        watched = self.watched
        return ActorState(
            phase=watched.phase,
            pid=self.pid,
            host=self.host,
            restarts=watched.restarts.total,
            misses=watched.misses,
            reason=watched.reason,
            ended_s=watched.restarts.at_s,
        )


class Supervisor:
    """Of the actors in ``config``; this process has its lock and has joined the cluster."""

    def __init__(self, config: ClusterConfig) -> None:
        self.config = config
        before = ClusterState.read(config.state)
        self.actors = _actors(config, before)
        self.meters = ClusterMeters(
            {
                kind.prefix: [a.full_name for a in self.actors if a.kind is kind]
                for kind in self.kinds
            }
        )
        self.metrics = MetricsServer(
            self.meters.registry, config.metrics.host, config.metrics.port, fault=self.fault
        )
        self._patience_s = config.patience.beat_s * config.patience.misses
        self._threads = ThreadPoolExecutor(len(self.actors) + 2, thread_name_prefix="head")
        self._lost = ""
        self._look = Look("", {})
        self._shown: ClusterState | None = None

    @property
    def kinds(self) -> list[Kind]:
        """Of its actors."""
        return list(dict.fromkeys(actor.kind for actor in self.actors))

    def fault(self) -> str | None:
        """Why this operator cannot do its work, None if it can (``/healthz``)."""
        state = self.state
        if self._lost or state.state not in (State.HALTED, State.FAILED):
            return self._lost or None
        return next(role.reason for role in state.roles.values() if role.state is state.state)

    @property
    def state(self) -> ClusterState:
        """Where everything stands."""
        roles = {kind.prefix: self._role(kind) for kind in self.kinds}
        return ClusterState(
            state=worst([role.state for role in roles.values()]),
            fault=self._lost,
            pid=os.getpid(),
            metrics=self.metrics.port,
            written_ms=time.time_ns() // 1_000_000,
            roles=roles,
        )

    def say(self, lost: str | None = None) -> None:
        """Tell those who ask, if anything has changed; ``lost`` is why there is no cluster."""
        if lost is not None:
            self._lost = lost
        state = self.state
        if self._shown is not None:
            state.written_ms = self._shown.written_ms
            if state == self._shown:
                return
            state.written_ms = time.time_ns() // 1_000_000
        self._shown = state
        self.meters.show(state)
        try:
            state.write(self.config.state)
        except OSError as error:  # a full disk must not leave the actors alone
            event(log, "state not written", logging.ERROR, reason=str(error))

    def wait(self, lost: str) -> None:
        """There is no cluster to join yet, and this is why."""
        for actor in self.actors:
            actor.watched = actor.watched.waiting(lost)
        self.say(lost)

    async def run(self) -> None:
        """Keep every actor running until cancelled; they live on."""
        self._look = await self._aside(look)
        event(log, "joined", address=self.config.address)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._watch_cluster())
            for actor in self.actors:
                tasks.create_task(self._keep(actor))

    def end(self) -> None:
        """End every actor; without a head they end by themselves, and this process at once."""
        if self._lost:
            event(log, "ended without a head", logging.WARNING)
            os._exit(0)
        self._threads.shutdown()  # one of them may be about to start an actor
        for actor in self.actors:
            # This process may have been told to end before it has found what one before started.
            handle = actor.handle or placement.found(actor.kind, actor.name)
            if handle is not None:
                placement.stop(handle)
                actor.watched, actor.pid = Watched(reason="stopped"), None
        self.say()
        event(log, "ended", actors=len(self.actors))

    def _role(self, kind: Kind) -> RoleState:
        own = [actor for actor in self.actors if actor.kind is kind]
        state, reason = role_state([actor.watched for actor in own], kind in STAND_IN)
        return RoleState(state, reason, {actor.full_name: actor.state for actor in own})

    # One actor

    async def _keep(self, actor: Kept) -> None:
        while True:
            if actor.handle is None and not self._lost:
                await self._obtain(actor)
            if actor.handle is not None:
                reason = await self._attend(actor)
                await self._aside(partial(placement.stop, actor.handle))
                self._ended(actor, reason)
            self.say()
            await asyncio.sleep(self.config.patience.beat_s)

    async def _obtain(self, actor: Kept) -> None:
        """Find the actor if it lives, or else start it if it is due and a node offers its role."""
        kind = actor.kind
        actor.handle = await self._aside(partial(placement.found, kind, actor.name))
        if actor.handle is not None:
            event(log, "found", actor=actor.full_name)
            actor.watched = actor.watched.found(time.monotonic())
        elif not actor.watched.is_due(time.monotonic()):
            return
        elif (reason := self._no_room(kind)) is not None:
            actor.watched = actor.watched.waiting(reason)
        else:
            event(log, "starting", actor=actor.full_name)
            actor.watched = actor.watched.started(time.monotonic())  # it takes room from now on
            arguments = actor.arguments if kind is PROVER else (*actor.arguments, actor.host)
            new = partial(placement.start, kind, actor.name, CLASSES[kind], *arguments)
            try:
                actor.handle = await self._aside(partial(new, supervised=True))
            except NameTaken:  # a supervisor before this one started it, and it is found next time
                actor.watched = actor.watched.waiting("it is there already")
        self.say()

    def _no_room(self, kind: Kind) -> str | None:
        """Why an actor of a kind cannot be placed: Ray would let it wait for ever."""
        offered = self._look.offers.get(kind.prefix, 0)
        if not offered:
            return f"no node offers {kind.prefix}"
        placed = (Phase.STARTING, Phase.RUNNING)
        taken = sum(a.kind is kind and a.watched.phase in placed for a in self.actors)
        return None if taken < offered else f"every {kind.prefix} that nodes offer is taken"

    async def _attend(self, actor: Kept) -> str:
        """Ask an actor again and again, until it has ended or hangs; says which."""
        patience = self.config.patience
        while True:
            call = asyncio.ensure_future(ask(placement.ask_beside(actor.handle.beat), FOR_EVER_S))
            try:
                while not (await asyncio.wait({call}, timeout=patience.beat_s))[0]:
                    actor.watched = actor.watched.silent()
                    self.say()
                    if actor.watched.is_hung(time.monotonic(), patience):
                        return f"no answer for {patience.beat_s * actor.watched.misses:g} s"
                    if actor.watched.phase is Phase.STARTING and self._is_stranded(actor.kind):
                        return f"no node offers {actor.kind.prefix} any more"
            finally:
                call.cancel()
            match call.result():
                case Answered(beat):
                    self._answered(actor, beat.pid, beat.host)
                case Refused() as refused:
                    return refused.reason
                case Lost(reason, is_dead):
                    actor.watched = actor.watched.silent()
                    if is_dead or actor.watched.is_hung(time.monotonic(), patience):
                        return reason
            self.say()
            await asyncio.sleep(patience.beat_s)

    def _is_stranded(self, kind: Kind) -> bool:
        return not self._lost and not self._look.offers.get(kind.prefix, 0)

    def _answered(self, actor: Kept, pid: int, host: str) -> None:
        if actor.watched.phase is not Phase.RUNNING:
            event(log, "running", actor=actor.full_name, process=pid, host=host)
        actor.watched, actor.pid = actor.watched.answered(time.monotonic()), pid
        actor.host = host

    def _ended(self, actor: Kept, reason: str) -> None:
        actor.handle = actor.pid = None
        actor.watched = actor.watched.ended(time.monotonic(), reason)
        state = actor.watched.phase
        event(log, "ended", logging.ERROR, actor=actor.full_name, reason=reason, state=state)

    # The cluster

    async def _watch_cluster(self) -> None:
        """Look at the nodes, for as long as there is a head. Ray ends a process whose question
        reaches another head than the one it joined: so the head's port is tried first, and as soon
        as it is closed, before there can be another head, this process begins anew."""
        beat_s, patience_s = self.config.patience.beat_s, self._patience_s
        head, lost_s, looking = self._look.head, None, None
        while True:
            is_open = await self._aside(partial(answers, self.config.address))
            if is_open:
                looking = looking or asyncio.ensure_future(self._aside(look))
                await asyncio.wait({looking}, timeout=patience_s)
            if is_open and looking and looking.done():
                self._look, looking, lost_s = await looking, None, None
                if self._look.head != head:
                    self._begin_anew("another head")
                self.say(lost="")
            else:
                lost_s = lost_s or time.monotonic()
                self.say(lost=f"{self.config.address}: the head does not answer")
                if is_open is False:
                    self._begin_anew("the head is gone")
                if time.monotonic() - lost_s > (LOST_S if is_open else patience_s):
                    self._begin_anew("the head is lost")
            await asyncio.sleep(min(beat_s, KNOCK_S))

    def _begin_anew(self, why: str) -> None:
        """This process, without what Ray remembers of a cluster that is gone."""
        event(log, "beginning anew", logging.WARNING, reason=why)
        command = ["-m", "actors.cli", "cluster", "run", str(self.config.path)]
        os.execv(sys.executable, [sys.executable, *command])

    def _aside(self, call: Callable[[], T]) -> Awaitable[T]:
        """A call that needs the head and blocks while that is gone, on a thread: the deadline of
        all of them is the loss of the head, after which this process begins anew."""
        return asyncio.get_running_loop().run_in_executor(self._threads, call)


def _actors(config: ClusterConfig, before: ClusterState | None) -> list[Kept]:
    """What is to run, with what an earlier supervisor knew of it."""
    roles, now_s = {} if before is None else before.roles, time.monotonic()
    known = {name: one for role in roles.values() for name, one in role.actors.items()}
    wanted: list[tuple[Kind, str, tuple[Any, ...]]] = [
        (kind, "0", (config.files[kind.prefix],)) for kind in CLASSES if kind.prefix in config.files
    ]
    image = settlement_template() if config.provers else None
    wanted += [(PROVER, str(number), (image,)) for number in range(config.provers)]
    found = []
    for kind, name, arguments in wanted:
        own = known.get(kind.full_name(name), ActorState())
        ended_s = tuple(at_s for at_s in own.ended_s if at_s <= now_s)  # of this boot, that is
        restarts = Restarts(own.restarts, ended_s)
        watched = Watched(has_run=own.phase is Phase.RUNNING, restarts=restarts)
        found.append(Kept(kind, name, arguments, watched, own.host))
    return found


async def supervise(config: ClusterConfig) -> None:
    """Supervise until SIGINT or SIGTERM, which ends the actors too. GuardError if another process
    does, ConfigError if the cluster does not let us in; a head that is not there is waited for."""
    try:
        config.folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"[cluster] folder: {config.folder}: {error.strerror}") from None
    lock = open_locked(config.lock)
    try:
        supervisor = Supervisor(config)
        async with supervisor.metrics:
            await until_stopped(_supervise(supervisor))
    finally:
        os.close(lock)


async def _supervise(supervisor: Supervisor) -> None:
    config = supervisor.config
    while not answers(config.address):
        supervisor.wait(f"{config.address}: no Ray head listens there")
        await asyncio.sleep(config.patience.beat_s)
    with joined_cluster(config.address, config.token, config.patience.start_s):
        supervisor.say(lost="")
        await until_stopped(supervisor.run())  # again: Ray has taken the signals for itself
        supervisor.end()
