"""Barriers looked at on dates: between a plain option and one always watched, and towards it."""

import math
from dataclasses import replace

import pytest

from protocol.options.instrument import OptionKind
from protocol.options.pricing import discrete
from protocol.options.pricing.option import Barrier, BarrierKind, Market, Option
from protocol.options.pricing.value import value

MARKET = Market(60_000.0, 0.045, 0.01, 0.55)
MONTH = 30 / 365
PUT = Option(OptionKind.PUT, 60_000.0, barrier=Barrier(BarrierKind.DOWN_AND_OUT, 50_000.0))
CALL = Option(OptionKind.CALL, 60_000.0, barrier=Barrier(BarrierKind.UP_AND_OUT, 75_000.0))


def looked_at(option, dates):
    return replace(option, barrier=replace(option.barrier, dates=dates))


@pytest.mark.parametrize("option", [PUT, CALL])
def test_more_dates_approach_the_barrier_always_watched(option):
    watched = value(option, MARKET, MONTH).price
    dates = (1, 2, 5, 20, 100, 400, 401, 39_000, 41_000, 10_000_000, 10**12)
    prices = [value(looked_at(option, n), MARKET, MONTH).price for n in dates]
    plain = value(replace(option, barrier=None), MARKET, MONTH).price
    assert all(a > b for a, b in zip([plain, *prices], [*prices, watched], strict=True))
    assert math.isclose(prices[-1], watched, rel_tol=1e-5)


@pytest.mark.parametrize("option", [PUT, CALL])
def test_the_corrected_barrier_takes_over_smoothly(option, monkeypatch):
    moved = value(looked_at(option, 1000), MARKET, MONTH)
    monkeypatch.setattr(discrete, "EXACT_DATES", 1000)
    exact = value(looked_at(option, 1000), MARKET, MONTH)
    assert math.isclose(moved.price, exact.price, rel_tol=1e-5)
    for greek in ("delta", "gamma", "vega", "theta", "rho", "dividend_rho"):
        assert math.isclose(getattr(moved, greek), getattr(exact, greek), rel_tol=2e-4), greek


def test_one_date_is_a_spread_of_payoffs():
    """A put that dies below 50,000 at expiry: a put less a put there less 10,000 in cash."""
    once = value(looked_at(PUT, 1), MARKET, MONTH).price
    puts = [value(Option(OptionKind.PUT, k), MARKET, MONTH) for k in (60_000.0, 50_000.0)]
    step = 1.0
    lower = value(Option(OptionKind.PUT, 50_000.0 - step), MARKET, MONTH).price
    upper = value(Option(OptionKind.PUT, 50_000.0 + step), MARKET, MONTH).price
    cash = 10_000 * (upper - lower) / (2 * step)
    assert math.isclose(once, puts[0].price - puts[1].price - cash, rel_tol=1e-6)


def test_a_spot_beyond_the_barrier_may_come_back_before_the_first_date():
    beyond = value(looked_at(PUT, 12), replace(MARKET, spot=49_500.0), MONTH).price
    assert 0.0 < beyond < value(looked_at(PUT, 12), MARKET, MONTH).price
    assert value(looked_at(PUT, 12), replace(MARKET, spot=5_000.0), MONTH).price == 0.0


def test_a_certain_path_is_looked_at_on_its_dates():
    option = looked_at(Option(OptionKind.CALL, 90.0, barrier=CALL.barrier), 4)
    option = replace(option, barrier=replace(option.barrier, level=101.0))
    grows = Market(100.0, 0.02, 0.0, 0.0)
    assert value(option, grows, 1.0).price == 0.0
    assert value(option, grows, 0.25).price > 10.0
