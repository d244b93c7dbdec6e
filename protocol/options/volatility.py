"""Volatility from certified history: per root year of 365 days, 0.6 is 60 %.

Rounds may be missing, so spacing is irregular: each estimate is a weighted sum of squared moves
over the equally weighted sum of the time they took. A weight halves every ``half_life_ms`` back
from the last moment. The drift within a step is taken as 0, which at daily steps and below changes
nothing that can be measured.

Parkinson, "The extreme value method for estimating the variance of the rate of return" (Journal of
Business 53, 1980); Rogers and Satchell, "Estimating variance from high, low and closing prices"
(Annals of Applied Probability 1, 1991); J. P. Morgan, "RiskMetrics" (1996) for the weights.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from protocol.errors import PriceError
from protocol.units import PriceE8, UnixMs

YEAR_MS: Final = 365 * 86_400_000


@dataclass(frozen=True, slots=True)
class Sample:
    """A certified price."""

    at_ms: UnixMs
    price_e8: PriceE8


@dataclass(frozen=True, slots=True)
class Bar:
    """The certified prices of a span. PriceError unless time goes on and low <= open, close <=
    high, all above 0."""

    start_ms: UnixMs
    end_ms: UnixMs
    open_e8: PriceE8
    high_e8: PriceE8
    low_e8: PriceE8
    close_e8: PriceE8

    def __post_init__(self) -> None:
        if self.end_ms <= self.start_ms:
            raise PriceError(f"bar end_ms {self.end_ms}: it must come after {self.start_ms}")
        inner = (self.open_e8, self.close_e8)
        if not 0 < self.low_e8 <= min(inner) <= max(inner) <= self.high_e8:
            raise PriceError(
                f"bar low_e8 {self.low_e8}, open and close {inner}, high_e8 {self.high_e8}: they"
                " must be above 0 and in this order"
            )


def ewma(samples: Sequence[Sample], half_life_ms: float) -> float:
    """From prices alone, oldest first. PriceError for fewer than two, for a time that does not go
    on, for a price or a half life that is not above 0."""
    if len(samples) < 2:
        raise PriceError(f"volatility: {len(samples)} prices, it takes two at least")
    for before, after in pairwise(samples):
        if after.at_ms <= before.at_ms:
            raise PriceError(f"volatility: at_ms {after.at_ms} does not follow {before.at_ms}")
    if min(sample.price_e8 for sample in samples) <= 0:
        raise PriceError("volatility: price_e8: every price must lie above 0")
    moves = [
        (after.at_ms, after.at_ms - before.at_ms, math.log(after.price_e8 / before.price_e8) ** 2)
        for before, after in pairwise(samples)
    ]
    return _weighted(moves, half_life_ms)


def parkinson(bars: Sequence[Bar], half_life_ms: float = math.inf) -> float:
    """From high and low: five times as efficient as closing prices, biased by drift. Both assume
    that the price is always watched; seen once a round, the range is too small by 1.2 standard
    deviations of a round."""
    return _from_bars(bars, _parkinson, half_life_ms)


def rogers_satchell(bars: Sequence[Bar], half_life_ms: float = math.inf) -> float:
    """From open, high, low and close: right whatever the drift."""
    return _from_bars(bars, _rogers_satchell, half_life_ms)


def _parkinson(bar: Bar) -> float:
    return math.log(bar.high_e8 / bar.low_e8) ** 2 / (4 * math.log(2))


def _rogers_satchell(bar: Bar) -> float:
    up, down = (math.log(extreme / bar.open_e8) for extreme in (bar.high_e8, bar.low_e8))
    end = math.log(bar.close_e8 / bar.open_e8)
    return up * (up - end) + down * (down - end)


def _from_bars(bars: Sequence[Bar], variance: Callable[[Bar], float], half_life_ms: float) -> float:
    if not bars:
        raise PriceError("volatility: no bars, it takes one at least")
    for before, after in pairwise(bars):
        if after.start_ms < before.end_ms:
            raise PriceError(
                f"volatility: start_ms {after.start_ms} lies in the bar before, which ends at"
                f" {before.end_ms}"
            )
    moves = [(bar.end_ms, bar.end_ms - bar.start_ms, variance(bar)) for bar in bars]
    return _weighted(moves, half_life_ms)


def _weighted(moves: Sequence[tuple[int, int, float]], half_life_ms: float) -> float:
    """From (end, duration, variance) of each move, times in ms."""
    if not half_life_ms > 0:
        raise PriceError(f"half_life_ms {half_life_ms:g}: it must lie above 0")
    last_ms = moves[-1][0]
    weights = [0.5 ** ((last_ms - end_ms) / half_life_ms) for end_ms, _, _ in moves]
    variance = sum(w * move for w, (_, _, move) in zip(weights, moves, strict=True))
    years = sum(w * took / YEAR_MS for w, (_, took, _) in zip(weights, moves, strict=True))
    return math.sqrt(variance / years)
