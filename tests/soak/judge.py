"""What a soak must show, from its samples and its contracts. Pure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from tests.soak.diary import Day
from tests.soak.gauges import Sample
from tests.soak.trend import Line, Verdict

WARM: Final = 0.5
"""Of the run is warm-up: the expiry of listed options, at a third of it, is over, and the caches of
scripts are full, which hold those of the last 16 contracts."""

SHORTEST_H: Final = 6.0
"""A run shorter than this says nothing about growth."""


@dataclass(frozen=True, slots=True)
class Bound:
    """A quantity of a sample and how much of it may come an hour."""

    name: str
    unit: str
    of: Callable[[Sample], float]
    per_hour: float


COUNT: Final = 0.33
"""Of descriptors, tasks and threads an hour. Each contract goes through phases that take some more
or less, so that no line is exact; if each left one behind, it were four times this: one is ordered
every 45 minutes."""
BOUNDS: Final = (
    # Kept in memory by design: the last 1,024 certificates of the market, the times of 20,000
    # rounds of each node, the contracts that are over, the index of the node's blocks.
    Bound("memory", "MB", lambda s: s.rss_kb / 1024, 2.0),
    Bound("Python objects", "", lambda s: float(s.objects), 2_000.0),
    Bound("descriptors", "", lambda s: float(s.fds), COUNT),
    Bound("tasks", "", lambda s: float(s.tasks), COUNT),
    Bound("threads", "", lambda s: float(s.threads), COUNT),
)


def verdicts(samples: Sequence[Sample], hours: float) -> list[Verdict]:
    """One for each bound, over the samples after the warm-up of a run of so many hours; none of a
    run that is too short. ValueError if the samples are too few."""
    if hours < SHORTEST_H:
        return []
    kept = [sample for sample in samples if WARM * hours <= sample.hour <= hours]
    times, alive = [sample.hour for sample in kept], [sample.alive for sample in kept]
    return [
        Verdict(
            bound.name,
            bound.unit,
            Line.through(times, [bound.of(sample) for sample in kept], alive),
            bound.per_hour,
        )
        for bound in BOUNDS
    ]


@dataclass(frozen=True, slots=True)
class Check:
    """Something that must hold: what it is, whether it does, and the numbers."""

    name: str
    ok: bool
    said: str


def checks(day: Day) -> list[Check]:
    """Rounds, settlements, payouts and balances of the whole run."""
    stories, missing = day.stories, day.missing_rounds
    over = [story for story in stories if story.outcome]
    wrong = [f"{story.number}: {'; '.join(story.problems)}" for story in stories if story.problems]
    lies = [story for story in stories if story.plan.end.liar is not None]
    grades = ", ".join(f"{count:,} {grade}" for grade, count in sorted(day.grades.items()))
    return [
        Check(
            "scheduled rounds without a certificate, at any of the four nodes",
            not missing and day.expected_rounds > 0,
            f"{len(missing)} of {day.expected_rounds:,}; {day.rounds:,} certificates ({grades})",
        ),
        Check(
            "settlements missed",
            len(over) == len(stories) > 0,
            f"{len(stories) - len(over)} of {len(stories)}: each settled at the first certified"
            " price of its round, and closed",
        ),
        Check(
            "contracts paid to the sat, wallets on both sides, miners and anchors adding up",
            not wrong,
            f"{len(stories) - len(wrong)} of {len(stories)}{_told(wrong)}",
        ),
        Check(
            "lies that cost the liar its bond",
            len(lies) > 0 and not any(story.problems for story in lies),
            f"{sum(not story.problems for story in lies)} of {len(lies)}, in {day.blocks:,} blocks",
        ),
        Check(
            "programs that ended by themselves, errors in the log",
            not day.errors,
            f"{len(day.errors)}{_told(day.errors)}",
        ),
    ]


def _told(wrong: Sequence[str]) -> str:
    return "" if not wrong else " (" + " / ".join(wrong[:5]) + ")"


@dataclass(frozen=True, slots=True)
class Growth:
    """What lies on disk in the end, and what it is per thing that is stored."""

    kind: str
    size: int
    per: str


def growth(day: Day) -> list[Growth]:
    """By kind of file, the largest first."""
    units = {
        "histories": (4 * day.rounds, "certificate and node"),
        "sign guards": (3 * day.rounds, "round and oracle"),
        "market": (len(day.stories), "contract"),
        "api": (len(day.stories), "contract"),
        "chain": (day.blocks, "block"),
    }
    rows = []
    for kind, size in sorted(day.samples[-1].disk.items(), key=lambda item: -item[1]):
        count, what = units.get(kind, (0, ""))
        rows.append(Growth(kind, size, f"{size / count:,.0f} a {what}" if count else ""))
    return rows
