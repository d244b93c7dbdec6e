"""Checked integers, prices, funding and profit against exact fractions."""

from fractions import Fraction
from math import ceil, floor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.errors import PriceError
from protocol.pool import muldiv
from protocol.pool.funding import borrow_rate, funding_rate, growth
from protocol.pool.layout import PRICE_MAX
from protocol.pool.params import PoolParams, TokenParams
from protocol.pool.pnl import (
    Health,
    average_price,
    base_left,
    base_of,
    health,
    max_size,
    pnl,
    position_fee,
    value_of,
)
from protocol.pool.position import PositionDatum, Side
from protocol.pool.prices import BatchPrices, Quote, quote
from protocol.pool.reject import RejectCode, RejectError
from protocol.pool.state import TokenState
from protocol.units import U64_MAX

U64 = st.integers(0, U64_MAX)
BTC = TokenParams(qty_exp=13, max_utilization_bps=8_000, funding_ppm=4_000, spread_bps=5)
TERMS = PoolParams(feeds=((1, bytes(32)),))
USDC, E8 = 10**6, 10**8
PRICES = st.integers(10**10, 10**13)
SIZES = st.integers(1, 10**13)
SIDES = st.sampled_from([Side.LONG, Side.SHORT])


def either(work):
    """Its result, or the code it was refused with."""
    try:
        return work()
    except RejectError as error:
        return error.code


@given(U64, U64, U64)
def test_products_over_a_divisor(a, b, c):
    """Every result that has a place, and OVERFLOW for every one that has none."""
    exact = Fraction(a * b, c) if c else None
    for divide, rounded in ((muldiv.mul_div, floor), (muldiv.mul_div_up, ceil)):
        fits = exact is not None and rounded(exact) <= U64_MAX
        expected = rounded(exact) if fits else RejectCode.OVERFLOW
        assert either(lambda divide=divide: divide(a, b, c)) == expected


@given(U64, U64)
def test_sums_and_differences(a, b):
    assert either(lambda: muldiv.add(a, b)) == (a + b if a + b <= U64_MAX else RejectCode.OVERFLOW)
    assert either(lambda: muldiv.sub(a, b)) == (a - b if a >= b else RejectCode.OVERFLOW)
    assert muldiv.less(a, b) == max(a - b, 0)


@pytest.mark.parametrize(("check", "most"), [(muldiv.i64, 2**63 - 1), (muldiv.i128, 2**127 - 1)])
def test_signed_bounds(check, most):
    assert (check(most), check(-most)) == (most, -most)
    assert either(lambda: check(most + 1)) == RejectCode.OVERFLOW
    assert either(lambda: check(-most - 1)) == RejectCode.OVERFLOW


@given(st.integers(0, 2**100))
def test_index_amounts(magnitude):
    for divide, rounded in ((muldiv.index_floor, floor), (muldiv.index_ceil, ceil)):
        exact = rounded(Fraction(magnitude, 10**12))
        expected = exact if exact <= U64_MAX else RejectCode.OVERFLOW
        assert either(lambda divide=divide: divide(magnitude)) == expected


# Prices


@pytest.mark.parametrize(
    ("conf", "half"), [(0, 20 * E8), (20 * E8, 20 * E8), (20 * E8 + 1, 20 * E8 + 1)]
)
def test_the_larger_of_confidence_and_spread_counts(conf, half):
    price = 40_000 * E8
    assert quote(price, conf, BTC) == Quote(price, price - half, price + half)


def test_the_spread_is_rounded_up():
    assert quote(1_999, 0, BTC) == (1_999, 1_998, 2_000)


@pytest.mark.parametrize(("price", "conf"), [(0, 0), (PRICE_MAX + 1, 0), (5, 5), (1, 0)])
def test_prices_that_none_can_trade_at(price, conf):
    with pytest.raises(PriceError, match="prices"):
        quote(price, conf, BTC)


@pytest.mark.parametrize("tokens", [(), (1, 2), (2,)])
def test_a_batch_prices_exactly_the_pool_s_tokens(tokens):
    prices = BatchPrices.plain(1, dict.fromkeys(tokens, E8))
    with pytest.raises(PriceError, match="every token"):
        prices.quotes({1: BTC})


def test_what_the_journal_says_of_prices():
    prices = BatchPrices(7, ((1, 5, 6), (3, 8, 9)))
    rows = ((1, 0, 5, 6), (3, 0, 8, 9))
    expected = (7).to_bytes(8, "little") + b"".join(
        b"".join(
            value.to_bytes(size, "little") for value, size in zip(row, (4, 4, 8, 8), strict=True)
        )
        for row in rows
    )
    assert prices.encode() == expected
    assert prices.root != BatchPrices(8, prices.rows).root


# Funding


def token(oi_long=0, oi_short=0, reserved=0):
    return TokenState(1, 3, reserved, 0, oi_long, oi_short, *[0] * 10)


