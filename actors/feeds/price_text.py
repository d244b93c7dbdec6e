"""Price text to integers in 10^-8, exactly.

A string must match ``[0-9]{1,12}(.[0-9]{1,18})?`` in ASCII. A JSON number may have an exponent
(Kraken v2 sends numbers). Digits beyond the eighth decimal round half to even.
"""

import re
from typing import Final

from actors.feeds.strict_json import Frame, Literal, shown
from protocol.errors import EncodingError
from protocol.units import E8, U64_MAX

DECIMALS: Final = 8
WHOLE_DIGITS: Final = 12

_STRING = re.compile(r"([0-9]{1,12})(?:\.([0-9]{1,18}))?")
_NUMBER = re.compile(r"([0-9]{1,20})(?:\.([0-9]{1,40}))?(?:[eE]([+-]?[0-9]{1,2}))?")
_POWERS: Final[tuple[int, ...]] = tuple(10 ** (DECIMALS - digits) for digits in range(DECIMALS + 1))


def _half_even(numerator: int, denominator: int) -> int:
    quotient, rest = divmod(numerator, denominator)
    return quotient + (2 * rest > denominator or (2 * rest == denominator and quotient & 1))


def _parts(value: object) -> tuple[str, str, int]:
    if type(value) is str:
        match = _STRING.fullmatch(value)
        if match:
            return match[1], match[2] or "", 0
    elif type(value) is Literal:
        match = _NUMBER.fullmatch(value)
        if match:
            return match[1], match[2] or "", int(match[3] or 0)
    elif type(value) is int and value >= 0:
        return str(value), "", 0
    raise EncodingError(f"not a decimal number of at least 0: {shown(value)}")


def _any_price_e8(value: object) -> int:
    whole, fraction, exponent = _parts(value)
    shift = DECIMALS - len(fraction) + exponent
    digits = int(whole + fraction)
    price = digits * 10**shift if shift >= 0 else _half_even(digits, 10**-shift)
    if price > U64_MAX:
        raise EncodingError(f"price above the 64-bit range: {shown(value)}")
    return price


def price_e8(value: object) -> int:
    """A JSON string or number in 10^-8, at most u64; ``EncodingError`` for anything else."""
    if type(value) is str or type(value) is Literal:
        # Nearly every price has digits, a point and at most eight more: that needs no pattern.
        whole, point, fraction = value.partition(".")
        digits = whole + fraction
        if (
            digits.isdigit()
            and digits.isascii()
            and 0 < len(whole) < WHOLE_DIGITS
            and (0 < len(fraction) <= DECIMALS or not point)
        ):
            return int(digits) * _POWERS[len(fraction)]
    return _any_price_e8(value)


def get_price(frame: Frame, key: str) -> int:
    """The price in the field ``key``, in 10^-8."""
    try:
        return price_e8(frame[key])
    except KeyError:
        raise EncodingError(f"field {key} is missing") from None
    except EncodingError as error:
        raise EncodingError(f"field {key}: {error}") from None


def has_size(frame: Frame, key: str) -> bool:
    """False if the size in ``key`` is zero; a size that is absent counts as some."""
    try:
        return key not in frame or price_e8(frame[key]) > 0 or _is_tiny(frame[key])
    except EncodingError as error:
        raise EncodingError(f"field {key}: {error}") from None


def _is_tiny(value: object) -> bool:
    """A number above zero that rounds to zero."""
    whole, fraction, _ = _parts(value)
    return (whole + fraction).strip("0") != ""


def dollars(price_e8: int) -> str:
    """A price for a person: cents, rounded down."""
    return f"{price_e8 // E8:,}.{price_e8 % E8 * 100 // E8:02d}"
