"""Certificates from nodes and histories: what is heard, what is refused, who is dialled again."""

import asyncio
import time
from contextlib import asynccontextmanager, suppress

import pytest
from websockets.asyncio.server import serve

from actors import market_source
from actors.market_source import NodeState, follow, listen, nodes_of, recall
from actors.ports import free_ports
from protocol import wire
from protocol.errors import QuorumError
from protocol.wire.frame import Notice
from tests.builders.histories import chain, store
from tests.builders.market import NETWORK
from tests.builders.oracles import KEYS, ROUND

CERTIFICATES = chain(4)


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(market_source, "RETRY_S", 0.01)
    monkeypatch.setattr(market_source, "LOOK_S", 0.01)


async def until(holds, what=""):
    end = time.monotonic() + 20.0
    while not holds():
        assert time.monotonic() < end, f"not in 20 s: {what}"
        await asyncio.sleep(0.005)


def noticed(message):
    return Notice(*wire.encode(message)).encode()


@asynccontextmanager
async def doing(work):
    task = asyncio.create_task(work)
    try:
        yield task
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def node(port):
    return NodeState("alpha", f"ws://127.0.0.1:{port}", KEYS[0].public)


async def test_a_node_is_heard_and_dialled_again():
    heard, paths = [], []

    async def say(socket):
        paths.append(socket.request.path)
        await socket.send(noticed(CERTIFICATES[min(len(paths) - 1, 3)]))

    (port,) = free_ports(1)
    state = node(port)
    async with doing(listen(state, None, heard.append)):
        await until(lambda: state.fault, "nobody listens yet")
        async with serve(say, "127.0.0.1", port):
            await until(lambda: len(heard) >= 3, "it hung up twice")
        await until(lambda: not state.connected and "closed" not in state.fault, "it is gone")
    assert [c.hash for c in heard[:3]] == [c.hash for c in CERTIFICATES[:3]]
    assert set(paths) == {"/certificates"}
    assert state.round >= ROUND + 2
    assert state.refused == 0


async def test_what_a_node_should_not_say_is_counted():
    def hear(certificate):
        if certificate.hash == CERTIFICATES[0].hash:
            raise QuorumError("certificate is of another configuration")

    async def say(socket):
        await socket.send("text")
        await socket.send(b"\x00")
        await socket.send(Notice("nonsense", b"").encode())
        await socket.send(noticed(CERTIFICATES[0]))
        await socket.send(noticed(CERTIFICATES[1]))
        await socket.wait_closed()

    (port,) = free_ports(1)
    state = node(port)
    async with serve(say, "127.0.0.1", port), doing(listen(state, None, hear)):
        await until(lambda: state.round == ROUND + 1, "the good one is taken")
        assert state.refused == 4
        assert state.connected
        assert "another configuration" in state.fault


@pytest.mark.parametrize(
    "location", ["http://[x/", "ws://127.0.0.1:99999/", "http://127.0.0.1/\r\nLocation: ws://b/"]
)
async def test_who_answers_cannot_send_it_elsewhere(location):
    called = []

    async def redirect(reader, writer):
        called.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(f"HTTP/1.1 302 Found\r\nLocation: {location}\r\n\r\n".encode())
        writer.close()

    async with await asyncio.start_server(redirect, "127.0.0.1", 0) as server:
        state = node(server.sockets[0].getsockname()[1])
        async with doing(listen(state, None, lambda _: None)) as task:
            await until(lambda: len(called) > 2, "it dials again")
            assert not task.done()
            assert "302" in state.fault


async def test_a_history_is_followed_from_a_round_on(tmp_path):
    path, heard = tmp_path / "history.sqlite", []
    async with doing(follow(path, ROUND + 1, heard.append)):
        store(path, CERTIFICATES[:3])
        await until(lambda: len(heard) == 2, "what is there")
        store(path, CERTIFICATES[3:])
        await until(lambda: len(heard) == 3, "what comes")
    assert [c.round for c in heard] == [ROUND + 1, ROUND + 2, ROUND + 3]


def test_a_history_is_recalled_oldest_first(tmp_path):
    path = tmp_path / "history.sqlite"
    assert recall(path, 10) == []
    store(path, CERTIFICATES)
    assert [c.round - ROUND for c in recall(path, 3)] == [1, 2, 3]


def test_every_node_is_listened_to():
    names = [state.name for state in nodes_of(NETWORK)]
    assert names == ["aggregator", "alpha", "bravo", "charlie"]
