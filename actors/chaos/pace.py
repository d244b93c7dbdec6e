"""How long certificates take while no more oracles are faulty than the network bears. Pure."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from actors.chaos import kinds
from actors.chaos.invariants import Injection, Invariant, Ledger
from actors.chaos.plan import Plan

JUDGED: Final = 2 / 3
"""Of a run, at least: what nobody could ask for proves nothing."""


class Pace:
    """How long certificates take while at most f oracles are faulty."""

    def __init__(self, plan: Plan, injections: Sequence[Injection], ledger: Ledger) -> None:
        self._plan = plan
        self._injections = injections
        self._ledger = ledger
        self._last_s = 0.0
        self._complained = False
        self.longest_s = 0.0
        self.judged_s = 0.0
        """How long, in all, the next certificate could be asked for."""
        self.gaps: list[tuple[float, float]] = []
        """When each certificate was seen first, and how long after the one before it."""

    def bound_s(self, from_s: float, to_s: float) -> float:
        """What a certificate may take in this time."""
        ground, bounds = self._plan.ground, self._plan.bounds
        turns = (self._plan.faults + 1) * ground.takeover_ms
        slack = [slack_ms(i.event.fault) for i in self._injections if i.is_on(from_s, to_s)]
        plain = ground.schedule_ms + turns + bounds.extra_ms + 8 * ground.delay_ms
        return (plain + max(slack, default=0)) * bounds.busy / 1000

    def restart(self) -> None:
        """Now is second 0."""
        self._last_s = self.longest_s = self.judged_s = 0.0
        self.gaps.clear()

    def certified(self, at_s: float) -> None:
        """A new round was seen on a disk."""
        gap_s = at_s - self._last_s
        self.gaps.append((at_s, gap_s))
        self.longest_s = max(self.longest_s, gap_s)
        self._check(at_s, is_over=True)
        self._last_s, self._complained = at_s, False

    def waiting(self, at_s: float) -> None:
        """Nothing new was seen."""
        self._check(at_s, is_over=False)

    def require_judged(self, at_s: float) -> None:
        """At the end: most of the time could be judged."""
        self.judged_s += sum(self._calms(self._last_s, at_s))
        self._last_s = at_s
        what = f"only {self.judged_s:.1f} s of {at_s:.1f} s could be judged"
        self._ledger.require(Invariant.GOES_ON, self.judged_s >= JUDGED * at_s, at_s, what)

    def _check(self, at_s: float, *, is_over: bool) -> None:
        calms, bound_s = self._calms(self._last_s, at_s), self.bound_s(self._last_s, at_s)
        calm_s = max(calms)
        if is_over:
            self.judged_s += sum(calms)
        if self._complained or not (is_over or calm_s > bound_s) or calm_s == 0.0:
            return
        self._complained = True
        what = f"{calm_s:.1f} s without a certificate, the bound is {bound_s:.1f} s"
        self._ledger.require(Invariant.GOES_ON, calm_s <= bound_s, at_s, what)

    def _calms(self, from_s: float, to_s: float) -> list[float]:
        """The times between two moments in which at most f oracles were faulty."""
        marks = {from_s, to_s}
        for i in self._injections:
            late_s = i.event.fault.settle_s * self._plan.bounds.busy
            ends = () if i.ended_s is None else (i.ended_s, i.ended_s + late_s)
            turns = (i.began_s, i.recovered_s or to_s, *ends)
            marks |= {at for at in turns if from_s < at < to_s}
        times = sorted(marks)
        calms = [0.0]
        for one, two in pairwise(times):
            if len(self._faulty((one + two) / 2)) <= self._plan.faults:
                calms[-1] += two - one
            else:
                calms.append(0.0)
        return calms

    def _faulty(self, at_s: float) -> set[str]:
        return {
            i.event.victim
            for i in self._injections
            if i.event.victim in self._plan.oracles and i.weakens(at_s, self._plan.bounds.busy)
        }


def slack_ms(fault: kinds.Fault) -> int:
    """What a fault of the links may cost a certificate besides: a round takes a few messages one
    after the other, and a lost packet waits for the one that is sent again."""
    if isinstance(fault, kinds.Delay):
        return 8 * (fault.delay_ms + fault.jitter_ms)
    return 2_000 if isinstance(fault, kinds.Drop) else 0
