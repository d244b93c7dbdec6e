"""One oracle's price: what a venue sample needs, the USDT conversion, the median of venues."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.errors import EncodingError, PriceError
from protocol.oracle import merkle
from protocol.oracle.price import (
    OraclePrice,
    VenueQuote,
    evidence_root,
    oracle_price,
    usdt_rate,
    venue_sample,
)
from protocol.units import E8, U64_MAX

NOW = 1_790_359_200_000
MID = 10_000_000


def quote(venue: str, mid: int = MID, half: int = 100, **changes: Any) -> VenueQuote:
    fields: dict[str, Any] = {
        "venue": venue,
        "bid_e8": mid - half,
        "ask_e8": mid + half,
        "last_e8": None,
        "received_ms": NOW - 10,
        "last_received_ms": None,
        "venue_ts_ms": None,
        "transport": "ws",
        "tradeable": True,
    }
    return VenueQuote(**(fields | changes))


def usdt(coinbase: int = E8, kraken: int = E8, **changes: Any) -> list[VenueQuote]:
    return [quote("coinbase", coinbase, 1000, **changes), quote("kraken", kraken, 1000, **changes)]


def price(
    *quotes: VenueQuote, rates: list[VenueQuote] | None = None, least: int = 2
) -> OraclePrice:
    return oracle_price(quotes, usdt() if rates is None else rates, now_ms=NOW, min_venues=least)


def test_the_median_of_three_venues() -> None:
    result = price(quote("kraken", 10_003_000), quote("binance", 10_001_000), quote("coinbase"))
    assert result.price_e8 == 10_001_000
    assert result.venues == 7
    assert result.flags == 0
    assert [s.venue for s in result.samples] == ["binance", "coinbase", "kraken"]
    assert len(result.rates) == 2


def test_two_venues_take_the_floor_of_the_mean() -> None:
    result = price(quote("coinbase", 10_000_000), quote("kraken", 10_000_001))
    assert (result.price_e8, result.venues, result.rates) == (10_000_000, 6, ())


def test_the_mid_is_floored_and_the_half_spread_is_not() -> None:
    odd = replace(quote("kraken"), bid_e8=MID, ask_e8=MID + 3)
    sample = venue_sample(odd, NOW)
    assert (sample.price_e8, sample.half_spread_e8) == (MID + 1, 2)


def test_confidence() -> None:
    """The larger of the median half spread and half of the range of mids."""
    wide = price(quote("coinbase", half=500), quote("kraken", half=701))
    assert wide.conf_e8 == 600
    far = price(quote("coinbase", MID, 5), quote("kraken", MID + 2_001, 5))
    assert far.conf_e8 == 1_001


INVALID: dict[str, tuple[str, VenueQuote]] = {
    "halted": ("not open for trading", quote("kraken", tradeable=False)),
    "stale over ws": ("2001 ms old, at most 2000", quote("kraken", received_ms=NOW - 2_001)),
    "stale over rest": (
        "5001 ms old, at most 5000",
        quote("kraken", received_ms=NOW - 5_001, transport="rest"),
    ),
    "clock stepped back": ("clock stepped back", quote("kraken", received_ms=NOW + 1)),
    "crossed": ("are no book", quote("kraken", half=-1)),
    "locked": ("are no book", quote("kraken", half=0)),
    "no bid": ("are no book", quote("kraken", bid_e8=0)),
    "no ask": ("are no book", quote("kraken", ask_e8=0)),
    "negative bid": ("are no book", quote("kraken", bid_e8=-5)),
    "beyond u64": ("are no book", quote("kraken", bid_e8=U64_MAX, ask_e8=U64_MAX + 1)),
    "wide": ("wider than 50 bps", quote("kraken", half=25_001)),
    "unknown venue": ("unknown venue", quote("ftx")),
    "last disagrees": (
        "more than 100 bps from mid",
        quote("kraken", last_e8=10_100_001, last_received_ms=NOW),
    ),
}


@pytest.mark.parametrize("name", INVALID)
def test_invalid_venue_sample(name: str) -> None:
    message, bad = INVALID[name]
    with pytest.raises(PriceError, match=message):
        venue_sample(bad, NOW)
    with pytest.raises(PriceError, match=f"1 of 2 needed venues have a valid price: .*{message}"):
        price(quote("coinbase"), bad)


@pytest.mark.parametrize(
    "edge",
    [
        quote("kraken", received_ms=NOW - 2_000),
        quote("kraken", received_ms=NOW - 5_000, transport="rest"),
        quote("kraken", received_ms=NOW),
        quote("kraken", half=25_000),
        quote("kraken", last_e8=10_100_000, last_received_ms=NOW),
        quote("kraken", last_e8=9_900_000, last_received_ms=NOW - 5_000),
        quote("kraken", last_e8=1, last_received_ms=NOW - 5_001),
    ],
)
def test_limits_are_inclusive(edge: VenueQuote) -> None:
    sample = venue_sample(edge, NOW)
    assert (sample.price_e8, sample.last) == (MID, False)


def test_a_fresh_trade_stands_in_for_a_stale_book() -> None:
    stale = quote(
        "kraken", received_ms=NOW - 60_000, last_e8=MID + 40, last_received_ms=NOW - 5_000
    )
    sample = venue_sample(stale, NOW)
    assert (sample.price_e8, sample.last, sample.time_ms) == (MID + 40, True, NOW - 5_000)
    assert sample.half_spread_e8 == 25_001, "the widest spread that a valid book has, rounded up"
    assert price(quote("coinbase"), stale).flags == 1
    assert price(quote("coinbase"), quote("kraken")).flags == 0


@pytest.mark.parametrize(
    "changes",
    [
        {"last_e8": MID, "last_received_ms": NOW - 5_001},
        {"last_e8": MID, "last_received_ms": NOW + 1},
        {"last_e8": MID, "last_received_ms": None},
        {"last_e8": None, "last_received_ms": NOW},
        {"last_e8": 0, "last_received_ms": NOW},
        {"last_e8": U64_MAX + 1, "last_received_ms": NOW},
        {"last_e8": MID, "last_received_ms": NOW, "tradeable": False},
    ],
)
def test_no_trade_stands_in(changes: dict[str, Any]) -> None:
    with pytest.raises(PriceError):
        venue_sample(quote("kraken", received_ms=NOW - 60_000, **changes), NOW)


def test_a_flash_print_disqualifies_its_venue_and_moves_nothing() -> None:
    """A tenfold print on one venue, its book untouched."""
    flash = quote("kraken", last_e8=10 * MID, last_received_ms=NOW)
    result = price(quote("binance", MID + 10), quote("coinbase"), flash)
    assert (result.price_e8, result.venues) == (MID + 5, 3)


def test_a_moved_book_on_one_venue_moves_nothing() -> None:
    result = price(quote("binance"), quote("coinbase"), quote("kraken", MID // 2))
    assert result.price_e8 == MID


def test_usdt_is_converted_by_the_median_of_two_rates() -> None:
    result = price(
        quote("binance", 100 * E8, 1_001), quote("coinbase", 99 * E8), rates=usdt(98_900_000)
    )
    binance = result.samples[0]
    assert usdt_rate(usdt(98_900_000), NOW)[0] == 99_450_000
    assert binance.price_e8 == 100 * 99_450_000
    assert binance.half_spread_e8 == 996, "rounded up"


@pytest.mark.parametrize(
    ("rate", "valid"),
    [(102_000_000, True), (102_000_001, False), (98_000_000, True), (97_999_999, False)],
)
def test_usdt_may_leave_its_peg_by_200_bps(rate: int, valid: bool) -> None:
    quotes = (quote("binance"), quote("coinbase"), quote("kraken"))
    result = price(*quotes, rates=usdt(rate, rate))
    assert result.venues == (7 if valid else 6)
    assert bool(result.rates) is valid


def test_binance_is_dropped_without_a_usdt_rate() -> None:
    quotes = (quote("binance"), quote("coinbase"), quote("kraken"))
    stale = usdt(received_ms=NOW - 2_001)
    assert price(*quotes, rates=stale).venues == 6
    assert price(*quotes, rates=[]).venues == 6
    assert price(*quotes, rates=[quote("binance", E8)]).venues == 6
    with pytest.raises(PriceError, match="USDT/USD: no valid rate: coinbase: book is 2001 ms old"):
        price(*quotes[:1], rates=stale, least=1)
    with pytest.raises(PriceError, match="USDT/USD: 95000000 is more than 200 bps from one dollar"):
        price(*quotes[:1], rates=usdt(95_000_000, 95_000_000), least=1)


def test_one_fresh_usdt_rate_is_enough() -> None:
    rates = [usdt()[0], quote("kraken", 99_500_000, received_ms=NOW - 9_000)]
    assert usdt_rate(rates, NOW)[0] == E8
    assert price(quote("binance"), quote("coinbase"), rates=rates).venues == 3


def test_a_usdt_rate_from_a_trade_is_flagged() -> None:
    rates = usdt(received_ms=NOW - 9_000, last_e8=E8, last_received_ms=NOW)
    assert price(quote("binance"), quote("coinbase"), rates=rates).flags == 1


def test_a_dollar_price_beyond_u64_is_dropped() -> None:
    top = quote("binance", U64_MAX - 10, 5)
    rates = usdt(101_000_000, 101_000_000)
    with pytest.raises(PriceError, match="is no price in dollars"):
        price(top, rates=rates, least=1)
    huge = price(quote("coinbase", U64_MAX - 9, 5), quote("kraken", U64_MAX - 6, 5))
    assert huge.price_e8 == U64_MAX - 8


def test_single_venue_mode() -> None:
    assert price(quote("kraken"), least=1).venues == 4
    assert price(quote("binance"), least=1).venues == 1


def test_no_venues() -> None:
    with pytest.raises(PriceError, match="0 of 2 needed venues have a valid price: no quotes yet"):
        price()
    with pytest.raises(PriceError, match="no quotes yet"):
        price(least=0)


def test_all_venues_stale_while_their_sockets_live() -> None:
    stale = [quote(v, received_ms=NOW - 3_000) for v in ("binance", "coinbase", "kraken")]
    with pytest.raises(PriceError, match=r"binance: .*; coinbase: .*; kraken: .*"):
        price(*stale)


def test_one_quote_a_venue() -> None:
    with pytest.raises(PriceError, match="two quotes of one venue"):
        price(quote("kraken"), quote("kraken", MID + 5), quote("coinbase"))
    with pytest.raises(PriceError, match="two quotes of one venue"):
        usdt_rate([*usdt(), quote("kraken")], NOW)


def test_venue_time_is_the_oldest_behind_the_price() -> None:
    coinbase = quote("coinbase", venue_ts_ms=NOW - 55)
    assert price(coinbase, quote("kraken")).venue_time == NOW - 55
    assert price(quote("coinbase"), quote("kraken")).venue_time == NOW - 10
    old_rate = usdt(venue_ts_ms=NOW - 900)
    assert price(quote("binance"), quote("coinbase"), rates=old_rate).venue_time == NOW - 900


def test_evidence_commits_to_every_frame_in_order() -> None:
    frames = [b'{"a":1}', b'{"b":2}', b'{"c":3}']
    assert evidence_root(frames) == merkle.root([merkle.leaf(f) for f in frames])
    assert evidence_root(frames[::-1]) != evidence_root(frames)
    with pytest.raises(EncodingError):
        evidence_root([])


@settings(max_examples=100)
@given(st.lists(st.integers(10**6, 10**12), min_size=3, max_size=3), st.permutations(range(3)))
def test_one_manipulated_venue_cannot_leave_the_range_of_the_others(
    mids: list[int], order: list[int]
) -> None:
    venues = ("binance", "coinbase", "kraken")
    quotes = [quote(v, m, 1) for v, m in zip(venues, mids, strict=True)]
    result = price(*quotes)
    assert price(*(quotes[i] for i in order)) == result
    for liar in range(3):
        others = mids[:liar] + mids[liar + 1 :]
        assert min(others) <= result.price_e8 <= max(others)
