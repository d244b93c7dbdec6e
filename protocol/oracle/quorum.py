"""The arithmetic of agreement: median, confidence, grade, distance, and what n, f and q promise.

Generic in n; nothing here knows about encodings. All values are unsigned integers (10^-8 USD).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from protocol.errors import ConfigError, QuorumError
from protocol.oracle.report import Grade
from protocol.units import U64_MAX

MILLION: Final = 1_000_000


def median(values: Sequence[int]) -> int:
    """The plain median; of an even count the floor of the mean of the two middle values."""
    if not values:
        raise QuorumError("a median needs at least one value")
    ordered = sorted(values)
    half = len(ordered) // 2
    if len(ordered) % 2:
        return ordered[half]
    return (ordered[half - 1] + ordered[half]) // 2


def half_range(values: Sequence[int]) -> int:
    """Half of max - min, rounded up."""
    return (max(values) - min(values) + 1) // 2


def confidence(prices: Sequence[int], confs: Sequence[int]) -> int:
    """The published one: max(median of the oracles' own, half of the range of their prices)."""
    return max(median(confs), half_range(prices))


def within(a: int, b: int, ppm: int) -> bool:
    """|a - b| <= ppm parts per million of the smaller one, exactly, in integers."""
    return abs(a - b) * MILLION <= ppm * min(a, b)


def distance_ppm(a: int, b: int) -> int:
    """The smallest ppm that they are ``within``; ``U64_MAX`` if one is 0 and the other is not."""
    if min(a, b) == 0:
        return 0 if a == b else U64_MAX
    return -(-abs(a - b) * MILLION // min(a, b))


def grade(prices: Sequence[int], faults: int, delta_ppm: int) -> Grade:
    """FULL with 2f + 1 prices; DEGRADED with f + 1 that lie within delta of each other. QuorumError
    if there are fewer or they lie further apart: one may be a lie and nothing says which."""
    if len(prices) >= 2 * faults + 1:
        return Grade.FULL
    if len(prices) <= faults:
        raise QuorumError(f"{len(prices)} observations: at least {faults + 1} are needed")
    if not within(min(prices), max(prices), delta_ppm):
        raise QuorumError(
            f"{len(prices)} observations from {min(prices)} to {max(prices)} lie more than"
            f" {delta_ppm} ppm apart: wait for a further one"
        )
    return Grade.DEGRADED


@dataclass(frozen=True, slots=True)
class Thresholds:
    """What n oracles with at most f Byzantine ones need; every number counts oracles."""

    n: int
    f: int
    median_observations: int
    """2f + 1: the median of so many observations lies in the honest range."""
    authenticity: int
    """f + 1: of so many signers one is honest and has recomputed the report."""
    agreement: int
    """floor((n + f) / 2) + 1: two quorums of this size share an honest oracle."""
    live_quorum: int
    """n - f: the largest quorum that f silent oracles cannot stop."""

    @property
    def final(self) -> bool:
        """Whether one quorum size gives both agreement and liveness under f faults."""
        return self.agreement <= self.live_quorum


def thresholds(n: int, f: int) -> Thresholds:
    """The thresholds of n oracles of which f may lie. ConfigError unless 0 <= f < n/2."""
    if not 0 <= 2 * f < n:
        raise ConfigError(f"faults: {f} of {n} is not fewer than half; add oracles or lower faults")
    return Thresholds(n, f, 2 * f + 1, f + 1, (n + f) // 2 + 1, n - f)
