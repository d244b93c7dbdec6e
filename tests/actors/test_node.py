"""The node around a member: disk before network, one thread for the rules, a loop that never waits
for the disk. The member is a puppet; history and journal are real files where disks matter."""

import asyncio
import threading
from contextlib import asynccontextmanager, suppress
from types import SimpleNamespace

import pytest

from actors import node as module
from actors.clock import SystemClock
from actors.history import History
from actors.journal import Journal
from actors.node import Node, Stored
from protocol.errors import GuardError, QuorumError, SignatureError
from protocol.oracle.messages import Convict, GivenUp, Send, Store
from tests.builders.histories import chain
from tests.builders.messages import EVIDENCE
from tests.builders.operators import until
from tests.builders.oracles import CONFIG, ROUND, observed

CERTIFICATES = chain(3)
NEVER_MS = 3_600_000


class Puppet:
    """A member that answers the text of a message with the effects listed for it."""

    def __init__(self, **answers):
        self.answers = answers
        self.heard, self.polled = [], 0
        self.wake_in_ms = NEVER_MS
        self.threads = set()
        self.node = SimpleNamespace(inbox=SimpleNamespace(held=lambda _: {2: observed(2)}))

    def poll(self, now_ms):
        self.polled += 1
        self.polled_ms = now_ms
        self.threads.add(threading.current_thread())
        return self._effects("poll")

    def wake_ms(self, now_ms):
        assert now_ms == self.polled_ms, "what became due between the two would be slept through"
        return now_ms + self.wake_in_ms

    def receive(self, sender, message, now_ms):
        self.heard.append((sender, message))
        return self._effects(message)

    def _effects(self, name):
        effects = self.answers.get(name, [])
        if isinstance(effects, Exception):
            raise effects
        return effects(self) if callable(effects) else effects


class Disk:
    """A history and an outlet that note what happens in which order."""

    def __init__(self, fail_at=None):
        self.log = []
        self.gate = threading.Event()
        self.gate.set()
        self.fail_at = fail_at

    def append(self, record):
        self.gate.wait()
        if len(self.log) == self.fail_at:
            raise GuardError("history.sqlite: the disk is full")
        self.log.append(record)

    def send(self, to, message):
        self.log.append((to, message))


@asynccontextmanager
async def running(member, disk, *, history=None, evidence=None, also=lambda *_: None):
    """A node that runs; ``node.told`` are the certificates that it told, ``node.end`` its task."""
    told = []
    history = disk if history is None else history  # an empty one is false
    node = Node(member, history, evidence or disk, SystemClock(), also, told.append)
    node.told = told
    node.end = asyncio.create_task(node.run(disk))
    try:
        yield node
    finally:
        disk.gate.set()
        node.end.cancel()
        with suppress(asyncio.CancelledError, GuardError):
            await node.end
        node.close()


async def test_a_certificate_is_on_disk_before_anything_after_it_is_said(tmp_path):
    seen = []

    class Outlet(Disk):
        def send(self, to, message):
            reader = History.read(tmp_path / "h.sqlite")
            seen.append((message, len(reader)))
            reader.close()

    first, second, _ = CERTIFICATES
    member = Puppet(go=[Store(first), Send((0,), "one"), Store(second), Send((0,), "two")])
    history = History.open(tmp_path / "h.sqlite", CONFIG)
    async with running(member, Outlet(), history=history) as node:
        node.hear(1, "go")
        await until(lambda: len(seen) == 2)
    history.close()
    assert [message for message, _ in seen] == ["one", "two"]
    assert all(count >= number for number, (_, count) in enumerate(seen, start=1))


async def test_evidence_is_on_disk_before_it_is_told(tmp_path):
    evidence, _ = Journal.open(tmp_path / "evidence.journal")
    told = []

    class Outlet(Disk):
        def send(self, to, message):
            told.append((message, evidence.size))

    member = Puppet(go=[Convict(1, EVIDENCE), Send((0, 2), EVIDENCE)])
    async with running(member, Outlet(), evidence=evidence) as node:
        node.hear(1, "go")
        await until(lambda: told)
    evidence.close()
    assert told[0][0] is EVIDENCE
    assert told[0][1] > len(EVIDENCE.encode())
    again, records = Journal.open(tmp_path / "evidence.journal")
    again.close()
    assert records == (EVIDENCE.encode(),)


@pytest.mark.parametrize("effect", [Store(CERTIFICATES[0]), Convict(1, EVIDENCE)])
async def test_a_node_that_cannot_remember_stops_without_a_word(effect):
    disk = Disk(fail_at=0)
    member = Puppet(go=[Send((0,), "before"), effect, Send((0,), "after")])
    async with running(member, disk) as node:
        node.hear(1, "go")
        with pytest.raises(GuardError, match="disk is full"):
            await node.end
    assert disk.log == []
    assert node.told == []


async def test_effects_are_carried_out_in_their_order():
    disk = Disk()
    first, second, _ = CERTIFICATES
    effects = [Send((0,), "a"), Store(first), Send((1, 2), "b"), Store(second), Send((0,), "c")]
    async with running(Puppet(go=effects), disk) as node:
        node.hear(1, "go")
        await until(lambda: ((0,), "c") in disk.log)
    sent = [entry for entry in disk.log if isinstance(entry, tuple)]
    assert sent == [((0,), "a"), ((1, 2), "b"), ((0,), "c")]
    assert [entry for entry in disk.log if isinstance(entry, bytes)] == [
        first.encode(),
        second.encode(),
    ]
    assert [s.round for s in node.told] == [ROUND, ROUND + 1]
    assert node.recent == tuple(node.told)
    assert node.told[0].at_ns <= node.told[1].at_ns


