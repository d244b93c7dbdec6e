"""Which options are listed: expiries after the moment, strikes around the index.

Expiries as Deribit lists them, at 08:00 UTC: the next three days, the next four Fridays, the last
Fridays of the next three months and of the next four quarters. For each one ``SIDES`` strikes on
both sides of the index, in steps of 1, 2 or 5 times a power of ten, about a quarter of what the
price moves until then; knock-outs have one level above and one below, ``LEVEL_STEPS`` away.

What is listed follows the index; whatever was listed or opened before keeps its price.
"""

import math
from collections.abc import Iterator
from datetime import date, timedelta
from functools import lru_cache
from typing import Final

from protocol.errors import PriceError
from protocol.options.instrument import (
    EXPIRY_HOUR_UTC,
    Barrier,
    Instrument,
    KnockOut,
    OptionKind,
)
from protocol.units import U64_MAX, PriceE8, UnixMs

SIDES: Final = 8
LEVEL_STEPS: Final = 6
DAYS: Final = 3
WEEKS: Final = 4
MONTHS: Final = 3
QUARTERS: Final = 4

_REFERENCE_VOL: Final = 0.6
_STEPS_PER_SD: Final = 4
_YEAR_DAYS: Final = 365
_DAY_MS: Final = 86_400_000
_EXPIRY_MS: Final = EXPIRY_HOUR_UTC * 3_600_000
_FRIDAY: Final = 4
_EPOCH: Final = date(1970, 1, 1)


def expiries(now_ms: UnixMs) -> tuple[date, ...]:
    """The listed days, ascending; all of them expire after ``now_ms``."""
    first = _EPOCH + timedelta(days=(now_ms - _EXPIRY_MS) // _DAY_MS + 1)
    friday = first + timedelta(days=(_FRIDAY - first.weekday()) % 7)
    lasts = [day for day in _last_fridays(first) if day >= first]
    quarters = [day for day in lasts if day.month % 3 == 0]
    return tuple(
        sorted(
            {
                *(first + timedelta(days=n) for n in range(DAYS)),
                *(friday + timedelta(weeks=n) for n in range(WEEKS)),
                *lasts[:MONTHS],
                *quarters[:QUARTERS],
            }
        )
    )


def chain(underlying: str, index_e8: PriceE8, now_ms: UnixMs) -> dict[date, tuple[Instrument, ...]]:
    """Every listed instrument by its expiry, there by strike; an expiry whose strikes have not
    moved is the same tuple as before. EncodingError for an underlying that no name can write;
    PriceError unless the index lies between 1e-6 dollars and 1e10."""
    if not 100 <= index_e8 <= U64_MAX // 16:
        raise PriceError(f"index_e8 {index_e8}: no strikes can be listed around this price")
    found = {}
    for expiry in expiries(now_ms):
        step = strike_step_e8(index_e8, (_expiry_ms(expiry) - now_ms) // _DAY_MS)
        found[expiry] = _of_expiry(underlying, expiry, step, (index_e8 + step // 2) // step)
    return found


def strike_step_e8(index_e8: PriceE8, days: int) -> int:
    """Between two strikes of an expiry so many days away."""
    move = index_e8 * _REFERENCE_VOL * math.sqrt(max(days, 1) / _YEAR_DAYS) / _STEPS_PER_SD
    unit: int = 10 ** math.floor(math.log10(max(move, 1.0)))
    return min((unit * n for n in (1, 2, 5, 10)), key=lambda step: abs(step - move))


@lru_cache(maxsize=256)
def _of_expiry(underlying: str, expiry: date, step: int, middle: int) -> tuple[Instrument, ...]:
    """The strike next to the index is ``middle`` steps."""
    low, high = max(middle - LEVEL_STEPS, 1) * step, (middle + LEVEL_STEPS) * step
    strikes = range(max(middle - SIDES, 1), middle + SIDES + 1)
    return tuple(
        instrument
        for number in strikes
        for kind in OptionKind
        for instrument in _of_strike(underlying, expiry, PriceE8(number * step), kind, low, high)
    )


def _of_strike(
    underlying: str, expiry: date, strike: PriceE8, kind: OptionKind, low: int, high: int
) -> Iterator[Instrument]:
    yield Instrument(underlying, expiry, strike, kind)
    yield Instrument(underlying, expiry, strike, kind, is_american=True)
    yield Instrument(underlying, expiry, strike, kind, is_binary=True)
    if low < strike < high:
        for direction, level in ((KnockOut.UP, high), (KnockOut.DOWN, low)):
            barrier = Barrier(direction, PriceE8(level))
            yield Instrument(underlying, expiry, strike, kind, barrier=barrier)


def _expiry_ms(expiry: date) -> int:
    return (expiry - _EPOCH).days * _DAY_MS + _EXPIRY_MS


def _last_fridays(first: date) -> Iterator[date]:
    """Of the month of ``first`` and of a year and a half after it."""
    for number in range(first.year * 12 + first.month - 1, first.year * 12 + first.month + 17):
        year, month = divmod(number + 1, 12)
        end = date(year, month + 1, 1) - timedelta(days=1)
        yield end - timedelta(days=(end.weekday() - _FRIDAY) % 7)
