"""Integers as the guest has them: every result is in its bounds, or the operation is refused.

A u64 is in [0, 2**64), an i64 in [-2**63, 2**63), an i128 in [-2**127, 2**127). Products of two
u64 are 128-bit intermediates. Divisors and dividends are unsigned: signed amounts are a magnitude
and a direction. RejectError(OVERFLOW) wherever a result has no place.
"""

from typing import Final

from protocol.pool.reject import RejectCode, RejectError
from protocol.units import U64_MAX

BPS: Final = 10_000
PPM: Final = 1_000_000
INDEX_ONE: Final = 10**12
"""The funding and borrow indices count 1e-12 USD per USD."""
I64_MAX: Final = 2**63 - 1
I128_MAX: Final = 2**127 - 1


def add(a: int, b: int) -> int:
    """u64 + u64 -> u64."""
    total = a + b
    if total > U64_MAX:
        raise RejectError(RejectCode.OVERFLOW)
    return total


def sub(a: int, b: int) -> int:
    """u64 - u64 -> u64; below zero is refused."""
    if b > a:
        raise RejectError(RejectCode.OVERFLOW)
    return a - b


def mul_div(a: int, b: int, c: int) -> int:
    """floor(a * b / c) of u64, as u64; c = 0 is refused."""
    if c == 0 or (quotient := a * b // c) > U64_MAX:
        raise RejectError(RejectCode.OVERFLOW)
    return quotient


def mul_div_up(a: int, b: int, c: int) -> int:
    """ceil(a * b / c) of u64, as u64; c = 0 is refused."""
    if c == 0 or (quotient := (a * b + c - 1) // c) > U64_MAX:
        raise RejectError(RejectCode.OVERFLOW)
    return quotient


def less(a: int, b: int) -> int:
    """max(a - b, 0) of u64."""
    return a - b if a > b else 0


def i64(value: int) -> int:
    """``value``, the sum or difference of two i64, if it is one itself."""
    if not -I64_MAX <= value <= I64_MAX:
        raise RejectError(RejectCode.OVERFLOW)
    return value


def i128(value: int) -> int:
    """``value``, a sum of i128 and products of a u64 and an i64, if it is an i128 itself."""
    if not -I128_MAX <= value <= I128_MAX:
        raise RejectError(RejectCode.OVERFLOW)
    return value


def index_floor(magnitude: int) -> int:
    """floor(magnitude / 1e12) of an unsigned 127-bit magnitude, as u64."""
    if (quotient := magnitude // INDEX_ONE) > U64_MAX:
        raise RejectError(RejectCode.OVERFLOW)
    return quotient


def index_ceil(magnitude: int) -> int:
    """ceil(magnitude / 1e12) of an unsigned 127-bit magnitude, as u64."""
    if (quotient := (magnitude + INDEX_ONE - 1) // INDEX_ONE) > U64_MAX:
        raise RejectError(RejectCode.OVERFLOW)
    return quotient
