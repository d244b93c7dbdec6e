"""European options and continuous barriers: parities, bounds, order, and Greeks as derivatives."""

import math
from dataclasses import astuple, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.errors import PriceError
from protocol.options.instrument import OptionKind
from protocol.options.pricing.option import Barrier, BarrierKind, Market, Option, Payoff
from protocol.options.pricing.value import value
from tests.builders.options import KINDS, STRIKES, YEARS, barriers, markets

CALL, PUT = OptionKind.CALL, OptionKind.PUT
FEW = settings(max_examples=40, deadline=None)


def near(a, b, scale, tolerance=1e-11):
    return all(abs(x - y) <= tolerance * scale for x, y in zip(a, b, strict=True))


@FEW
@given(STRIKES, markets(), YEARS)
def test_a_call_less_a_put_is_a_forward(strike, market, years):
    call, put = (value(Option(kind, strike), market, years) for kind in OptionKind)
    held = market.spot * math.exp(-market.dividend * years)
    paid = strike * math.exp(-market.rate * years)
    assert math.isclose(call.price - put.price, held - paid, rel_tol=1e-12, abs_tol=1e-8)
    assert math.isclose(call.delta - put.delta, held / market.spot, rel_tol=1e-12)
    assert math.isclose(call.vega, put.vega, rel_tol=1e-9, abs_tol=1e-9 * market.spot)
    assert math.isclose(call.rho - put.rho, years * paid, rel_tol=1e-11)


@FEW
@given(KINDS, STRIKES, markets(), YEARS)
def test_asset_less_strike_times_cash_or_nothing_is_vanilla(kind, strike, market, years):
    asset = astuple(value(Option(kind, strike, Payoff.ASSET), market, years))
    cash = astuple(value(Option(kind, strike, Payoff.CASH, cash=strike), market, years))
    sign = 1 if kind is CALL else -1
    plain = astuple(value(Option(kind, strike), market, years))
    made = [sign * (a - c) for a, c in zip(asset, cash, strict=True)]
    scale = max(map(abs, (*asset, *cash)))
    assert near(made, plain, scale)


@FEW
@given(KINDS, STRIKES, markets(), YEARS, st.data())
def test_knocked_in_and_out_make_the_whole(kind, strike, market, years, data):
    barrier = data.draw(barriers(market.spot))
    out_kind = BarrierKind.UP_AND_OUT if barrier.kind.up > 0 else BarrierKind.DOWN_AND_OUT
    in_kind = BarrierKind.UP_AND_IN if barrier.kind.up > 0 else BarrierKind.DOWN_AND_IN
    parts = [
        value(Option(kind, strike, barrier=replace(barrier, kind=part)), market, years)
        for part in (out_kind, in_kind)
    ]
    whole = value(Option(kind, strike), market, years)
    assert math.isclose(sum(part.price for part in parts), whole.price, abs_tol=1e-8)
    for part in parts:
        assert -1e-7 <= part.price <= whole.price + 1e-7


@FEW
@given(KINDS, STRIKES, markets(), YEARS)
def test_bounds_and_order(kind, strike, market, years):
    price = value(Option(kind, strike), market, years).price
    sign = 1 if kind is CALL else -1
    held = market.spot * math.exp(-market.dividend * years)
    paid = strike * math.exp(-market.rate * years)
    slack = 1e-9 * market.spot
    assert max(sign * (held - paid), 0.0) - slack <= price
    assert price <= (held if kind is CALL else paid) + slack
    dearer = Option(kind, strike * 1.01)
    higher = replace(market, spot=market.spot * 1.01)
    wilder = replace(market, vol=market.vol * 1.01)
    assert sign * value(dearer, market, years).price <= sign * price + slack
    assert sign * value(Option(kind, strike), higher, years).price >= sign * price - slack
    assert value(Option(kind, strike), wilder, years).price >= price - slack


@FEW
@given(KINDS, STRIKES, markets(), YEARS, st.floats(1e-3, 1e3), st.data())
def test_a_price_is_homogeneous(kind, strike, market, years, factor, data):
    """The unit of money does not matter."""
    barrier = data.draw(st.none() | barriers(market.spot))
    one = value(Option(kind, strike, barrier=barrier), market, years)
    moved = barrier and replace(barrier, level=barrier.level * factor)
    option = Option(kind, strike * factor, barrier=moved)
    other = value(option, replace(market, spot=market.spot * factor), years)
    assert math.isclose(other.price, one.price * factor, rel_tol=1e-9, abs_tol=1e-8 * factor)
    assert math.isclose(other.delta, one.delta, rel_tol=1e-8, abs_tol=1e-10)


