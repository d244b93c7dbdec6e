"""What is made of an actor's answers and silence: when it is given up, started again, and what that
means for its role. Pure; times are of any one clock, in seconds.

An actor is asked every ``beat_s``; one that leaves ``misses`` such intervals without an answer is
hung, is killed and is started again. A start that no node has room for waits and costs nothing of
the budget of restarts; each end of an actor costs one.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final

from actors.restarts import WINDOW_S, Restarts


class Phase(StrEnum):
    """Of one actor."""

    OUT = "out"
    STARTING = "starting"
    RUNNING = "running"
    FAILED = "failed"


class State(StrEnum):
    """Of a role, from good to bad."""

    RUNNING = "running"
    STARTING = "starting"
    DEGRADED = "degraded"
    HALTED = "halted"
    FAILED = "failed"


ORDER: Final = tuple(State)


@dataclass(frozen=True, slots=True)
class Patience:
    """How long an actor may be silent, and how long it may take to start."""

    beat_s: float = 1.0
    misses: int = 3
    start_s: float = 180.0


@dataclass(frozen=True, slots=True)
class Watched:
    """One actor as its supervisor sees it. ``due_s`` is when it may be started; ``reason`` says why
    it does not run; ``has_run``: it has answered, to this supervisor or to the one before."""

    phase: Phase = Phase.OUT
    since_s: float = 0.0
    due_s: float = 0.0
    misses: int = 0
    reason: str = ""
    has_run: bool = False
    restarts: Restarts = field(default_factory=Restarts)

    def waiting(self, reason: str) -> "Watched":
        """It cannot be started now; the budget is untouched."""
        return replace(self, phase=Phase.OUT, misses=0, reason=reason)

    def started(self, now_s: float) -> "Watched":
        """Its start is under way."""
        return replace(self, phase=Phase.STARTING, since_s=now_s, misses=0, has_run=False)

    def found(self, now_s: float) -> "Watched":
        """It lives, started by an earlier supervisor: it is starting, or has to answer by now."""
        reason = "found, does not answer yet" if self.has_run else self.reason
        return replace(self.started(now_s), reason=reason, has_run=self.has_run)

    def answered(self, now_s: float) -> "Watched":
        """It runs."""
        since_s = self.since_s if self.phase is Phase.RUNNING else now_s
        return replace(
            self, phase=Phase.RUNNING, since_s=since_s, misses=0, reason="", has_run=True
        )

    def silent(self) -> "Watched":
        """One interval without an answer."""
        return replace(self, misses=self.misses + 1)

    def is_hung(self, now_s: float, patience: Patience) -> bool:
        """Whether it has been silent, or starting, for too long."""
        if self.phase is Phase.STARTING and not self.has_run:
            return now_s - self.since_s > patience.start_s
        is_there = self.phase in (Phase.STARTING, Phase.RUNNING)
        return is_there and self.misses >= patience.misses

    def ended(self, now_s: float, reason: str) -> "Watched":
        """It is gone: out until it is due again. Once the budget is spent it has failed, and one
        start is tried when the window of the budget has passed."""
        delay_s = self.restarts.delay_s(now_s)
        return replace(
            self,
            phase=Phase.FAILED if delay_s is None else Phase.OUT,
            since_s=now_s,
            due_s=now_s + (WINDOW_S if delay_s is None else delay_s),
            misses=0,
            reason=reason,
            has_run=False,
            restarts=self.restarts.another(now_s),
        )

    def is_due(self, now_s: float) -> bool:
        """Whether it is to be started now."""
        return self.phase in (Phase.OUT, Phase.FAILED) and now_s >= self.due_s


def role_state(actors: Sequence[Watched], others_stand_in: bool) -> tuple[State, str]:
    """Where a role stands, and why. With nobody left it is degraded while others do its work (the
    quorum of the other oracles, oracles without an aggregator, a party that proves itself), else
    halted."""
    phases = {actor.phase for actor in actors}
    reason = next((actor.reason for actor in actors if actor.reason), "")
    if phases <= {Phase.RUNNING}:
        return State.RUNNING, ""
    if phases == {Phase.FAILED}:
        return State.FAILED, reason
    if Phase.FAILED not in phases and not reason:
        return State.STARTING, ""
    goes_on = others_stand_in or Phase.RUNNING in phases
    return State.DEGRADED if goes_on else State.HALTED, reason


def worst(states: Sequence[State]) -> State:
    """The worst of some states."""
    return max(states, key=ORDER.index, default=State.RUNNING)
