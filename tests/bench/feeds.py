"""The adapters, side by side with JSON decoders: ``python -m tests.bench.feeds [--json]``.

A message is one frame of the venue's documented shape, each with its own prices, sizes and times;
every one must become a quote. The decoders next to it only decode: they keep neither digits
(float) nor duplicate keys (the last wins), and make no quote. CPU time of one thread, the best of
several.
"""

import json
from collections.abc import Callable
from random import Random
from typing import Any

import msgspec

from actors.feeds.adapter import Adapter
from actors.feeds.events import Quote
from actors.feeds.products import ADAPTERS, symbol_at
from actors.feeds.strict_json import decode
from tests.bench._report import best, cpu_seconds, finish, hardware, say

MESSAGES = 50_000
REPEATS = 7
NOW_MS = 1_790_358_507_000
TARGET = 100_000

METHODS = {
    "messages_per_second": f"Adapter.parse of {MESSAGES} different ticker frames (Binance:"
    " bookTicker) by one adapter, from bytes to a checked quote, in CPU time of one thread",
    "strict_decode_per_second": "our strict JSON decoder alone on the same frames",
    "json_per_second": "json.loads alone on the same frames, in the same run",
    "msgspec_per_second": "msgspec.json.decode alone on the same frames",
    "orjson_per_second": "orjson.loads alone on the same frames; null if orjson is not installed",
    "ratios": "messages per second of the adapter over those of a decoder that only decodes",
}


def frames(venue: str) -> list[bytes]:
    """Frames of one venue, oldest first, made of nothing but integers and a seed."""
    rng = Random(venue)
    return [
        _FRAMES[venue](number, rng.randrange(8_300_000, 8_500_000), rng.randrange(1, 10**9))
        for number in range(MESSAGES)
    ]


def _binance(number: int, cents: int, size: int) -> bytes:
    return (
        f'{{"u":{400_900_217 + number},"s":"BTCUSDT","b":"{_cents(cents)}000000",'
        f'"B":"{_size(size)}","a":"{_cents(cents + 1)}000000","A":"1.20044000"}}'
    ).encode()


def _coinbase(number: int, cents: int, size: int) -> bytes:
    return (
        f'{{"type":"ticker","sequence":{37_475_248_783 + 3 * number},"product_id":"BTC-USD",'
        f'"price":"{_cents(cents)}","open_24h":"84173.5","volume_24h":"4916.94797396",'
        f'"low_24h":"83163.6","high_24h":"85247.4","volume_30d":"188783.60117027",'
        f'"best_bid":"{_cents(cents)}","best_bid_size":"{_size(size)}",'
        f'"best_ask":"{_cents(cents + 1)}","best_ask_size":"1.56637040","side":"buy",'
        f'"time":"{_stamp(number)}","trade_id":{1_040_406_588 + number},'
        f'"last_size":"0.00782662"}}'
    ).encode()


def _kraken(number: int, cents: int, size: int) -> bytes:
    return (
        f'{{"channel":"ticker","type":"update","data":[{{"symbol":"BTC/USD",'
        f'"bid":{_cents(cents)},"bid_qty":{_size(size)},"ask":{_cents(cents + 1)},'
        f'"ask_qty":0.00044780,"last":{_cents(cents)},"volume":3156.84782110,"vwap":84174.6,'
        f'"low":83163.6,"high":85247.4,"change":-429.3,"change_pct":-0.51,"trades":135262,'
        f'"timestamp":"{_stamp(number)}"}}]}}'
    ).encode()


def _cents(cents: int) -> str:
    return f"{cents // 100}.{cents % 100:02d}"


def _size(size: int) -> str:
    return f"{size // 10**8}.{size % 10**8:08d}"


def _stamp(number: int) -> str:
    """A frame every 10 microseconds."""
    micros = 26_000_000 - 10 * MESSAGES + 10 * number
    return f"2026-09-25T17:48:{micros // 10**6:02d}.{micros % 10**6:06d}Z"


_FRAMES = {"binance": _binance, "coinbase": _coinbase, "kraken": _kraken}


def adapter_rate(venue: str, messages: list[bytes]) -> float:
    """Messages per second; every message must have become a quote."""

    def once() -> float:
        adapter: Adapter = ADAPTERS[venue]([symbol_at(venue, "BTC-USD")])
        parse = adapter.parse
        kinds = []

        def work() -> None:
            for message in messages:
                kinds.append(type(parse(message, NOW_MS)[0]))  # noqa: PERF401 (part of the loop)

        seconds = cpu_seconds(work)
        assert kinds.count(Quote) == len(messages), "a frame was not a quote"
        return seconds

    return len(messages) / best(REPEATS, once)


def decoder_rate(decoder: Callable[[bytes], Any], messages: list[bytes]) -> float:
    def work() -> None:
        for message in messages:
            decoder(message)

    return len(messages) / best(REPEATS, lambda: cpu_seconds(work))


def orjson_loads() -> Callable[[bytes], Any] | None:
    try:
        import orjson
    except ImportError:
        return None
    loads: Callable[[bytes], Any] = orjson.loads
    return loads


def measure() -> dict[str, Any]:
    rates: dict[str, dict[str, float | None]] = {
        name: {} for name in METHODS if name.endswith("_per_second")
    }
    decoders: dict[str, Callable[[bytes], Any] | None] = {
        "strict_decode": decode,
        "json": json.loads,
        "msgspec": msgspec.json.decode,
        "orjson": orjson_loads(),
    }
    ratios: dict[str, float | None] = {}
    for venue in _FRAMES:
        say(venue)
        messages = frames(venue)
        rate = adapter_rate(venue, messages)
        rates["messages_per_second"][venue] = rate
        for name, decoder in decoders.items():
            peer = None if decoder is None else decoder_rate(decoder, messages)
            rates[f"{name}_per_second"][venue] = peer
            ratios[f"{venue}_to_{name}"] = None if peer is None else rate / peer
    slowest = min(rate or 0.0 for rate in rates["messages_per_second"].values())
    return {
        "hardware": hardware(),
        "messages": MESSAGES,
        "repeats": REPEATS,
        "slowest_messages_per_second": slowest,
        "target_messages_per_second": TARGET,
        **rates,
        "ratios": ratios,
        "methods": METHODS,
    }


if __name__ == "__main__":
    finish("feeds", measure)
