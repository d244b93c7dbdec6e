"""The stream: snapshots, changes, numbers, and clients that do not behave."""

import asyncio
import json
import socket
from contextlib import asynccontextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from actors.gateway import models, views
from actors.gateway.contracts import accepted
from actors.gateway.socket import CHANNELS_MAX, MESSAGE_MAX
from actors.gateway.stream import WAITING, Client, merge_patch
from protocol.units import E8
from tests.actors.test_market import order
from tests.builders.market import CALL, TestDesk, next_certificate, served
from tests.builders.oracles import PRICE, ROUND

PATIENCE_S = 20.0
TICKER = f"ticker.{CALL}"


class Listener:
    """A client that keeps the state of its channels as the documentation says."""

    def __init__(self, socket):
        self.socket = socket
        self.state = {}
        self.seq = {}
        self.snapshots = 0

    async def ask(self, method, number=1, **params):
        """The answer to a request; notifications before it are taken in."""
        request = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
        await self.socket.send(json.dumps(request))
        while (message := await self.heard()).get("id") != number:
            self.take(message)
        return message

    async def subscribe(self, *channels):
        answer = await self.ask("public/subscribe", channels=list(channels))
        assert answer["result"] == list(channels)
        for _ in channels:
            await self.next()

    async def heard(self):
        return json.loads(await asyncio.wait_for(self.socket.recv(), PATIENCE_S))

    async def next(self):
        """The data of the next notification, taken in."""
        message = await self.heard()
        self.take(message)
        return message["params"]["data"]

    def take(self, message):
        assert message["method"] == "subscription"
        channel, data = message["params"]["channel"], message["params"]["data"]
        if data["type"] == "snapshot":
            self.snapshots += 1
            self.state[channel] = data["data"]
        else:
            assert data["prev_seq"] == self.seq[channel] == data["seq"] - 1, "a gap"
            self.state[channel] = applied(self.state[channel], data["patch"])
        self.seq[channel] = data["seq"]


def applied(target, patch):
    """RFC 7396, section 2."""
    if not isinstance(patch, dict):
        return patch
    target = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            target.pop(name, None)
        else:
            target[name] = applied(target.get(name), value)
    return target


def without_nulls(value):
    if not isinstance(value, dict):
        return value
    return {name: without_nulls(v) for name, v in value.items() if v is not None}


@asynccontextmanager
async def listener(url, **headers):
    async with connect(f"ws://{url}/v1/stream", max_size=None, **headers) as socket:
        yield Listener(socket)


# What is said


async def test_a_snapshot_then_changes(tmp_path):
    async with served(tmp_path) as (market, url), listener(url) as client:
        await client.subscribe("index.BTC", TICKER, "nodes", "contracts")
        assert client.snapshots == 4
        assert client.state["index.BTC"]["price_usd"] == "83744.00000000"
        for number in range(1, 6):
            market.certified(next_certificate(number, PRICE + number * E8))
            for _ in ("index.BTC", TICKER):
                assert (await client.next())["type"] == "change"
        assert client.seq["index.BTC"] == client.seq[TICKER] == 5
        assert client.state["index.BTC"] == without_nulls(views.index(market, market.index))
        assert client.state["index.BTC"]["round"] == ROUND + 5
        assert client.state[TICKER]["index_usd"] == "83749.00000000"
        models.Priced.model_validate(
            {name: client.state[TICKER][name] for name in models.Priced.model_fields}
        )


