"""Payoffs: hand-computed cases, bounds, and the terms that are refused."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import TermsError
from protocol.options.instrument import OptionKind
from protocol.options.payoff import (
    PAYOUT_BITS_MAX,
    PAYOUT_BITS_MIN,
    UNIT_SATS_MIN,
    bits_that_fit,
    payoff_sats,
    unit_of,
    units_max,
    units_of,
)
from protocol.units import E8, U64_MAX, PriceE8, Sats

CALL, PUT = OptionKind.CALL, OptionKind.PUT
K = 50_000 * E8


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
    paid = payoff_sats(kind, PriceE8(spot), PriceE8(strike), Sats(quantity), Sats(collateral))
    assert paid == expected


NUMBERS = st.integers(1, U64_MAX) | st.integers(1, 10 * K)


@given(st.sampled_from(OptionKind), NUMBERS, NUMBERS, NUMBERS, NUMBERS)
def test_payoff_is_the_rational_payoff_rounded_down_and_capped(
    kind: OptionKind, spot: int, strike: int, quantity: int, collateral: int
) -> None:
    collateral = max(collateral, quantity) if kind is CALL else collateral
    paid = payoff_sats(kind, PriceE8(spot), PriceE8(strike), Sats(quantity), Sats(collateral))
    sign = 1 if kind is CALL else -1
    owed = max(Fraction(0), sign * quantity * (1 - Fraction(strike, spot)))
    assert 0 <= paid <= collateral
    assert paid <= owed < paid + 1 or paid == collateral < owed


@pytest.mark.parametrize(
    ("spot", "strike", "quantity", "collateral", "field"),
    [
        (0, K, 1, 1, "spot_e8 0"),
        (-1, K, 1, 1, "spot_e8 -1"),
        (2**64, K, 1, 1, "spot_e8 18446744073709551616"),
        (K, 0, 1, 1, "strike_e8 0"),
        (K, 2**64, 1, 1, "strike_e8"),
        (K, K, 0, 1, "quantity_sats 0"),
        (K, K, 2**64, 2**64, "quantity_sats"),
        (K, K, 1, 0, "collateral_sats 0"),
        (K, K, 1, 2**64, "collateral_sats"),
    ],
)
@pytest.mark.parametrize("kind", OptionKind)
def test_numbers_out_of_range_are_refused(
    kind: OptionKind, spot: int, strike: int, quantity: int, collateral: int, field: str
) -> None:
    with pytest.raises(TermsError, match=field):
        payoff_sats(kind, PriceE8(spot), PriceE8(strike), Sats(quantity), Sats(collateral))


def test_a_call_is_fully_covered() -> None:
    with pytest.raises(TermsError, match="raise the collateral"):
        payoff_sats(CALL, PriceE8(K), PriceE8(K), Sats(2), Sats(1))


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
