"""How each kind of fault is injected and healed: a context manager of its kind, held as long as
the fault lasts. What it is given is the ground and the event."""

import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Final, cast

from actors.chaos import kinds
from actors.chaos.child import set_clock
from actors.chaos.cluster import PROOF_S, Cluster, ClusterProofs
from actors.chaos.ground import MILLION, Ground
from actors.chaos.links import Shape
from actors.chaos.plan import Event
from actors.chaos.proofs import Proofs

FRAMES_S: Final = 60.0

Injecting = Callable[[Ground, Event], AbstractContextManager[None]]


@contextmanager
def sigkill(ground: Ground, event: Event) -> Iterator[None]:
    """Its keeper starts it again: at once, or after the fault."""
    ground.keeper.wait_up(event.victim)
    ground.keeper.hold(event.victim)
    try:
        yield
    finally:
        ground.keeper.release(event.victim)


@contextmanager
def sigstop(ground: Ground, event: Event) -> Iterator[None]:
    """The process and its signer."""
    ground.keeper.wait_up(event.victim)
    ground.keeper.signal(event.victim, signal.SIGSTOP)
    try:
        yield
    finally:
        ground.keeper.signal(event.victim, signal.SIGCONT)


@contextmanager
def disk_full(ground: Ground, event: Event) -> Iterator[None]:
    """Not a byte more is written. The process that comes after has room again."""
    ground.keeper.wait_up(event.victim)
    ground.keeper.limit(event.victim, 0)
    try:
        yield
    finally:
        ground.keeper.limit(event.victim, None)


@contextmanager
def clock_step(ground: Ground, event: Event) -> Iterator[None]:
    """The wall clock of the process alone."""
    fault = cast("kinds.ClockStep", event.fault)
    set_clock(ground.clock(event.victim), fault.step_ms)
    try:
        yield
    finally:
        set_clock(ground.clock(event.victim), 0)


@contextmanager
def partition(ground: Ground, event: Event) -> Iterator[None]:
    """Of one node from another, or from all others."""
    fault = cast("kinds.Partition", event.fault)
    shape = Shape(reset=True) if fault.reset else Shape(stalled=True)
    with _shaped(ground, event.victim, fault.peer, shape, fault.ways):
        yield


@contextmanager
def delay(ground: Ground, event: Event) -> Iterator[None]:
    """Of what it sends."""
    fault = cast("kinds.Delay", event.fault)
    shape = Shape(delay_ms=fault.delay_ms, jitter_ms=fault.jitter_ms)
    with _shaped(ground, event.victim, None, shape, "out"):
        yield


@contextmanager
def drop(ground: Ground, event: Event) -> Iterator[None]:
    """Of what it sends."""
    fault = cast("kinds.Drop", event.fault)
    if fault.cut:
        ground.links.cut(None if event.victim == kinds.ALL else event.victim)
    with _shaped(ground, event.victim, None, Shape(loss_ppm=int(fault.percent * 10_000)), "out"):
        yield


@contextmanager
def corrupt_frame(ground: Ground, event: Event) -> Iterator[None]:
    """The next frames, until they have passed; nothing heals."""
    fault = cast("kinds.CorruptFrame", event.fault)
    ways = [
        way for way in ground.links.ways if _is(event.victim, way[0]) and _is(fault.peer, way[1])
    ]
    flipped = {way: ground.links.counts(*way).get("corrupted", 0) + fault.frames for way in ways}
    for way in ways:
        ground.links.corrupt(*way, fault.frames)
    yield

    def missing() -> str | None:
        unmet = [
            f"no frame from {sender} to {receiver}"
            for (sender, receiver), wanted in flipped.items()
            if ground.links.counts(sender, receiver).get("corrupted", 0) < wanted
        ]
        return unmet[0] if unmet else None

    ground.wait(missing, FRAMES_S)


@contextmanager
def lying_oracle(ground: Ground, event: Event) -> Iterator[None]:
    """Its venues lie to it; or whoever has its keys runs in its place, from now on."""
    fault = cast("kinds.LyingOracle", event.fault)
    if fault.how == "twice":
        ground.keeper.replace(event.victim, traitor(ground, event.victim))
        yield
        return
    path = ground.bent[event.victim]
    path.factor_ppm = MILLION + int(fault.percent * 10_000)
    try:
        yield
    finally:
        path.factor_ppm = MILLION


def traitor(ground: Ground, name: str) -> tuple[str, ...]:
    """What runs in the place of an oracle whose keys are in other hands."""
    file = str(ground.folder / f"{name}.toml")
    return ("-m", "actors.chaos.traitor", file)


@contextmanager
def lying_prover(ground: Ground, event: Event) -> Iterator[None]:
    """In its place, or among the others; until somebody has met a lie."""
    proofs = ground.proofs
    before = _lies(proofs)
    proofs.lie()
    try:
        yield
        ground.wait(lambda: None if _lies(proofs) > before else "no lie was met", PROOF_S)
    finally:
        proofs.be_honest()


@contextmanager
def node_removal(ground: Ground, event: Event) -> Iterator[None]:
    """Without a word: its machine is gone."""
    with _cluster(ground).removed():
        yield


@contextmanager
def head_loss(ground: Ground, event: Event) -> Iterator[None]:
    """Its machine is gone; another comes to its address, with nothing on its disk."""
    with _cluster(ground).headless():
        yield


@contextmanager
def worker_loss(ground: Ground, event: Event) -> Iterator[None]:
    """In the middle of a proof, which then goes on elsewhere."""
    proofs = ground.proofs
    before = proofs.tally.requeued
    with _cluster(ground).without_worker():
        yield

    def missing() -> str | None:
        return None if proofs.tally.requeued > before else "no part of a proof was given to another"

    ground.wait(missing, PROOF_S)


INJECT: Final[dict[type[kinds.Fault], Injecting]] = {
    kinds.Sigkill: sigkill,
    kinds.Sigstop: sigstop,
    kinds.DiskFull: disk_full,
    kinds.ClockStep: clock_step,
    kinds.Partition: partition,
    kinds.Delay: delay,
    kinds.Drop: drop,
    kinds.CorruptFrame: corrupt_frame,
    kinds.LyingOracle: lying_oracle,
    kinds.LyingProver: lying_prover,
    kinds.NodeRemoval: node_removal,
    kinds.HeadLoss: head_loss,
    kinds.WorkerLoss: worker_loss,
}


@contextmanager
def _shaped(
    ground: Ground, victim: str, peer: str | None, shape: Shape, ways: str
) -> Iterator[None]:
    """Some of the ways from and to a node, until the end; other faults of them go on."""
    chosen = [
        (sender, receiver)
        for sender, receiver in ground.links.ways
        if (ways != "in" and _is(victim, sender) and _is(peer, receiver))
        or (ways != "out" and _is(victim, receiver) and _is(peer, sender))
    ]
    with ground.shaped(chosen, shape):
        yield


def _lies(proofs: Proofs | ClusterProofs) -> int:
    """How many were met: found, or relied on."""
    tally = proofs.tally
    return tally.caught + sum(root != proofs.expected for root in tally.roots)


def _cluster(ground: Ground) -> Cluster:
    assert ground.cluster is not None  # the plan was checked
    return ground.cluster


def _is(wanted: str | None, name: str) -> bool:
    return wanted in (None, kinds.ALL, name)
