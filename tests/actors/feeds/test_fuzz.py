"""Frames rendered, damaged and made up: no crash, and no quote that the frame does not hold."""

import json
import random
from base64 import b64decode
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.feeds.adapter import Adapter
from actors.feeds.events import Quote, Reject, Trade
from actors.feeds.http_reply import HttpReply
from actors.feeds.products import ADAPTERS, symbol_at
from protocol.units import E8, U64_MAX

VECTORS = Path(__file__).parents[2] / "vectors" / "feeds"
NOW = 1_790_358_506_900
STAMP = "2026-09-25T17:48:26.061769Z"
VENUES = tuple(ADAPTERS)
ROUNDS = 60


def adapter_of(venue) -> Adapter:
    return ADAPTERS[venue]([symbol_at(venue, "BTC-USD")])


def frames(venue):
    rows = map(json.loads, (VECTORS / f"{venue}.jsonl").read_text("utf-8").splitlines())
    return [
        (row["transport"], row["raw"].encode() if "raw" in row else b64decode(row["raw_b64"]))
        for row in rows
        if "raw_gen" not in row
    ]


def text_of(price_e8):
    return f"{price_e8 // E8}.{price_e8 % E8:08d}"


def render(venue, bid, ask):
    bid, ask = text_of(bid), text_of(ask)
    if venue == "binance":
        return f'{{"u":1,"s":"BTCUSDT","b":"{bid}","B":"1","a":"{ask}","A":"1"}}'
    if venue == "coinbase":
        return (
            f'{{"type":"ticker","sequence":1,"product_id":"BTC-USD","price":"{bid}",'
            f'"best_bid":"{bid}","best_ask":"{ask}","time":"{STAMP}"}}'
        )
    return (
        f'{{"channel":"ticker","type":"update","data":[{{"symbol":"BTC/USD","bid":{bid},'
        f'"ask":{ask},"last":{bid},"timestamp":"{STAMP}"}}]}}'
    )


@settings(max_examples=50)
@given(st.sampled_from(VENUES), st.integers(1, U64_MAX - 1), st.data())
def test_parse_is_the_inverse_of_render(venue, bid, data):
    # On Coinbase the last price (here the bid) must be near the mid.
    ask = data.draw(st.integers(bid + 1, min(U64_MAX, bid + max(1, bid // 10))))
    (event,) = adapter_of(venue).parse(render(venue, bid, ask), NOW)
    assert isinstance(event, Quote)
    assert (event.bid_e8, event.ask_e8) == (bid, ask)
    assert event.mid_e8 == (bid + ask) // 2


def flip_bits(frame, chance):
    data = bytearray(frame)
    for _ in range(chance.randint(1, 3)):
        if data:
            data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    return bytes(data)


def truncate(frame, chance):
    return frame[: chance.randint(0, len(frame))]


def splice(frame, chance):
    at = chance.randint(0, len(frame))
    return frame[:at] + frame[chance.randint(0, len(frame)) :]


SWAPS = [
    None,
    True,
    0,
    -1,
    2**64,
    "",
    "x",
    "NaN",
    "0",
    [],
    {},
    [[]],
    "1e5",
    1.5,
    "\ud800",
    "9" * 30,
]


def places(value, path=()):
    if isinstance(value, dict | list):
        keys = value if isinstance(value, dict) else range(len(value))
        for key in keys:
            yield (*path, key)
            yield from places(value[key], (*path, key))


def swap_type(frame, chance):
    try:
        value = json.loads(frame)
    except ValueError:
        return flip_bits(frame, chance)
    spots = list(places(value))
    if spots:
        *path, key = chance.choice(spots)
        holder = value
        for step in path:
            holder = holder[step]
        holder[key] = chance.choice(SWAPS)
    return json.dumps(value).encode()


def numbers(value):
    """Every number and decimal text of a decoded frame, as Python sees it."""
    if isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from numbers(item)
    elif isinstance(value, str | int | float) and not isinstance(value, bool):
        try:
            yield round(float(value) * E8)
        except (ValueError, OverflowError):
            return


def check(events, frame):
    assert events
    for event in events:
        if isinstance(event, Quote):
            assert 0 < event.bid_e8 < event.ask_e8 <= U64_MAX
            held = set(numbers(json.loads(frame)))
            for price in (event.bid_e8, event.ask_e8):
                assert any(abs(price - known) <= known // 10**12 + 1 for known in held)
        elif isinstance(event, Trade):
            assert 0 < event.last_e8 <= U64_MAX
        elif isinstance(event, Reject):
            assert event.detail.isascii()


@pytest.mark.parametrize("damage", [flip_bits, truncate, splice, swap_type])
@pytest.mark.parametrize("venue", VENUES)
def test_damaged_frames(venue, damage):
    chance = random.Random(f"{venue}/{damage.__name__}")
    for transport, frame in frames(venue):
        for _ in range(ROUNDS):
            damaged = damage(frame, chance)
            adapter = adapter_of(venue)
            if transport == "ws":
                check(adapter.parse(damaged, NOW), damaged)
            else:
                check(adapter.parse_reply(HttpReply(200, damaged), NOW), damaged)


@settings(max_examples=50)
@given(st.sampled_from(VENUES), st.binary(max_size=200) | st.text(max_size=200))
def test_noise(venue, raw):
    (event,) = adapter_of(venue).parse(raw, NOW)
    assert isinstance(event, Reject)
