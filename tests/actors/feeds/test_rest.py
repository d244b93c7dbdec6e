"""REST: one bounded GET, and the poller that stands in for a silent stream (section 6: 4, 14)."""

import asyncio
import contextlib
import dataclasses
import ssl
import time

import pytest
import trustme

from actors.feeds import http_get as module
from actors.feeds.connection import Feeds, unix_ms
from actors.feeds.endpoints import Endpoint
from actors.feeds.health import Poll
from actors.feeds.host import Policy
from actors.feeds.http_get import http_get
from actors.feeds.simulated import SimulatedExchanges
from actors.feeds.simulated.faults import Bad, Faults
from protocol.errors import EncodingError
from protocol.oracle.price import REST_AGE_MS, WS_AGE_MS
from tests.actors.feeds._loopback import connected, hurried, until

SYMBOLS = {"binance": "BTC-USDT", "coinbase": "BTC-USD", "kraken": "BTC-USD"}
QUICK = {"rest_after_s": 0.1, "rest_until_s": 0.2}


@pytest.fixture(scope="module")
def running():
    with SimulatedExchanges(seed=11, tick_ms=10) as exchanges:
        yield exchanges


@pytest.fixture
def exchanges(running):
    """Three venues without a fault, now and afterwards."""
    yield running
    for venue in running.venues:
        for field in dataclasses.fields(Faults()):
            setattr(venue.faults, field.name, getattr(Faults(), field.name))
    running.coinbase.cancel_only = False
    running.kraken.system = "online"


@pytest.fixture
def fast(monkeypatch):
    """REST as fast as a test wants it."""
    for adapter in ("binance.Binance", "coinbase.Coinbase", "kraken.Kraken"):
        monkeypatch.setattr(f"actors.feeds.{adapter}.rest_interval_s", 0.02)
    monkeypatch.setattr("actors.feeds.restraint.step_s", lambda failures: 0.01)


@contextlib.asynccontextmanager
async def answering(raw: bytes, *, close=True, tls=None):
    """A TCP server that sends ``raw`` to whoever asks; the base URL, and the requests it got."""
    heard, served = [], []

    async def serve(reader, writer):
        served.append(asyncio.current_task())
        try:
            heard.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(raw)
            await writer.drain()
            if not close:
                await reader.read()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    running = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    port = running.sockets[0].getsockname()[1]
    try:
        yield f"http{'s' if tls else ''}://127.0.0.1:{port}", heard
    finally:
        running.close()
        await asyncio.gather(*served)


def ok(body: bytes, headers: bytes = b"") -> bytes:
    return b"HTTP/1.1 200 OK\r\n" + headers + b"\r\n" + body


