"""The network between operators on loopback: honest ones, and everything else."""

import asyncio
import contextlib
import secrets
import socket as sockets
import time
from dataclasses import replace

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus
from websockets.frames import Frame, Opcode

from actors.transport_options import Host
from protocol import wire
from protocol.errors import ConfigError, EncodingError
from protocol.oracle.messages import AGGREGATOR, HistoryAnswer
from protocol.wire.handshake import HELLO, PROOF, Hello, session_id
from tests.builders.messages import MESSAGES, VOTE
from tests.builders.operators import (
    IDENTITIES,
    QUICK,
    Operator,
    ended,
    network,
    rogue,
    until,
)

HELLO_BODY = Hello(AGGREGATOR, bytes(32)).encode()


# Honest operators


async def test_everybody_hears_everybody():
    async with network(3) as members:
        for member in members.values():
            others = sorted(members.keys() - {member.me})
            for message in MESSAGES:
                member.transport.send(others, message)
        for member in members.values():
            await until(lambda m=member: len(m.inbox) == 3 * len(MESSAGES))
            for sender in members.keys() - {member.me}:
                assert [m for s, m in member.inbox if s == sender] == list(MESSAGES)
        traffic = members[1].transport.traffic[0]
        assert traffic.frames_in == traffic.frames_out == len(MESSAGES)
        assert traffic.bytes_in == members[0].transport.traffic[1].bytes_out
        assert traffic.connects == 1
        assert not traffic.refused
        assert traffic.dropped == traffic.unsent == traffic.throttled == 0


async def test_a_broadcast_is_signed_once(monkeypatch):
    sealed = []
    seal = wire.seal
    async with network(3) as members:
        monkeypatch.setattr(wire, "seal", lambda f, sign: sealed.append(f) or seal(f, sign))
        members[0].transport.send((1, 2, AGGREGATOR), VOTE)
        await until(lambda: all(members[a].inbox for a in (1, 2, AGGREGATOR)))
    assert len(sealed) == 1


async def test_what_cannot_be_sent():
    async with network(1) as members:
        transport = members[0].transport
        with pytest.raises(ConfigError, match="address 7 is not in the roster"):
            transport.send((7,), VOTE)
        with pytest.raises(EncodingError, match="no message"):
            transport.send((AGGREGATOR,), object())
        transport.send((1,), VOTE)
        assert transport.traffic[1].unsent == 1
        transport.send((AGGREGATOR,), HistoryAnswer((bytes(2**20),)))
        assert transport.traffic[AGGREGATOR].unsent == 1
        transport.send((AGGREGATOR,), VOTE)
        await until(lambda: members[AGGREGATOR].inbox)


async def test_no_delay_on_either_side():
    async with network(1) as members:
        for member in members.values():
            for connection in member.transport._sockets:
                raw = connection._transport.get_extra_info("socket")
                assert raw.getsockopt(sockets.IPPROTO_TCP, sockets.TCP_NODELAY)


async def test_reconnects_after_a_restart():
    async with contextlib.AsyncExitStack() as stack:
        first = await stack.enter_async_context(Operator(AGGREGATOR))
        port = first.transport.port
        oracle = await stack.enter_async_context(Operator(0, {AGGREGATOR: first.url}))
        await until(lambda: oracle.transport.connected)
        await first.transport.stop()
        await until(lambda: not oracle.transport.connected)
        assert "stops" in oracle.transport.traffic[AGGREGATOR].fault
        oracle.transport.send((AGGREGATOR,), VOTE)
        assert oracle.transport.traffic[AGGREGATOR].unsent == 1
        again = await stack.enter_async_context(Operator(AGGREGATOR, listen=("127.0.0.1", port)))
        await until(lambda: again.transport.connected)
        await until(lambda: oracle.transport.connected)
        oracle.transport.send((AGGREGATOR,), VOTE)
        await until(lambda: again.inbox == [(0, VOTE)])
        assert oracle.transport.traffic[AGGREGATOR].connects == 2


async def test_nobody_there():
    with sockets.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        url = f"ws://127.0.0.1:{reserved.getsockname()[1]}"
        async with Operator(0, {AGGREGATOR: url}) as oracle:
            await until(lambda: oracle.transport.traffic[AGGREGATOR].fault)
            assert not oracle.transport.connected


async def test_a_peer_that_is_not_the_one_we_dialled():
    async with (
        Operator(0) as other,
        Operator(1, {0: other.url, AGGREGATOR: other.url}) as oracle,
    ):
        await until(lambda: oracle.transport.traffic[AGGREGATOR].fault)
        assert "this is 0" in oracle.transport.traffic[AGGREGATOR].fault
        await until(lambda: oracle.transport.connected == {0})


