"""Implied volatility gives back the volatility of a price, and refuses what has none."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.errors import PriceError
from protocol.options.instrument import OptionKind
from protocol.options.pricing.option import Market, Option, Payoff
from protocol.options.pricing.value import implied, value
from tests.builders.options import KINDS, STRIKES, YEARS, markets

CALL = OptionKind.CALL


@settings(max_examples=100, deadline=None)
@given(KINDS, STRIKES, markets(), YEARS)
def test_the_volatility_of_a_price_is_found_again(kind, strike, market, years):
    option = Option(kind, strike)
    greeks = value(option, market, years)
    lost = 2e-15 * (market.spot + strike) / max(greeks.vega, 1e-300)
    if lost < 1e-6:
        found = implied(option, market, years, greeks.price)
        assert abs(found - market.vol) <= 1e-12 + 10 * lost


@settings(max_examples=100, deadline=None)
@given(st.floats(1e-3, 8.0), st.floats(-12.0, 0.0))
def test_far_from_the_money_to_full_precision(total, moneyness):
    """Total volatility up to 800 %, calls out of the money down to 1e-250 of the spot."""
    option = Option(CALL, math.exp(-moneyness))
    price = value(option, Market(1.0, vol=total), 1.0).price
    if 1e-250 < price < 1 - 1e-6:
        condition = 1e-16 * price / max(value(option, Market(1.0, vol=total), 1.0).vega, 1e-300)
        assert math.isclose(
            implied(option, Market(1.0), 1.0, price), total, rel_tol=1e-9, abs_tol=condition
        )


def test_the_lower_bound_has_no_volatility_and_gives_0():
    assert implied(Option(CALL, 50.0), Market(100.0), 1.0, 50.0) == 0.0


@pytest.mark.parametrize("price", [49.99, 100.0, 101.0, -1.0, math.nan, math.inf])
def test_outside_the_bounds_there_is_none(price):
    with pytest.raises(PriceError, match="between 50 and 100"):
        implied(Option(CALL, 50.0), Market(100.0), 1.0, price)


@pytest.mark.parametrize(
    "option", [Option(CALL, 50.0, Payoff.CASH), Option(CALL, 50.0, is_american=True)]
)
def test_only_a_european_vanilla_option_has_one(option):
    with pytest.raises(PriceError, match="vanilla"):
        implied(option, Market(100.0), 1.0, 55.0)
