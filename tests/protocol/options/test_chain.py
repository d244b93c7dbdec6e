"""The listed chain: days of expiry, strikes around the index, every type."""

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.errors import PriceError
from protocol.options.chain import SIDES, chain, expiries, strike_step_e8
from protocol.options.instrument import parse_instrument
from protocol.options.payoff import Payoff
from protocol.units import E8, PriceE8, Sats, UnixMs

INDEX = PriceE8(61_234 * E8)


def moment(text: str) -> UnixMs:
    return UnixMs(int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000))


NOW = moment("2026-11-21T10:00")
moments = st.integers(moment("2020-01-01"), moment("2090-01-01")).map(UnixMs)
indexes = st.integers(100, 2**60 - 1).map(PriceE8)


def test_expiries_of_a_day():
    listed = [day.strftime("%a %d %b %y") for day in expiries(NOW)]
    assert listed == [
        "Sun 22 Nov 26", "Mon 23 Nov 26", "Tue 24 Nov 26",  # the next three days
        "Fri 27 Nov 26", "Fri 04 Dec 26", "Fri 11 Dec 26", "Fri 18 Dec 26",  # four Fridays
        "Fri 25 Dec 26", "Fri 29 Jan 27",  # last Fridays of three months, November's is above
        "Fri 26 Mar 27", "Fri 25 Jun 27", "Fri 24 Sep 27",  # and of four quarters
    ]  # fmt: skip


def test_an_expiry_ends_at_eight():
    eight = moment("2026-11-22T08:00")
    assert expiries(UnixMs(eight - 1))[0] == date(2026, 11, 22)
    assert expiries(eight)[0] == date(2026, 11, 23)


@settings(max_examples=50)
@given(moments)
def test_expiries_ascend_and_lie_ahead(now_ms):
    days = expiries(now_ms)
    assert list(days) == sorted(set(days))
    assert len(days) >= 8
    first = parse_instrument(f"BTC-{days[0].day:02}JAN27-1-C")  # only for its hour
    assert first.expiry_ms % 86_400_000 == 8 * 3_600_000
    today = datetime.fromtimestamp(now_ms / 1000, UTC).date()
    assert today <= days[0] <= today + timedelta(days=1)
    assert days[-1] - days[0] < timedelta(days=400)


@settings(max_examples=50)
@given(indexes, moments)
def test_every_listed_instrument_has_a_name_and_pays(index, now_ms):
    for expiry, listed in chain("BTC", index, now_ms).items():
        assert len(set(listed)) == len(listed)
        for instrument in listed:
            assert instrument.expiry == expiry
            assert instrument.expiry_ms > now_ms
        for instrument in listed[:: max(len(listed) // 8, 1)]:
            assert parse_instrument(instrument.name) == instrument
            Payoff(
                kind=instrument.kind,
                strike_e8=instrument.strike_e8,
                quantity_sats=Sats(1),
                collateral_sats=Sats(1),
                is_binary=instrument.is_binary,
                barrier=instrument.barrier,
            )


@settings(max_examples=50)
@given(indexes, moments)
def test_strikes_surround_the_index(index, now_ms):
    for listed in chain("BTC", index, now_ms).values():
        strikes = sorted({instrument.strike_e8 for instrument in listed})
        steps = {after - before for before, after in pairwise(strikes)}
        assert len(steps) == 1
        below = sum(strike < index for strike in strikes)
        assert len(strikes) - below >= SIDES
        assert below >= min(SIDES, strikes[0] // min(steps)) - 1


def test_every_type_is_listed():
    names = [i.name for rows in chain("BTC", INDEX, NOW).values() for i in rows]
    for tail in ("61000-C", "61000-P", "61000-C-A", "61000-P-A", "61000-C-B", "61000-P-B"):
        assert f"BTC-27NOV26-{tail}" in names
    for tail in ("C-UO67000", "C-DO55000", "P-UO67000", "P-DO55000"):
        assert f"BTC-27NOV26-61000-{tail}" in names


def test_steps_grow_with_time():
    steps = [strike_step_e8(INDEX, days) // E8 for days in (1, 7, 30, 365)]
    assert steps == [500, 1000, 2000, 10_000]


def test_an_unmoved_expiry_is_the_same_tuple():
    before, after = chain("BTC", INDEX, NOW), chain("BTC", PriceE8(INDEX + E8), NOW)
    assert all(before[day] is after[day] for day in before)


@pytest.mark.parametrize("index", [0, 99, 2**63])
def test_no_chain_around_an_impossible_price(index):
    with pytest.raises(PriceError, match="index_e8"):
        chain("BTC", PriceE8(index), NOW)