async def test_an_exception_of_the_receiver_is_not_the_peers_fault():
    def receive(sender, message):
        raise EncodingError("a bug of ours")

    heard = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: heard.append(context))
    async with Operator(AGGREGATOR, receive=receive) as target, rogue(target) as peer:
        await peer.socket.send(peer.say(VOTE))
        await until(lambda: heard)
        assert str(heard[0]["exception"]) == "a bug of ours"
        await until(lambda: not target.transport.connected)


# Strangers


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"me": 4, "key": IDENTITIES[0]}, "may not call"),
        ({"me": AGGREGATOR, "key": IDENTITIES[AGGREGATOR]}, "may not call"),
        ({"me": 0}, "may not call"),  # oracle 1 dials oracle 0, not the other way round
        ({"me": 2, "key": IDENTITIES[0]}, "not signed"),
        ({"me": 2, "digest": bytes(32)}, "another network or epoch"),
    ],
    ids=str,
)
async def test_strangers_are_told_why(options, reason):
    async with (
        Operator(1) as target,
        rogue(target, shake=False, **options) as peer,
    ):
        await peer.socket.send(peer.hello(1))
        assert reason in await ended(peer.socket)
        assert not target.transport.connected


async def test_first_words_that_are_no_hello():
    async with Operator(AGGREGATOR) as target:
        for words, reason in (
            (lambda peer: peer.hello(0), "is for address 0"),
            (lambda peer: peer.say(VOTE), "where 'hello' belongs"),
            (lambda peer: peer.seal("hello", b"", version=2), "version 2"),
            (lambda peer: peer.seal("hello", bytes(1000)), "more than 512"),
            (lambda peer: b"", "msgpack"),
            (lambda peer: "text", "binary"),
            (lambda peer: [b"two", b"parts"], "binary"),
            (lambda peer: peer.seal(HELLO, HELLO_BODY, time_ms=0), "clocks differ by"),
        ):
            async with rogue(target, shake=False) as peer:
                await peer.socket.send(words(peer))
                assert reason in await ended(peer.socket)


async def test_a_replayed_handshake_proves_nothing():
    async with Operator(AGGREGATOR) as target:
        async with rogue(target, shake=False) as peer:
            hello = peer.hello(AGGREGATOR)
            await peer.socket.send(hello)
            theirs = await peer.socket.recv()
            proof = peer.seal(PROOF, session_id(hello, theirs))
            await peer.socket.send(proof)
            await until(lambda: target.transport.connected)
        await until(lambda: not target.transport.connected)
        async with rogue(target, shake=False) as thief:
            await thief.socket.send(hello)
            await thief.socket.send(proof)
            fault = target.transport.traffic[2].fault
            assert "replayed" in await ended(thief.socket)
        await until(lambda: not target.transport._sockets)
        assert target.transport.traffic[2].connects == 1
        assert target.transport.traffic[2].fault == fault  # the thief is not oracle 2


async def test_silence_and_trickle_are_cut():
    limits = replace(QUICK, open_s=0.1)
    async with Operator(AGGREGATOR, limits=limits) as target:
        reader, writer = await asyncio.open_connection("127.0.0.1", target.transport.port)
        writer.write(b"GET / HTTP/1.1\r\n")
        async with asyncio.timeout(5):
            with contextlib.suppress(ConnectionResetError):
                await reader.read()
        writer.transport.abort()
        async with rogue(target, shake=False) as peer:
            await ended(peer.socket)
        assert not target.transport._sockets


async def test_a_stranger_that_says_too_much():
    limits = replace(QUICK, open_s=30)
    async with Operator(AGGREGATOR, limits=limits) as target:
        async with rogue(target, shake=False) as peer:
            await peer.socket.send(bytes(1000))
            assert "more than 512" in await ended(peer.socket)
        async with rogue(target, shake=False) as peer:
            message = Frame(Opcode.BINARY, bytes(1 << 20)).serialize(mask=True)
            peer.socket.transport.write(message[: 10 << 10])  # and the rest never
            await until(lambda: not target.transport._sockets)


def crowd(port, count):
    """So many callers that say nothing, before the event loop has a turn."""
    return [sockets.create_connection(("127.0.0.1", port)) for _ in range(count)]


async def test_strangers_that_come_together_are_bounded():
    """asyncio accepts up to a hundred callers in one turn."""
    limits = replace(QUICK, strangers=4, open_s=10)
    async with Operator(AGGREGATOR, limits=limits) as target:
        held = []
        for _ in range(3):
            held += crowd(target.transport.port, 60)
            for _ in range(5):
                await asyncio.sleep(0)
                assert len(target.transport._strangers) <= 4
        await until(lambda: len(target.transport._sockets) == 4)
        for caller in held:
            caller.close()


