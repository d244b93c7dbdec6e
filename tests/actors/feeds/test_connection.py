"""The client loop on loopback: against the simulated venues, and against servers that misbehave."""

import asyncio
import contextlib
import itertools
import json
import ssl
import time
import tracemalloc

import pytest
import trustme
from websockets.exceptions import ConnectionClosed

from actors.feeds import session
from actors.feeds.connection import Feeds, Host, unix_ms
from actors.feeds.endpoints import ADVANCED_TRADE, LIVE, Endpoint
from actors.feeds.simulated import SimulatedExchanges
from protocol.errors import ConfigError, PriceError
from tests.actors.feeds._loopback import ACK, TICKER, connected, server, until


@pytest.fixture(scope="module")
def exchanges():
    with SimulatedExchanges(seed=11, tick_ms=10) as running:
        yield running


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
        # A snapshot and an update of the same moment may say the same, once a symbol.
        assert c.health.events["drop"] <= len(symbols)
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
        await until(lambda: connection.health.rotations)
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
            exchanges.kraken.faults.silent = True
            await until(lambda: "no data" in (connection.health.fault or ""))
            exchanges.kraken.faults.silent = False
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


async def test_rotation_leaves_no_gap(exchanges):
    """Section 6, number 6: open B, first quote on B, then close A."""
    open_at_once = []

    async with connected(
        exchanges.urls["kraken"],
        venue="kraken",
        symbols=("BTC-USD", "USDT-USD"),
        rotate_s=0.2,
        rotate_spread_s=0.05,
    ) as (connection, board, _):
        await until(lambda: board.get("kraken", "BTC-USD"))
        gaps, before, seen = [], time.monotonic(), connection.health.events["quote"]
        while connection.health.rotations < 4:
            await asyncio.sleep(0.001)
            assert connection.health.connected
            assert connection.health.subscribed
            open_at_once.append(len(exchanges.kraken._clients))
            if connection.health.events["quote"] > seen:
                seen, now = connection.health.events["quote"], time.monotonic()
                gaps.append(now - before)
                before = now
            assert time.monotonic() - before < 10.0
        assert connection.health.reconnects == 0
        assert connection.health.connects >= 5
        assert 2 in open_at_once
        assert max(open_at_once) == 2
        # The board went on all the time; a machine with other work delays its ticks.
        assert sorted(gaps)[len(gaps) // 2] < 0.5


async def test_a_successor_that_never_quotes_does_not_replace_a_connection_that_does():
    served = itertools.count()

    async def only_the_first_quotes(socket):
        await socket.send(ACK)
        if next(served) > 0:
            await socket.wait_closed()
        with contextlib.suppress(ConnectionClosed):
            for number in itertools.count(1):
                await socket.send(TICKER % number)
                await asyncio.sleep(0.005)

    async with (
        server(only_the_first_quotes) as url,
        connected(url, data_deadline_s=0.1, rotate_s=0.05, rotate_spread_s=0.0) as (c, board, _),
    ):
        await until(lambda: c.health.connects >= 4)
        seen = board.get("binance", "BTC-USDT").quote.received_ms
        await until(lambda: board.get("binance", "BTC-USDT").quote.received_ms > seen)
        assert c.health.rotations == c.health.reconnects == 0


async def test_a_connection_that_ends_while_its_successor_opens_is_a_reconnect():
    served = itertools.count()

    async def handler(socket):
        await socket.send(ACK)
        if next(served) == 0:
            await socket.send(TICKER % 1)
            await until(lambda: next_is_open)
            await socket.close()
            return
        next_is_open.append(True)
        await socket.wait_closed()

    next_is_open = []
    async with (
        server(handler) as url,
        connected(url, rotate_s=0.05, rotate_spread_s=0.0) as (connection, _, _),
    ):
        await until(lambda: connection.health.reconnects == 1)
        assert connection.health.rotations == 0
        assert connection.health.connects == 2


async def test_stalled_tickers_are_proved_by_heartbeats(monkeypatch):
    """Heartbeats go on and count trades that no ticker told of: a new connection is wanted."""
    monkeypatch.setattr("actors.feeds.coinbase.STALL_MS", 100)
    with SimulatedExchanges(seed=3, tick_ms=5) as running:
        url = running.urls["coinbase"]
        async with connected(url, venue="coinbase", symbols=("BTC-USD",)) as (c, board, _):
            await until(lambda: board.get("coinbase", "BTC-USD"))
            running.coinbase.faults.stalled = True
            await until(lambda: c.health.connects >= 2)
            assert c.health.connected
            running.coinbase.faults.stalled = False
            await until(lambda: c.health.rotations == 1)
            assert "no ticker told of" in c.health.fault


async def test_advanced_trade_with_a_gap_is_subscribed_again(monkeypatch):
    monkeypatch.setattr(session, "RESUBSCRIBE_EVERY_S", 0.0)
    with SimulatedExchanges(seed=3, tick_ms=5) as running:
        endpoint = Endpoint(running.urls["coinbase"], api="advanced-trade")
        async with connected(endpoint, venue="coinbase", symbols=("BTC-USD",)) as (c, _, _):
            await until(lambda: c.health.events["quote"] > 3)
            await until(lambda: c.health.events["heartbeat"] >= 1)
            assert c.health.offset_ms is not None
            assert c.health.resubscribes == 0
            running.call(running.coinbase.skip, 3)
            await until(lambda: c.health.resubscribes == 1)
            seen = c.health.events["quote"]
            await until(lambda: c.health.events["quote"] > seen)
            assert c.health.connects == 1
            assert not c.health.rejects


@pytest.mark.parametrize("venue", ["binance", "coinbase", "kraken"])
async def test_subscription_refused_or_never_acknowledged(venue):
    """Section 6, number 9; the prices go on as soon as the venue relents."""
    symbol = "BTC-USDT" if venue == "binance" else "BTC-USD"
    with SimulatedExchanges(seed=3, tick_ms=5) as running:
        simulated = next(v for v in running.venues if v.name == venue)
        simulated.faults.unconfirmed = True
        async with connected(
            running.urls[venue], venue=venue, symbols=(symbol,), data_deadline_s=0.1
        ) as (c, board, _):
            await until(lambda: c.health.connects >= 2)
            assert "no subscription for 0.1 s" in c.health.fault
            assert c.health.missing in ((symbol,), ())
            simulated.faults.refused, simulated.faults.unconfirmed = True, False
            await until(lambda: c.health.events["error"] >= 2)
            await until(lambda: "(" in c.health.fault)
            assert not c.health.subscribed
            assert board.get(venue, symbol) is None
            simulated.faults.refused = False
            await until(lambda: board.get(venue, symbol))
            await until(lambda: c.health.subscribed and not c.health.missing)


async def test_a_partial_acknowledgement_names_what_is_missing():
    async def partial(socket):
        await socket.recv()
        for symbol in ("BTC/USD", "SOL/USD"):
            ack = {"method": "subscribe", "success": True, "result": {"symbol": symbol}}
            await socket.send(json.dumps(ack))
        refused = {"method": "subscribe", "success": False, "error": "Currency pair not supported"}
        await socket.send(json.dumps({**refused, "symbol": "ADA/USD"}))
        await socket.wait_closed()

    symbols = ("BTC-USD", "ADA-USD", "SOL-USD")
    async with (
        server(partial) as url,
        connected(url, venue="kraken", symbols=symbols) as (connection, _, _),
    ):
        await until(lambda: connection.health.missing == ("ADA-USD",))
        await until(lambda: connection.health.events["error"])
        assert "ADA/USD" in connection.health.fault
        assert connection.health.subscribed


@pytest.mark.parametrize("venue", ["binance", "coinbase", "kraken"])
@pytest.mark.parametrize(
    ("fault", "reason"), [("crossed", "book"), ("one_sided", "book"), ("wrong_symbol", "symbol")]
)
async def test_wrong_books_and_symbols_give_no_quote(exchanges, venue, fault, reason):
    """Section 6, numbers 10 and 18."""
    simulated = next(v for v in exchanges.venues if v.name == venue)
    symbol = "BTC-USDT" if venue == "binance" else "BTC-USD"
    setattr(simulated.faults, fault, True)
    try:
        async with connected(exchanges.urls[venue], venue=venue, symbols=(symbol,)) as (c, b, _):
            await until(lambda: c.health.rejects[reason] > 3)
            assert b.get(venue, symbol) is None or not b.get(venue, symbol).quote.bid_e8
            assert c.health.events["quote"] == 0
    finally:
        setattr(simulated.faults, fault, False)


async def test_a_sequence_that_goes_back_is_dropped_until_the_next_connection():
    """Section 6, number 11."""
    with SimulatedExchanges(seed=3, tick_ms=5) as running:
        for venue, symbol in (("binance", "BTC-USDT"), ("coinbase", "BTC-USD")):
            simulated = next(v for v in running.venues if v.name == venue)
            async with connected(running.urls[venue], venue=venue, symbols=(symbol,)) as (c, _, _):
                await until(lambda c=c: c.health.events["quote"] > 3)
                running.call(simulated.skip, -100_000)
                await until(lambda c=c: c.health.events["drop"] > 3)
                seen = c.health.events["quote"]
                running.call(simulated.hang_up)
                await until(lambda c=c, seen=seen: c.health.events["quote"] > seen)


@pytest.mark.parametrize("how", ["reset", "freeze"])
async def test_reset_and_half_open_sockets_are_replaced(how):
    """Section 6, number 5."""
    with SimulatedExchanges(seed=3, tick_ms=5) as running:
        async with connected(running.urls["binance"], data_deadline_s=0.3) as (c, board, _):
            await until(lambda: board.get("binance", "BTC-USDT"))
            running.call(getattr(running.binance, how))
            await until(lambda: c.health.connects >= 2)
            seen = c.health.events["quote"]
            await until(lambda: c.health.events["quote"] > seen)
            assert c.health.reconnects >= 1


async def test_a_missing_pong_ends_a_connection(monkeypatch):
    """Section 6, number 8: the data deadline is far away."""
    monkeypatch.setattr(session, "KEEPALIVE_S", 0.05)
    with SimulatedExchanges(seed=3, tick_ms=5) as running:
        async with connected(running.urls["binance"]) as (connection, board, _):
            await until(lambda: board.get("binance", "BTC-USDT"))
            running.call(running.binance.freeze)
            await until(lambda: connection.health.connects >= 2)
            assert "keepalive" in connection.health.fault


async def test_heartbeats_keep_a_connection_and_no_price():
    """Section 6, number 20: every venue is alive and its quotes are old."""
    with SimulatedExchanges(seed=3, tick_ms=5) as running:
        async with Feeds(["BTC-USD"], {v: Endpoint(u) for v, u in running.urls.items()}) as feeds:
            await until(lambda: len(feeds.board.snapshot("BTC-USD").pair) == 3)
            for venue in running.venues:
                venue.faults.silent = True
            frozen = feeds.board.snapshot("BTC-USD")
            beats = [
                (running.kraken, '{"channel":"heartbeat"}'),
                (running.binance, '{"result":null,"id":1}'),
            ]
            seen = feeds.health["kraken"].events["heartbeat"]
            for _ in range(20):
                for venue, frame in beats:
                    running.call(venue.say, frame)
            await until(lambda: feeds.health["kraken"].events["heartbeat"] >= seen + 20)
            newest_ms = max(quote.received_ms for quote in frozen.quotes)
            assert frozen.price(newest_ms, 1)
            with pytest.raises(PriceError):
                frozen.price(newest_ms + 5_001, 1)
            assert all(health.connected for health in feeds.health.values())


async def test_a_name_that_does_not_resolve_and_a_certificate_of_nobody():
    """Section 6, number 5."""
    async with connected("wss://venue.invalid/ws") as (connection, _, sleeps):
        await until(lambda: len(sleeps.delays) >= 3)
        assert connection.health.fault
        assert connection.health.connects == 0
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    async with (
        server(lambda socket: socket.wait_closed(), ssl=context) as url,
        connected(url.replace("ws:", "wss:")) as (connection, _, sleeps),
    ):
        await until(lambda: len(sleeps.delays) >= 3)
        assert "certificate" in connection.health.fault.lower()
        assert connection.health.connects == 0


async def test_a_slow_consumer_holds_a_bounded_queue_and_ends_with_the_newest():
    """Section 6, number 12."""
    total = 4_000

    async def flood(socket):
        await socket.send(ACK)
        for number in range(1, total + 1):
            await socket.send(TICKER % number)
        await socket.wait_closed()

    calls = itertools.count()

    def slowly():
        if next(calls) < 20:
            time.sleep(0.005)  # the consumer blocks the loop, not the test

    tracemalloc.start()
    try:
        async with server(flood) as url, connected(url, changed=slowly) as (c, board, _):
            newest = f'{{"u":{total},'.encode()
            await until(
                lambda: (
                    (held := board.get("binance", "BTC-USDT"))
                    and held.book.frame.startswith(newest)
                )
            )
            assert c.health.events["quote"] == total
            assert tracemalloc.get_traced_memory()[1] < 40 * 2**20
    finally:
        tracemalloc.stop()


async def test_deflate_is_not_negotiated():
    """Section 6, number 13: a frame cannot grow on our side."""
    offered = []

    def look(socket, request):
        offered.append(request.headers.get("Sec-WebSocket-Extensions"))

    async with (
        server(lambda socket: socket.wait_closed(), process_request=look) as url,
        connected(url),
    ):
        await until(lambda: offered)
    assert offered == [None]


async def test_a_reconnect_storm_stays_within_the_budget():
    """Section 6, number 15: what the back-off allows is all that is tried."""
    async with (
        server(lambda socket: socket.close()) as url,
        connected(url) as (connection, _, sleeps),
    ):
        await until(lambda: len(sleeps.delays) >= 40)
        opened = connection.health.connects
    # Were the waits observed, 40 attempts took this long: more than 5 minutes for 300 of them.
    assert sum(sleeps.delays[:40]) > 60
    assert opened <= len(sleeps.delays)


async def test_a_refused_handshake_disables_the_venue():
    """Section 6, number 14, on the WebSocket side."""
    with SimulatedExchanges(seed=3, tick_ms=5) as running:
        faults = running.binance.faults
        faults.headers = {"Retry-After": "120"}
        faults.body = '{"code":0,"msg":"Service unavailable from a restricted location"}'
        faults.status = 451
        async with connected(running.urls["binance"]) as (connection, _, sleeps):
            await until(lambda: connection.health.disabled_until_ms)
            wait_ms = connection.health.disabled_until_ms - unix_ms()
            assert 100_000 < wait_ms <= 120_000
            await until(lambda: len(sleeps.delays) > 5)
            assert max(sleeps.delays) > 100
            assert running.binance.connects == 0


async def test_the_clock_of_each_venue_is_measured():
    """Section 6, numbers 21 and 23: the simulated venues run 3.2 s ahead of this host."""
    with SimulatedExchanges(seed=3, now_ms=lambda: unix_ms() + 3_200, tick_ms=5) as running:
        async with Feeds(["BTC-USD"], running.endpoints, host=Host()) as feeds:
            await until(lambda: len(feeds.offsets_ms) == 3)
            assert all(3_000 < offset < 3_300 for offset in feeds.offsets_ms.values())
            assert all(health.clock_alarm for health in feeds.health.values())
            await until(lambda: len(feeds.board.snapshot("BTC-USD").pair) == 3)
            kraken = feeds.health["kraken"]
            await until(lambda: kraken.venue_age_ms(unix_ms()) is not None)
            assert abs(kraken.venue_age_ms(unix_ms())) < 1_000
            assert kraken.age_ms(unix_ms()) < 1_000


async def test_changed_is_called_for_frames_that_moved_a_quote(exchanges):
    calls = []
    async with connected(
        exchanges.urls["kraken"],
        venue="kraken",
        symbols=("BTC-USD",),
        changed=lambda: calls.append(len(calls)),
    ) as (connection, _, _):
        await until(lambda: len(calls) > 10)
        quotes = connection.health.events["quote"] + connection.health.events["control"]
        assert len(calls) <= quotes
        assert connection.health.frames >= len(calls)


async def test_several_products():
    products = ("BTC-USD", "ETH-USD", "ADA-USD", "SOL-USD")
    with SimulatedExchanges(seed=3, tick_ms=5, products=products) as running:
        async with Feeds(products, running.endpoints) as feeds:
            for product in products:
                await until(lambda p=product: len(feeds.board.snapshot(p).pair) == 3)
                price = feeds.board.snapshot(product).price(unix_ms(), 3)
                path_e8 = running.path.price_e8(product, unix_ms())
                assert abs(price.price_e8 - path_e8) * 100 < path_e8
            assert all(not health.missing for health in feeds.health.values())


@pytest.mark.parametrize("venue", ["binance", "coinbase", "kraken"])
async def test_single_venue_mode(exchanges, venue):
    async with Feeds(["BTC-USD"], exchanges.endpoints, venues={venue}) as feeds:
        await until(lambda: feeds.board.snapshot("BTC-USD").pair)
        rated = venue == "binance"
        await until(lambda: len(feeds.board.snapshot("BTC-USD").usdt) == 2 * rated)
        price = feeds.board.snapshot("BTC-USD").price(unix_ms(), 1)
        assert [sample.venue for sample in price.samples] == [venue]
        assert set(feeds.health) == ({"binance", "coinbase", "kraken"} if rated else {venue})


def test_endpoints():
    assert all(endpoint.websocket_url.startswith("wss://") for endpoint in LIVE.values())
    assert Endpoint("ws://127.0.0.1:1/x").on_loopback
    for url in ("ws://example.org/ws", "http://127.0.0.1", ""):
        with pytest.raises(ConfigError, match="wss"):
            Endpoint(url)
    for url in ("ftp://127.0.0.1", "http://example.org", "https://[::1", "https://a b"):
        with pytest.raises(ConfigError, match="rest_url"):
            Endpoint("wss://example.org", url)
    assert ADVANCED_TRADE.api == "advanced-trade"
    with pytest.raises(ConfigError, match="venues: kraken has no endpoint"):
        Feeds(endpoints={"binance": LIVE["binance"]}, venues=["kraken"])
    with pytest.raises(ConfigError, match="only coinbase"):
        Feeds(endpoints={"kraken": ADVANCED_TRADE})
    with pytest.raises(ConfigError, match="bitfinex"):
        Feeds(endpoints={"bitfinex": Endpoint("ws://127.0.0.1:1")})
    with pytest.raises(ConfigError, match="empty"):
        Feeds(endpoints={})
