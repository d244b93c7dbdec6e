"""The simulated venues: their path, and their frames against the fixture rows of the real ones."""

import ast
import json
import time
from itertools import pairwise
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

import actors.feeds.simulated
from actors.feeds.simulated import PricePath, SimulatedExchanges

VECTORS = Path(__file__).parents[2] / "vectors" / "feeds"
ROWS = {
    row["id"]: json.loads(row["raw"])
    for venue in ("binance", "coinbase", "kraken")
    for row in map(json.loads, (VECTORS / f"{venue}.jsonl").read_text("utf-8").splitlines())
    if row["norm"] == "must" and row["transport"] == "ws" and row["provenance"] != "adversarial"
}
E8 = 10**8
T0 = 1_790_358_506_000
SUBSCRIBE = {
    "binance": {
        "method": "SUBSCRIBE",
        "params": ["btcusdt@bookTicker", "btcusdt@aggTrade"],
        "id": 1,
    },
    "coinbase": {
        "type": "subscribe",
        "product_ids": ["BTC-USD"],
        "channels": ["ticker", "heartbeat"],
    },
    "kraken": {
        "method": "subscribe",
        "params": {
            "channel": "ticker",
            "symbol": ["BTC/USD"],
            "event_trigger": "bbo",
            "snapshot": True,
        },
        "req_id": 1,
    },
}


@pytest.fixture(scope="module")
def exchanges():
    with SimulatedExchanges(seed=5, tick_ms=5) as running:
        yield running


def opened(exchanges, venue, suffix=""):
    return connect(exchanges.urls[venue] + suffix, proxy=None, compression=None)


def say(socket, message):
    socket.send(message if isinstance(message, str) else json.dumps(message))


def hear(socket, wanted, tries=2000):
    """The next frame for which ``wanted`` holds."""
    for _ in range(tries):
        frame = json.loads(socket.recv(timeout=10))
        if wanted(frame):
            return frame
    raise AssertionError("no such frame")


def shape(value):
    """Keys and JSON types, with integers and fractions both numbers."""
    if isinstance(value, dict):
        return {key: shape(item) for key, item in value.items()}
    if isinstance(value, list):
        return [shape(item) for item in value[:1]]
    return "number" if type(value) in (int, float) else type(value).__name__


@pytest.mark.parametrize(
    ("venue", "row_id", "wanted"),
    [
        ("binance", "binance-sub-ack", lambda f: "result" in f),
        ("binance", "binance-bookticker-raw", lambda f: "u" in f),
        ("binance", "binance-aggtrade", lambda f: f.get("e") == "aggTrade"),
        ("coinbase", "coinbase-sub-ack", lambda f: f["type"] == "subscriptions"),
        ("coinbase", "coinbase-ticker", lambda f: f["type"] == "ticker"),
        ("coinbase", "coinbase-heartbeat", lambda f: f["type"] == "heartbeat"),
        ("kraken", "kraken-sub-ack", lambda f: f.get("method") == "subscribe"),
        ("kraken", "kraken-ticker-snapshot", lambda f: f.get("type") == "snapshot"),
        (
            "kraken",
            "kraken-ticker-update",
            lambda f: f.get("type") == "update" and f["channel"] == "ticker",
        ),
        ("kraken", "kraken-status-maintenance", lambda f: f.get("channel") == "status"),
    ],
)
def test_frames_have_the_shape_of_the_real_ones(exchanges, venue, row_id, wanted):
    with opened(exchanges, venue) as socket:
        say(socket, SUBSCRIBE[venue])
        assert shape(hear(socket, wanted)) == shape(ROWS[row_id])


def test_combined_streams_are_wrapped(exchanges):
    url = exchanges.urls["binance"].replace("/ws", "/stream?streams=btcusdt@bookTicker")
    with connect(url, proxy=None, compression=None) as socket:
        frame = hear(socket, lambda f: "stream" in f)
        assert shape(frame) == shape(ROWS["binance-bookticker-combined"])
    with opened(exchanges, "binance", "/btcusdt@bookTicker") as socket:
        assert shape(hear(socket, lambda f: True)) == shape(ROWS["binance-bookticker-raw"])


@pytest.mark.parametrize(
    ("message", "row_id"),
    [
        ({"method": "SUBSCRIBEX", "id": 1}, "binance-err-variant"),
        ("?", "binance-err-json"),
        ({"id": 1}, "binance-err-nested-id-null"),
    ],
)
def test_binance_errors(exchanges, message, row_id):
    with opened(exchanges, "binance") as socket:
        say(socket, message)
        assert hear(socket, lambda f: True) == ROWS[row_id]


def test_binance_refuses_unknown_streams_and_lists_the_known(exchanges):
    with opened(exchanges, "binance") as socket:
        say(socket, {"method": "SUBSCRIBE", "params": ["BTCUSDT@bookTicker"], "id": 1})
        assert hear(socket, lambda f: True)["result"] is None
        say(socket, {"method": "SUBSCRIBE", "params": ["dogeusdt@bookTicker"], "id": 2})
        assert hear(socket, lambda f: "error" in f)["id"] == 2


