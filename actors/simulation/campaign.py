"""Many schedules of one seed, counted."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from actors.simulation.broken import Defence, without
from actors.simulation.invariants import Invariant, Violation, reports_of
from actors.simulation.scenario import Fault, Scenario, draw
from actors.simulation.world import BOUND_MS, World


@dataclass(slots=True)
class Campaign:
    """What ``schedules`` schedules of ``seed`` gave; ``violations`` are at most one of each
    invariant and schedule."""

    seed: int
    schedules: int = 0
    batches: int = 0
    """Schedules with several feeds."""
    certificates: int = 0
    checked: Counter[Invariant] = field(default_factory=Counter)
    faults: Counter[Fault] = field(default_factory=Counter)
    grades: Counter[str] = field(default_factory=Counter)
    messages: Counter[str] = field(default_factory=Counter)
    violations: list[Violation] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """As ``oracle-vm oracle sim --json`` prints it."""
        return {
            "seed": self.seed,
            "schedules": self.schedules,
            "signatures": "BIP340",
            "liveness_bound_ms": BOUND_MS,
            "invariants": {i.value: self.checked[i] for i in Invariant},
            "schedules_of_batches": self.batches,
            "certificates": self.certificates,
            "grades": dict(sorted(self.grades.items())),
            "faults": {f.value: self.faults[f] for f in Fault},
            "messages": dict(sorted(self.messages.items())),
            "violations": [
                {
                    "invariant": v.invariant.value,
                    "seed": self.seed,
                    "schedule": v.schedule,
                    "at_ms": v.at_ms,
                    "detail": v.detail,
                }
                for v in self.violations
            ],
        }


def run(
    seed: int,
    numbers: range,
    defence: Defence | None = None,
    done: Callable[[int], None] = lambda _: None,
) -> Campaign:
    """The schedules with these numbers, honest nodes without ``defence``. ``done`` hears how many
    are finished."""
    campaign = Campaign(seed)
    with without(defence):
        for number in numbers:
            _count(campaign, _world(draw(seed, number), defence))
            done(campaign.schedules)
    return campaign


def replay(
    seed: int, number: int, trace: Callable[[int, int, int, Any], None], defence: Defence | None
) -> Campaign:
    """One schedule; ``trace`` hears every message that arrives: ms, sender, receiver, message."""
    campaign = Campaign(seed)
    with without(defence):
        _count(campaign, _world(draw(seed, number), defence, trace))
    return campaign


def _world(
    scenario: Scenario,
    defence: Defence | None,
    trace: Callable[[int, int, int, Any], None] | None = None,
) -> World:
    return World(scenario, is_guard_broken=defence is Defence.SIGN_GUARD, trace=trace)


def _count(campaign: Campaign, world: World) -> None:
    invariants = world.run()
    campaign.schedules += 1
    campaign.checked += invariants.checked
    campaign.faults.update(world.scenario.kinds)
    campaign.batches += world.scenario.feeds > 1
    campaign.certificates += len(invariants.certified)
    campaign.grades.update(
        report.grade.name
        for certificate in invariants.certified.values()
        for report in reports_of(certificate)
    )
    campaign.messages += world.messages
    first = {violation.invariant: violation for violation in reversed(invariants.violations)}
    campaign.violations += first.values()
