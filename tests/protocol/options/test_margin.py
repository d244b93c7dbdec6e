"""What a writer may owe never exceeds what is locked for it."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.options.instrument import parse_instrument
from protocol.options.margin import margin_of, payoff_of, total
from protocol.units import E8, PriceE8, Sats

names = st.sampled_from(
    [f"BTC-25DEC26-60000-{tail}" for tail in ("C", "P", "C-B", "P-B", "C-A", "P-A", "P-DO40000")]
)
prices = st.integers(1, 10**15).map(PriceE8)


@settings(max_examples=50)
@given(names, prices, st.integers(0, 10**9), st.integers(10**6, 10**9))
def test_the_collateral_covers_everything(name, index, mark, quantity):
    payoff = payoff_of(parse_instrument(name), Sats(quantity), Sats(quantity))
    margin = margin_of(payoff, index, Sats(mark), is_out=False)
    assert margin.intrinsic_sats == payoff.sats(index, index, index) <= margin.most_sats
    assert margin.most_sats <= margin.collateral_sats
    assert 0 <= margin.free_sats <= margin.collateral_sats


@settings(max_examples=50)
@given(st.integers(10**6, 10**9), st.integers(10**6, 10**10))
def test_a_put_pays_all_of_its_collateral_at_its_cap(quantity, collateral):
    payoff = payoff_of(parse_instrument("BTC-25DEC26-60000-P"), Sats(quantity), Sats(collateral))
    cap = margin_of(payoff, PriceE8(60_000 * E8), Sats(0), is_out=False).cap_e8
    assert cap is not None
    assert payoff.sats(cap, cap, cap) == collateral
    above = PriceE8(cap + 60_000 * E8 // 10**5)
    assert payoff.sats(above, above, above) < collateral


def test_a_touched_barrier_owes_nothing():
    payoff = payoff_of(parse_instrument("BTC-25DEC26-60000-P-DO40000"), Sats(E8), Sats(E8))
    margin = margin_of(payoff, PriceE8(50_000 * E8), Sats(5), is_out=True)
    assert (margin.mark_sats, margin.intrinsic_sats, margin.most_sats) == (0, 0, 0)
    assert margin.free_sats == margin.collateral_sats == E8


def test_the_whole_is_the_sum():
    payoff = payoff_of(parse_instrument("BTC-25DEC26-60000-C"), Sats(E8), Sats(E8))
    each = margin_of(payoff, PriceE8(80_000 * E8), Sats(3 * 10**7), is_out=False)
    both = total([each, each])
    assert both.collateral_sats == 2 * E8
    assert both.intrinsic_sats == 2 * (E8 // 4)
    assert both.cap_e8 is None
    assert total([]).mark_sats == pytest.approx(0)
