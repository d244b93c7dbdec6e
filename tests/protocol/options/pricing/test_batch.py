"""Rows give what one option gives, to rounding; what is refused there is no number here."""

from dataclasses import astuple, replace

import numpy as np
import pytest

from protocol.options.instrument import OptionKind
from protocol.options.pricing import batch
from protocol.options.pricing.american import ACCURATE
from protocol.options.pricing.kernels import ROWS
from protocol.options.pricing.option import Barrier, BarrierKind, Market, Option, Payoff
from protocol.options.pricing.value import implied, value

N = ROWS + 777
RNG = np.random.default_rng(11)
SIGN = RNG.choice([-1.0, 1.0], N)
STRIKE = RNG.uniform(30_000, 90_000, N)
SPOT = RNG.uniform(50_000, 70_000, N)
YEARS = RNG.uniform(0.0, 2.0, N) * RNG.choice([0.0, 1.0], N, p=[0.01, 0.99])
RATE = RNG.uniform(0.0, 0.1, N)
DIVIDEND = RNG.uniform(0.0, 0.1, N)
VOL = RNG.uniform(0.05, 2.0, N) * RNG.choice([0.0, 1.0], N, p=[0.01, 0.99])
TERMS = (SPOT, YEARS, RATE, DIVIDEND, VOL)
SAMPLE = range(0, N, 23)


def market(i):
    return Market(SPOT[i], RATE[i], DIVIDEND[i], VOL[i])


def option(i, **more):
    return Option(OptionKind.CALL if SIGN[i] > 0 else OptionKind.PUT, STRIKE[i], **more)


def assert_same(rows, one):
    for i in SAMPLE:
        expected = np.array(astuple(value(one(i), market(i), YEARS[i])))
        found = np.array([column[i] for column in astuple(rows)])
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9, err_msg=str(one(i)))


def test_vanilla():
    assert_same(batch.vanilla(SIGN, STRIKE, *TERMS), option)


def test_binary():
    cash = batch.european(SIGN, 0.0, 5.0, STRIKE, *TERMS)
    assert_same(cash, lambda i: option(i, payoff=Payoff.CASH, cash=5.0))
    asset = batch.european(SIGN, 1.0, 0.0, STRIKE, *TERMS)
    assert_same(asset, lambda i: option(i, payoff=Payoff.ASSET))


@pytest.mark.parametrize("dates", [None, 86_400])
def test_knock_out(dates):
    up = RNG.choice([-1.0, 1.0], N)
    level = SPOT * np.exp(up * RNG.uniform(-0.01, 0.6, N))
    kinds = {1.0: BarrierKind.UP_AND_OUT, -1.0: BarrierKind.DOWN_AND_OUT}
    rows = batch.knock_out(SIGN, STRIKE, up, level, *TERMS, dates=dates)
    if dates is not None:  # on a certain path one option is looked at on its dates
        live = YEARS * VOL > 0
        rows = type(rows)(*(np.where(live, column, 0.0) for column in astuple(rows)))

    def one(i):
        if dates is not None and not YEARS[i] * VOL[i] > 0:
            return Option(OptionKind.CALL, 1e9, Payoff.CASH, cash=0.0)
        return option(i, barrier=Barrier(kinds[up[i]], level[i], dates=dates))

    assert_same(rows, one)


@pytest.mark.parametrize("is_price_alone", [False, True])
def test_american(is_price_alone):
    rows = batch.american(SIGN, STRIKE, *TERMS, is_price_alone=is_price_alone)
    if not is_price_alone:
        assert_same(rows, lambda i: option(i, is_american=True))
        return
    for i in SAMPLE:
        one = value(option(i, is_american=True), market(i), YEARS[i])
        assert np.isclose(rows.price[i], one.price, rtol=1e-12)
        assert np.isclose(rows.theta[i], one.theta, rtol=1e-9, atol=1e-9)
    accurate = batch.american(SIGN, STRIKE, *TERMS, schemes=ACCURATE, is_price_alone=True)
    assert np.all(np.abs(accurate.price - rows.price) <= 1e-5 * STRIKE)


def test_implied_volatility():
    price = batch.vanilla(SIGN, STRIKE, *TERMS).price
    rows = batch.implied_vol(SIGN, price, STRIKE, *TERMS[:4])
    checked = 0
    for i in SAMPLE:
        vega = value(option(i), market(i), YEARS[i]).vega
        if vega > 1.0:
            one = implied(option(i), replace(market(i), vol=0.0), YEARS[i], price[i])
            assert abs(rows[i] - one) < 1e-12 + 1e-9 / vega
            assert abs(rows[i] - VOL[i]) < 1e-12 + 1e-9 / vega
            checked += 1
    assert checked > len(SAMPLE) // 2
    assert np.isnan(batch.implied_vol(1.0, [49.0, 100.0], 50.0, 100.0, 1.0, 0.0, 0.0)).all()


def test_rows_that_are_refused_are_not_a_number_and_alone():
    spot = np.array([100.0, 0.0, -1.0, np.nan, np.inf, 100.0])
    vol = np.array([0.5, 0.5, 0.5, 0.5, 0.5, -0.1])
    for rows in (
        batch.vanilla(1.0, 100.0, spot, 1.0, 0.0, 0.0, vol),
        batch.knock_out(1.0, 100.0, 1.0, 150.0, spot, 1.0, 0.0, 0.0, vol),
        batch.american(-1.0, 100.0, spot, 1.0, 0.05, 0.0, vol),
    ):
        for column in astuple(rows):
            assert np.isfinite(column[0])
            assert np.isnan(column[1:]).all()
    assert np.isnan(batch.vanilla(2.0, 100.0, 100.0, 1.0, 0.0, 0.0, 0.5).price)


def test_arguments_are_broadcast():
    rows = batch.vanilla([[1.0], [-1.0]], np.linspace(50, 150, 5), 100.0, 1.0, 0.0, 0.0, 0.5)
    assert rows.price.shape == (2, 5)
    np.testing.assert_allclose(rows.price[0] - rows.price[1], 100 - np.linspace(50, 150, 5))
    assert batch.vanilla([], 100.0, 100.0, 1.0, 0.0, 0.0, 0.5).price.shape == (0,)
