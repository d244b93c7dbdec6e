"""Whether something grows that should not: a plane through samples, judged by its own error. Pure.

    value = level + slope * hours + each * contracts alive

Contracts come and go and take memory while they live; what is left is time. A quantity leaks if its
slope, less ``SURE`` standard errors, is above its bound. It is flat only if so many errors are also
within the bound: samples too few or too noisy show nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

import numpy as np

SURE: Final = 3.0
"""Standard errors: samples that follow each other are alike, so two would accuse too soon."""
LEAST: Final = 6
"""Samples that a line takes at least."""


@dataclass(frozen=True, slots=True)
class Line:
    """``slope`` in units an hour with its standard ``error``; ``level`` at the middle of the time
    with no contract alive, ``each`` what one adds."""

    slope: float
    error: float
    level: float
    each: float

    @classmethod
    def through(cls, hours: Sequence[float], values: Sequence[float], alive: Sequence[int]) -> Self:
        """Least squares. ValueError for fewer than ``LEAST`` samples, or all at one time."""
        count = len(hours)
        if count < LEAST:
            raise ValueError(f"{count} samples after the warm-up: a line takes {LEAST}; run longer")
        time = np.array(hours, float) - np.mean(hours)
        columns = [np.ones(count), time]
        if len(set(alive)) > 1:
            columns.append(np.array(alive, float))
        rows = np.stack(columns, axis=1)
        found, _, rank, _ = np.linalg.lstsq(rows, np.array(values, float), rcond=None)
        if rank < rows.shape[1]:
            raise ValueError("the samples are all of one time, or contracts grow with it alone")
        rests = np.array(values, float) - rows @ found
        variance = float(rests @ rests) / (count - rows.shape[1])
        error = float(np.sqrt(variance * np.linalg.inv(rows.T @ rows)[1, 1]))
        each = float(found[2]) if len(found) == 3 else 0.0
        return cls(float(found[1]), error, float(found[0]), each)


@dataclass(frozen=True, slots=True)
class Verdict:
    """One quantity after the warm-up, and whether it stays within ``bound`` units an hour."""

    name: str
    unit: str
    line: Line
    bound: float

    @property
    def leaks(self) -> bool:
        """Whether it certainly grows faster than its bound."""
        return self.line.slope - SURE * self.line.error > self.bound

    @property
    def is_shown(self) -> bool:
        """Whether a leak twice as fast as the bound would certainly have been found."""
        return SURE * self.line.error <= self.bound

    @property
    def is_flat(self) -> bool:
        """Whether it is shown not to leak."""
        return self.is_shown and not self.leaks

    @property
    def word(self) -> str:
        """The verdict for the report."""
        return "LEAKS" if self.leaks else "flat" if self.is_flat else "NOT SHOWN"
