"""Payoffs: hand-computed cases, bounds, and the terms that are refused."""

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import TermsError
from protocol.options.instrument import Barrier, KnockOut, OptionKind
from protocol.options.payoff import (
    PAYOUT_BITS_MAX,
    PAYOUT_BITS_MIN,
    UNIT_SATS_MIN,
    Payoff,
    bits_that_fit,
    unit_of,
    units_max,
    units_of,
)
from protocol.units import E8, U64_MAX, PriceE8, Sats
from tests.builders.any_terms import payoffs

CALL, PUT = OptionKind.CALL, OptionKind.PUT
UP, DOWN = KnockOut.UP, KnockOut.DOWN
K = 50_000 * E8


def option(kind: OptionKind, strike: int, quantity: int, collateral: int, **more: Any) -> Payoff:
    return Payoff(
        kind=kind,
        strike_e8=PriceE8(strike),
        quantity_sats=Sats(quantity),
        collateral_sats=Sats(collateral),
        **more,
    )


def paid(payoff: Payoff, price: int, high: int = 0, low: int = 0) -> int:
    """What it pays; the price stood still unless a high or low is given."""
    return payoff.sats(PriceE8(price), PriceE8(high or price), PriceE8(low or price))


@pytest.mark.parametrize(
    ("kind", "spot", "strike", "quantity", "collateral", "expected"),
    [
        (CALL, K, K, E8, E8, 0),
        (CALL, K - 1, K, E8, E8, 0),
        (CALL, K + 1, K, E8, E8, 0),  # 10^8 * 1 / 5*10^12 is below one sat
        (CALL, 2 * K, K, E8, E8, E8 // 2),
        (CALL, 62_500 * E8, K, E8, E8, E8 // 5),
        (CALL, 8374425000000, K, E8, E8, 40_294_408),
        (CALL, U64_MAX, 1, U64_MAX, U64_MAX, U64_MAX - 1),
        (CALL, U64_MAX, 1, 1, 1, 0),
        (CALL, 2, 1, 1, 1, 0),
        (PUT, K, K, E8, E8, 0),
        (PUT, K + 1, K, E8, E8, 0),
        (PUT, 40_000 * E8, K, E8, E8, E8 // 4),
        (PUT, 25_000 * E8, K, E8, E8, E8),
        (PUT, 20_000 * E8, K, E8, E8, E8),  # 1.5 BTC owed, capped
        (PUT, 20_000 * E8, K, E8, 2 * E8, 3 * E8 // 2),
        (PUT, 20_000 * E8, K, 2 * E8, E8, E8),  # a put may cap below its quantity
        (PUT, 1, U64_MAX, U64_MAX, U64_MAX, U64_MAX),
        (PUT, 1, U64_MAX, 1, U64_MAX, U64_MAX - 1),
        (PUT, U64_MAX - 1, U64_MAX, U64_MAX, U64_MAX, 1),
    ],
)
def test_known_payoffs(
    kind: OptionKind, spot: int, strike: int, quantity: int, collateral: int, expected: int
) -> None:
    assert paid(option(kind, strike, quantity, collateral), spot) == expected


@pytest.mark.parametrize(
    ("kind", "price", "expected"),
    [(CALL, K - 1, 0), (CALL, K, 0), (CALL, K + 1, 7), (PUT, K - 1, 7), (PUT, K, 0), (PUT, 1, 7)],
)
def test_a_binary_pays_its_quantity_or_nothing(kind: OptionKind, price: int, expected: int) -> None:
    assert paid(option(kind, K, 7, 9, is_binary=True), price) == expected


@pytest.mark.parametrize(
    ("kind", "direction", "level", "high", "low", "alive"),
    [
        (CALL, UP, 2 * K, 2 * K - 1, 1, True),
        (CALL, UP, 2 * K, 2 * K, 1, False),
        (CALL, DOWN, K // 2, U64_MAX, K // 2 + 1, True),
        (CALL, DOWN, K // 2, U64_MAX, K // 2, False),
        (CALL, DOWN, K + 2, U64_MAX, K + 3, True),
        (PUT, UP, 2 * K, 2 * K - 1, 1, True),
        (PUT, UP, 2 * K, 2 * K, 1, False),
        (PUT, DOWN, K // 2, U64_MAX, K // 2 + 1, True),
        (PUT, DOWN, K // 2, U64_MAX, K // 2, False),
    ],
)
def test_a_touched_barrier_knocks_out(
    kind: OptionKind, direction: KnockOut, level: int, high: int, low: int, alive: bool
) -> None:
    barrier = Barrier(direction, PriceE8(level))
    price = K * 3 // 2 if kind is CALL else K * 3 // 4
    vanilla, knock_out = option(kind, K, E8, E8), option(kind, K, E8, E8, barrier=barrier)
    assert paid(vanilla, price, high, low) == E8 // 3
    assert paid(knock_out, price, high, low) == (E8 // 3 if alive else 0)


NUMBERS = st.integers(1, U64_MAX) | st.integers(1, 10 * K)


@given(payoffs(), NUMBERS, NUMBERS, NUMBERS)
def test_payoff_is_the_rational_payoff_rounded_down_and_capped(
    payoff: Payoff, a: int, b: int, c: int
) -> None:
    low, price, high = sorted((a, b, c))
    sats = paid(payoff, price, high, low)
    sign = 1 if payoff.kind is CALL else -1
    owed = max(Fraction(0), sign * payoff.quantity_sats * (1 - Fraction(payoff.strike_e8, price)))
    if payoff.is_binary and owed:
        owed = Fraction(payoff.quantity_sats)
    if (barrier := payoff.barrier) is not None:
        touched = high >= barrier.level_e8 if barrier.direction is UP else low <= barrier.level_e8
        owed = Fraction(0) if touched else owed
    assert 0 <= sats <= payoff.collateral_sats
    assert sats <= owed < sats + 1 or sats == payoff.collateral_sats < owed


@pytest.mark.parametrize(
    ("strike", "quantity", "collateral", "field"),
    [
        (0, 1, 1, "strike_e8 0"),
        (2**64, 1, 1, "strike_e8"),
        (K, 0, 1, "quantity_sats 0"),
        (K, 2**64, 2**64, "quantity_sats"),
        (K, 1, 0, "collateral_sats 0"),
        (K, 1, 2**64, "collateral_sats"),
    ],
)
@pytest.mark.parametrize("kind", OptionKind)
def test_numbers_out_of_range_are_refused(
    kind: OptionKind, strike: int, quantity: int, collateral: int, field: str
) -> None:
    with pytest.raises(TermsError, match=field):
        option(kind, strike, quantity, collateral)


@pytest.mark.parametrize("field", ["price_e8", "high_e8", "low_e8"])
@pytest.mark.parametrize("price", [0, -1, 2**64])
def test_prices_out_of_range_are_refused(field: str, price: int) -> None:
    prices = dict.fromkeys(("price_e8", "high_e8", "low_e8"), PriceE8(K)) | {field: PriceE8(price)}
    with pytest.raises(TermsError, match=f"{field} {price}"):
        option(CALL, K, 1, 1).sats(**prices)


def test_a_call_and_a_binary_are_fully_covered() -> None:
    with pytest.raises(TermsError, match=r"of a call .* raise the collateral"):
        option(CALL, K, 2, 1)
    for kind in OptionKind:
        with pytest.raises(TermsError, match=r"of a binary .* raise the collateral"):
            option(kind, K, 2, 1, is_binary=True)


@pytest.mark.parametrize(
    ("kind", "direction", "level", "match"),
    [
        (CALL, UP, K, "knocked out before it pays; the level must lie above"),
        (PUT, DOWN, K, "knocked out before it pays; the level must lie below"),
        (CALL, DOWN, 0, "barrier level_e8 0"),
        (PUT, UP, 2**64, "barrier level_e8 18446744073709551616"),
    ],
)
def test_barriers_that_make_no_sense_are_refused(
    kind: OptionKind, direction: KnockOut, level: int, match: str
) -> None:
    with pytest.raises(TermsError, match=match):
        option(kind, K, 1, 1, barrier=Barrier(direction, PriceE8(level)))


def test_a_binary_has_no_barrier() -> None:
    with pytest.raises(TermsError, match="barrier: a binary option has none"):
        option(CALL, K, 1, 1, is_binary=True, barrier=Barrier(UP, PriceE8(K + 1)))


@pytest.mark.parametrize(
    ("collateral", "bits", "unit"),
    [(E8, 16, 1525), (65_535_000, 16, 1_000), (255_000, 8, 1_000), (E8, 8, 392_156)],
)
def test_the_collateral_is_split_into_units(collateral: int, bits: int, unit: int) -> None:
    assert unit_of(Sats(collateral), bits) == unit


@pytest.mark.parametrize(
    ("collateral", "bits", "hint"),
    [
        (65_534_999, 16, "a unit of 999 sats is below 1000: use 15 bits"),
        (E8, 20, "a unit of 95 sats is below 1000: use 16 bits"),
        (255_000, 16, "use 8 bits"),
        (254_999, 8, "collateral_sats 254999 is below 255000"),
        (E8, 7, "payout_bits 7: it must lie between 8 and 20"),
        (E8, 21, "payout_bits 21"),
    ],
)
def test_units_too_small_to_be_outputs_are_refused(collateral: int, bits: int, hint: str) -> None:
    with pytest.raises(TermsError, match=hint):
        unit_of(Sats(collateral), bits)


@given(st.integers(255_000, U64_MAX))
def test_the_bits_that_fit_are_the_most_up_to_the_default(collateral: int) -> None:
    bits = bits_that_fit(Sats(collateral))
    assert unit_of(Sats(collateral), bits) >= UNIT_SATS_MIN
    if bits < 16:
        with pytest.raises(TermsError):
            unit_of(Sats(collateral), bits + 1)


@given(st.data(), st.integers(PAYOUT_BITS_MIN, PAYOUT_BITS_MAX))
def test_units_never_pay_more_than_the_payoff_and_leave_less_than_one_or_the_remainder(
    data: st.DataObject, bits: int
) -> None:
    collateral = data.draw(st.integers(1_000 * units_max(bits), U64_MAX))
    payoff = data.draw(st.integers(0, collateral))
    unit = unit_of(Sats(collateral), bits)
    units = units_of(Sats(payoff), unit, bits)
    assert 0 <= units <= units_max(bits)
    assert units * unit <= payoff
    assert payoff - units * unit < unit or units == units_max(bits)
    assert collateral - units_max(bits) * unit < units_max(bits)
