"""What happens in one schedule: the members, and faults with their victims and times."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from random import Random
from typing import Final

DURATION_MS: Final = 14_000
FAULTS_END_MS: Final = 8_000
"""By then every fault that can heal has healed."""


class Fault(StrEnum):
    """Faults by kind; the groups below say of whom and for how long."""

    DROPS = "drops"
    DELAYS = "delays"
    DUPLICATES = "duplicates"
    SPLIT = "partition-1|2"
    ISLANDS = "partition-1|1|1"
    ONE_WAY = "partition-asymmetric"
    FLAPPING = "partition-flapping"
    CRASH = "crash"
    STOP = "stop"
    STALE_DISK = "stale-disk"
    SKEW = "clock-skew"
    STEP = "clock-step"
    NO_DATA = "no-data"
    JUMP = "price-jump"
    AGGREGATOR_CRASH = "aggregator-crash"
    AGGREGATOR_STALE = "aggregator-stale-disk"
    LIAR = "liar"
    DRIFTER = "drifter"
    EXTREMES = "extremes"
    TWO_OBSERVATIONS = "two-observations"
    TWO_REPORTS = "two-reports"
    WITHHOLDER = "withholder"
    EARLY = "early-proposer"
    FLOODER = "flooder"
    REPLAYER = "replayer"
    FORGER = "forging-aggregator"
    SILENT = "withholding-aggregator"
    BURNER = "burning-aggregator"
    DROPPER = "dropping-aggregator"
    DOUBLE = "double-aggregator"
    COLLUDER = "colluding-aggregator"


NETWORK: Final = (
    Fault.DROPS,
    Fault.DELAYS,
    Fault.DUPLICATES,
    Fault.SPLIT,
    Fault.ISLANDS,
    Fault.ONE_WAY,
    Fault.FLAPPING,
)
ORACLE: Final = (Fault.CRASH, Fault.STOP, Fault.STALE_DISK, Fault.SKEW, Fault.STEP, Fault.NO_DATA)
TRAITORS: Final = (
    Fault.LIAR,
    Fault.DRIFTER,
    Fault.EXTREMES,
    Fault.TWO_OBSERVATIONS,
    Fault.TWO_REPORTS,
    Fault.WITHHOLDER,
    Fault.EARLY,
    Fault.FLOODER,
    Fault.REPLAYER,
)
BAD_AGGREGATORS: Final = (
    Fault.FORGER,
    Fault.SILENT,
    Fault.BURNER,
    Fault.DROPPER,
    Fault.DOUBLE,
)
AGGREGATOR: Final = (Fault.AGGREGATOR_CRASH, Fault.AGGREGATOR_STALE, *BAD_AGGREGATORS)
BATCHED: Final = frozenset(
    {
        *NETWORK,
        *ORACLE,
        Fault.JUMP,
        Fault.LIAR,
        Fault.DRIFTER,
        Fault.EXTREMES,
        Fault.WITHHOLDER,
        Fault.REPLAYER,
        Fault.AGGREGATOR_CRASH,
        Fault.AGGREGATOR_STALE,
        Fault.SILENT,
        Fault.DOUBLE,
    }
)
"""Faults that are simulated with several feeds too; the others forge messages of one feed."""
BATCH_FEEDS: Final = 3
# n, faults, quorum, weight
SIZES: Final = ((3, 1, 2, 14), (3, 1, 3, 1), (4, 1, 3, 3), (5, 2, 3, 1), (7, 2, 5, 1))


@dataclass(frozen=True, slots=True)
class Event:
    """A fault from ``start_ms`` to ``end_ms`` (since the schedule's start). ``victim`` is an oracle
    where the kind is of one; ``amount`` means what the kind needs (ms, parts per million)."""

    fault: Fault
    start_ms: int
    end_ms: int
    victim: int = 0
    amount: int = 0


@dataclass(frozen=True, slots=True)
class Scenario:
    """Schedule ``number`` of ``seed``. ``traitors`` maps an oracle that lies to how; ``aggregator``
    is its fault."""

    seed: int
    number: int
    oracles: int
    faults: int
    quorum: int
    events: tuple[Event, ...]
    traitors: dict[int, Fault]
    aggregator: Fault | None
    feeds: int = 1

    @property
    def kinds(self) -> tuple[Fault, ...]:
        """Every fault in it."""
        bad = () if self.aggregator is None else (self.aggregator,)
        return (*(e.fault for e in self.events), *self.traitors.values(), *bad)

    @property
    def is_one_fault(self) -> bool:
        """At most one oracle or the aggregator is faulty and the network delivers everything: the
        price must go on all the time. (Not while an oracle shows its observation to one listener
        only: who refuses DEGRADED because of it burns the round of those who have signed.)"""
        lossy = {*NETWORK} - {Fault.DUPLICATES, Fault.SPLIT}
        return (
            self.quorum < self.oracles
            and len(self.kinds) <= 1
            and not {*self.kinds} & {*lossy, Fault.WITHHOLDER}
        )

    @property
    def is_live_after(self) -> bool:
        """The price must go on once what can heal has healed: at most one member stays faulty. (Two
        may halt it, as when one oracle is silent and the other lies beyond delta.)"""
        gone = {*self.traitors, *(e.victim for e in self.events if e.fault is Fault.STEP)}
        if Fault.WITHHOLDER in self.kinds or (Fault.JUMP in self.kinds and gone):
            return False
        return len(gone) + (self.aggregator is not None) <= min(1, self.oracles - self.quorum)


def draw(seed: int, number: int) -> Scenario:
    """Schedule ``number`` of ``seed``."""
    random = Random(f"{seed}/{number}")
    (n, faults, quorum, _), *_ = random.choices(SIZES, [size[3] for size in SIZES])
    mix = _one_fault if random.random() < 0.5 else _storm
    events, traitors, aggregator = mix(random, n, faults)
    scenario = Scenario(seed, number, n, faults, quorum, events, traitors, aggregator)
    if random.random() < 0.25 and BATCHED.issuperset(scenario.kinds):
        return replace(scenario, feeds=BATCH_FEEDS)
    return scenario


_Mix = tuple[tuple[Event, ...], dict[int, Fault], Fault | None]


def _one_fault(random: Random, n: int, _: int) -> _Mix:
    fault = random.choice(
        (*ORACLE, *TRAITORS, *AGGREGATOR, Fault.JUMP, Fault.SPLIT, Fault.DUPLICATES)
    )
    if fault in TRAITORS:
        return (), {random.randrange(n): fault}, None
    if fault in BAD_AGGREGATORS:
        return (), {}, fault
    return (_event(random, fault, n),), {}, None


def _storm(random: Random, n: int, faults: int) -> _Mix:
    traitors = {
        oracle: random.choice(TRAITORS)
        for oracle in random.sample(range(n), random.randint(0, faults))
    }
    bad = random.choice((None, None, *BAD_AGGREGATORS, Fault.COLLUDER))
    if bad is Fault.COLLUDER and not traitors:
        bad = None
    pool = (*NETWORK, *ORACLE, Fault.AGGREGATOR_CRASH, Fault.AGGREGATOR_STALE, Fault.JUMP)
    honest = [oracle for oracle in range(n) if oracle not in traitors]
    events = tuple(
        _event(random, fault, n, honest)
        for fault in random.sample(pool, random.randint(1, 4))
        if bad is None or fault not in AGGREGATOR
    )
    return events, traitors, bad


def _event(random: Random, fault: Fault, n: int, victims: Sequence[int] = ()) -> Event:
    start = random.randint(500, 5_000)
    end = random.randint(start + 500, FAULTS_END_MS)
    amounts = {
        Fault.DROPS: (20_000, 300_000),  # parts per million of the messages
        Fault.DELAYS: (50, 900),  # ms
        Fault.CRASH: (0, 30),  # crash points until it happens
        Fault.STALE_DISK: (0, 30),
        Fault.AGGREGATOR_CRASH: (0, 30),
        Fault.AGGREGATOR_STALE: (0, 30),
        Fault.SKEW: (-3_000, 3_000),  # ms
        Fault.STEP: (-60_000, 60_000),
        Fault.JUMP: (-500_000, 800_000),  # parts per million of the price
    }
    low, high = amounts.get(fault, (0, 0))
    victim = random.choice(victims or range(n))
    return Event(fault, start, end, victim, random.randint(low, high))
