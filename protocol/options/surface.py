"""A volatility surface from a file: a grid of strikes and expiries, free of arbitrage.

    {"as_of_ms": 1789000000000, "expiries_ms": [..], "forwards": [..],
     "strikes": [40000, 50000, ..], "vols": [[0.71, ..], ..]}

``forwards`` has one a expiry, ``vols`` one row an expiry with one volatility a strike; dollars, and
volatility per root year of 365 days, 0.6 is 60 %.

Between grid points the total variance vol^2 t is linear in the logarithm of strike over forward,
then in time at the same moneyness; outside the strikes and expiries the volatility stays level.
Checked at the points of the grid: total variance does not fall with time at the same moneyness, or
a calendar spread would cost less than nothing; calls fall with the strike, by 1 at most, and are
convex in it, or a butterfly would. Gatheral and Jacquier, "Arbitrage-free SVI volatility surfaces"
(Quantitative Finance 14, 2014), section 2.
"""

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

from protocol.errors import EncodingError, PriceError
from protocol.options.volatility import YEAR_MS
from protocol.units import UnixMs

_ROUNDING: Final = 1e-9
"""Of total variance, and of a call in forwards: less is no arbitrage."""
_FIELDS: Final = {"as_of_ms", "expiries_ms", "forwards", "strikes", "vols"}


@dataclass(frozen=True, slots=True)
class Surface:
    """Expiries and strikes ascend. PriceError names the field that is wrong, or the arbitrage and
    where it is."""

    as_of_ms: UnixMs
    expiries_ms: tuple[UnixMs, ...]
    forwards: tuple[float, ...]
    strikes: tuple[float, ...]
    vols: tuple[tuple[float, ...], ...]

    def __post_init__(self) -> None:
        _require_ascending("expiries_ms", (self.as_of_ms, *self.expiries_ms))
        _require_ascending("strikes", (0.0, *self.strikes))
        if not self.expiries_ms or not self.strikes:
            raise PriceError("surface: it takes an expiry and a strike at least")
        if len(self.forwards) != len(self.expiries_ms):
            raise PriceError("forwards: write one an expiry")
        if [len(row) for row in self.vols] != [len(self.strikes)] * len(self.expiries_ms):
            raise PriceError("vols: write a row an expiry, with one volatility a strike")
        for name, numbers in (("forwards", self.forwards), ("vols", sum(self.vols, ()))):
            if not all(0.0 < number < math.inf for number in numbers):
                raise PriceError(f"{name}: every one must lie above 0")
        for i in range(len(self.expiries_ms)):
            self._require_butterflies(i)
        for i in range(1, len(self.expiries_ms)):
            self._require_calendars(i)

    def vol(self, strike: float, expiry_ms: int) -> float:
        """The volatility of an option. PriceError unless the strike lies above 0 and the expiry
        after ``as_of_ms``."""
        years = (expiry_ms - self.as_of_ms) / YEAR_MS
        if not 0.0 < strike < math.inf:
            raise PriceError(f"strike {strike:g}: it must lie above 0")
        if years <= 0.0:
            raise PriceError(f"expiry_ms {expiry_ms}: the surface is of {self.as_of_ms}, later")
        moneyness = math.log(strike / self._forward(expiry_ms))
        i = bisect_right(self.expiries_ms, expiry_ms)
        if i in (0, len(self.expiries_ms)):
            nearest = min(i, len(self.expiries_ms) - 1)
            return math.sqrt(self._variance(nearest, moneyness) / self._years(nearest))
        share = self._share(i, expiry_ms)
        before, after = self._variance(i - 1, moneyness), self._variance(i, moneyness)
        return math.sqrt((before + share * (after - before)) / years)

    def _years(self, i: int) -> float:
        return (self.expiries_ms[i] - self.as_of_ms) / YEAR_MS

    def _share(self, i: int, expiry_ms: int) -> float:
        """How far between expiry i - 1 and i."""
        first = self.expiries_ms[i - 1]
        return (expiry_ms - first) / (self.expiries_ms[i] - first)

    def _forward(self, expiry_ms: int) -> float:
        """Growing at one rate between expiries, level outside."""
        i = bisect_right(self.expiries_ms, expiry_ms)
        if i in (0, len(self.expiries_ms)):
            return self.forwards[min(i, len(self.expiries_ms) - 1)]
        before, after = self.forwards[i - 1], self.forwards[i]
        return float(before * (after / before) ** self._share(i, expiry_ms))

    def _variance(self, i: int, moneyness: float) -> float:
        """Total, of expiry i at the logarithm of strike over forward."""
        row = [vol * vol * self._years(i) for vol in self.vols[i]]
        at = math.exp(moneyness) * self.forwards[i]
        j = bisect_right(self.strikes, at)
        if j in (0, len(row)):
            return row[min(j, len(row) - 1)]
        low, high = self.strikes[j - 1], self.strikes[j]
        share = math.log(at / low) / math.log(high / low)
        return row[j - 1] + share * (row[j] - row[j - 1])

    def _require_calendars(self, i: int) -> None:
        for source in (i - 1, i):
            for strike in self.strikes:
                moneyness = math.log(strike / self.forwards[source])
                before, after = self._variance(i - 1, moneyness), self._variance(i, moneyness)
                if after < before - _ROUNDING:
                    raise PriceError(
                        f"calendar arbitrage: at strike over forward {math.exp(moneyness):.6g} the"
                        f" total variance falls from {before:.6g} to {after:.6g} by expiry"
                        f" {self.expiries_ms[i]}"
                    )

    def _require_butterflies(self, i: int) -> None:
        forward = self.forwards[i]
        points = [(0.0, 1.0)]
        for strike, vol in zip(self.strikes, self.vols[i], strict=True):
            sd = vol * math.sqrt(self._years(i))
            points.append((strike / forward, _call(strike / forward, sd)))
        slopes = [(b - a) / (y - x) for (x, a), (y, b) in pairwise(points)]
        for strike, before, after in zip(self.strikes, (-1.0, *slopes), slopes, strict=False):
            if not before - _ROUNDING <= after <= _ROUNDING:
                raise PriceError(
                    f"butterfly arbitrage: calls that expire at {self.expiries_ms[i]} are not"
                    f" convex below strike {strike:g}"
                )


