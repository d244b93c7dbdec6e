"""The volatility of ``volatility.ewma`` kept up to date: each certified price costs the same."""

import math
from dataclasses import dataclass
from typing import Self

from protocol.errors import PriceError
from protocol.options.volatility import YEAR_MS, Sample


@dataclass(frozen=True, slots=True)
class RunningVolatility:
    """What is known after ``moves`` moves: weighted sums of their squares and of the years they
    took. A weight halves every ``half_life_ms``. PriceError for a half life that is not above 0."""

    half_life_ms: float
    last: Sample | None = None
    moves: int = 0
    variance: float = 0.0
    years: float = 0.0

    def __post_init__(self) -> None:
        if not self.half_life_ms > 0:
            raise PriceError(f"half_life_ms {self.half_life_ms:g}: it must lie above 0")

    def after(self, sample: Sample) -> Self:
        """With one price more. PriceError unless its time goes on and its price lies above 0."""
        last, kind = self.last, type(self)
        if sample.price_e8 <= 0:
            raise PriceError(f"volatility: price_e8 {sample.price_e8}: it must lie above 0")
        if last is None:
            return kind(self.half_life_ms, sample)
        took_ms = sample.at_ms - last.at_ms
        if took_ms <= 0:
            raise PriceError(f"volatility: at_ms {sample.at_ms} does not follow {last.at_ms}")
        weight = 0.5 ** (took_ms / self.half_life_ms)
        return kind(
            half_life_ms=self.half_life_ms,
            last=sample,
            moves=self.moves + 1,
            variance=self.variance * weight + math.log(sample.price_e8 / last.price_e8) ** 2,
            years=self.years * weight + took_ms / YEAR_MS,
        )

    @property
    def level(self) -> float:
        """Per root year. PriceError before the first move."""
        if not self.moves:
            raise PriceError("volatility: it takes two prices at least")
        return math.sqrt(self.variance / self.years)
