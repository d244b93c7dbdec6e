"""Peers that are slow, gone or too fast, and observers: what they cost, and whom."""

import asyncio
import contextlib
import time
from dataclasses import replace

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus
from websockets.frames import Frame, Opcode

from actors.transport_queue import Meter, Outbox
from protocol import wire
from protocol.oracle.messages import AGGREGATOR, HistoryAnswer, HistoryRequest
from tests.builders.messages import CERTIFICATE, PROPOSAL, VOTE
from tests.builders.operators import (
    QUICK,
    Operator,
    ended,
    network,
    rogue,
    until,
)


class Wire:
    """A TCP proxy in front of an operator that can go dead in both directions without closing."""

    def __init__(self, port):
        self.target, self.dead, self.writers = port, False, []

    async def __aenter__(self):
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        self.url = f"ws://127.0.0.1:{self.server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_):
        self.server.close()
        for writer in self.writers:
            writer.transport.abort()
        await self.server.wait_closed()

    async def serve(self, reader, writer):
        if self.dead:
            self.writers.append(writer)
            return
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.target)
        self.writers += [writer, far_writer]
        with contextlib.suppress(OSError):
            await asyncio.gather(self.pump(reader, far_writer), self.pump(far_reader, writer))

    async def pump(self, reader, writer):
        while data := await reader.read(65536):
            if not self.dead:
                writer.write(data)
                await writer.drain()
        if not self.dead:
            writer.transport.abort()


async def test_half_open_connections_are_noticed_and_made_again():
    async with (
        Operator(AGGREGATOR) as target,
        Wire(target.transport.port) as line,
        Operator(0, {AGGREGATOR: line.url}) as oracle,
    ):
        await until(lambda: oracle.transport.connected and target.transport.connected)
        line.dead = True
        await until(lambda: not oracle.transport.connected and not target.transport.connected)
        assert "no sign of life" in target.transport.traffic[0].fault
        line.dead = False
        await until(lambda: oracle.transport.connected and target.transport.connected)
        oracle.transport.send((AGGREGATOR,), VOTE)
        await until(lambda: target.inbox == [(0, VOTE)])


async def test_an_idle_connection_stays():
    async with network(1, limits=replace(QUICK, silence_s=0.2)) as members:
        until_s = time.monotonic() + 0.6
        await until(lambda: time.monotonic() > until_s)
        assert members[0].transport.traffic[AGGREGATOR].connects == 1


async def test_a_slow_reader_loses_its_oldest_frames_and_then_its_connection():
    limits = replace(QUICK, queue_frames=20, write_bytes=1 << 16, silence_s=0.3)
    large = HistoryAnswer((bytes(300_000),))
    async with (
        Operator(AGGREGATOR, limits=limits) as target,
        Operator(0, {AGGREGATOR: target.url}, limits=limits) as good,
        rogue(target, max_queue=1) as deaf,
    ):
        deaf.socket.transport.pause_reading()
        await until(lambda: target.transport.connected == {0, 2})
        traffic = target.transport.traffic[2]
        for _ in range(60):
            target.transport.send((2,), large)
        assert traffic.dropped >= 20
        target.transport.send((0, 2), VOTE)
        await until(lambda: good.inbox == [(AGGREGATOR, VOTE)])
        # It is alive: it talks, and reads nothing.
        await until(
            lambda: deaf.socket.transport.write(pings(1)) or 2 not in target.transport.connected
        )
        assert "reads nothing" in traffic.fault
        assert target.transport.connected == {0}
        deaf.socket.transport.abort()


async def latencies(sender, receiver, count=100, clock=time.perf_counter):
    """Seconds from ``send`` to arrival, one after the other."""
    taken = []
    for _ in range(count):
        before, began = len(receiver.inbox), clock()
        sender.transport.send((receiver.me,), HistoryRequest(before))
        await until(lambda b=before: len(receiver.inbox) > b)
        taken.append(clock() - began)
    return sorted(taken)


def pings(count):
    return Frame(Opcode.PING, b"").serialize(mask=True) * count


def empties(count):
    return Frame(Opcode.BINARY, b"").serialize(mask=True) * count


async def test_a_flood_of_good_frames_waits_and_others_do_not():
    limits = replace(QUICK, frames_per_s=300)
    async with (
        Operator(AGGREGATOR, limits=limits) as target,
        Operator(0, {AGGREGATOR: target.url}, limits=QUICK) as good,
        rogue(target) as peer,
    ):
        await until(lambda: target.transport.connected == {0, 2})
        flood = b"".join(
            Frame(Opcode.BINARY, peer.say(VOTE)).serialize(mask=True) for _ in range(3_000)
        )
        began = time.monotonic()
        peer.socket.transport.write(flood)
        taken = await latencies(good, target)
        allowed = limits.frames_per_s * (1 + time.monotonic() - began) + 16
        assert sum(sender == 2 for sender, _ in target.inbox) <= allowed
        assert taken[-5] < 3.0
        assert target.transport.traffic[2].throttled > 0
        assert target.transport.connected == {0, 2}


