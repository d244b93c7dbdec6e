"""American options: never below the European one or the payoff, and where both are known equal."""

import math
from dataclasses import replace

import pytest
from hypothesis import given, settings

from protocol.errors import PriceError
from protocol.options.instrument import OptionKind
from protocol.options.pricing.option import Barrier, BarrierKind, Market, Option
from protocol.options.pricing.value import value
from tests.builders.options import KINDS, STRIKES, YEARS, markets

CALL, PUT = OptionKind.CALL, OptionKind.PUT
FEW = settings(max_examples=25, deadline=None)


def american(kind, strike, **more):
    return Option(kind, strike, is_american=True, **more)


@FEW
@given(KINDS, STRIKES, markets(), YEARS)
def test_it_is_worth_its_european_twin_and_its_payoff_at_least(kind, strike, market, years):
    price = value(american(kind, strike), market, years).price
    twin = value(Option(kind, strike), market, years).price
    sign = 1 if kind is CALL else -1
    assert price >= max(twin, sign * (market.spot - strike)) - 1e-5 * strike
    assert price <= (market.spot if kind is CALL else strike)


@FEW
@given(KINDS, STRIKES, markets(), YEARS)
def test_the_fast_scheme_is_within_1e_5_of_the_strike(kind, strike, market, years):
    option = american(kind, strike)
    fast, slow = (value(option, market, years, is_accurate=a).price for a in (False, True))
    assert abs(fast - slow) <= 1e-5 * strike


@FEW
@given(STRIKES, markets(), YEARS)
def test_a_call_without_dividends_is_european(strike, market, years):
    market = replace(market, dividend=0.0)
    option = american(CALL, strike)
    assert value(option, market, years) == value(replace(option, is_american=False), market, years)


@FEW
@given(STRIKES, markets(), YEARS)
def test_a_call_is_a_put_with_everything_exchanged(strike, market, years):
    call = value(american(CALL, strike), market, years)
    mirror = Market(strike, market.dividend, market.rate, market.vol)
    put = value(american(PUT, market.spot), mirror, years)
    assert math.isclose(call.price, put.price, rel_tol=1e-9, abs_tol=1e-6)
    assert math.isclose(call.rho, put.dividend_rho, rel_tol=1e-6, abs_tol=1e-3)


@pytest.mark.parametrize("kind", [CALL, PUT])
@pytest.mark.parametrize(("rate", "dividend"), [(0.1, 0.02), (0.02, 0.1), (0.06, 0.08)])
def test_without_volatility_the_best_moment_is_chosen(kind, rate, dividend):
    """At (0.06, 0.08) a put struck at 110 is worth most on the way."""
    option = american(kind, 90.0 if kind is CALL else 110.0)
    certain = value(option, Market(100.0, rate, dividend, 0.0), 4.0)
    sign = 1 if kind is CALL else -1
    paths = [
        sign * (100 * math.exp(-dividend * t / 1000) - option.strike * math.exp(-rate * t / 1000))
        for t in range(4001)
    ]
    assert math.isclose(certain.price, max(*paths, 0.0), rel_tol=1e-6)
    close = value(option, Market(100.0, rate, dividend, 1e-3), 4.0, is_accurate=True)
    assert math.isclose(certain.price, close.price, abs_tol=5e-3)


@pytest.mark.parametrize(("rate", "dividend"), [(-0.01, -0.05), (0.0, -0.05)])
def test_two_borders_of_exercise_are_refused(rate, dividend):
    with pytest.raises(PriceError, match="two borders"):
        value(american(PUT, 100.0), Market(100.0, rate, dividend, 0.3), 1.0)
    with pytest.raises(PriceError, match="two borders"):
        value(american(CALL, 100.0), Market(100.0, dividend, rate, 0.3), 1.0)


@pytest.mark.parametrize(("rate", "dividend"), [(-0.05, -0.01), (-0.05, 0.1), (0.05, -0.1)])
def test_a_negative_rate_with_one_border_is_priced(rate, dividend):
    for kind, market in (
        (PUT, Market(100.0, rate, dividend, 0.3)),
        (CALL, Market(100.0, dividend, rate, 0.3)),
    ):
        price = value(american(kind, 100.0), market, 1.0).price
        twin = value(Option(kind, 100.0), market, 1.0).price
        assert price >= twin
        if rate < 0:
            assert price == twin


def test_a_knock_out_lies_between_nothing_and_the_plain_option():
    market = Market(60_000.0, 0.03, 0.06, 0.7)
    for kind in OptionKind:
        plain = value(american(kind, 60_000.0), market, 0.25).price
        for barrier in (
            Barrier(BarrierKind.DOWN_AND_OUT, 50_000.0),
            Barrier(BarrierKind.UP_AND_OUT, 70_000.0),
        ):
            knocked = value(american(kind, 60_000.0, barrier=barrier), market, 0.25).price
            twin = value(Option(kind, 60_000.0, barrier=barrier), market, 0.25).price
            assert twin < knocked < plain


def test_a_barrier_out_of_reach_and_one_already_touched():
    market = Market(60_000.0, 0.03, 0.06, 0.5)
    far = Barrier(BarrierKind.UP_AND_OUT, 90_000.0)
    option = american(CALL, 50_000.0)
    day = 1 / 365
    assert value(replace(option, barrier=far), market, day) == value(option, market, day)
    touched = Barrier(BarrierKind.UP_AND_OUT, 60_000.0)
    assert value(replace(option, barrier=touched), market, day).price == 10_000.0


def test_a_grid_that_would_oscillate_is_refused():
    option = american(PUT, 60_000.0, barrier=Barrier(BarrierKind.UP_AND_OUT, 60_010.0))
    with pytest.raises(PriceError, match=r"vol 0\.01"):
        value(option, Market(60_000.0, 0.05, 0.5, 0.01), 5.0)