@pytest.mark.parametrize(
    ("factor", "long", "short", "ppm"),
    [
        (4_000, 500_000, 200_000, 1_200),
        (8_000, 300_000, 400_000, -800),
        (10_000, 100_000, 50_000, 500),
        (4_000, 300_000, 300_000, 0),
        (10_000, 4_000_000, 0, 10_000),  # the cap
    ],
)
def test_rates_of_the_example(factor, long, short, ppm):
    """docs/pool.md, "Funding": the live state of docs/examples, on a liquidity of a million."""
    params = TokenParams(qty_exp=13, max_utilization_bps=8_000, funding_ppm=factor)
    found = funding_rate(token(long * USDC, short * USDC), params, TERMS, 10**6 * USDC)
    assert found == (ppm * 10**6, -ppm * 10**6)


def test_an_empty_pool_has_no_rates():
    params = TokenParams(qty_exp=13, max_utilization_bps=8_000, funding_ppm=4_000, borrow_ppm=600)
    assert funding_rate(token(5), params, TERMS, 0) == (0, 0)
    assert borrow_rate(token(5, reserved=5), params, TERMS, 0) == 0


def test_gmx_s_borrow_rate():
    """20 % reserved at a factor of 600: 120 ppm an interval (GMX's S08)."""
    params = TokenParams(qty_exp=13, max_utilization_bps=8_000, funding_ppm=0, borrow_ppm=600)
    assert borrow_rate(token(reserved=20), params, TERMS, 100) == 120 * 10**6


@given(st.integers(0, 10**10), st.integers(0, 10**9), st.lists(st.integers(0, 20_000), max_size=4))
def test_growth_in_steps_is_growth_at_once(rate, start, steps):
    end, total = start, 0
    for step in steps:
        total += growth(rate, end, end + step, TERMS)
        end += step
    assert total == growth(rate, start, end, TERMS) or end - start > TERMS.max_elapsed_s
    assert abs(total - Fraction(rate * (end - start), 28_800)) < 1


@given(st.integers(0, 10**10), st.integers(0, 10**9), st.integers(0, 3))
def test_whole_intervals_are_exact(rate, start, intervals):
    assert growth(rate, start, start + intervals * 28_800, TERMS) == rate * intervals


def test_elapsed_time_has_a_ceiling():
    day = growth(10**9, 0, 86_400, TERMS)
    assert growth(10**9, 0, 365 * 86_400, TERMS) == day == 3 * 10**9


# Profit


@settings(max_examples=50)
@given(SIZES, PRICES, PRICES, SIDES)
def test_profit_is_never_above_the_exact_one(size, entry, price, side):
    base = base_of(size, entry, side, BTC)
    profit, loss = pnl(size, base, side, price, BTC)
    sign = 1 if side == Side.LONG else -1
    exact = sign * (Fraction(size * price, entry) - size)
    assert profit == 0 or loss == 0
    # One unit for the value, and one unit of base at this price.
    assert exact - 1 - ceil(Fraction(price, BTC.unit)) <= profit - loss <= exact


@given(SIZES, PRICES, SIDES, st.integers(1, 10**6))
def test_what_is_left_of_a_base_favours_the_pool(size, price, side, part):
    base = base_of(size, price, side, BTC)
    closed = size * part // 10**6 if part < 10**6 else 0
    position = PositionDatum(bytes(32), 1, side, 1, size, base, *[0] * 6)
    exact = Fraction(base * (size - closed), size)
    left = base_left(position, closed)
    assert left == (floor(exact) if side == Side.LONG else ceil(exact))


def test_the_average_price_is_harmonic():
    """10,000 at 40,000 and 10,000 at 50,000: half a bitcoin less a twentieth, 44,444.44 each."""
    base = base_of(10_000 * USDC, 40_000 * E8, 0, BTC) + base_of(10_000 * USDC, 50_000 * E8, 0, BTC)
    position = PositionDatum(bytes(32), 1, 0, 2, 20_000 * USDC, base, *[0] * 6)
    assert average_price(position, BTC) == 4_444_444_444_444
    assert value_of(base, 44_444 * E8, 0, BTC) == 19_999_800_000


@pytest.mark.parametrize(
    ("price", "state"),
    [
        (43_200, Health.HEALTHY),
        (43_200 + Fraction(1, E8), Health.OVER_LEVERAGED),
        (43_680, Health.OVER_LEVERAGED),
        (43_680 + Fraction(1, E8), Health.UNDERWATER),
        (44_100, Health.UNDERWATER),
    ],
)
def test_gmx_s_boundaries_of_liquidation(price, state):
    """GMX's S11: a short of 1,000 at 40,000 with 100 of collateral, 50x at most, fee 3 and 5."""
    params = TokenParams(qty_exp=15, max_utilization_bps=8_000, funding_ppm=0)
    base = base_of(1_000 * USDC, 40_000 * E8, Side.SHORT, params)
    found = health(1_000 * USDC, base, 100 * USDC, Side.SHORT, int(price * E8), params)
    assert found == state


def test_fees_round_up_and_leverage_down():
    assert position_fee(10_000 * USDC, BTC) == 30 * USDC
    assert (position_fee(1, BTC), position_fee(0, BTC)) == (1, 0)
    assert max_size(10, BTC) == 500
