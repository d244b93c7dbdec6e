"""Instrument names: ``UNDERLYING-DDMMMYY-STRIKE-(C|P)[-B][-(UO|DO)LEVEL][-A]`` (options.md 1).

They extend Deribit's, ``BTC-27DEC26-50000-C``: ``-B`` pays a fixed sum, ``-UO80000`` and
``-DO40000`` knock out, ``-A`` is American, and ``d`` is the decimal point. An instrument has
exactly one name.
"""

import re
from dataclasses import dataclass
from datetime import date
from enum import Enum, IntEnum
from typing import Final

from protocol.errors import EncodingError
from protocol.units import E8, U64_MAX, PriceE8, UnixMs

MONTHS: Final = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
EXPIRY_HOUR_UTC: Final = 8
GRAMMAR: Final = "UNDERLYING-DDMMMYY-STRIKE-(C|P)[-B][-(UO|DO)LEVEL][-A]"

_UNDERLYING: Final = re.compile(r"[A-Z][A-Z0-9]{1,11}")
_DATE: Final = re.compile(r"([0-9]{2})([A-Z]{3})([0-9]{2})")
_PRICE: Final = re.compile(r"(0|[1-9][0-9]{0,11})(?:d([0-9]{0,7}[1-9]))?")
_EPOCH_DAY: Final = date(1970, 1, 1).toordinal()
_HOUR_MS: Final = 3_600_000


class OptionKind(IntEnum):
    """Call or put; the value is the code in the contract's terms."""

    CALL = 1
    PUT = 2

    @property
    def letter(self) -> str:
        """C or P, as names write it."""
        return self.name[0]


class KnockOut(Enum):
    """The direction of a knock-out barrier; the value is the one in names."""

    UP = "UO"
    DOWN = "DO"


@dataclass(frozen=True, slots=True)
class Barrier:
    """The option is worth nothing once the certified price touched ``level_e8``."""

    direction: KnockOut
    level_e8: PriceE8


@dataclass(frozen=True, slots=True)
class Instrument:
    """One listed option. EncodingError for a field that no name can write."""

    underlying: str
    expiry: date
    strike_e8: PriceE8
    kind: OptionKind
    is_binary: bool = False
    barrier: Barrier | None = None
    is_american: bool = False

    def __post_init__(self) -> None:
        if not _UNDERLYING.fullmatch(self.underlying):
            raise EncodingError(
                f"underlying {self.underlying!r}: write 2 to 12 capitals and digits, as in BTC"
            )
        if not 2000 <= self.expiry.year <= 2099:
            raise EncodingError(f"expiry {self.expiry}: names reach from 2000 to 2099")
        _require_price("strike", self.strike_e8)
        if self.barrier is not None:
            _require_price("barrier level", self.barrier.level_e8)
        if self.is_binary and (self.barrier is not None or self.is_american):
            raise EncodingError("-B does not combine with a barrier or with -A: remove one of them")

    @property
    def name(self) -> str:
        """The name; ``parse_instrument`` reads it back."""
        parts = [
            self.underlying,
            f"{self.expiry.day:02}{MONTHS[self.expiry.month - 1]}{self.expiry.year % 100:02}",
            _print_price(self.strike_e8),
            self.kind.letter,
        ]
        if self.is_binary:
            parts.append("B")
        if self.barrier is not None:
            parts.append(self.barrier.direction.value + _print_price(self.barrier.level_e8))
        if self.is_american:
            parts.append("A")
        return "-".join(parts)

    @property
    def expiry_ms(self) -> UnixMs:
        """08:00 UTC of the expiry day."""
        hours = (self.expiry.toordinal() - _EPOCH_DAY) * 24 + EXPIRY_HOUR_UTC
        return UnixMs(hours * _HOUR_MS)

    def __str__(self) -> str:
        return self.name


def parse_instrument(name: str) -> Instrument:
    """The instrument of a name; EncodingError that names the wrong part."""
    parts = name.split("-")
    if len(parts) < 4:
        raise EncodingError(f"instrument {name!r}: write {GRAMMAR}, as in BTC-27DEC26-50000-C")
    underlying, day, strike, letter, *suffixes = parts
    try:
        is_binary = _take(suffixes, "B")
        barrier = _take_barrier(suffixes)
        is_american = _take(suffixes, "A")
        if suffixes:
            raise EncodingError(
                f"suffix {suffixes[0]!r}: write -B, or -UO or -DO with a level, then -A, "
                "each at most once"
            )
        return Instrument(
            underlying=underlying,
            expiry=_parse_date(day),
            strike_e8=_parse_price("strike", strike),
            kind=_parse_kind(letter),
            is_binary=is_binary,
            barrier=barrier,
            is_american=is_american,
        )
    except EncodingError as error:
        raise EncodingError(f"instrument {name!r}: {error}") from None


def _take(suffixes: list[str], suffix: str) -> bool:
    if suffixes[:1] != [suffix]:
        return False
    del suffixes[0]
    return True


def _take_barrier(suffixes: list[str]) -> Barrier | None:
    if not suffixes or suffixes[0][:2] not in ("UO", "DO"):
        return None
    suffix = suffixes.pop(0)
    return Barrier(KnockOut(suffix[:2]), _parse_price("barrier level", suffix[2:]))


def _parse_date(text: str) -> date:
    found = _DATE.fullmatch(text)
    if found is None or found[2] not in MONTHS:
        raise EncodingError(
            f"expiry {text!r}: write two digits, a month and two digits, as in 05JAN27"
        )
    day, month, year = int(found[1]), MONTHS.index(found[2]) + 1, 2000 + int(found[3])
    try:
        return date(year, month, day)
    except ValueError:
        raise EncodingError(f"expiry {text!r}: there is no such day") from None


def _parse_kind(letter: str) -> OptionKind:
    for kind in OptionKind:
        if letter == kind.letter:
            return kind
    raise EncodingError(f"kind {letter!r}: write C for a call or P for a put")


def _parse_price(what: str, text: str) -> PriceE8:
    found = _PRICE.fullmatch(text)
    if found is None:
        raise EncodingError(
            f"{what} {text!r}: write dollars without leading zeros, with d and at most 8 digits "
            "for a fraction, as in 50000 or 0d25"
        )
    price_e8 = PriceE8(int(found[1]) * E8 + int((found[2] or "").ljust(8, "0")))
    _require_price(what, price_e8)
    return price_e8


def _require_price(what: str, price_e8: int) -> None:
    if not 0 < price_e8 <= U64_MAX:
        raise EncodingError(
            f"{what} {price_e8} (in 1e-8 dollars): it must lie above 0 and fit 64 bits"
        )


def _print_price(price_e8: int) -> str:
    dollars, fraction = divmod(price_e8, E8)
    return f"{dollars}d{fraction:08}".rstrip("0") if fraction else str(dollars)
