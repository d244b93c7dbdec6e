"""What waits in a mempool stops nobody, and a party pays more for what must not wait."""

from typing import Any

import pytest

from protocol.bitcoin.tx import txid
from protocol.settlement.claim import claim_of
from protocol.settlement.messages import Event
from protocol.settlement.onetime import claim_digits
from protocol.settlement.presign import assemble
from protocol.settlement.reading import name_of
from protocol.settlement.terms import Role
from tests.builders.party_world import World, root_of
from tests.protocol.settlement.test_party import (
    HOLDER_CLAIMS,
    WRITER_CLAIMS,
    check_end,
    funded,
)

RATES = {"feerate_sat_vb": 1, "max_feerate_sat_vb": 3}


def parked(world: World, prover: Role) -> Any:
    """The first move of ``prover``'s true claim, which it leaves in the mempool."""
    party = world.sides[prover].party
    knowledge, graph = party._knowledge, party.graph
    assert graph is not None
    move = next(graph.forward(prover))
    claim = world.certificate()
    made = claim_of(world.terms, claim)
    said = claim_digits(world.terms, prover, made.encode(), root_of(made, 20))
    messages = knowledge.one_time.sign({label: said[label] for label in move.messages}, {})
    return assemble(move, knowledge.signatures(move.name), messages)


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


def test_a_transaction_of_a_block_is_never_bumped():
    world = funded(policies=HOLDER_CLAIMS, **RATES)
    world.settle_at = world.chain.height
    world.run()
    assert not world.holder.bumps
    assert not world.writer.bumps
    check_end(world, "holder:SETTLE")