def test_binance_cuts_a_talkative_client(exchanges):
    with opened(exchanges, "binance") as socket:
        with pytest.raises(ConnectionClosed):
            for number in range(50):
                say(socket, {"method": "LIST_SUBSCRIPTIONS", "id": number})
                socket.recv(timeout=10)
        assert socket.close_code == 1008


def test_coinbase_voids_a_request_with_one_bad_product(exchanges):
    with opened(exchanges, "coinbase") as socket:
        say(socket, {**SUBSCRIBE["coinbase"], "product_ids": ["BTC-USD", "BTC-USDX"]})
        refused = hear(socket, lambda f: True)
        assert refused["reason"] == "BTC-USDX is not a valid product"
        say(socket, {**SUBSCRIBE["coinbase"], "channels": []})
        assert hear(socket, lambda f: True) == ROWS["coinbase-err-no-channels"]


def test_kraken_pong_and_refusals(exchanges):
    with opened(exchanges, "kraken") as socket:
        say(socket, {"method": "ping", "req_id": 101})
        assert shape(hear(socket, lambda f: "method" in f)) == shape(ROWS["kraken-pong"])
        wrong = {**SUBSCRIBE["kraken"]["params"], "symbol": ["XBT/USD"]}
        say(socket, {"method": "subscribe", "params": wrong, "req_id": 2})
        refused = hear(socket, lambda f: "error" in f)
        assert refused["error"] == "Currency pair not supported XBT/USD"
        assert refused["success"] is False
        say(socket, SUBSCRIBE["kraken"])
        say(socket, SUBSCRIBE["kraken"])
        assert hear(socket, lambda f: "error" in f)["error"] == "Already subscribed"


def test_kraken_prices_are_numbers_on_its_grid(exchanges):
    with opened(exchanges, "kraken") as socket:
        say(socket, SUBSCRIBE["kraken"])
        for _ in range(30):
            text = socket.recv(timeout=10)
            if '"ticker","type"' in text:
                bid = text.partition('"bid":')[2].partition(",")[0]
                assert len(bid.partition(".")[2]) == 1


def test_no_other_endpoints(exchanges):
    with pytest.raises(Exception, match="404"):
        connect(exchanges.urls["kraken"].replace("/v2", "/v1"), proxy=None)


def test_servers_follow_the_injected_clock():
    with SimulatedExchanges(seed=5, now_ms=lambda: T0, tick_ms=5) as running:
        with opened(running, "kraken") as socket:
            say(socket, SUBSCRIBE["kraken"])
            row = hear(socket, lambda f: f.get("type") == "snapshot")["data"][0]
        assert row["timestamp"].startswith("2026-09-25T17:48:25.975")
        path_e8 = PricePath(5).price_e8("BTC-USD", T0 - 25)
        assert row["bid"] * E8 < path_e8 < row["ask"] * E8


class TestPath:
    def test_is_a_function_of_seed_and_time(self):
        times = range(T0, T0 + 10_000, 37)
        once = [PricePath(1).price_e8("BTC-USD", t) for t in times]
        assert once == [PricePath(1).price_e8("BTC-USD", t) for t in times]
        assert once != [PricePath(2).price_e8("BTC-USD", t) for t in times]

    def test_moves_a_little_mostly_and_jumps_sometimes(self):
        path = PricePath(1)
        prices = [path.price_e8("BTC-USD", t) for t in range(T0, T0 + 600_000, 20)]
        moves = [abs(b - a) * 10_000 / a for a, b in pairwise(prices)]
        assert sum(move < 1 for move in moves) > 0.99 * len(moves)
        jumps = [move for move in moves if move > 3]
        assert 5 < len(jumps) < 30
        assert max(jumps) < 40
        assert len(set(prices)) > 0.5 * len(prices)

    def test_stays_near_its_base(self):
        path = PricePath(1)
        for product, base in (("BTC-USD", 84_000 * E8), ("USDT-USD", E8), ("ADA-USD", 75_000_000)):
            for t in range(T0, T0 + 86_400_000, 977_777):
                assert abs(path.price_e8(product, t) - base) * 100 < base
        assert abs(path.price_e8("USDT-USD", T0) - E8) * 1000 < E8

    def test_usdt_price_is_consistent(self):
        path = PricePath(1)
        dollars = path.usdt_price_e8("BTC-USD", T0) * path.price_e8("USDT-USD", T0) // E8
        assert 0 <= path.price_e8("BTC-USD", T0) - dollars <= 2


def test_start_and_stop_are_quick():
    started = time.monotonic()
    with SimulatedExchanges(seed=1) as running:
        assert set(running.urls) == {"binance", "coinbase", "kraken"}
    assert time.monotonic() - started < 2


def test_shares_no_code_with_the_adapters():
    folder = Path(actors.feeds.simulated.__file__).parent
    for file in folder.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            names = [node.module] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            for name in names:
                if name.startswith(("actors", "protocol", "regtest", "riscv_vm")):
                    assert name.startswith("actors.feeds.simulated"), (file.name, name)
