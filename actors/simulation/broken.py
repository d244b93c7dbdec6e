"""Honest nodes without one of their defences: the simulation must notice. Only it can do this; the
rules are replaced in this process for the time of a run."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from typing import Any

from protocol.oracle import proposal, quorum


class Defence(StrEnum):
    """What can be taken away."""

    SIGN_GUARD = "sign-guard"
    """Oracles forget what they have signed."""
    MEDIAN = "median"
    """The arithmetic mean instead of the median."""
    RECOMPUTE = "recompute"
    """Oracles believe the aggregator's arithmetic."""


@contextmanager
def without(defence: Defence | None) -> Iterator[None]:
    """All honest nodes lack this defence. The sign guard is the world's: ``is_guard_broken``."""
    if defence is Defence.MEDIAN:
        with _replaced(quorum, "median", _mean):
            yield
    elif defence is Defence.RECOMPUTE:
        with _replaced(proposal, "_check_arithmetic", lambda *_: None):
            yield
    else:
        yield


def _mean(values: Sequence[int]) -> int:
    return sum(values) // len(values)


@contextmanager
def _replaced(module: Any, name: str, rule: Any) -> Iterator[None]:
    original = getattr(module, name)
    setattr(module, name, rule)
    try:
        yield
    finally:
        setattr(module, name, original)
