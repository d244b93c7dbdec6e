"""The simulated venues: their path, and their frames against the fixture rows of the real ones."""

import ast
import json
import socket
import time
from http.client import HTTPConnection
from itertools import pairwise
from pathlib import Path
from urllib.parse import urlsplit

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
    if "raw" in row and row["raw"].startswith("{") and row["provenance"] != "adversarial"
}
AT_BOOK = "/api/v3/brokerage/market/product_book?product_id=BTC-USD&limit=1"
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


def say(client, message):
    client.send(message if isinstance(message, str) else json.dumps(message))


def hear(client, wanted, tries=2000):
    """The next frame for which ``wanted`` holds."""
    for _ in range(tries):
        frame = json.loads(client.recv(timeout=10))
        if wanted(frame):
            return frame
    raise AssertionError("no such frame")


def get(exchanges, venue, path, agent=True):
    """Status and JSON (or text) of a GET."""
    url = urlsplit(exchanges.endpoints[venue].rest_url)
    connection = HTTPConnection(url.hostname, url.port, timeout=10)
    connection.request("GET", path, headers={"User-Agent": "test"} if agent else {})
    response = connection.getresponse()
    body = response.read()
    connection.close()
    return response.status, json.loads(body) if body.startswith((b"{", b"[")) else body.decode()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


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
    with opened(exchanges, venue) as client:
        say(client, SUBSCRIBE[venue])
        assert shape(hear(client, wanted)) == shape(ROWS[row_id])


@pytest.mark.parametrize(
    ("row_id", "path", "status"),
    [
        ("binance-rest-price", "/api/v3/ticker/price?symbol=BTCUSDT", 200),
        ("binance-rest-bookticker", "/api/v3/ticker/bookTicker?symbol=BTCUSDT", 200),
        ("binance-rest-ping", "/api/v3/ping", 200),
        ("binance-rest-bad-symbol", "/api/v3/ticker/bookTicker?symbol=BTCUSDX", 400),
        ("coinbase-rest-at-book", AT_BOOK, 200),
        ("coinbase-rest-404", "/products/BTC-USDX/ticker", 404),
        ("kraken-rest-ticker", "/0/public/Ticker?pair=XBTUSD", 200),
        ("kraken-rest-ticker-newkey", "/0/public/Ticker?pair=BTC/USD", 200),
        ("kraken-rest-time", "/0/public/Time", 200),
        ("kraken-rest-system-status", "/0/public/SystemStatus", 200),
    ],
)
def test_replies_have_the_shape_of_the_real_ones(exchanges, row_id, path, status):
    answered, value = get(exchanges, row_id.partition("-")[0], path)
    assert answered == status
    assert shape(value) == shape(ROWS[row_id])


def test_replies_that_no_row_shows(exchanges):
    symbols = "/api/v3/ticker/bookTicker?symbols=%5B%22BTCUSDT%22%5D"
    assert get(exchanges, "binance", symbols)[1][0]["symbol"] == "BTCUSDT"
    assert get(exchanges, "binance", "/api/v3/ticker/price")[1]["code"] == -1100
    assert get(exchanges, "binance", "/elsewhere")[0] == 404
    assert set(get(exchanges, "binance", "/api/v3/time")[1]) == {"serverTime"}
    # oracle.md 3.2 prints this one.
    ticker = get(exchanges, "coinbase", "/products/BTC-USD/ticker")[1]
    assert list(ticker) == [
        "ask",
        "bid",
        "volume",
        "trade_id",
        "price",
        "size",
        "time",
        "rfq_volume",
    ]
    assert len(ticker["time"].partition(".")[2]) == len("016274911Z")
    assert get(exchanges, "coinbase", "/products/BTC-USD")[1]["status"] == "online"
    assert get(exchanges, "coinbase", "/time", agent=False)[0] == 400
    unknown = get(exchanges, "kraken", "/0/public/Ticker?pair=XBTUSD,NOPE")
    assert unknown == (200, {"error": ["EQuery:Unknown asset pair"]})
    both = get(exchanges, "kraken", "/0/public/Ticker?pair=XBTUSD,USDTUSD")[1]["result"]
    assert set(both) == {"XXBTZUSD", "USDTZUSD"}


def test_advanced_trade(exchanges):
    with opened(exchanges, "coinbase") as client:
        say(client, {"type": "subscribe", "product_ids": ["BTC-USD"], "channel": "ticker"})
        first = hear(client, lambda f: True)
        assert (first["channel"], first["sequence_num"]) == ("subscriptions", 0)
        frame = hear(client, lambda f: f["channel"] == "ticker")
        assert shape(frame) == shape(ROWS["coinbase-at-multi-event"])
        say(client, {"type": "subscribe", "channel": "heartbeats"})
        numbers = [frame["sequence_num"]]
        while "current_time" not in frame["events"][0]:
            frame = hear(client, lambda f: True)
            numbers.append(frame["sequence_num"])
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
        say(client, {"type": "subscribe", "product_ids": ["NO-PE"], "channel": "ticker"})
        assert "message" in hear(client, lambda f: f.get("type") == "error")


def test_a_shutdown_is_announced_on_both_kinds_of_stream():
    with SimulatedExchanges(seed=5, tick_ms=5) as running:
        combined = running.urls["binance"].replace("/ws", "/stream?streams=btcusdt@bookTicker")
        with opened(running, "binance") as raw, connect(combined, proxy=None) as wrapped:
            running.call(running.binance.shut_down)
            assert hear(raw, lambda f: True)["e"] == "serverShutdown"
            frame = hear(wrapped, lambda f: f["stream"] == "!serverShutdown")
            assert frame["data"]["e"] == "serverShutdown"