class TestGet:
    async def test_the_request_names_host_and_agent_and_reuses_nothing(self):
        async with answering(ok(b"{}")) as (url, heard):
            reply = await http_get(f"{url}/a/b?c=%5Bd%5D&e=1", unix_ms)
        assert (reply.status, reply.raw) == (200, b"{}")
        assert abs(unix_ms() - reply.sent_ms) < 5_000
        head, *headers = heard[0].decode().split("\r\n")
        assert head == "GET /a/b?c=%5Bd%5D&e=1 HTTP/1.1"
        assert f"Host: {url.removeprefix('http://')}" in headers
        assert "Connection: close" in headers
        assert any(header.startswith("User-Agent: ") for header in headers)

    @pytest.mark.parametrize(
        ("raw", "body"),
        [
            (ok(b"{}", b"Content-Length: 2\r\n"), b"{}"),
            (ok(b"1\r\n{\r\n1\r\n}\r\n0\r\n\r\n", b"Transfer-Encoding: chunked\r\n"), b"{}"),
            (ok(b"{}more", b"Content-Length: 2\r\n"), b"{}"),
            (b"HTTP/1.1 100 Continue\r\n\r\n" + ok(b"{}"), b"{}"),
        ],
    )
    async def test_bodies(self, raw, body):
        async with answering(raw) as (url, _):
            assert (await http_get(url, unix_ms)).raw == body

    @pytest.mark.parametrize(
        "raw",
        [
            b"",
            b"\x00\xff" * 50,
            b"SSH-2.0-OpenSSH\r\n",
            b"HTTP/1.1 abc OK\r\n\r\n",
            ok(b"{", b"Content-Length: 2\r\n"),
            ok(b"zz\r\n{}", b"Transfer-Encoding: chunked\r\n"),
            ok(b"5\r\n{}", b"Transfer-Encoding: chunked\r\n"),
            b"HTTP/1.1 200 OK\r\n" + b"X: 1\r\n" * 1000,
            b"HTTP/1.1 200 OK\r\nX: " + b"1" * 2**17,
        ],
    )
    async def test_what_is_not_http(self, raw):
        async with answering(raw) as (url, _):
            with pytest.raises((EncodingError, OSError)):
                await http_get(url, unix_ms)

    async def test_a_body_over_a_mebibyte_is_not_read_to_the_end(self):
        async with answering(ok(b"A" * 2**22)) as (url, _):
            with pytest.raises(EncodingError, match="1 MiB"):
                await http_get(url, unix_ms)

    async def test_the_deadline_covers_the_whole_reply(self):
        async with answering(ok(b"{"), close=False) as (url, _):
            with pytest.raises(TimeoutError):
                await http_get(url, unix_ms, 0.05)

    async def test_a_certificate_of_nobody(self):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
        async with answering(ok(b"{}"), tls=context) as (url, _):
            with pytest.raises(ssl.SSLError, match="certificate"):
                await http_get(url, unix_ms)

    async def test_a_certificate_of_somebody_trusted_for_this_name_only(self, monkeypatch):
        authority = trustme.CA()
        trusting = ssl.create_default_context()
        authority.configure_trust(trusting)
        monkeypatch.setattr(module, "_tls", lambda: trusting)
        for name, trusted in (("127.0.0.1", True), ("api.example.org", False)):
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            authority.issue_cert(name).configure_cert(context)
            async with answering(ok(b"{}"), tls=context) as (url, _):
                if trusted:
                    assert (await http_get(url, unix_ms)).raw == b"{}"
                else:
                    with pytest.raises(ssl.SSLError):
                        await http_get(url, unix_ms)

    async def test_a_name_that_does_not_resolve(self):
        with pytest.raises(OSError):
            await http_get("https://venue.invalid/x", unix_ms)


def simulated(exchanges, venue):
    return next(v for v in exchanges.venues if v.name == venue)


@pytest.mark.parametrize("venue", ["kraken"])
async def test_a_silent_socket_is_replaced_by_rest_within_two_seconds(exchanges, venue):
    """Section 6, number 4, with the real times: 2 s without a quote, then REST."""
    server, symbol = simulated(exchanges, venue), SYMBOLS[venue]
    async with connected(exchanges.endpoints[venue], venue=venue, symbols=(symbol,)) as (c, b, _):
        await until(lambda: b.get(venue, symbol))
        server.faults.silent = True
        began = time.monotonic()
        await until(lambda: b.get(venue, symbol).quote.transport == "rest")
        assert 1.5 < time.monotonic() - began < 15.0
        assert c.health.polling
        assert c.health.polls[Poll.QUOTE] >= 1
        assert c.health.connected, "TCP is up"


