"""A trace that does not reach the party that asked for it is asked for again: by a party's process
and by a watchtower's."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest

from actors.party import PartyProgram
from actors.party_core import NOTHING, PartyCore
from actors.watchtower import Guarded, WatchtowerProgram
from protocol.dispute.sides import HONEST
from protocol.errors import ChainError
from protocol.settlement.messages import Retrace
from protocol.settlement.terms import Role
from tests.builders.party_world import START, Guard, PureChain, World
from tests.protocol.settlement.test_party import HOLDER_CLAIMS, PASSIVE, funded
from tests.protocol.settlement.test_party_watching import claims_falsely

TICKS = 60


@pytest.fixture(autouse=True)
def short_traces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("protocol.settlement.terms.steps_max", lambda quorum: 1)


class Node:
    """The world's chain behind a node that is away now and then."""

    def __init__(self, chain: PureChain) -> None:
        self._chain, self.away = chain, False

    @property
    def height(self) -> int:
        if self.away:
            raise ChainError("the node restarts")
        return self._chain.height

    @property
    def tip(self) -> int:
        return self._chain.height

    def __getattr__(self, name: str):
        return getattr(self._chain, name)


class Machine:
    """Its first run fails, or is done while the node is away."""

    def __init__(self, world: World, node: Node, failure: Exception | None) -> None:
        self._world, self._node, self._failure = world, node, failure
        self.runs = 0

    async def history(self, _, data: bytes):
        self.runs += 1
        if self.runs == 1:
            self._node.away = self._failure is None
            if self._failure is not None:
                raise self._failure
        return self._world.trace_of(data)


class Running:
    """``role``'s party of a world in a program's hands; the other party is the world's own."""

    def __init__(self, kind: type, world: World, role: Role, failure: Exception | None) -> None:
        side, self.world, self.node = world.sides[role], world, Node(world.chain)
        side.alive, side.guard = False, Guard(side.guard)
        side.guard.failed = None
        self.machine = Machine(world, self.node, failure)
        self.clock = SimpleNamespace(now_ms=lambda: world.now_ms)
        program = self.program = kind.__new__(kind)
        program.chain, program.prover, program._clock = self.node, self.machine, self.clock
        program._thread, program._running = ThreadPoolExecutor(1), set()
        program._rested, program._loop = asyncio.Event(), asyncio.get_running_loop()
        self.core = PartyCore(
            SimpleNamespace(
                records=tuple(side.records),
                guard=side.guard,
                journal=SimpleNamespace(append=side.records.append),
                path=Path(),
            ),
            self.node,
            self.clock,
            None,
            lambda records: side.made(),
            lambda party, now_ms: NOTHING,
            self.other,
        )

    def other(self, effect):
        if isinstance(self.program, PartyProgram):
            return self.program._other(effect)
        if isinstance(effect, Retrace):
            self.program._loop.call_soon_threadsafe(self.program._spawn, self.guarded, effect.data)
        return NOTHING

    async def do(self, work) -> None:
        """As the program's own watch, until the machine rests; then the node is back."""
        await self.act(work)
        while self.program._running:
            await asyncio.gather(*self.program._running, return_exceptions=True)
        self.node.away = False

    async def until(self, name: str) -> None:
        for _ in range(TICKS):
            self.world.tick()
            await self.do(lambda party, now_ms: party.look(self.node, now_ms))
            if name in self.world.path():
                return
        pytest.fail(f"no {name} in {self.world.path()}")


class RunningParty(Running):
    def __init__(self, world: World, role: Role) -> None:
        super().__init__(PartyProgram, world, role, None)
        self.program.core, self.program._strategy = self.core, HONEST
        self.program.config = SimpleNamespace(role=role)
        self.program._say = lambda message: world.send(role.other, message)
        self.program.fault, self.program._failed = None, self.program._loop.create_future()
        self.act = self.program._do_quietly


class RunningTower(Running):
    def __init__(self, world: World, role: Role, failure: Exception | None) -> None:
        super().__init__(WatchtowerProgram, world, role, failure)
        self.guarded = Guarded(role, world.terms, self.core)

    async def act(self, work) -> None:
        await self.program._do(self.guarded, work)


def cheated() -> World:
    """The holder claims too much; the writer is to challenge it."""
    world = funded(policies={Role.HOLDER: PASSIVE, Role.WRITER: PASSIVE})
    world.told, world.settle_at = (), START + 12
    return claims_falsely(world, Role.HOLDER, 99)


async def test_a_false_claim_is_challenged_although_the_node_was_away() -> None:
    running = RunningParty(cheated(), Role.WRITER)
    await running.until("holder:CHALLENGE")
    assert running.machine.runs == 2


@pytest.mark.parametrize("failure", [None, MemoryError("no room for a trace")])
async def test_a_watchtower_challenges_it_too(failure: Exception | None) -> None:
    running = RunningTower(cheated(), Role.WRITER, failure)
    await running.until("holder:CHALLENGE")
    assert running.machine.runs == 2


async def test_a_claim_is_made_although_the_node_was_away_when_it_was_proved() -> None:
    world = funded(policies=HOLDER_CLAIMS)
    running = RunningParty(world, Role.HOLDER)
    certificate = world.certificate()
    await running.do(lambda party, now_ms: party.settle(certificate, running.node, now_ms))
    await running.until("holder:INPUT_1")
    assert running.machine.runs == 2