async def test_messages_are_heard_in_order_on_one_thread_and_a_bad_one_is_skipped():
    member = Puppet(bad=SignatureError("forged"))
    async with running(member, Disk()) as node:
        for number in range(50):
            node.hear(number, "bad" if number == 20 else f"m{number}")
        await until(lambda: len(member.heard) == 50)
        assert await node.do(threading.current_thread) in member.threads
    assert [sender for sender, _ in member.heard] == list(range(50))
    assert len(member.threads) == 1
    assert threading.current_thread() not in member.threads


async def test_another_reader_is_offered_every_message_first():
    disk, member = Disk(), Puppet()

    def also(sender, message, now_ms):
        return [Send((sender,), "mine")] if message == "ask" else None

    async with running(member, disk, also=also) as node:
        node.hear(1, "ask")
        node.hear(2, "observation")
        await until(lambda: member.heard and disk.log)
    assert member.heard == [(2, "observation")]
    assert disk.log == [((1,), "mine")]


async def test_a_flood_is_dropped_and_counted_and_the_node_goes_on(monkeypatch):
    monkeypatch.setattr(module, "EVENTS_LIMIT", 10)
    disk, member = Disk(), Puppet(block=[Store(CERTIFICATES[0])])
    async with running(member, disk) as node:
        disk.gate.clear()
        node.hear(0, "block")
        await until(lambda: member.heard)
        for number in range(25):
            node.hear(1, number)
        assert node.dropped == 15
        disk.gate.set()
        await until(lambda: len(member.heard) == 11)
        node.hear(1, "after")
        await until(lambda: member.heard[-1] == (1, "after"))
    assert [message for _, message in member.heard] == ["block", *range(10), "after"]


async def test_a_slow_disk_does_not_stop_the_loop():
    disk, member = Disk(), Puppet(go=[Store(CERTIFICATES[0]), Send((0,), "stored")])
    async with running(member, disk) as node:
        disk.gate.clear()
        node.hear(0, "go")
        await until(lambda: member.heard)
        turns = 0
        while turns < 1000:  # the loop turns freely while the disk hangs
            await asyncio.sleep(0)
            turns += 1
        assert disk.log == []
        assert node.told == []
        disk.gate.set()
        await until(lambda: node.told)
        await until(lambda: disk.log == [CERTIFICATES[0].encode(), ((0,), "stored")])


async def test_a_certificate_is_waited_for_by_several_and_remembered():
    certificate = CERTIFICATES[0]
    member = Puppet(go=[Store(certificate)])
    async with running(member, Disk()) as node:
        waiting = [asyncio.create_task(node.certificate(ROUND, 15)) for _ in range(3)]
        impatient = asyncio.create_task(node.certificate(ROUND, 0.001))
        with pytest.raises(QuorumError, match=rf"round {ROUND}: no certificate within 0.001 s"):
            await impatient
        node.hear(0, "go")
        found = await asyncio.gather(*waiting)
        assert {type(stored) for stored in found} == {Stored}
        assert {stored.certificate for stored in found} == {certificate}
        assert (await node.certificate(ROUND, 0)).certificate == certificate
        assert not node._waiting


async def test_who_waits_for_a_round_that_is_given_up_hears_why():
    why = QuorumError("oracle 2 sent nothing")
    async with running(Puppet(go=[GivenUp(ROUND, why)]), Disk()) as node:
        waiting = asyncio.create_task(node.certificate(ROUND, 15))
        await asyncio.sleep(0)
        node.hear(0, "go")
        with pytest.raises(QuorumError, match="oracle 2 sent nothing"):
            await waiting
        assert node.given_up == 1
        node.hear(0, "go")  # nobody waits
        await until(lambda: node.given_up == 2)
        assert not node.end.done()
        assert not node._waiting


async def test_it_polls_when_the_member_says_so_or_a_venue_speaks():
    member = Puppet()
    async with running(member, Disk()) as node:
        await until(lambda: member.polled == 1)
        node.stir()
        await until(lambda: member.polled == 2)
        member.wake_in_ms = 5
        node.stir()
        await until(lambda: member.polled >= 5)
        member.wake_in_ms = -1000  # late: at once, and without an error
        await until(lambda: member.polled >= 8)


async def test_a_stir_during_a_step_is_not_lost():
    disk = Disk()
    member = Puppet(go=[Store(CERTIFICATES[0])])
    async with running(member, disk) as node:
        disk.gate.clear()
        node.hear(0, "go")
        await until(lambda: member.heard)
        polled = member.polled
        node.stir()
        disk.gate.set()
        await until(lambda: member.polled == polled + 2)  # that step's own, and one more


async def test_only_the_newest_rounds_are_remembered(monkeypatch):
    monkeypatch.setattr(module, "ROUNDS_KEPT", 2)
    member = Puppet(go=[Store(certificate) for certificate in CERTIFICATES])
    async with running(member, Disk()) as node:
        node.hear(0, "go")
        await until(lambda: len(node.told) == 3)
        assert [stored.round for stored in node.recent] == [ROUND + 1, ROUND + 2]
