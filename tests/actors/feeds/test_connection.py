"""The client loop on loopback: against the simulated venues, and against servers that misbehave."""

import asyncio
import contextlib
import itertools
import json
import random
import time

import pytest
from websockets.asyncio.server import serve

from actors.feeds.board import QuoteBoard
from actors.feeds.connection import Feeds, Host, VenueConnection, unix_ms
from actors.feeds.endpoints import LIVE, Endpoint
from actors.feeds.simulated import SimulatedExchanges
from protocol.errors import ConfigError

DEADLINE_S = 15.0
TICKER = '{"u":%d,"s":"BTCUSDT","b":"84000.00","B":"1","a":"84000.01","A":"1"}'
ACK = '{"result":null,"id":1}'


@pytest.fixture(scope="module")
def exchanges():
    with SimulatedExchanges(seed=11, tick_ms=10) as running:
        yield running


async def until(condition):
    """Poll ``condition`` until it holds."""
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        await asyncio.sleep(0.002)


class Sleeps:
    """Records the delays of the back-off and does not wait for them."""

    def __init__(self):
        self.delays = []

    async def __call__(self, delay_s):
        self.delays.append(delay_s)
        await asyncio.sleep(0)


@contextlib.asynccontextmanager
async def connected(url, *, venue="binance", symbols=("BTC-USDT",), data_deadline_s=None):
    board, sleeps = QuoteBoard(), Sleeps()
    host = Host(uniform=random.Random(1).uniform, sleep=sleeps)
    connection = VenueConnection(
        venue, symbols, Endpoint(url), board, host=host, data_deadline_s=data_deadline_s
    )
    task = asyncio.create_task(connection.run())
    try:
        yield connection, board, sleeps
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


@contextlib.asynccontextmanager
async def server(handler, **options):
    async with serve(handler, "127.0.0.1", 0, close_timeout=0.1, **options) as running:
        yield f"ws://127.0.0.1:{running.sockets[0].getsockname()[1]}/ws"


@pytest.mark.parametrize(
    ("venue", "symbols"),
    [
        ("binance", ("BTC-USDT",)),
        ("coinbase", ("BTC-USD", "USDT-USD")),
        ("kraken", ("BTC-USD", "USDT-USD")),
    ],
)
async def test_quotes_of_a_simulated_venue(exchanges, venue, symbols):
    async with connected(exchanges.urls[venue], venue=venue, symbols=symbols) as (c, board, _):
        await until(lambda: all(board.get(venue, symbol) for symbol in symbols))
        await until(lambda: c.health.events["quote"] > 20)
        assert c.health.connected
        assert c.health.subscribed
        assert not c.health.rejects
        assert not c.health.events["error"] + c.health.events["ignore"]
        # A snapshot and an update of the same moment may say the same.
        assert c.health.events["drop"] <= 1
        sighting = board.get(venue, symbols[0])
        assert b"BTC" in sighting.book.frame
        assert abs(unix_ms() - sighting.quote.received_ms) < 60_000


async def test_three_venues_to_one_price(exchanges):
    endpoints = {venue: Endpoint(url) for venue, url in exchanges.urls.items()}
    async with Feeds(["BTC-USD"], endpoints) as feeds:
        await until(lambda: len(feeds.board.snapshot("BTC-USD").pair) == 3)
        await until(lambda: len(feeds.board.snapshot("BTC-USD").usdt) == 2)
        snapshot = feeds.board.snapshot("BTC-USD")
        price = snapshot.price(unix_ms(), 3)
        path_e8 = exchanges.path.price_e8("BTC-USD", unix_ms())
        assert abs(price.price_e8 - path_e8) * 100 < path_e8
        assert len(snapshot.frames(price)) == 5
        assert 0 <= time.monotonic_ns() - snapshot.first_received_ns(price) < 10**10
        assert all(health.connects == 1 for health in feeds.health.values())


async def test_silent_socket_is_given_up(exchanges):
    async def silent(socket):
        await socket.wait_closed()

    async with (
        server(silent) as url,
        connected(url, data_deadline_s=0.05) as (connection, _, sleeps),
    ):
        await until(lambda: connection.health.connects >= 3)
        assert "no subscription for 0.05 s" in connection.health.fault
        assert sleeps.delays[0] == 0
        assert min(sleeps.delays[1:]) > 0


async def test_silence_after_quotes_is_given_up():
    async def once(socket):
        await socket.send(ACK)
        await socket.send(TICKER % 1)
        await socket.wait_closed()

    async with server(once) as url, connected(url, data_deadline_s=0.05) as (connection, board, _):
        await until(lambda: connection.health.connects >= 2)
        assert "no data for 0.05 s" in connection.health.fault
        # The held quote stays: it ages out by its own time.
        assert board.get("binance", "BTC-USDT")


async def test_garbage_counts_and_does_not_keep_a_connection_alive():
    async def garbage(socket):
        await socket.send(ACK)
        for number in itertools.count():
            await socket.send(("{" * (number % 50), b"\xff\xfe", '{"u":1}', "[]")[number % 4])
            await asyncio.sleep(0.001)

    async with server(garbage) as url, connected(url, data_deadline_s=0.1) as (c, board, _):
        await until(lambda: c.health.connects >= 2)
        assert c.health.rejects["frame"] > 3
        assert board.get("binance", "BTC-USDT") is None


