"""What waits in a mempool stops nobody, and a party pays more for what must not wait."""

from dataclasses import replace
from typing import Any

import pytest
from bitcoin.core import CTransaction

from protocol.bitcoin.tx import txid, vsize
from protocol.errors import PolicyError
from protocol.settlement.claim import claim_of
from protocol.settlement.lifecycle import Placed, position_of
from protocol.settlement.messages import Broadcast, Bump, Event
from protocol.settlement.onetime import claim_digits
from protocol.settlement.patience import feerate_sat_vb
from protocol.settlement.policy import Policy
from protocol.settlement.presign import assemble
from protocol.settlement.reading import name_of
from protocol.settlement.spending import sweep_tx
from protocol.settlement.terms import Role
from tests.builders.contracts import contract_terms
from tests.builders.party_disputes import fee, graph_of
from tests.builders.party_world import AUX, KEYS, World
from tests.protocol.settlement.test_party import (
    HOLDER_CLAIMS,
    WRITER_CLAIMS,
    check_end,
    funded,
)

pytestmark = pytest.mark.usefixtures("short_traces")

RATES = {"feerate_sat_vb": 1, "max_feerate_sat_vb": 3}


def parked(world: World, prover: Role) -> Any:
    """The first move of ``prover``'s true claim, which it leaves in the mempool."""
    party = world.sides[prover].party
    knowledge, graph = party._knowledge, party.graph
    assert graph is not None
    move = next(graph.forward(prover))
    claim = world.certificate()
    made = claim_of(world.terms, claim)
    said = claim_digits(world.terms, prover, made.encode(), world.trace_of(made.encode()).root)
    messages = knowledge.one_time.sign({label: said[label] for label in move.messages}, {})
    return assemble(move, knowledge.signatures, messages)


@pytest.mark.parametrize("holder_is_rival", [False, True])
def test_a_rival_that_parks_its_claim_keeps_nobody_from_claiming(holder_is_rival):
    rival = Role.HOLDER if holder_is_rival else Role.WRITER
    policies = WRITER_CLAIMS if holder_is_rival else HOLDER_CLAIMS
    world = funded(policies=policies, **RATES)
    graph = world.holder.party.graph
    assert graph is not None
    while world.chain.height < world.terms.chain.expiry_height:
        world.tick()
    first = parked(world, rival)
    world.chain.dull = lambda tx: txid(tx) == txid(first)
    world.chain.broadcast(first)
    world.settle_at = world.chain.height
    world.run()
    prover = rival.other
    assert world.path()[1:4] == [move.name for move in graph.forward(prover)] + [
        graph.settle(prover).name
    ]
    assert [bump.name for bump in world.sides[prover].bumps][:1] == [
        next(graph.forward(prover)).name
    ]
    assert not world.sides[prover].events(Event.LATE)
    check_end(world, graph.settle(prover).name)


def test_an_own_move_that_no_miner_takes_is_bumped_with_rising_rates_up_to_the_highest():
    world = funded(policies=HOLDER_CLAIMS, **RATES)
    graph = world.holder.party.graph
    assert graph is not None
    names = {move.name for move in graph.forward(Role.HOLDER)}
    world.chain.dull = lambda tx: name_of(graph, tx) in names
    world.chain.replace = lambda tx: None  # no miner takes it for any fee
    world.settle_at = world.chain.height
    for _ in range(60):
        world.tick()
    rates = [bump.feerate_sat_vb for bump in world.holder.bumps]
    assert rates[0] == 2
    assert rates == sorted(rates)
    assert rates[-1] == 3
    assert {bump.name for bump in world.holder.bumps} == {next(graph.forward(Role.HOLDER)).name}


def test_a_claim_pays_the_highest_rate_before_refund_overtakes_it():
    """INPUT_1 came into no mempool: the last two blocks before REFUND's are all that it has."""
    world = funded(policies=HOLDER_CLAIMS, **RATES)
    world.settle_at = world.chain.height
    world.until(lambda: world.holder.party.facts.proof is not None)
    world.chain.pool.clear()
    world.chain.mine(world.terms.chain.refund_height - world.chain.height - 3)

    def sent() -> list[tuple[str, int | None]]:
        effects = world.holder.party.look(world.chain, world.now_ms)
        sent = [effect for effect in effects if isinstance(effect, Broadcast | Bump)]
        return [(effect.name, getattr(effect, "feerate_sat_vb", None)) for effect in sent]

    assert sent() == [("holder:INPUT_1", None)]
    world.chain.mine()
    assert sent() == [("holder:INPUT_1", 3)]


