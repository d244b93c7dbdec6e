"""QuantLib as an independent judge, on random terms."""

import math
from dataclasses import astuple

import numpy as np
import pytest
import QuantLib as ql  # noqa: N813  (as its own documents do)

from protocol.options.instrument import OptionKind
from protocol.options.pricing.option import Barrier, BarrierKind, Market, Option, Payoff
from protocol.options.pricing.value import implied, value

TODAY = ql.Date(1, 1, 2027)
DAYS = ql.Actual365Fixed()
BARRIERS = {
    BarrierKind.UP_AND_OUT: ql.Barrier.UpOut,
    BarrierKind.UP_AND_IN: ql.Barrier.UpIn,
    BarrierKind.DOWN_AND_OUT: ql.Barrier.DownOut,
    BarrierKind.DOWN_AND_IN: ql.Barrier.DownIn,
}
RNG = np.random.default_rng(5)


def terms(count):
    """(kind, strike, market, days): 2 days to 3 years, volatility 15 % to 150 %."""
    for _ in range(count):
        kind = OptionKind.CALL if RNG.random() < 0.5 else OptionKind.PUT
        rates = RNG.uniform(0.0, 0.12, 2)
        market = Market(60_000.0, *map(float, rates), float(RNG.uniform(0.15, 1.5)))
        yield kind, float(RNG.uniform(30_000, 100_000)), market, int(RNG.integers(2, 1096))


def process(market):
    ql.Settings.instance().evaluationDate = TODAY

    def curve(rate):
        return ql.YieldTermStructureHandle(ql.FlatForward(TODAY, rate, DAYS))

    vol = ql.BlackConstantVol(TODAY, ql.NullCalendar(), market.vol, DAYS)
    return ql.BlackScholesMertonProcess(
        ql.QuoteHandle(ql.SimpleQuote(market.spot)),
        curve(market.dividend),
        curve(market.rate),
        ql.BlackVolTermStructureHandle(vol),
    )


def side(kind):
    return ql.Option.Call if kind is OptionKind.CALL else ql.Option.Put


def judged(option, market, days):
    """Price, delta, gamma, vega, theta, rho and dividend rho of QuantLib."""
    assert option.payoff in (Payoff.VANILLA, Payoff.CASH, Payoff.ASSET)
    payoff = {
        Payoff.VANILLA: lambda: ql.PlainVanillaPayoff(side(option.kind), option.strike),
        Payoff.CASH: lambda: ql.CashOrNothingPayoff(side(option.kind), option.strike, option.cash),
        Payoff.ASSET: lambda: ql.AssetOrNothingPayoff(side(option.kind), option.strike),
    }[option.payoff]()
    peer = ql.VanillaOption(payoff, ql.EuropeanExercise(TODAY + days))
    peer.setPricingEngine(ql.AnalyticEuropeanEngine(process(market)))
    return (
        *(peer.NPV(), peer.delta(), peer.gamma(), peer.vega(), peer.theta()),
        *(peer.rho(), peer.dividendRho()),
    )


@pytest.mark.parametrize("payoff", [Payoff.VANILLA, Payoff.CASH, Payoff.ASSET])
def test_european_prices_and_all_greeks(payoff):
    for kind, strike, market, days in terms(60):
        option = Option(kind, strike, payoff, cash=market.spot)
        ours, theirs = (
            astuple(value(option, market, days / 365)),
            judged(option, market, days),
        )
        scale = (market.spot, 1.0, 1 / market.spot, *[market.spot] * 4)
        for a, b, unit in zip(ours, theirs, scale, strict=True):
            assert math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-10 * unit)


@pytest.mark.parametrize("kind", BARRIERS)
def test_continuous_barriers_with_rebates(kind):
    for side_, strike, market, days in terms(40):
        factor = float(RNG.uniform(1.01, 1.8))
        level = market.spot * factor if kind.up > 0 else market.spot / factor
        rebate = float(RNG.choice([0.0, 2_000.0]))
        option = Option(side_, strike, barrier=Barrier(kind, level, rebate))
        payoff = ql.PlainVanillaPayoff(side(side_), strike)
        exercise = ql.EuropeanExercise(TODAY + days)
        peer = ql.BarrierOption(BARRIERS[kind], level, rebate, payoff, exercise)
        peer.setPricingEngine(ql.AnalyticBarrierEngine(process(market)))
        price = value(option, market, days / 365).price
        assert math.isclose(price, peer.NPV(), rel_tol=1e-9, abs_tol=1e-8)


def test_american_options():
    rule = ql.QdFpAmericanEngine.highPrecisionScheme()
    for kind, strike, market, days in terms(40):
        payoff = ql.PlainVanillaPayoff(side(kind), strike)
        peer = ql.VanillaOption(payoff, ql.AmericanExercise(TODAY, TODAY + days))
        peer.setPricingEngine(ql.QdFpAmericanEngine(process(market), rule))
        option, years = Option(kind, strike, is_american=True), days / 365
        assert abs(value(option, market, years).price - peer.NPV()) <= 1e-5 * strike
        accurate = value(option, market, years, is_accurate=True).price
        assert abs(accurate - peer.NPV()) <= 5e-7 * strike


def test_implied_volatility():
    for kind, strike, market, days in terms(60):
        years = days / 365
        sd = market.vol * math.sqrt(years)
        forward = market.spot * math.exp((market.rate - market.dividend) * years)
        discount = math.exp(-market.rate * years)
        price = ql.blackFormula(side(kind), strike, forward, sd, discount)
        vega = value(Option(kind, strike), market, years).vega
        if vega > 1.0:
            found = implied(Option(kind, strike), market, years, price)
            assert abs(found - market.vol) < 1e-9 + 1e-9 / vega
