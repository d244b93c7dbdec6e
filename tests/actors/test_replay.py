"""Replay: a recording gives the same certificates each time, and bad ones cost little (86)."""

import json

import pytest

from actors.feeds.recording import Header, Heard
from actors.replay import REPLAY_KEYS, Replay
from protocol.oracle.feed import Feed

T0 = 1_790_358_506_000
HEADER = Header(products=("BTC-USD",), venues=("binance", "coinbase", "kraken"))
STAMP = "2026-09-25T17:48:{:06.3f}Z"


def binance(at_ms, bid, number, connection=1):
    frame = {"u": number, "s": "BTCUSDT", "b": f"{bid}.00", "B": "1", "a": f"{bid}.01", "A": "1"}
    return heard("binance", at_ms, frame, connection=connection)


def kraken(at_ms, bid, symbol="BTC/USD"):
    row = {
        "symbol": symbol,
        "bid": bid,
        "ask": round(bid * 1.0001, 4),
        "last": bid,
        "timestamp": stamp(at_ms),
    }
    return heard("kraken", at_ms, {"channel": "ticker", "type": "update", "data": [row]})


def heard(venue, at_ms, value, **fields):
    return Heard(at_ms=at_ms, venue=venue, frame=json.dumps(value).encode(), **fields)


def stamp(at_ms):
    return STAMP.format(26 + (at_ms - T0) / 1000)


def day(seconds=5):
    for tenth in range(10 * seconds):
        at_ms = T0 + 50 + 100 * tenth
        yield kraken(at_ms, 1.0, "USDT/USD")
        yield kraken(at_ms + 1, 84_000 + tenth % 7)
        yield binance(at_ms + 2, 84_001 + tenth % 5, tenth + 1)


def play(rows, header=HEADER, interval_ms=1000):
    warnings = []
    replay = Replay(header, interval_ms, warnings.append)
    return list(replay.play(iter(rows))), warnings, replay.config


def test_a_recording_gives_the_same_bytes_twice():
    first, second = play(day())[0], play(day())[0]
    assert [c.encode() for _, c in first] == [c.encode() for _, c in second]
    assert len(first) == 4
    changed = [*list(day())[:-60], *(kraken(T0 + 4_000 + i, 84_100) for i in range(900))]
    assert [c.encode() for _, c in play(changed)[0]] != [c.encode() for _, c in first]


def test_certificates_are_valid_chained_and_of_the_frames():
    certificates, warnings, config = play(day())
    assert not warnings
    before = bytes(32)
    for number, (product, certificate) in enumerate(certificates):
        certificate.check(config, Feed("BTC/USD").feed_id)
        assert product == "BTC-USD"
        assert certificate.report.round == T0 // 1000 + 1 + number
        assert certificate.report.prev_report_hash == before
        assert 84_000 <= certificate.report.price_e8 / 10**8 < 84_020
        before = certificate.report.hash


def test_other_intervals_and_products():
    certificates, _, _ = play(day(), interval_ms=500)
    assert len(certificates) == 9
    eth = Header(products=("ETH-USD", "BTC-USD"), venues=HEADER.venues)
    certificates, warnings, _ = play(day(), eth)
    assert {product for product, _ in certificates} == {"BTC-USD"}
    assert all("ETH-USD round" in line and "no quotes yet" in line for line in warnings)


def test_one_venue_alone():
    rows = [row for row in day() if row.venue == "kraken"]
    certificates, _, config = play(rows, Header(products=("BTC-USD",), venues=("kraken",)))
    assert config.min_venues == 1
    assert len(certificates) == 4


def test_a_gap_of_years_and_a_clock_that_steps_back_cost_no_time():
    rows = [*day(2), kraken(T0 + 10**11, 84_000), kraken(T0 + 50, 84_000), *day(2)]
    certificates, warnings, _ = play(rows)
    assert 1 <= len(certificates) <= 4
    assert len(warnings) <= 10


def test_a_new_connection_may_number_its_frames_anew():
    late = [binance(T0 + 1_900, 84_002, 1, connection=2)]
    late += [kraken(T0 + 1_901, 1.0, "USDT/USD"), kraken(T0 + 2_100, 84_000)]
    newer, _, _ = play([*day(1), *late])
    old = [binance(T0 + 1_900, 84_002, 1, connection=1), *late[1:]]
    older, _, _ = play([*day(1), *old])
    assert newer[-1][1].report.observations_root != older[-1][1].report.observations_root


def test_a_rest_reply_counts_for_the_symbols_that_it_stood_in_for():
    row = {"bidPrice": "84000", "bidQty": "1", "askPrice": "84000.01", "askQty": "1"}
    for symbols, used in ((("BTC-USDT",), True), ((), False)):
        reply = heard(
            "binance",
            T0 + 900,
            [{"symbol": "BTCUSDT", **row}],
            transport="rest",
            symbols=symbols,
        )
        rows = [kraken(T0 + 800, 1.0, "USDT/USD"), reply, kraken(T0 + 1_100, 84_000)]
        certificates, _, _ = play(rows, Header(products=("BTC-USD",), venues=("binance",)))
        assert bool(certificates) == used


@pytest.mark.parametrize("venue", ["binance", "nasdaq"])
def test_noise_and_unknown_venues_change_nothing(venue):
    noise = [Heard(at_ms=row.at_ms, venue=venue, frame=b"\xff{") for row in day()]
    mixed = [row for pair in zip(noise, day(), strict=True) for row in pair]
    assert play(mixed)[0] == play(day())[0]


def test_the_keys_are_public_and_distinct():
    assert len({key.public for key in REPLAY_KEYS}) == 3
