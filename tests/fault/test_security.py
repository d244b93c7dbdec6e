"""Attackers with what can be stolen: whatever they do, the honest ones' certificates go on.

Real frames over real TLS with pinned keys. What a connection alone can be made to do is in
tests/actors/test_transport*.py.
"""

import asyncio
import contextlib
import json
import logging
import secrets
import socket
import ssl
import time
from dataclasses import replace

import pytest
import pytest_asyncio
from websockets.asyncio.client import connect
from websockets.frames import Frame as Piece
from websockets.frames import Opcode

from actors.feeds.simulated.exchanges import SimulatedExchanges
from actors.keyfile import load_key
from actors.logs import open_log
from actors.network_files import pin_fields, table
from actors.transport_options import Tls
from actors.transport_tls import create_certificate, pinned_context
from protocol.crypto.keys import SecretKey
from protocol.oracle.messages import AGGREGATOR
from tests.builders.messages import PROPOSAL, VOTE
from tests.builders.operators import (
    IDENTITIES,
    NOBODY,
    QUICK,
    ROSTER,
    Operator,
    Rogue,
    ended,
    rogue,
    until,
)
from tests.builders.running import Programs

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(600)]
THIEF = SecretKey(b"\x77" * 32)
CHARLIE = 2
DAY_MS = 86_400_000


@pytest.fixture(scope="module")
def exchanges():
    with SimulatedExchanges(7, tick_ms=50) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def net(tmp_path_factory, exchanges):
    """A network whose listeners have self-signed certificates and pinned keys; charlie's machine
    was broken into, and is off."""
    made = Programs(tmp_path_factory.mktemp("security") / "net", exchanges)
    pin_everybody(made)
    async with made as running:
        await running.certified(2)
        await running.stop("charlie")
        yield running


def pin_everybody(net):
    roster = net.folder / "network.toml"
    for name in net.names:
        file = net.folder / f"{name}.toml"
        tls = net.folder / "tls" / name
        pin = create_certificate(tls, "127.0.0.1").pin
        identity = load_key(net.folder / "keys" / name / "identity.key")
        port = file.read_text().split('listen = "127.0.0.1:')[1].split('"')[0]
        fields = [f'{key} = "{value}"' for key, value in pin_fields(name, identity, pin).items()]
        text = roster.read_text()
        old, new = f'url = "ws://127.0.0.1:{port}"', f'url = "wss://127.0.0.1:{port}"'
        assert old in text
        roster.write_text(text.replace(old, "\n".join([new, *fields])))
        with file.open("a") as end:
            paths = {"certificate": f"tls/{name}/tls.pem", "key": f"tls/{name}/tls-key.pem"}
            end.write(table("[tls]", paths) + table("[limits]", {"frames_per_s": 60}))


async def goes_on(net):
    """Two further certificates, whole, and nobody was convicted by what an attacker said."""
    before = net.round()
    for certificate in await net.certified(2, after=before):
        certificate.check(net[net.names[0]].operator.network.config)
    assert all(not net[name].member.node.inbox.convicted for name in net.programs)


@contextlib.asynccontextmanager
async def attacker(net, name, key, me=CHARLIE):
    """A connection to a node's listener, as ``me`` with this identity key."""
    program = net[name]
    url, digest = (
        program.operator.roster[program.operator.address].url,
        (program.operator.network.config.digest),
    )
    async with connect(
        url, ssl=pinned_context(), compression=None, ping_interval=None, close_timeout=0.5
    ) as socket:
        yield Rogue(socket, me, key, digest)


def stolen(net, purpose="identity"):
    return load_key(net.folder / "keys" / "charlie" / f"{purpose}.key")


async def test_over_pinned_tls_everybody_is_connected(net):
    assert all(net[name].transport.connected for name in net.programs)
    assert all(peer.tls_key for peer in net["alpha"].operator.network.peers.values())
    await goes_on(net)


