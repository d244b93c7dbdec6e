"""The plan of a chaos run (TOML), and what a seed makes of it. Pure.

    seconds, seed     how long it is, and what random victims and moments are drawn from
    [ground]          what is attacked
    [bounds]          how long certificates may take
    [[fault]]         one fault: its kind, victim, at_s, for_s, and what the kind needs
    [[random]]        so many faults of these kinds between two moments

A fault begins at its moment at the earliest (``actors.chaos.turns``). A victim or a moment that is
not given is drawn. What is drawn never weakens more oracles at once than the network bears; what is
written down may.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from random import Random
from typing import Annotated, Final, Literal

from msgspec import Meta

from actors.chaos import kinds
from actors.chaos.kinds import AGGREGATOR, ALL, CLUSTER, PROCESS, PROVER, Fault, Seconds
from actors.network import AGGREGATOR_NAME, Positive, Table, decode
from actors.network_files import NAMES
from protocol.errors import ConfigError

TAIL_S: Final = 6.0
"""At the end nothing is drawn: everybody is to be well again."""
DRAWS: Final = 2_000


class Ground(Table, frozen=True):
    """What is attacked: ``oracles`` operators and an aggregator. "processes": each of them is one;
    "cluster": the last oracle is an actor on a Ray cluster of several nodes. ``provers`` prove the
    same small program again and again."""

    kind: Literal["processes", "cluster"] = "processes"
    oracles: Annotated[int, Meta(ge=3, le=len(NAMES))] = 3
    provers: Annotated[int, Meta(ge=0, le=8)] = 0
    interval_ms: Positive = 500
    schedule_ms: Positive = 500
    takeover_ms: Positive = 400
    delta_ppm: Positive = 5_000
    delay_ms: Annotated[int, Meta(ge=0, le=1_000)] = 0
    jitter_ms: Annotated[int, Meta(ge=0, le=1_000)] = 0


class Bounds(Table, frozen=True):
    """``extra_ms`` is what a certificate may take besides schedule and take-overs, ``busy`` how
    many times that on a machine with other work."""

    extra_ms: Positive = 1_000
    busy: Annotated[int, Meta(ge=1, le=100)] = 3


class RandomFaults(Table, frozen=True):
    """``count`` faults of ``kinds`` with their default settings, from ``from_s`` on."""

    kinds: Annotated[tuple[str, ...], Meta(min_length=1)]
    count: Annotated[int, Meta(ge=1, le=10_000)] = 1
    from_s: Seconds = 0.0
    to_s: Seconds | None = None


class _File(Table, frozen=True):
    seconds: Annotated[float, Meta(gt=0, le=7 * 86_400)]
    seed: Annotated[int, Meta(ge=0, le=2**63 - 1)] = 1
    ground: Ground = Ground()
    bounds: Bounds = Bounds()
    fault: tuple[kinds.Any, ...] = ()
    random: tuple[RandomFaults, ...] = ()


@dataclass(frozen=True, slots=True)
class Event:
    """A fault that will be injected, ``number`` in the order of their moments."""

    number: int
    fault: Fault
    victim: str
    at_s: float

    @property
    def kind(self) -> str:
        """Its name in a plan."""
        return kinds.name_of(self.fault)

    @property
    def end_s(self) -> float:
        """When it heals."""
        return self.at_s + self.fault.for_s

    @property
    def is_for_good(self) -> bool:
        """Whether its victim is not trusted again afterwards."""
        return isinstance(self.fault, kinds.LyingOracle) and self.fault.how == "twice"

    @property
    def ends(self) -> bool:
        """Whether programs may end by it."""
        return self.fault.ends or self.is_for_good


@dataclass(frozen=True, slots=True)
class Plan:
    """What will happen, in order. ``oracles`` by name; ``on_cluster`` is the one that is no
    process, if there is one; ``faults`` of them may fail at once."""

    name: str
    seed: int
    seconds: float
    ground: Ground
    bounds: Bounds
    events: tuple[Event, ...]

    @property
    def oracles(self) -> tuple[str, ...]:
        """Their names."""
        return NAMES[: self.ground.oracles]

    @property
    def on_cluster(self) -> str | None:
        """The oracle that is no process."""
        return self.oracles[-1] if self.ground.kind == "cluster" else None

    @property
    def faults(self) -> int:
        """How many oracles may fail at once: f."""
        return (self.ground.oracles - 1) // 2

    def liars(self, how: str) -> frozenset[str]:
        """The oracles that are to lie in this way."""
        return frozenset(
            event.victim
            for event in self.events
            if isinstance(event.fault, kinds.LyingOracle) and event.fault.how == how
        )


def load_plan(path: Path, seed: int | None = None) -> Plan:
    """The plan in ``path``, drawn from ``seed`` or the file's. ConfigError names file, table and
    field."""
    file = decode(path, _File)
    seed = file.seed if seed is None else seed
    draft = Plan(path.stem, seed, file.seconds, file.ground, file.bounds, ())
    try:
        events = _Draw(draft, Random(seed)).events(file.fault, file.random)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
    return Plan(path.stem, seed, file.seconds, file.ground, file.bounds, events)


def weakened(
    events: Sequence[Event], oracles: Sequence[str], from_s: float, to_s: float
) -> set[str]:
    """The oracles that count as faulty at some moment between two."""
    return {
        event.victim
        for event in events
        if event.fault.weakens
        and event.victim in oracles
        and event.at_s <= to_s
        and (event.is_for_good or from_s <= event.end_s + event.fault.settle_s)
    }


class _Draw:
    """Victims and moments that are not given."""

    def __init__(self, plan: Plan, random: Random) -> None:
        self._plan = plan
        self._random = random

    def events(self, written: Sequence[Fault], drawn: Sequence[RandomFaults]) -> tuple[Event, ...]:
        made: list[Event] = []
        for number, fault in enumerate(written):
            try:
                made.append(self._placed(fault, made, 0.0, None))
            except ConfigError as error:
                where = f"[[fault]] {number} ({kinds.name_of(fault)})"
                raise ConfigError(f"{where} {error}") from None
        for number, wanted in enumerate(drawn):
            try:
                made += self._several(wanted, made)
            except ConfigError as error:
                raise ConfigError(f"[[random]] {number} {error}") from None
        self._require_few_liars(made)
        made.sort(key=lambda event: event.at_s)
        return tuple(Event(n, e.fault, e.victim, e.at_s) for n, e in zip(count(), made))

    def _several(self, wanted: RandomFaults, made: Sequence[Event]) -> Iterator[Event]:
        unknown = [name for name in wanted.kinds if name not in kinds.KINDS]
        if unknown:
            raise ConfigError(f"kinds: {unknown[0]!r}: choose from {', '.join(kinds.KINDS)}")
        so_far = [*made]
        for _ in range(wanted.count):
            fault = kinds.KINDS[self._random.choice(wanted.kinds)]()
            so_far.append(self._placed(fault, so_far, wanted.from_s, wanted.to_s))
            yield so_far[-1]

    def _placed(
        self, fault: Fault, made: Sequence[Event], from_s: float, to_s: float | None
    ) -> Event:
        candidates = self._candidates(fault)
        if fault.victim is not None and fault.at_s is not None:
            return self._checked(Event(0, fault, fault.victim, fault.at_s))
        last_s = (self._plan.seconds if to_s is None else to_s) - fault.for_s - TAIL_S
        if fault.at_s is None and last_s < from_s:
            raise ConfigError(f"at_s: {self._plan.seconds:g} seconds leave no time for it")
        for _ in range(DRAWS):
            victim = fault.victim or self._random.choice(candidates)
            at_s = fault.at_s
            if at_s is None:
                at_s = round(self._random.uniform(from_s, last_s), 2)
            event = self._checked(Event(0, fault, victim, at_s))
            if fault.at_s is not None or self._is_bearable(event, made):
                return event
        raise ConfigError(
            f"at_s: no moment is left at which at most {self._plan.faults} oracles are faulty; plan"
            " fewer faults or more seconds"
        )

    def _is_bearable(self, event: Event, made: Sequence[Event]) -> bool:
        together = weakened(
            [*made, event], self._plan.oracles, event.at_s, event.end_s + event.fault.settle_s
        )
        return len(together) <= self._plan.faults

    def _checked(self, event: Event) -> Event:
        candidates = self._candidates(event.fault)
        if event.victim not in candidates:
            raise ConfigError(f"victim: {event.victim!r}: choose from {', '.join(candidates)}")
        if event.end_s > self._plan.seconds:
            raise ConfigError(
                f"at_s, for_s: it ends after {event.end_s:g} s, the plan after"
                f" {self._plan.seconds:g}"
            )
        peer = getattr(event.fault, "peer", None)
        peers = [n for n in (*self._plan.oracles, AGGREGATOR_NAME) if n != event.victim]
        if peer is not None and peer not in peers:
            raise ConfigError(f"peer: {peer!r}: choose from {', '.join(peers)}")
        return event

    def _candidates(self, fault: Fault) -> tuple[str, ...]:
        plan = self._plan
        if isinstance(fault, kinds.ON_CLUSTER) and plan.on_cluster is None:
            raise ConfigError('kind: needs [ground] kind = "cluster"')
        if PROVER in fault.of and plan.ground.provers == 0:
            raise ConfigError("kind: needs [ground] provers")
        on_cluster = (plan.on_cluster,) if plan.on_cluster else ()
        offered = {
            ALL: (ALL,),
            PROCESS: tuple(name for name in plan.oracles if name not in on_cluster),
            CLUSTER: on_cluster,
            AGGREGATOR: (AGGREGATOR_NAME,),
            PROVER: (PROVER,),
        }
        return tuple(name for group in fault.of for name in offered[group])

    def _require_few_liars(self, made: Sequence[Event]) -> None:
        liars = {e.victim for e in made if isinstance(e.fault, kinds.LyingOracle)}
        if len(liars) > self._plan.faults:
            raise ConfigError(
                f"[[fault]] lying-oracle: {' and '.join(sorted(liars))} lie: more than"
                f" {self._plan.faults} of {len(self._plan.oracles)} can make any price"
            )
