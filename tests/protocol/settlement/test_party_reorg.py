"""Reorganisations of every depth at every stage: what was dropped is broadcast again, and the end
is the one that would have come without them."""

import pytest

from protocol.settlement.lifecycle import Stage
from protocol.settlement.messages import Event
from protocol.settlement.terms import Role
from tests.builders.party_world import START, World
from tests.protocol.settlement.test_party import WAYS, check_end, funded

pytestmark = pytest.mark.usefixtures("short_traces")

DEPTHS = range(1, 7)


CLAIMS = ("holder:SETTLE", "writer:SETTLE")


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("way", ["CLOSE", "REFUND", "claim"])
def test_a_reorganisation_at_every_stage(way, depth):
    """Just after each transaction of the contract is in a block, or when it counts; what the
    blocks held is forgotten, or goes back to the mempool."""
    outcome = CLAIMS[depth % 2] if way == "claim" else way
    windows = {"move_window": 12, "sweep_delay": 16}
    begun = funded(settle_at=START + 12, policies=WAYS[outcome], **windows)
    transactions = len(begun.copy().run().path())
    for number in range(1, transactions + 1):
        world = begun.copy()
        world.until(lambda world=world, number=number: len(world.path()) >= number)
        world.chain.mine(world.holder.policy.depth * ((number + depth) % 2))
        world.chain.reorg(depth, forget=(number + depth) % 3 > 0)
        world.run()
        check_end(world, outcome)


def test_a_stage_goes_back_and_comes_again():
    world = funded()
    world.chain.reorg(6)
    world.tick()
    for side in world.sides.values():
        assert side.party.stage is Stage.SIGNED
        assert side.events(Event.STAGE)[-1] == "funded -> signed"
    world.until(lambda: all(s.party.stage is Stage.FUNDED for s in world.sides.values()))


def test_a_reorganisation_before_it_counts_changes_no_stage():
    world = World(settle_at=10**6).begin()
    world.until(lambda: bool(world.path()))
    world.chain.reorg(2)
    world.until(lambda: world.holder.party.stage is Stage.FUNDED)
    assert world.holder.events(Event.STAGE) == ["draft -> signed", "signed -> funded"]


def test_what_was_revealed_is_revealed_again_to_the_byte():
    world = funded(settle_at=START + 12, policies=WAYS["holder:SETTLE"])
    world.until(lambda: "holder:KICKOFF" in world.path())
    graph = world.holder.party.graph
    assert graph is not None
    before = [world.chain.spender(move.tx.vin[0].prevout) for move in graph.forward(Role.HOLDER)]
    fund = world.chain.tx(bytes(graph.fund.hash))
    assert fund is not None and fund.block is not None
    world.chain.reorg(world.chain.height - fund.block.height + 1)
    assert not world.path()
    world.until(lambda: "holder:KICKOFF" in world.path())
    after = [world.chain.spender(move.tx.vin[0].prevout) for move in graph.forward(Role.HOLDER)]
    fund, first = world.chain.tx(bytes(graph.fund.hash)), after[0]
    assert fund is not None and first is not None and fund.block and first.block
    assert first.block.height >= fund.block.height + world.holder.policy.depth
    witnesses = [[seen.tx.wit for seen in run if seen is not None] for run in (before, after)]
    assert witnesses[0] == witnesses[1]
    assert len(witnesses[0]) == len(list(graph.forward(Role.HOLDER)))