@pytest.mark.parametrize("venue", SYMBOLS)
@pytest.mark.usefixtures("fast")
async def test_rest_begins_and_ends_with_hysteresis(exchanges, venue):
    server, symbol = simulated(exchanges, venue), SYMBOLS[venue]
    endpoint = exchanges.endpoints[venue]
    async with connected(endpoint, venue=venue, symbols=(symbol,), **QUICK) as (c, board, _):
        await until(lambda: board.get(venue, symbol))
        server.faults.silent = True
        await until(lambda: c.health.polls[Poll.QUOTE] > 3)
        quote = board.get(venue, symbol).quote
        assert (quote.transport, quote.tradeable) == ("rest", True)
        assert 0 < quote.bid_e8 < quote.ask_e8
        server.faults.silent = False
        # Until the stream is steady REST goes on asking, but what it says is not used.
        await until(lambda: board.get(venue, symbol).quote.transport == "ws")
        await until(lambda: not c.health.polling)
        used = c.health.polls[Poll.QUOTE]
        asked = sum(server.asked.values())
        seen = c.health.events["quote"]
        await until(lambda: c.health.events["quote"] > seen + 20)
        assert c.health.polls[Poll.QUOTE] == used
        assert sum(server.asked.values()) <= asked + 2


@pytest.mark.usefixtures("fast")
async def test_a_price_from_rest_alone_and_its_age_limit(exchanges):
    for venue in exchanges.venues:
        venue.faults.unconfirmed = venue.faults.silent = True
    policy = Policy(**QUICK)
    async with Feeds(["BTC-USD"], exchanges.endpoints, host=hurried(), policy=policy) as feeds:
        await until(lambda: len(feeds.board.snapshot("BTC-USD").pair) == 3)
        await until(lambda: feeds.board.snapshot("BTC-USD").usdt)
        snapshot = feeds.board.snapshot("BTC-USD")
        newest_ms = max(quote.received_ms for quote in snapshot.quotes)
        price = snapshot.price(newest_ms, 3)
        assert abs(price.price_e8 - exchanges.path.price_e8("BTC-USD", unix_ms())) < 840 * 10**8
        assert REST_AGE_MS > WS_AGE_MS
        assert snapshot.price(newest_ms + WS_AGE_MS + 1, 3).price_e8
        assert all(b"{" in frame for frame in snapshot.frames(price))


async def test_an_interval_between_requests_is_kept(exchanges):
    server = exchanges.kraken
    server.faults.unconfirmed = server.faults.silent = True
    server.asked.clear()
    async with connected(
        exchanges.endpoints["kraken"],
        venue="kraken",
        symbols=("BTC-USD",),
        rest_after_s=0.0,
    ) as (c, _, _):
        began = time.monotonic()
        await until(lambda: sum(server.asked.values()) >= 2)
        assert time.monotonic() - began >= 0.95
        assert c.health.polls[Poll.QUOTE] >= 1


@pytest.mark.parametrize("venue", SYMBOLS)
@pytest.mark.parametrize("bad", [Bad.HTML, Bad.REDIRECT, Bad.HUGE, Bad.CUT, Bad.GARBAGE, Bad.SLOW])
@pytest.mark.usefixtures("fast")
async def test_bad_replies_give_no_quote_and_end_nothing(exchanges, venue, bad):
    """Section 6, number 14: captive portal, redirect, huge, cut, garbage, slow-loris."""
    server, symbol = simulated(exchanges, venue), SYMBOLS[venue]
    server.faults.rest = bad
    server.faults.unconfirmed = server.faults.silent = True
    endpoint = exchanges.endpoints[venue]
    timeout_s = 0.1 if bad is Bad.SLOW else 10.0
    async with connected(
        endpoint, venue=venue, symbols=(symbol,), timeout_s=timeout_s, **QUICK
    ) as (c, board, _):
        lost = bad in (Bad.HUGE, Bad.CUT, Bad.GARBAGE, Bad.SLOW)
        outcome = Poll.FAILED if lost else Poll.REFUSED
        await until(lambda: c.health.polls[outcome] >= 2)
        assert set(c.health.polls) == {outcome}
        assert board.get(venue, symbol) is None
        server.faults.rest = None
        await until(lambda: board.get(venue, symbol))