async def test_a_flood_that_no_rate_limits_has_its_turn_and_no_more():
    limits = replace(QUICK, frames_per_s=10**9, bytes_per_s=10**12)
    async with (
        Operator(AGGREGATOR, limits=limits) as target,
        Operator(0, {AGGREGATOR: target.url}) as good,
        rogue(target) as peer,
    ):
        await until(lambda: target.transport.connected == {0, 2})
        peer.socket.transport.write(pings(200_000))
        # What a turn takes is this process's time, whatever else the machine does.
        taken = await latencies(good, target, clock=time.process_time)
        assert taken[-2] < 1.0


@pytest.mark.parametrize("noise", [pings, empties])
async def test_a_flood_of_a_hundred_thousand_tiny_frames(noise):
    async with (
        Operator(AGGREGATOR) as target,
        Operator(0, {AGGREGATOR: target.url}) as good,
        rogue(target) as peer,
    ):
        await until(lambda: target.transport.connected == {0, 2})
        peer.socket.transport.write(noise(100_000))
        taken = await latencies(good, target)
        assert taken[-5] < 3.0
        traffic = target.transport.traffic[2]
        assert traffic.throttled > 0 or "not signed" in (traffic.fault or "")


def test_meter():
    now = [100.0]
    meter = Meter(10, 1000, lambda: now[0])
    meter.spend(10, 0)
    assert meter.debt_s() == pytest.approx(0)
    meter.spend(5, 0)
    assert meter.debt_s() == pytest.approx(0.5)
    now[0] += 0.5
    assert meter.debt_s() == pytest.approx(0)
    meter.spend(0, 3000)  # of which 1000 are free
    assert meter.debt_s() == pytest.approx(2)
    now[0] += 1000
    meter.spend(10, 1000)  # what was not used long ago is gone
    assert meter.debt_s() == pytest.approx(0)


def test_outbox():
    outbox = Outbox()
    assert [outbox.put(bytes([i]) * 10, 3, 1000) for i in range(5)] == [0, 0, 0, 1, 1]
    assert outbox.take() == bytes([2]) * 10
    assert outbox.put(bytes(1000), 3, 1000) == 2
    assert len(outbox) == 1
    assert outbox.put(bytes(1001), 3, 1000) == 2
    assert not outbox


# Observers


async def test_observers_see_every_certificate():
    async with Operator(AGGREGATOR) as node, connect(node.url + "/certificates") as first:
        await until(lambda: node.transport.observers == 1)
        notice = wire.Notice(*wire.encode(CERTIFICATE)).encode()
        for _ in range(3):
            node.transport.publish(CERTIFICATE)
            assert await first.recv() == notice
        async with connect(node.url + "/certificates") as second:
            assert await second.recv() == notice  # the newest, at once
            node.transport.publish(PROPOSAL)
            for observer in (first, second):
                seen = wire.Notice.decode(await observer.recv())
                assert wire.decode(seen.kind, seen.body) == PROPOSAL
        await until(lambda: node.transport.observers == 1)
        await first.send(b"hello?")
        assert "only listen" in await ended(first)
        await until(lambda: node.transport.observers == 0)
        assert not node.inbox


async def test_observers_are_bounded():
    async with Operator(AGGREGATOR, limits=replace(QUICK, observers=2)) as node:
        async with connect(node.url + "/certificates"), connect(node.url + "/certificates"):
            await until(lambda: node.transport.observers == 2)
            with pytest.raises(InvalidStatus, match="503"):
                async with connect(node.url + "/certificates"):
                    pass
        await until(lambda: node.transport.observers == 0)
        async with connect(node.url + "/certificates"):
            await until(lambda: node.transport.observers == 1)


async def test_many_observers_and_a_slow_one():
    async with (
        Operator(AGGREGATOR, limits=replace(QUICK, write_bytes=1 << 12)) as node,
        contextlib.AsyncExitStack() as stack,
    ):
        url = node.url + "/certificates"
        quick = [await stack.enter_async_context(connect(url)) for _ in range(100)]
        slow = await stack.enter_async_context(connect(url, max_queue=1))
        await until(lambda: node.transport.observers == 101)
        slow.transport.pause_reading()
        count = 40
        for round_id in range(count):
            node.transport.publish(HistoryAnswer((round_id.to_bytes(4) + bytes(200_000),)))
            for observer in quick:
                assert round_id.to_bytes(4) in (await observer.recv())[:80]
        assert node.transport._observers.tally.dropped > 0
        slow.transport.resume_reading()
        seen = 0
        last = (count - 1).to_bytes(4)
        while last not in (await slow.recv())[:80]:
            seen += 1
        assert seen < count - 1
