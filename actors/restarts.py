"""How soon a program that died is started again, and when not any more. Pure."""

from dataclasses import dataclass
from typing import Final

BUDGET: Final = 5
"""Restarts within ``WINDOW_S``; a program that needs more has failed."""
WINDOW_S: Final = 60.0
FIRST_S: Final = 0.5
MOST_S: Final = 8.0


@dataclass(frozen=True, slots=True)
class Restarts:
    """Of one program: how many in all, and when the last ones were (any clock, in seconds)."""

    total: int = 0
    at_s: tuple[float, ...] = ()

    def delay_s(self, now_s: float) -> float | None:
        """How long to wait before the next one, twice as long each time; None: give up."""
        recent = len(self._recent(now_s))
        return None if recent >= BUDGET else min(FIRST_S * 2**recent, MOST_S)

    def another(self, now_s: float) -> "Restarts":
        """These and one now."""
        return Restarts(self.total + 1, (*self._recent(now_s), now_s))

    def _recent(self, now_s: float) -> tuple[float, ...]:
        return tuple(at_s for at_s in self.at_s if now_s - at_s < WINDOW_S)
