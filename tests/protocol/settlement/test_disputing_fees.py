"""What a party pays in a dispute for a block that will not come by itself."""

import pytest

from protocol.bitcoin.tx import vsize
from protocol.dispute.claim import Party
from protocol.errors import TermsError
from protocol.settlement.messages import Event
from protocol.settlement.policy import Policy
from protocol.settlement.reading import name_of
from protocol.settlement.terms import Role
from tests.builders.party_disputes import (
    DEEP,
    check_money,
    claimed,
    fee,
    graph_of,
    lied,
    until_said,
    winner,
)
from tests.builders.party_world import World

pytestmark = pytest.mark.usefixtures("short_traces")

RATES = {"feerate_sat_vb": 1, "max_feerate_sat_vb": 6, "bond_sats": 1_500_000}


def watched(world: World, kind: str) -> list[int]:
    """The fee rates with which transactions of this kind come into the mempool, run to the end."""
    rates: list[int] = []
    graph = graph_of(world)
    for _ in range(600):
        if world.is_over():
            return rates
        world.tick()
        for tx in world.chain.pool:
            rate = fee(world, tx) // vsize(tx)
            if kind in (name_of(graph, tx) or "") and rate not in rates:
                rates.append(rate)
    raise AssertionError(f"no end in 600 ticks, {kind} at {rates}")


@pytest.mark.parametrize(
    ("name", "kind", "log4_steps"),
    [
        ("wrong-pc", "VERDICT", 3),
        ("assert-pc-way", "REFUTE", DEEP),
        ("silent-execute", "TIMEOUT", 3),
    ],
)
def test_what_one_party_signs_alone_pays_more_until_a_block_holds_it(name, kind, log4_steps):
    world = lied(name, log4_steps, **RATES)
    graph = graph_of(world)
    world.chain.dull = lambda tx: (
        kind in (name_of(graph, tx) or "") and fee(world, tx) < 6 * vsize(tx)
    )
    rates = watched(world, kind)
    assert rates[0] == 1 and rates[-1] == 6 and rates == sorted(rates)
    if kind == "TIMEOUT":
        assert rates == [1, 2, 4, 6]
    assert winner(world) is (Party.PROVER if kind == "REFUTE" else Party.CHALLENGER)
    check_money(world)


def test_a_move_that_no_miner_takes_is_bumped_before_its_window_ends():
    world = lied("wrong-pc", **RATES)
    graph = graph_of(world)
    world.chain.dull = lambda tx: "PICK_2" in (name_of(graph, tx) or "")
    world.run()
    assert winner(world) is Party.CHALLENGER
    assert {bump.name for bump in world.writer.bumps} == {"holder:PICK_2"}
    rates = [bump.feerate_sat_vb for bump in world.writer.bumps]
    assert rates == sorted(rates) and rates[-1] == 6
    assert not world.holder.bumps


def test_a_move_that_comes_too_late_is_outbid():
    """The prover parks what it owes in the mempool when its window is over."""
    world = until_said(lied("wrong-pc", **RATES), "PICK_2")
    graph, window = graph_of(world), world.terms.chain.move_window
    world.holder.alive = False
    world.chain.mine(window - 1)
    world.chain.dull = lambda tx: "REVEAL_3" in (name_of(graph, tx) or "")
    world.chain.replace = world.chain.broadcast  # its child pays nothing
    world.holder.alive, world.writer.alive = True, False
    for _ in range(4):
        world.tick()
    parked = [name_of(graph, tx) for tx in world.chain.pool]
    assert parked == ["holder:REVEAL_3"]
    world.holder.alive, world.writer.alive = False, True
    world.until(lambda: world.writer.party.over)
    assert world.writer.party.outcome == "holder:TIMEOUT"
    check_money(world)


def test_a_late_move_that_is_under_way_is_waited_for():
    world = until_said(lied("wrong-pc", **RATES), "PICK_2")
    world.holder.alive = False
    world.chain.mine(world.terms.chain.move_window - 1)
    world.holder.alive = True
    assert "holder:REVEAL_3" in world.run().path()


def test_a_party_refuses_windows_in_which_it_cannot_answer_what_counts():
    policy, terms = Policy(script=b"", depth=4), claimed(move_window=5).terms
    with pytest.raises(TermsError, match=r"move_window 5: .* agrees to 6 or more"):
        policy.require(terms, 100)
    Policy(script=b"", depth=3).require(terms, 100)


@pytest.mark.parametrize("window", [3, 4, 5, 6, 12])
def test_an_answer_leaves_time_for_a_second_try(window):
    policy = Policy(script=b"", depth=3)
    assert policy.confirmations(window) == {3: 1, 4: 2}.get(window, 3)


def test_what_a_node_does_not_relay_is_told_once():
    world = claimed()
    party = world.sides[Role.HOLDER].party
    [note] = party.unrelayed("holder:VERDICT_BLOCK_0", "discouraged opcode")
    assert note.event is Event.UNRELAYED and "give it to a miner" in note.detail
    assert party.unrelayed("holder:VERDICT_BLOCK_0", "discouraged opcode") == []