async def test_strangers_do_not_take_the_place_of_who_is_dialled():
    limits = replace(QUICK, strangers=4, open_s=10)
    with sockets.create_server(("127.0.0.1", 0)) as silent:
        url = f"ws://127.0.0.1:{silent.getsockname()[1]}"
        async with Operator(1, {0: url}, limits=limits) as oracle:
            await until(lambda: oracle.transport._sockets)
            (dialled,) = oracle.transport._sockets
            held = crowd(oracle.transport.port, 20)
            await until(lambda: len(oracle.transport._sockets) == 1 + 4)
            assert dialled in oracle.transport._sockets
            for caller in held:
                caller.close()


async def test_strangers_make_room_for_newer_ones():
    limits = replace(QUICK, strangers=4, open_s=10)
    async with Operator(AGGREGATOR, limits=limits) as target:
        held = [
            await asyncio.open_connection("127.0.0.1", target.transport.port) for _ in range(20)
        ]
        await until(lambda: len(target.transport._sockets) == 4)
        async with Operator(0, {AGGREGATOR: target.url}) as oracle:
            await until(lambda: oracle.transport.connected)
        for _, writer in held:
            writer.transport.abort()


@pytest.mark.parametrize("path", ["/x", "/certificates/", "/../", "/?a=1"])
async def test_nothing_else_is_served(path):
    async with Operator(AGGREGATOR) as target:
        with pytest.raises(InvalidStatus, match="404"):
            async with connect(target.url + path):
                pass


async def test_plain_http_and_noise():
    async with Operator(AGGREGATOR) as target:
        for request, answer in (
            (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"HTTP/1.1 426"),
            (b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n", b"HTTP/1.1 404"),
            (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\n\r\n", b""),
            (secrets.token_bytes(100) + b"\r\n\r\n", b""),
            (b"\x16\x03\x01\x02\x00" + bytes(100), b""),  # the beginning of TLS
        ):
            reader, writer = await asyncio.open_connection("127.0.0.1", target.transport.port)
            writer.write(request)
            writer.write_eof()
            async with asyncio.timeout(5):
                with contextlib.suppress(ConnectionResetError):
                    assert (await reader.read()).startswith(answer)
            writer.transport.abort()
        await until(lambda: not target.transport._sockets)


# Dishonest peers


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (lambda peer: [peer.say(VOTE)] * 2, "replayed"),
        (lambda peer: [peer.say(VOTE), peer.say(VOTE, counter=1)], "replayed"),
        (lambda peer: [peer.say(VOTE, sender=1)], "names 1 as sender"),
        (lambda peer: [peer.say(VOTE, config=bytes(32))], "another configuration"),
        (lambda peer: [bytes(400)], "not signed"),
        (lambda peer: [b""], "not signed"),
        (lambda peer: [peer.say(VOTE)[:-1]], "not signed"),
        (lambda peer: [peer.say(VOTE, version=7)], "version 7"),
        (lambda peer: ["text"], "binary"),
    ],
)
async def test_frames_that_end_the_connection(words, reason):
    async with Operator(AGGREGATOR) as target, rogue(target) as peer:
        for data in words(peer):
            await peer.socket.send(data)
        assert reason in await ended(peer.socket)
        await until(lambda: not target.transport.connected)
        assert reason in target.transport.traffic[2].fault
        assert len(target.inbox) <= 1


async def test_a_frame_over_the_limit():
    async with Operator(AGGREGATOR) as target, rogue(target) as peer:
        await peer.socket.send(bytes(2**20 + 1))
        await ended(peer.socket)
        assert peer.socket.close_code == 1009
        assert not target.inbox


async def test_frames_that_are_refused_alone():
    now = time.time_ns() // 10**6
    async with Operator(AGGREGATOR) as target, rogue(target) as peer:
        for data in (
            peer.say(VOTE, time_ms=now - 6_000),
            peer.say(VOTE, time_ms=now + 6_000),
            peer.seal("vote", b"no vote"),
            peer.seal("unheard-of", b""),
            peer.hello(AGGREGATOR),
            peer.say(VOTE),
        ):
            await peer.socket.send(data)
        await until(lambda: target.inbox == [(2, VOTE)])
        assert target.transport.traffic[2].refused == {"skew": 2, "message": 3}
        assert target.transport.traffic[2].connected


async def test_a_newer_connection_replaces_the_older():
    async with Operator(AGGREGATOR) as target, rogue(target) as old, rogue(target) as new:
        assert "newer connection" in await ended(old.socket)
        await new.socket.send(new.say(VOTE))
        await until(lambda: target.inbox == [(2, VOTE)])
        assert target.transport.connected == {2}
        assert target.transport.traffic[2].connects == 2


async def test_a_clock_that_is_wrong():
    host = Host(now_ms=lambda: time.time_ns() // 10**6 - 60_000)
    async with (
        Operator(AGGREGATOR) as target,
        Operator(0, {AGGREGATOR: target.url}, host=host) as oracle,
    ):
        await until(lambda: oracle.transport.traffic[AGGREGATOR].fault)
        assert "clocks differ by" in oracle.transport.traffic[AGGREGATOR].fault
