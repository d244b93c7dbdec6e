"""A minute or five years, 1 % or 500 % volatility, far in or out of the money: finite and ordered
numbers, or an error with a name."""

import math
from dataclasses import astuple
from itertools import product

import pytest

from protocol.errors import PriceError
from protocol.options.instrument import OptionKind
from protocol.options.pricing.option import Barrier, BarrierKind, Market, Option, Payoff
from protocol.options.pricing.value import implied, value

SPOT = 60_000.0
STRIKES = (600.0, 59_990.0, 60_000.0, 6_000_000.0)
MINUTE = 1 / (365 * 24 * 60)
BARRIERS = (
    Barrier(BarrierKind.DOWN_AND_OUT, 30_000.0),
    Barrier(BarrierKind.DOWN_AND_OUT, 59_999.0),
    Barrier(BarrierKind.UP_AND_OUT, 60_001.0),
    Barrier(BarrierKind.UP_AND_OUT, 120_000.0),
)
CORNERS = list(product((MINUTE, 5.0), (0.01, 5.0), (0.0, 0.1), (0.0, 0.1)))


def finite(option, market, years):
    greeks = value(option, market, years)
    assert all(map(math.isfinite, astuple(greeks)))
    return greeks.price


@pytest.mark.parametrize(("years", "vol", "rate", "dividend"), CORNERS)
@pytest.mark.parametrize("kind", OptionKind)
def test_prices_are_finite_and_ordered(kind, years, vol, rate, dividend):
    market = Market(SPOT, rate, dividend, vol)
    sign = 1 if kind is OptionKind.CALL else -1
    held, slack = SPOT * math.exp(-dividend * years), 1e-9 * SPOT
    for strike in STRIKES:
        paid = strike * math.exp(-rate * years)
        plain = finite(Option(kind, strike), market, years)
        most = held if sign > 0 else paid
        assert max(sign * (held - paid), 0.0) - slack <= plain <= most + slack
        assert 0.0 <= finite(Option(kind, strike, Payoff.CASH), market, years) <= 1.0
        american = finite(Option(kind, strike, is_american=True), market, years)
        assert american >= max(plain, sign * (SPOT - strike)) - 1e-5 * strike
        assert american <= max(SPOT if sign > 0 else strike, plain)
        for barrier in BARRIERS:
            watched = finite(Option(kind, strike, barrier=barrier), market, years)
            dates = Barrier(barrier.kind, barrier.level, dates=3)
            seldom = finite(Option(kind, strike, barrier=dates), market, years)
            assert -slack <= watched <= seldom + slack <= plain + 2 * slack


@pytest.mark.parametrize(("years", "vol", "rate", "dividend"), CORNERS)
def test_a_touch_is_worth_between_nothing_and_its_cash(years, vol, rate, dividend):
    for barrier in BARRIERS:
        kind = OptionKind.CALL if barrier.kind.up > 0 else OptionKind.PUT
        option = Option(kind, barrier.level, Payoff.TOUCH)
        assert 0.0 <= finite(option, Market(SPOT, rate, dividend, vol), years) <= 1 + 1e-12


@pytest.mark.parametrize(("years", "vol", "rate", "dividend"), CORNERS[::3])
def test_american_knock_outs_are_ordered_or_refused(years, vol, rate, dividend):
    market = Market(SPOT, rate, dividend, vol)
    for kind, barrier in product(OptionKind, (BARRIERS[0], BARRIERS[2])):
        option = Option(kind, SPOT, is_american=True, barrier=barrier)
        whole = finite(Option(kind, SPOT, is_american=True), market, years)
        try:
            assert 0.0 <= finite(option, market, years) <= whole + 1e-4 * SPOT
        except PriceError as error:
            assert "too small beside" in str(error)


@pytest.mark.parametrize("years", [MINUTE, 5.0])
@pytest.mark.parametrize("vol", [0.01, 5.0])
def test_implied_volatility_is_found_or_refused(years, vol):
    for kind, strike in product(OptionKind, STRIKES):
        greeks = value(Option(kind, strike), Market(SPOT, vol=vol), years)
        try:
            found = implied(Option(kind, strike), Market(SPOT), years, greeks.price)
        except PriceError:
            assert greeks.vega < 1e-6 * SPOT
            continue
        lost = 1e-14 * (SPOT + strike) / max(greeks.vega, 1e-300)
        assert math.isclose(found, vol, rel_tol=1e-8) or lost > 1e-9