async def test_a_stolen_roster_lets_nobody_in(net):
    """network.toml and a member's TLS key, and not its identity key."""
    for name, address in (("aggregator", AGGREGATOR), ("alpha", 0)):
        for key in (THIEF, SecretKey(secrets.token_bytes(32))):
            async with attacker(net, name, key) as thief:
                await thief.socket.send(thief.hello(address))
                assert "not signed" in await ended(thief.socket)
        assert CHARLIE not in net[name].transport.connected
    await goes_on(net)


async def test_a_stolen_identity_key_speaks_and_signs_no_price(net):
    """Without the oracle key it makes noise on the network and nothing that counts."""
    async with attacker(net, "aggregator", stolen(net)) as thief:
        await thief.shake(AGGREGATOR)
        await until(lambda: CHARLIE in net["aggregator"].transport.connected)
        node = net["aggregator"].member.node
        before = sum(node.inbox.refused.values())
        observation = net["alpha"].oracle.inbox.newest(0)
        forged = replace(observation, oracle=CHARLIE)
        for message in (forged, replace(forged, signature=bytes(64)), VOTE, PROPOSAL):
            await thief.socket.send(thief.say(message))
        await until(lambda: sum(node.inbox.refused.values()) > before)
        signers = [c.signers for c in await net.certified(3, after=net.round())]
        assert all(CHARLIE not in row for row in signers)
        assert CHARLIE in net["aggregator"].transport.connected, "noise is no reason to hang up"
    await goes_on(net)