def _call(strike: float, sd: float) -> float:
    """Undiscounted, of a forward of 1."""
    high = -math.log(strike) / sd + 0.5 * sd
    return _normal(high) - strike * _normal(high - sd)


def _normal(x: float) -> float:
    return 0.5 * math.erfc(-x / math.sqrt(2))


def _require_ascending(name: str, numbers: Sequence[float]) -> None:
    if not all(a < b < math.inf for a, b in pairwise(numbers)):
        raise PriceError(f"{name}: they must ascend, the first above the start")


def read_surface(fields: Any) -> Surface:
    """The surface of a decoded file. EncodingError for a missing, unknown or mistyped field, and
    the errors of ``Surface``."""
    if not isinstance(fields, Mapping) or set(fields) != _FIELDS:
        raise EncodingError(f"surface: write an object with {', '.join(sorted(_FIELDS))}")
    if not isinstance(fields["vols"], list):
        raise EncodingError("vols: write a list of lists")
    return Surface(
        as_of_ms=UnixMs(_whole("as_of_ms", [fields["as_of_ms"]])[0]),
        expiries_ms=tuple(UnixMs(ms) for ms in _whole("expiries_ms", fields["expiries_ms"])),
        forwards=_numbers("forwards", fields["forwards"]),
        strikes=_numbers("strikes", fields["strikes"]),
        vols=tuple(_numbers("vols", row) for row in fields["vols"]),
    )


def _whole(name: str, found: Any) -> tuple[int, ...]:
    if not isinstance(found, list) or not all(type(number) is int for number in found):
        raise EncodingError(f"{name}: write whole numbers, milliseconds since 1970")
    return tuple(found)


def _numbers(name: str, found: Any) -> tuple[float, ...]:
    if not isinstance(found, list) or not all(type(number) in (int, float) for number in found):
        raise EncodingError(f"{name}: write a list of numbers")
    try:
        return tuple(map(float, found))
    except OverflowError:
        raise EncodingError(f"{name}: a number with too many digits") from None