def test_fixed_ports():
    with SimulatedExchanges(seed=1) as running:
        taken = int(running.urls["binance"].rpartition(":")[2].partition("/")[0])
        with pytest.raises(OSError), SimulatedExchanges(seed=1, base_port=taken):
            pass
    for _ in range(20):
        base = free_port()
        try:
            with SimulatedExchanges(seed=1, base_port=base) as running:
                assert running.endpoints["kraken"].rest_url == f"http://127.0.0.1:{base + 2}"
                assert running.urls["binance"] == f"ws://127.0.0.1:{base}/ws"
        except (OSError, OverflowError):
            continue  # a neighbour of the free port is taken, or beyond the last
        return
    raise AssertionError("no three free ports in a row")


def test_combined_streams_are_wrapped(exchanges):
    url = exchanges.urls["binance"].replace("/ws", "/stream?streams=btcusdt@bookTicker")
    with connect(url, proxy=None, compression=None) as client:
        frame = hear(client, lambda f: "stream" in f)
        assert shape(frame) == shape(ROWS["binance-bookticker-combined"])
    with opened(exchanges, "binance", "/btcusdt@bookTicker") as client:
        assert shape(hear(client, lambda f: True)) == shape(ROWS["binance-bookticker-raw"])


@pytest.mark.parametrize(
    ("message", "row_id"),
    [
        ({"method": "SUBSCRIBEX", "id": 1}, "binance-err-variant"),
        ("?", "binance-err-json"),
        ({"id": 1}, "binance-err-nested-id-null"),
    ],
)
def test_binance_errors(exchanges, message, row_id):
    with opened(exchanges, "binance") as client:
        say(client, message)
        assert hear(client, lambda f: True) == ROWS[row_id]


def test_binance_refuses_unknown_streams_and_lists_the_known(exchanges):
    with opened(exchanges, "binance") as client:
        say(client, {"method": "SUBSCRIBE", "params": ["BTCUSDT@bookTicker"], "id": 1})
        assert hear(client, lambda f: True)["result"] is None
        say(client, {"method": "SUBSCRIBE", "params": ["dogeusdt@bookTicker"], "id": 2})
        assert hear(client, lambda f: "error" in f)["id"] == 2


def test_binance_cuts_a_talkative_client(exchanges):
    with opened(exchanges, "binance") as client:
        with pytest.raises(ConnectionClosed):
            for number in range(50):
                say(client, {"method": "LIST_SUBSCRIPTIONS", "id": number})
                client.recv(timeout=10)
        assert client.close_code == 1008


def test_coinbase_voids_a_request_with_one_bad_product(exchanges):
    with opened(exchanges, "coinbase") as client:
        say(client, {**SUBSCRIBE["coinbase"], "product_ids": ["BTC-USD", "BTC-USDX"]})
        refused = hear(client, lambda f: True)
        assert refused["reason"] == "BTC-USDX is not a valid product"
        say(client, {**SUBSCRIBE["coinbase"], "channels": []})
        assert hear(client, lambda f: True) == ROWS["coinbase-err-no-channels"]


def test_kraken_pong_and_refusals(exchanges):
    with opened(exchanges, "kraken") as client:
        say(client, {"method": "ping", "req_id": 101})
        assert shape(hear(client, lambda f: "method" in f)) == shape(ROWS["kraken-pong"])
        wrong = {**SUBSCRIBE["kraken"]["params"], "symbol": ["XBT/USD"]}
        say(client, {"method": "subscribe", "params": wrong, "req_id": 2})
        refused = hear(client, lambda f: "error" in f)
        assert refused["error"] == "Currency pair not supported XBT/USD"
        assert refused["success"] is False
        say(client, SUBSCRIBE["kraken"])
        say(client, SUBSCRIBE["kraken"])
        assert hear(client, lambda f: "error" in f)["error"] == "Already subscribed"


def test_kraken_prices_are_numbers_on_its_grid(exchanges):
    with opened(exchanges, "kraken") as client:
        say(client, SUBSCRIBE["kraken"])
        for _ in range(30):
            text = client.recv(timeout=10)
            if '"ticker","type"' in text:
                bid = text.partition('"bid":')[2].partition(",")[0]
                assert len(bid.partition(".")[2]) == 1


def test_no_other_endpoints(exchanges):
    with pytest.raises(Exception, match="404"):
        connect(exchanges.urls["kraken"].replace("/v2", "/v1"), proxy=None)


def test_servers_follow_the_injected_clock():
    with SimulatedExchanges(seed=5, now_ms=lambda: T0, tick_ms=5) as running:
        with opened(running, "kraken") as client:
            say(client, SUBSCRIBE["kraken"])
            row = hear(client, lambda f: f.get("type") == "snapshot")["data"][0]
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
    assert time.monotonic() - started < 10


def test_shares_no_code_with_the_adapters():
    folder = Path(actors.feeds.simulated.__file__).parent
    for file in folder.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            names = [node.module] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            for name in names:
                if name.startswith(("actors", "protocol", "regtest", "riscv_vm")):
                    ours = name.startswith("actors.feeds.simulated")
                    # Where they are is told in the caller's words; what they say is not.
                    assert ours or name == "actors.feeds.endpoints", (file.name, name)