@pytest.mark.parametrize(("left", "rate"), [(None, 1), (3, 1), (2, 9), (1, 9), (-5, 9)])
def test_two_blocks_remain_at_the_highest_rate(left, rate):
    chain = replace(contract_terms().chain, feerate_sat_vb=1, max_feerate_sat_vb=9)
    assert feerate_sat_vb(Policy(script=b""), chain, 1, 0, left) == rate


# Sweeps


def settled() -> tuple[World, Placed]:
    """A block holds the holder's SETTLE, and the writer has not looked yet."""
    world = funded(policies=HOLDER_CLAIMS, **RATES)
    world.settle_at = world.chain.height
    graph = graph_of(world)
    world.until(lambda: "holder:SETTLE" in world.path())
    last = position_of(graph, world.chain).last
    assert last is not None and last.height is not None
    world.chain.pool.clear()
    world.holder.alive = False
    return world, last


def sweeps(world: World) -> list[tuple[str, int]]:
    """Who sweeps in the mempool, and the fee rate."""
    chain, graph = world.chain, graph_of(world)
    named = [(name_of(graph, tx) or "", fee(world, tx) // vsize(tx)) for tx in chain.pool]
    return [(name, rate) for name, rate in named if "SWEEP" in name]


def theft(world: World, settle: Placed, rate: int) -> CTransaction:
    """The prover takes everything."""
    graph = graph_of(world)
    outputs = range(len(graph.contract.splits[Role.HOLDER].locks))
    move = graph.settle(Role.HOLDER)
    keys = KEYS[Role.HOLDER]
    return sweep_tx(graph, move, Role.HOLDER, outputs, keys, AUX, feerate_sat_vb=rate)


def test_a_sweep_that_waits_is_in_a_block_before_the_prover_may_take_everything():
    world, settle = settled()
    graph, chain = graph_of(world), world.chain
    chain.dull = lambda tx: "SWEEP" in (name_of(graph, tx) or "") and fee(world, tx) < 2 * vsize(tx)
    while chain.height < settle.height + world.terms.chain.sweep_delay - 1:
        world.tick()
    assert "holder:SWEEP_WRITER" in world.path()
    with pytest.raises(PolicyError, match="already spent"):
        chain._require(theft(world, settle, 3))
    assert not world.refused


@pytest.mark.parametrize(
    ("stuck_blocks", "rates"), [(2, [1, 1, 2, 2, 3, 3]), (100, [1, 1, 1, 1, 3, 3])]
)
def test_a_sweep_pays_more_in_time_whatever_happens_to_the_party(stuck_blocks, rates):
    """It is started anew in every block, and says the same again or more."""
    world, _ = settled()
    chain, graph, writer = world.chain, graph_of(world), world.writer
    writer.policy = replace(writer.policy, stuck_blocks=stuck_blocks)
    chain.dull = lambda tx: "SWEEP" in (name_of(graph, tx) or "")
    seen = []
    for _ in range(world.terms.chain.sweep_delay - 1):
        writer.start()
        [(name, rate)] = sweeps(world)
        assert name == "holder:SWEEP_WRITER"
        seen.append(rate)
        chain.mine()
    assert seen == rates
    assert not world.refused


def test_a_prover_that_takes_what_is_not_its_own_is_outbid():
    world, settle = settled()
    chain = world.chain
    world.writer.alive = False
    chain.mine(world.terms.chain.sweep_delay)
    chain.broadcast(theft(world, settle, 3))
    chain.dull = lambda tx: True
    world.writer.alive = True
    for _ in range(4):
        world.tick()
    assert [name for name, _ in sweeps(world)] == ["holder:SWEEP_WRITER"]
    chain.dull = lambda tx: False
    world.tick()
    world.tick()
    assert "holder:SWEEP_WRITER" in world.path()
    assert not world.refused


def test_a_prover_does_not_outbid_the_sweep_of_what_it_has_given_away():
    world, _ = settled()
    chain = world.chain
    chain.dull = lambda tx: True
    world.writer.do(world.writer.party.look(chain, world.now_ms))
    [before] = chain.pool
    chain.mine(world.terms.chain.sweep_delay + 5)
    world.writer.alive, world.holder.alive = False, True
    world.tick()
    assert [name for name, _ in sweeps(world)] == ["holder:SWEEP_WRITER", "holder:SWEEP_HOLDER"]
    assert before in chain.pool


def test_a_transaction_of_a_block_is_never_bumped():
    world = funded(policies=HOLDER_CLAIMS, **RATES)
    world.settle_at = world.chain.height
    world.run()
    assert not world.holder.bumps
    assert not world.writer.bumps
    check_end(world, "holder:SETTLE")
