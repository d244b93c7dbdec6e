"""Cases as files write them: what is read, and what is refused by the name of its field."""

import pytest

from protocol.errors import EncodingError
from protocol.options.instrument import OptionKind
from protocol.options.pricing.case import read_case
from protocol.options.pricing.option import Barrier, BarrierKind, Market, Option, Payoff

PLAIN = {"type": "put", "spot": 100, "strike": 95, "t": 0.5, "r": 0.1, "q": 0.05, "vol": 0.2}


def test_a_plain_case():
    case = read_case({**PLAIN, "id": "any", "published": 2.4648})
    assert case.option == Option(OptionKind.PUT, 95.0)
    assert case.market == Market(100.0, 0.1, 0.05, 0.2)
    assert (case.years, case.price) == (0.5, None)


def test_everything_else():
    knocked = {"barrier_kind": "up_and_in", "barrier": 105, "rebate": 3, "monitoring": "continuous"}
    assert read_case(PLAIN | knocked).option.barrier == Barrier(BarrierKind.UP_AND_IN, 105.0, 3.0)
    dated = {"barrier_kind": "down_and_out", "barrier": 90, "monitoring": "discrete"}
    option = read_case(PLAIN | dated | {"monitoring_dates": 50, "style": "american"}).option
    assert option.barrier == Barrier(BarrierKind.DOWN_AND_OUT, 90.0, dates=50)
    assert option.is_american
    touch = read_case(PLAIN | {"payout": "cash_at_hit", "cash": 15, "style": "american"}).option
    assert (touch.payoff, touch.cash, touch.is_american) == (Payoff.TOUCH, 15.0, False)


def test_a_price_in_place_of_a_volatility_asks_for_it():
    fields = {name: value for name, value in PLAIN.items() if name != "vol"}
    case = read_case({**fields, "price": 4.5})
    assert (case.price, case.market.vol) == (4.5, 0.0)


@pytest.mark.parametrize("field", ["type", "spot", "strike", "t", "vol"])
def test_a_missing_field_is_named(field):
    with pytest.raises(EncodingError, match=field):
        read_case({name: value for name, value in PLAIN.items() if name != field})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("type", "straddle"),
        ("type", ["call"]),
        ("spot", "100"),
        ("strike", True),
        ("t", None),
        ("vol", 10**400),
        ("style", "bermudan"),
        ("payout", "gap"),
        ("barrier_kind", "sideways"),
        ("barrier", 90),
        ("monitoring_dates", 2.5),
    ],
)
def test_a_wrong_field_is_named(field, value):
    fields = PLAIN | {field: value}
    if field == "monitoring_dates":
        fields |= {"barrier_kind": "up_and_out", "barrier": 105, "monitoring": "discrete"}
    named = "barrier_kind" if field == "barrier" else field
    with pytest.raises(EncodingError, match=named):
        read_case(fields)


@pytest.mark.parametrize("fields", [None, 3, "case", []])
def test_what_is_no_object_is_refused(fields):
    with pytest.raises(EncodingError, match="object"):
        read_case(fields)