async def test_a_message_of_yesterday_is_stale_in_a_frame_of_today(net):
    """Recorded traffic: the price of another day says nothing about this one."""
    async with attacker(net, "aggregator", stolen(net)) as thief:
        await thief.shake(AGGREGATOR)
        traffic = net["aggregator"].transport.traffic[CHARLIE]
        refused, heard = traffic.refused["skew"], traffic.frames_in
        old = thief.say(VOTE, time_ms=time.time_ns() // 10**6 - DAY_MS)
        await thief.socket.send(old)
        await until(lambda: traffic.refused["skew"] == refused + 1)
        await thief.socket.send(old)
        assert "replayed" in await ended(thief.socket)
    async with attacker(net, "aggregator", stolen(net)) as again:
        await again.shake(AGGREGATOR)
        await again.socket.send(old)  # into a session that it was not made for
        assert "replayed" in await ended(again.socket)
    assert traffic.frames_in <= heard + 1
    await goes_on(net)


async def test_frames_that_are_too_large_end_their_senders_connection_alone(net):
    async with attacker(net, "alpha", stolen(net)) as thief:
        await thief.shake(0)
        await thief.socket.send(bytes(2**20 + 1))
        await ended(thief.socket)
        assert thief.socket.close_code == 1009
    await goes_on(net)


def pieces(thief, count=100):
    """Good frames in one write."""
    return b"".join(
        Piece(Opcode.BINARY, thief.say(VOTE)).serialize(mask=True) for _ in range(count)
    )


async def flood(net, name, seconds):
    """Good frames as fast as they go, for some seconds and until they have to wait; the traffic,
    and the most bytes that waited on this side."""
    async with attacker(net, name, stolen(net)) as thief:
        await thief.shake(AGGREGATOR)
        transport, most = net[name].transport, 0
        await until(lambda: CHARLIE in transport.connected)
        traffic, end = transport.traffic[CHARLIE], time.monotonic() + seconds
        while time.monotonic() < end or not traffic.throttled:
            assert CHARLIE in transport.connected
            if thief.socket.transport.get_write_buffer_size() < 1 << 20:
                thief.socket.transport.write(pieces(thief))
            await asyncio.sleep(0)
            most = max(most, *(len(socket._backlog) for socket in transport._sockets))
        await goes_on(net)
        thief.socket.transport.abort()
        return traffic, most


@pytest.mark.parametrize(
    "seconds", [pytest.param(1, id="short"), pytest.param(30, id="long", marks=pytest.mark.slow)]
)
async def test_a_flood_of_frames_is_bounded_and_delays_nobody_else(net, seconds):
    traffic, most = await flood(net, "aggregator", seconds)
    assert traffic.throttled > 0
    assert most < 1 << 20
    await goes_on(net)


@pytest.mark.parametrize(
    "count", [pytest.param(100, id="few"), pytest.param(2_000, id="many", marks=pytest.mark.slow)]
)
async def test_strangers_that_connect_and_say_nothing_or_little_are_bounded(net, count):
    """Before TLS, in the middle of it, and behind it: a trickle is cut with the silent ones."""
    transport = net["alpha"].transport
    limit, port = transport._limits.strangers, transport.port
    held = []
    crowd = [socket.create_connection(("127.0.0.1", port)) for _ in range(count // 2)]
    try:
        for _ in range(5):  # asyncio accepts up to a hundred of them in one turn
            await asyncio.sleep(0)
            assert len(transport._door.waiting) <= limit
        for index in range(count // 2):
            secure = pinned_context() if index % 10 == 0 else None
            with contextlib.suppress(OSError):  # its place was taken
                _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=secure)
                writer.write(b"G" if secure else b"\x16\x03\x01"[: index % 3])
                held.append(writer)
            assert len(transport._door.waiting) <= limit
            assert len(transport._strangers) <= limit
        await goes_on(net)
        async with attacker(net, "alpha", stolen(net)) as friend:  # a member gets in meanwhile
            await friend.shake(0)
            await until(lambda: CHARLIE in transport.connected)
    finally:
        for writer in held:
            writer.transport.abort()
        for caller in crowd:
            caller.close()
    await until(lambda: not transport._door.waiting)


async def test_the_right_tls_key_with_a_wrong_roster_key_hears_nothing(tmp_path):
    """Who holds a listener's TLS key and not its identity key is dialled, and told only hello."""
    pin = create_certificate(tmp_path, "127.0.0.1").pin
    tls = Tls(cert=tmp_path / "tls.pem", key=tmp_path / "tls-key.pem")
    impostor = ROSTER | {AGGREGATOR: replace(ROSTER[AGGREGATOR], identity=THIEF.public)}
    async with Operator(AGGREGATOR, key=THIEF, roster=impostor, tls=tls) as thief:
        url = thief.url.replace("ws://", "wss://")
        peers = {0: replace(ROSTER[0], url=NOBODY)}
        peers[AGGREGATOR] = replace(ROSTER[AGGREGATOR], url=url, tls_key=pin)
        async with Operator(0, roster=peers) as oracle:
            await until(lambda: oracle.transport.traffic[AGGREGATOR].fault)
            oracle.transport.send((AGGREGATOR,), VOTE)
            assert "not signed" in oracle.transport.traffic[AGGREGATOR].fault
            assert not oracle.transport.connected
            assert oracle.transport.traffic[AGGREGATOR].unsent == 1
        assert not thief.inbox


async def test_tls_of_an_older_version_is_not_spoken(tmp_path):
    create_certificate(tmp_path, "127.0.0.1")
    tls = Tls(cert=tmp_path / "tls.pem", key=tmp_path / "tls-key.pem")
    async with Operator(AGGREGATOR, tls=tls) as target:
        context = pinned_context()
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_2
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await asyncio.open_connection("127.0.0.1", target.transport.port, ssl=context)


async def test_a_peer_cannot_write_lines_into_the_log(tmp_path):
    """What it says when it hangs up is a field of our line, never a line of its own."""
    path = tmp_path / "node.log"
    handler = open_log(path)
    evil = 'bye"}\n{"time": "x", "level": "CRITICAL", "event": "all is lost"}\r\n\x1b[2J'
    try:
        async with Operator(AGGREGATOR, limits=QUICK) as target, rogue(target) as peer:
            await peer.socket.close(1008, evil)
            await until(lambda: not target.transport.connected)
            await peer.socket.wait_closed()
    finally:
        logging.getLogger().removeHandler(handler)
        handler.close()
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    told = next(line for line in lines if line["event"] == "disconnected")
    assert "all is lost" in told["reason"]
    assert "all is lost" not in {line["event"] for line in lines}
    assert "\x1b" not in path.read_text()
    assert IDENTITIES[CHARLIE].public.hex() not in path.read_text()