async def test_a_chain_is_what_the_market_quotes(tmp_path):
    async with served(tmp_path) as (market, url), listener(url) as client:
        day = list(market.listed)[4]
        channel = f"chain.BTC.{views.expiry_name(market.listed[day][0])}"
        await client.subscribe(channel)
        for number in (1, 2):
            market.certified(next_certificate(number, PRICE * (10 + number) // 10))
            await client.next()
        quotes = client.state[channel]["quotes"]
        assert quotes == views.chain(market, market.sheet(day))
        models.Priced.model_validate(next(iter(quotes.values())))


async def test_an_expiry_that_is_not_listed_says_so(tmp_path):
    async with served(tmp_path) as (_, url), listener(url) as client:
        await client.subscribe("chain.BTC.01JAN99")
        assert "not listed now; listed are" in client.state["chain.BTC.01JAN99"]["fault"]


async def test_without_a_price_a_channel_waits_for_one(tmp_path):
    async with served(tmp_path, price=None) as (market, url), listener(url) as client:
        await client.subscribe(TICKER)
        assert "no certified price" in client.state[TICKER]["fault"]
        market.certified(next_certificate(0))
        await client.next()
        assert "fault" not in client.state[TICKER]
        assert client.state[TICKER]["round"] == ROUND


async def test_contracts_are_told_as_they_change(tmp_path):
    desk = TestDesk()
    async with served(tmp_path, desk=desk) as (market, url), listener(url) as client:
        await client.subscribe("contracts")
        assert client.state["contracts"] == {}
        await market.order("k", b"d", order(), accepted)
        while client.state["contracts"].get("1", {}).get("contract_id") != f"{1:064x}":
            await client.next()
        assert client.state["contracts"]["1"]["stage"] == "offered"


async def test_to_subscribe_again_brings_a_new_snapshot(tmp_path):
    async with served(tmp_path) as (market, url), listener(url) as client:
        await client.subscribe("index.BTC")
        market.certified(next_certificate(1, PRICE + E8))
        await client.next()
        await client.subscribe("index.BTC")
        assert (client.snapshots, client.seq["index.BTC"]) == (2, 1)
        answer = await client.ask("public/unsubscribe", channels=["index.BTC", TICKER])
        assert answer["result"] == ["index.BTC"]
        market.certified(next_certificate(2, PRICE))
        assert (await client.ask("public/test"))["result"] == {"version": "1"}
        assert client.seq["index.BTC"] == 1, "nothing was said after that"
        await client.subscribe("index.BTC")
        assert client.state["index.BTC"]["round"] == ROUND + 2
        assert (await client.ask("public/unsubscribe_all"))["result"] == ["index.BTC"]


async def test_two_clients_hear_the_same_numbers(tmp_path):
    async with served(tmp_path) as (market, url), listener(url) as one:
        await one.subscribe("index.BTC")
        market.certified(next_certificate(1, PRICE + E8))
        await one.next()
        async with listener(url) as two:
            await two.subscribe("index.BTC")
            assert two.seq == one.seq
        market.certified(next_certificate(2, PRICE))
        assert (await one.next())["seq"] == 2


# What is refused


@pytest.mark.parametrize(
    ("request_", "code", "says"),
    [
        ("{", -32700, "not JSON"),
        (b"\xff\x00", -32700, "not JSON"),
        ('{"method": "x", "params": {"a": ' + "[" * 50_000, -32700, "not JSON"),
        ("[]", -32600, "an object with a method"),
        ('{"method": 5}', -32600, "method"),
        ('{"method": "public/test", "id": {}}', -32600, "id"),
        ('{"method": "public/test", "params": []}', -32600, "params"),
        ('{"method": "public/buy"}', -32601, "public/subscribe"),
        ('{"method": "public/subscribe"}', -32602, "channels: a list"),
        ('{"method": "public/subscribe", "params": {"channels": [1]}}', -32602, "a list of names"),
        ('{"method": "public/subscribe", "params": {"channels": ["x"]}}', -32602, "index.ASSET"),
    ],
)
async def test_a_wrong_request_is_answered(tmp_path, request_, code, says):
    async with served(tmp_path) as (_, url), listener(url) as client:
        await client.socket.send(request_)
        error = (await client.heard())["error"]
        assert error["code"] == code
        assert says in error["message"]
        assert (await client.ask("public/test"))["result"], "the connection stays"


@pytest.mark.parametrize(
    ("channel", "says"),
    [
        ("index.DOGE", "there is none"),
        ("ticker.BTC-31FEB27-1-C", "no such day"),
        ("ticker.ETH-27DEC26-1-C", "are on BTC"),
        ("ticker.BTC-27DEC26-90000-C-UO99999-A", "too long to price"),
        ("chain.BTC.friday", "there is none"),
        ("dispute.1", "there is none"),
        ("contracts.1", "there is none"),
    ],
)
async def test_an_unknown_channel_subscribes_to_none(tmp_path, channel, says):
    async with served(tmp_path) as (market, url), listener(url) as client:
        answer = await client.ask("public/subscribe", channels=["index.BTC", channel])
        assert says in answer["error"]["message"]
        market.certified(next_certificate(1, PRICE + E8))
        assert (await client.ask("public/unsubscribe_all"))["result"] == []
        assert client.state == {}


async def test_limits_of_a_connection(tmp_path):
    async with served(tmp_path) as (_, url), listener(url) as client:
        strikes = [f"ticker.BTC-27DEC26-{1000 + n}-C" for n in range(CHANNELS_MAX + 1)]
        answer = await client.ask("public/subscribe", channels=strikes)
        assert f"at most {CHANNELS_MAX}" in answer["error"]["message"]
        await client.socket.send("x" * (MESSAGE_MAX + 1))
        with pytest.raises(ConnectionClosed) as closed:
            await client.heard()
        assert closed.value.rcvd.code == 1009


async def test_other_sites_may_not_listen(tmp_path):
    async with served(tmp_path) as (_, url):
        with pytest.raises(InvalidStatus):
            async with listener(url, origin="https://evil.example"):
                pass


# Clients that read slowly


async def test_a_slow_reader_keeps_nobody_waiting_and_loses_nothing(tmp_path):
    """One that reads nothing while prices come: others hear each at once, and what waits for it is
    bounded; when it reads on it ends at the newest state without an unexplained gap."""
    async with served(tmp_path) as (market, url):
        days = [views.expiry_name(rows[0]) for rows in market.listed.values()]
        chains = [f"chain.BTC.{day}" for day in days]
        raw = socket.socket()
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        host, port = url.split(":")
        raw.connect((host, int(port)))
        raw.setblocking(False)
        async with listener(url) as quick, listener(url, sock=raw, max_queue=1) as slow:
            await quick.subscribe("index.BTC", TICKER)
            await slow.subscribe(*chains)
            for number in range(1, 61):
                market.certified(next_certificate(number, PRICE + number * E8))
                await quick.next()
                await quick.next()
            assert quick.seq == {"index.BTC": 60, TICKER: 60}
            heard = slow.snapshots
            while any(slow.seq[chain] < 60 for chain in chains):
                await slow.next()
            assert slow.snapshots > heard, "it was too slow for every change"
            for chain, day in zip(chains, market.listed, strict=True):
                assert slow.state[chain]["round"] == ROUND + 60
                assert slow.state[chain]["quotes"] == views.chain(market, market.sheet(day))


def test_what_waits_for_a_client_is_bounded():
    client = Client()
    for number in range(10 * WAITING):
        client.put("c", b"%d" % number, lambda: b"snapshot")
    assert len(client.waiting["c"]) <= WAITING
    client.answer(b"answer")
    first, *_ = client.take()
    assert first == b"answer"
    assert client.take() == []


# Patches

values = st.recursive(
    st.integers() | st.text(max_size=3),
    lambda inner: st.dictionaries(st.sampled_from("abcd"), inner, max_size=4),
    max_leaves=12,
)
objects = st.dictionaries(st.sampled_from("abcd"), values | st.none(), max_size=4)


@settings(max_examples=50)
@given(objects, objects)
def test_a_patch_turns_one_into_the_other(before, after):
    patch = merge_patch(before, after)
    assert applied(without_nulls(before), patch) == without_nulls(after)
    assert merge_patch(after, after) == {}
