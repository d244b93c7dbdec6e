"""When to connect again: full-jitter exponential back-off under a connect budget."""

from collections import deque
from collections.abc import Callable
from typing import Final

BASE_S: Final = 0.25
CAP_S: Final = 30.0
HEALTHY_S: Final = 60.0
SPACING_S: Final = 1.0
BUDGET: Final = 20
BUDGET_S: Final = 60.0


class Backoff:
    """Delays of ``min(30, 0.25 * 2^k) * U(0.5, 1)`` seconds; 1 attempt a second, 20 a minute.

    ``uniform(a, b)`` is the source of randomness. The first attempt is immediate; ``k`` starts
    again after 60 s of healthy data.
    """

    def __init__(self, uniform: Callable[[float, float], float]) -> None:
        self._uniform = uniform
        self._failures = 0
        self._attempts: deque[float] = deque(maxlen=BUDGET)

    def ended(self, healthy_s: float) -> None:
        """A connection ended (or was never made) after ``healthy_s`` seconds of data."""
        self._failures = 1 if healthy_s >= HEALTHY_S else self._failures + 1

    def renewing(self, healthy_s: float) -> None:
        """A connection is to be replaced while it works: at once if it was healthy so far."""
        self._failures = 0 if healthy_s >= HEALTHY_S else self._failures + 1

    def delay_s(self, now_s: float) -> float:
        """Seconds from ``now_s`` (monotonic) to the next attempt, which enters the budget."""
        at = now_s
        if self._failures:
            at += step_s(self._failures) * self._uniform(0.5, 1.0)
        if self._attempts:
            at = max(at, self._attempts[-1] + SPACING_S)
        if len(self._attempts) == BUDGET:
            at = max(at, self._attempts[0] + BUDGET_S)
        self._attempts.append(at)
        return at - now_s


def step_s(failures: int) -> float:
    """The longest wait after so many failures in a row, at least one."""
    # The exponent stops where the cap has long been reached.
    return float(min(CAP_S, BASE_S * 2 ** min(failures - 1, 16)))