async def test_quotes_between_garbage_are_used():
    async def mixed(socket):
        await socket.send("{")
        await socket.send(b"\xff")
        await socket.send(TICKER % 7)
        await socket.wait_closed()

    async with server(mixed) as url, connected(url) as (connection, board, _):
        await until(lambda: board.get("binance", "BTC-USDT"))
        assert connection.health.rejects["frame"] == 2
        assert connection.health.connects == 1


async def test_server_close_and_restart_of_the_sequence():
    numbers = iter((1000, 1))

    async def brief(socket):
        await socket.recv()
        await socket.send(TICKER % next(numbers, 2))
        await socket.close(1001)

    async with server(brief) as url, connected(url) as (connection, _, _):
        await until(lambda: connection.health.events["quote"] >= 3)
        assert connection.health.events["drop"] == 0


async def test_oversized_frame_closes_the_connection():
    async def oversized(socket):
        await socket.send(TICKER % 1)
        await socket.send('{"u":2,"pad":"' + "A" * 2**20 + '"}')
        await socket.wait_closed()

    async with server(oversized) as url, connected(url) as (connection, _, _):
        await until(lambda: connection.health.connects >= 2)
        assert "1009" in connection.health.fault


async def test_shutdown_notice_is_followed():
    async def shutting_down(socket):
        await socket.send(TICKER % 1)
        await socket.send('{"e":"serverShutdown","E":1790358509000}')
        await socket.wait_closed()

    async with server(shutting_down) as url, connected(url) as (connection, _, _):
        await until(lambda: connection.health.connects >= 2)
        assert connection.health.fault == "the venue asks to reconnect"


async def test_redirect_is_not_followed(exchanges):
    def elsewhere(socket, request):
        response = socket.respond(302, "")
        response.headers["Location"] = exchanges.urls["binance"]
        return response

    async def unused(socket):
        await socket.wait_closed()

    async with server(unused, process_request=elsewhere) as url, connected(url) as (c, _, sleeps):
        await until(lambda: len(sleeps.delays) >= 3)
        assert "302" in c.health.fault
        assert c.health.connects == 0


async def test_nobody_listens():
    async with server(lambda socket: socket.wait_closed()) as url:
        pass
    async with connected(url) as (connection, _, sleeps):
        await until(lambda: len(sleeps.delays) >= 4)
        assert connection.health.connects == 0
        assert connection.health.fault


async def test_refused_subscription_is_reported():
    async def refusing(socket):
        await socket.send('{"error":{"code":2,"msg":"Invalid request: invalid stream"},"id":1}')
        await socket.wait_closed()

    async with server(refusing) as url, connected(url) as (connection, _, _):
        await until(lambda: connection.health.events["error"])
        assert "invalid stream" in connection.health.fault
        assert not connection.health.subscribed


async def test_the_venues_own_servers_hang_up_and_fall_silent():
    with SimulatedExchanges(seed=3, tick_ms=5) as exchanges:
        url = exchanges.urls["kraken"]
        async with connected(url, venue="kraken", symbols=("BTC-USD",), data_deadline_s=0.2) as (
            connection,
            board,
            _,
        ):
            await until(lambda: board.get("kraken", "BTC-USD"))
            exchanges.call(exchanges.kraken.hang_up)
            await until(lambda: connection.health.connects >= 2)
            await until(lambda: connection.health.subscribed)
            exchanges.kraken.silent = True
            await until(lambda: "no data" in (connection.health.fault or ""))
            exchanges.kraken.silent = False
            seen = connection.health.events["quote"]
            await until(lambda: connection.health.events["quote"] > seen + 5)
            exchanges.kraken.system = "maintenance"
            exchanges.call(exchanges.kraken.say, exchanges.kraken.status_frame())
            await until(lambda: connection.health.rejects["status"])
            assert not board.get("kraken", "BTC-USD").quote.tradeable


async def test_subscriptions_are_the_first_words():
    heard = []

    async def listening(socket):
        heard.append(json.loads(await socket.recv()))
        await socket.wait_closed()

    async with server(listening) as url, connected(url):
        await until(lambda: heard)
    assert heard[0]["params"] == ["btcusdt@bookTicker", "btcusdt@aggTrade"]


def test_endpoints():
    assert all(endpoint.websocket_url.startswith("wss://") for endpoint in LIVE.values())
    assert Endpoint("ws://127.0.0.1:1/x").on_loopback
    for url in ("ws://example.org/ws", "http://127.0.0.1", ""):
        with pytest.raises(ConfigError, match="wss"):
            Endpoint(url)
    with pytest.raises(ConfigError, match="bitfinex"):
        Feeds(endpoints={"bitfinex": Endpoint("ws://127.0.0.1:1")})
    with pytest.raises(ConfigError, match="empty"):
        Feeds(endpoints={})
