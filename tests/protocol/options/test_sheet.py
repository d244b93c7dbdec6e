"""Rows are priced as one by one; premiums with a put's cap; what is refused."""

from dataclasses import astuple, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.errors import PriceError, TermsError
from protocol.options.chain import chain
from protocol.options.instrument import parse_instrument
from protocol.options.pricing.value import value
from protocol.options.sheet import Columns, Conditions, Flat, is_slow, premium_sats, quote
from protocol.options.surface import Surface
from protocol.units import E8, PriceE8, Round, Sats, UnixMs

NOW = UnixMs(1_795_255_200_000)  # 2026-11-21T10:00Z
AT = Conditions(Round(1), PriceE8(61_234 * E8), NOW, Flat(0.6))
BTC = Sats(E8)


def one(name, conditions=AT):
    return quote(parse_instrument(name), conditions)


@pytest.mark.parametrize("rate", [0.0, 0.05])
def test_rows_are_priced_as_one_by_one(rate):
    at = replace(AT, rate=rate, dividend=0.01)
    listed = chain("BTC", at.index_e8, NOW)
    for day in list(listed)[::3]:
        rows = Columns.of(listed[day]).quotes(at)
        assert [row.instrument for row in rows] == list(listed[day])
        for row in rows[::7]:
            alone = quote(row.instrument, at)
            np.testing.assert_allclose(
                astuple(row.greeks), astuple(alone.greeks), rtol=1e-9, atol=1e-9
            )


def test_a_knock_out_by_the_corrected_barrier_is_near_the_quadrature():
    from protocol.options.pricing.listed import option_of, years_left

    instrument = parse_instrument("BTC-22NOV26-60000-C-UO66000")
    at = replace(AT, at_ms=UnixMs(instrument.expiry_ms - 2_000_000))
    exact = value(option_of(instrument, at.at_ms, 1000), at.market(0.6),
                  years_left(instrument, at.at_ms))  # fmt: skip
    assert quote(instrument, at).greeks.price == pytest.approx(exact.price, abs=0.01)


def test_american_knock_outs_are_slow_and_priced_in_rows_too():
    name = parse_instrument("BTC-25DEC26-60000-P-DO50000-A")
    assert is_slow(name)
    assert not is_slow(parse_instrument("BTC-25DEC26-60000-P-A"))
    (row,) = Columns.of([name]).quotes(AT)
    assert row.greeks.price == quote(name, AT).greeks.price > 0


def test_a_surface_gives_each_strike_its_volatility():
    expiry = parse_instrument("BTC-25DEC26-60000-C").expiry_ms
    surface = Surface(NOW, (UnixMs(expiry),), (61_234.0,), (50_000.0, 70_000.0), ((0.7, 0.5),))
    at = replace(AT, smile=surface)
    names = [parse_instrument(f"BTC-25DEC26-{strike}-C") for strike in (50_000, 60_000, 70_000)]
    vols = [row.vol for row in Columns.of(names).quotes(at)]
    assert vols[0] == 0.7
    assert vols[2] == 0.5
    assert 0.5 < vols[1] < 0.7
    assert vols == [quote(name, at).vol for name in names]


@pytest.mark.parametrize("tail", ["C", "P-B", "C-A", "C-UO70000"])
def test_what_has_expired_has_no_price(tail):
    instrument = parse_instrument(f"BTC-20NOV26-60000-{tail}")
    with pytest.raises(PriceError, match="expired"):
        quote(instrument, AT)
    with pytest.raises(PriceError, match="expired"):
        Columns.of([parse_instrument("BTC-25DEC26-60000-C"), instrument]).quotes(AT)


def test_a_row_that_has_no_price_is_named():
    at = replace(AT, rate=-0.01, dividend=-0.02)
    with pytest.raises(PriceError, match="rate"):
        Columns.of([parse_instrument("BTC-25DEC26-60000-P-A")]).quotes(at)


def test_no_rows_no_quotes():
    assert Columns.of([]).quotes(AT) == []


# Premiums


def test_a_premium_is_the_price_in_sats_rounded_up_with_its_markup():
    call = one("BTC-25DEC26-60000-C")
    fair = call.greeks.price / 61_234 * E8
    assert premium_sats(call, BTC, BTC, AT) == -(-fair // 1)
    assert premium_sats(call, BTC, BTC, AT, 200) == pytest.approx(fair * 1.02, abs=1)
    assert premium_sats(call, Sats(1), Sats(1), AT) == 1


def numbers(name, prices):
    """Mean payoff in dollars at these settlement prices, for a bitcoin covered by one."""
    strike = parse_instrument(name).strike_e8 / E8
    return np.minimum(np.maximum(strike / prices - 1.0, 0.0), 1.0) * prices


def test_a_capped_put_is_worth_the_mean_of_what_it_pays():
    name = "BTC-24SEP27-100000-P"
    years = (parse_instrument(name).expiry_ms - NOW) / (365 * 86_400_000)
    z = (np.arange(1_000_000) + 0.5) / 1_000_000
    from scipy.special import ndtri

    spots = 61_234 * np.exp(-0.18 * years + 0.6 * np.sqrt(years) * ndtri(z))
    mean_sats = numbers(name, spots).mean() / 61_234 * E8
    assert premium_sats(one(name), BTC, BTC, AT) == pytest.approx(mean_sats, rel=1e-4)


@settings(max_examples=40)
@given(st.integers(1, 400), st.sampled_from(["", "-UO90000", "-DO20000", "-DO45000"]))
def test_more_collateral_never_makes_a_put_cheaper(percent, tail):
    put = one(f"BTC-25JUN27-60000-P{tail}")
    full = premium_sats(put, BTC, Sats(10**12), AT)
    some = premium_sats(put, BTC, Sats(E8 * percent // 100), AT)
    more = premium_sats(put, BTC, Sats(E8 * (percent + 10) // 100), AT)
    assert 0 <= some <= more <= full
    assert some <= -(-E8 * percent // 100) + 1


@pytest.mark.parametrize(("quantity", "collateral"), [(0, 1), (1, 0), (-5, 1)])
def test_a_premium_needs_a_quantity(quantity, collateral):
    with pytest.raises(TermsError, match="_sats"):
        premium_sats(one("BTC-25DEC26-60000-P"), Sats(quantity), Sats(collateral), AT)