@pytest.mark.parametrize(
    ("status", "headers", "wait_s"),
    [
        (418, {"Retry-After": "360"}, 360),
        (418, {}, 3600),
        (451, {"Retry-After": "Fri, 31 Dec 2100 23:59:59 GMT"}, 3 * 86_400),
    ],
)
@pytest.mark.usefixtures("fast")
async def test_a_ban_ends_questions_and_connections(exchanges, status, headers, wait_s):
    server = exchanges.binance
    server.faults.unconfirmed = server.faults.silent = True
    async with connected(exchanges.endpoints["binance"], data_deadline_s=0.2, **QUICK) as (
        c,
        _,
        sleeps,
    ):
        await until(lambda: c.health.polls[Poll.QUOTE])
        server.faults.headers = headers
        server.faults.body = '{"code":-1003,"msg":"IP banned"}'
        server.faults.status = status
        await until(lambda: c.health.disabled_until_ms)
        left_s = (c.health.disabled_until_ms - unix_ms()) / 1000
        assert wait_s - 10 < left_s <= wait_s
        asked, connects = sum(server.asked.values()), server.connects
        await until(lambda: max(sleeps.delays) > wait_s - 10)
        await until(lambda: not c.health.connected)
        seen = len(sleeps.delays)
        await until(lambda: len(sleeps.delays) > seen + 20)
        assert sum(server.asked.values()) == asked
        assert server.connects == connects


@pytest.mark.parametrize("status", [429, 403, 503, 504])
@pytest.mark.usefixtures("fast")
async def test_other_refusals_back_off_and_pass(exchanges, status):
    server = exchanges.coinbase
    server.faults.unconfirmed = server.faults.silent = True
    async with connected(
        Endpoint(exchanges.urls["coinbase"], exchanges.coinbase.rest_url),
        venue="coinbase",
        symbols=("BTC-USD",),
        routine_s=1e9,
        **QUICK,
    ) as (c, board, _):
        await until(lambda: board.get("coinbase", "BTC-USD"))
        server.faults.body = '{"message":"Public rate limit exceeded"}'
        server.faults.status = status
        refused = c.health.polls[Poll.REFUSED]
        await until(lambda: c.health.polls[Poll.REFUSED] >= refused + 2)
        assert c.health.disabled_until_ms is None
        assert str(status) in c.health.fault
        server.faults.status = None
        used = c.health.polls[Poll.QUOTE]
        await until(lambda: c.health.polls[Poll.QUOTE] > used)


@pytest.mark.usefixtures("fast")
async def test_kraken_in_maintenance_gives_no_quote_by_rest(exchanges):
    """Section 6, number 16: the REST ticker answers as if nothing were wrong."""
    server = exchanges.kraken
    endpoint = exchanges.endpoints["kraken"]
    async with connected(endpoint, venue="kraken", symbols=("BTC-USD",), **QUICK) as (c, b, _):
        await until(lambda: b.get("kraken", "BTC-USD"))
        server.system = "cancel_only"
        server.faults.silent = True
        await until(lambda: not b.get("kraken", "BTC-USD").quote.tradeable)
        await until(lambda: c.health.rejects["status"])
        server.system = "online"
        await until(lambda: b.get("kraken", "BTC-USD").quote.tradeable)


async def test_coinbase_tells_by_rest_that_a_product_is_closed(exchanges):
    exchanges.coinbase.cancel_only = True
    async with connected(
        exchanges.endpoints["coinbase"], venue="coinbase", symbols=("BTC-USD",)
    ) as (c, board, _):
        await until(lambda: c.health.rejects["status"] > 3)
        held = board.get("coinbase", "BTC-USD")
        assert held is None or not held.quote.tradeable
        assert c.health.polls[Poll.ROUTINE] == 2


async def test_binance_is_asked_for_its_time(exchanges):
    async with connected(exchanges.endpoints["binance"]) as (c, _, _):
        await until(lambda: c.health.offset_ms is not None)
        assert abs(c.health.offset_ms + exchanges.binance.latency_ms) < 100
        assert not c.health.clock_alarm