@FEW
@given(KINDS, STRIKES, markets(), st.floats(0.1, 3.0), st.sampled_from(Payoff), st.data())
def test_greeks_are_the_slopes_of_the_price(kind, strike, market, years, payoff, data):
    barrier = None
    if payoff is Payoff.TOUCH:
        strike = market.spot * (1.3 if kind is CALL else 0.7)
    else:
        barrier = data.draw(st.none() | barriers(market.spot))
    option = Option(kind, strike, payoff, cash=market.spot, barrier=barrier)
    market = replace(market, rate=market.rate + 0.01)  # so that a rate's differences stay above 0

    def price(field, step):
        if field == "years":
            return value(option, market, years + step).price
        return value(option, replace(market, **{field: getattr(market, field) + step}), years).price

    def slope(field, step):
        a, b, c, d = (price(field, n * step) for n in (-2, -1, 1, 2))
        return (a - 8 * b + 8 * c - d) / (12 * step)

    found = value(option, market, years)
    step = 1e-4 * market.spot
    bend = (price("spot", step) - 2 * found.price + price("spot", -step)) / step**2
    for greek, expected, scale in (
        ("delta", slope("spot", step), 1.0),
        ("gamma", bend, 1 / market.spot),
        ("vega", slope("vol", 1e-3), market.spot),
        ("theta", -slope("years", 1e-3 * years), market.spot),
        ("rho", slope("rate", 1e-3), market.spot),
        ("dividend_rho", slope("dividend", 1e-3), market.spot),
    ):
        tolerance = 1e-5 * scale * max(1.0, 1 / years)
        assert math.isclose(getattr(found, greek), expected, rel_tol=1e-5, abs_tol=tolerance), greek


@pytest.mark.parametrize("years", [0.0, 0.5])
@pytest.mark.parametrize("kind", [CALL, PUT])
@pytest.mark.parametrize(
    "barrier",
    [
        None,
        Barrier(BarrierKind.DOWN_AND_OUT, 90.0, 1.0),
        Barrier(BarrierKind.UP_AND_OUT, 101.0, 1.0),
        Barrier(BarrierKind.UP_AND_IN, 101.0, 1.0),
        Barrier(BarrierKind.DOWN_AND_IN, 99.9, 1.0),
    ],
)
def test_a_certain_path_is_the_limit_of_little_volatility(kind, barrier, years):
    """At 5 % less 1 % for half a year the forward is 102.02."""
    option = Option(kind, 97.0 if kind is CALL else 107.0, barrier=barrier)
    market = Market(100.0, 0.05, 0.01, 0.0)
    certain = value(option, market, years)
    close = value(option, replace(market, vol=1e-4), max(years, 1e-9))
    for name in ("price", "delta", "theta", "rho", "dividend_rho"):
        assert math.isclose(
            getattr(certain, name), getattr(close, name), rel_tol=1e-5, abs_tol=1e-5
        )


def test_a_binary_option_pays_nothing_at_its_strike():
    for kind in OptionKind:
        for payoff in (Payoff.CASH, Payoff.ASSET):
            assert value(Option(kind, 100.0, payoff), Market(100.0, vol=0.5), 0.0).price == 0.0


@pytest.mark.parametrize(
    ("option", "market", "years", "word"),
    [
        (Option(CALL, 0.0), Market(1.0, vol=0.5), 1.0, "strike"),
        (Option(CALL, 1.0), Market(math.nan, vol=0.5), 1.0, "spot"),
        (Option(CALL, 1.0), Market(1.0, vol=-0.5), 1.0, "vol"),
        (Option(CALL, 1.0), Market(1.0, math.inf, vol=0.5), 1.0, "rate"),
        (Option(CALL, 1.0), Market(1.0, vol=0.5), -1.0, "years"),
        (Option(CALL, 1.0, Payoff.CASH, cash=math.nan), Market(1.0, vol=0.5), 1.0, "cash"),
        (Option(CALL, 1.0, Payoff.CASH, is_american=True), Market(1.0, vol=0.5), 1.0, "American"),
        (Option(PUT, 1.0), Market(1.0, -900.0, vol=0.5), 5.0, "unit"),
        (
            Option(CALL, 1.0, barrier=Barrier(BarrierKind.UP_AND_OUT, 2.0, dates=0)),
            Market(1.0, vol=0.5),
            1.0,
            "dates",
        ),
        (
            Option(CALL, 1.0, barrier=Barrier(BarrierKind.UP_AND_OUT, 2.0, rebate=1.0)),
            Market(1.0, -0.1, vol=0.5),
            1.0,
            "rate",
        ),
        (
            Option(CALL, 1.0, Payoff.TOUCH),
            Market(0.5, -0.1, vol=0.5),
            1.0,
            "rate",
        ),
    ],
)
def test_what_has_no_price_is_refused_by_name(option, market, years, word):
    with pytest.raises(PriceError, match=word):
        value(option, market, years)
