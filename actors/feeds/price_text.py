"""Price text to integers in 10^-8, exactly.

A string must match ``[0-9]{1,12}(.[0-9]{1,18})?`` in ASCII. A JSON number may have an exponent
(Kraken v2 sends numbers). Digits beyond the eighth decimal round half to even.
"""

import re
from typing import Final

from actors.feeds.strict_json import Frame, Literal, get, shown
from protocol.errors import EncodingError
from protocol.units import U64_MAX

DECIMALS: Final = 8

_STRING = re.compile(r"([0-9]{1,12})(?:\.([0-9]{1,18}))?")
_NUMBER = re.compile(r"([0-9]{1,20})(?:\.([0-9]{1,40}))?(?:[eE]([+-]?[0-9]{1,2}))?")


def _half_even(numerator: int, denominator: int) -> int:
    quotient, rest = divmod(numerator, denominator)
    return quotient + (2 * rest > denominator or (2 * rest == denominator and quotient & 1))


def _scaled(whole: str, fraction: str, exponent: int) -> int:
    shift = DECIMALS - len(fraction) + exponent
    digits = int(whole + fraction)
    return digits * 10**shift if shift >= 0 else _half_even(digits, 10**-shift)


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


def price_e8(value: object) -> int:
    """A JSON string or number in 10^-8, at most u64; ``EncodingError`` for anything else."""
    whole, fraction, exponent = _parts(value)
    price = (
        int(whole + fraction.ljust(DECIMALS, "0"))
        if exponent == 0 and len(fraction) <= DECIMALS
        else _scaled(whole, fraction, exponent)
    )
    if price > U64_MAX:
        raise EncodingError(f"price above the 64-bit range: {shown(value)}")
    return price


def get_price(frame: Frame, key: str) -> int:
    """The price in the field ``key``, in 10^-8."""
    try:
        return price_e8(get(frame, key))
    except EncodingError as error:
        raise EncodingError(f"field {key}: {error}") from None


def has_size(frame: Frame, key: str) -> bool:
    """False if the size in ``key`` is zero; a size that is absent counts as some."""
    if key not in frame:
        return True
    whole, fraction, _ = _parts(frame[key])
    return (whole + fraction).strip("0") != ""
