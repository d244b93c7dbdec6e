"""Two parties that know nothing but the chain: who lies or falls silent loses, in transactions that
Bitcoin Core's code accepts."""

from dataclasses import replace
from itertools import pairwise

import pytest

from protocol.bitcoin.tx import txid
from protocol.dispute.claim import Fault, Party
from protocol.dispute.lies.catalog import catalogue
from protocol.dispute.lies.rehearsal import Sides
from protocol.dispute.play import Wait
from protocol.dispute.sides import Strategy
from protocol.errors import ChainError, DisputeError, TermsError
from protocol.settlement.claim import claim_of
from protocol.settlement.dispute.game import Game
from protocol.settlement.lifecycle import Stage
from protocol.settlement.messages import Event, Retrace
from protocol.settlement.reading import Reader, Seen
from protocol.settlement.settle import sweep_name
from protocol.settlement.terms import Role
from tests.builders.party_disputes import (
    DEEP,
    SMALL,
    WIDE,
    check_money,
    claimed,
    contract_txs,
    graph_of,
    lie_named,
    lied,
    play,
    scene_of,
    sides_of,
    until_said,
    winner,
)
from tests.builders.party_world import World, trace_of

pytestmark = pytest.mark.usefixtures("short_traces")

HOLDER, WRITER = Role.HOLDER, Role.WRITER
LIES = list(catalogue(SMALL))
DEEP_LIES = [name for name in catalogue(DEEP) if name not in LIES]
FEW = (
    *("payout", "step", "other-input", "unexecuted", "wrong-opcode", "wrong-pc", "wrong-value"),
    *("future", "node-1", "block", "challenge", "digit-2", "verdict-node-1", "verdict-open"),
)
STALLS = [name for name in LIES if "silent" in name or name == "stall"]
"""Of every kind of move."""


def check_lie(world: World, name: str) -> None:
    lie = lie_named(name, world.premises.log4_steps)
    assert winner(world) is lie.winner
    check_money(world)
    for side in world.sides.values():
        dispute = side.party.dispute
        assert dispute is not None and dispute.wait is Wait.OVER
        assert dispute.fault in lie.ends
        assert dispute.leaf == side.party.outcome
        assert dispute.prover is world.prover
        assert side.party.stage is Stage.SETTLED
        assert not side.events(Event.GUARDED)
        lost = winner(world) is (Party.CHALLENGER if side.role is world.prover else Party.PROVER)
        assert (dispute.winner is side.role) is not lost


@pytest.mark.parametrize("name", [*FEW, *STALLS])
def test_who_lies_or_falls_silent_loses(name):
    check_lie(lied(name, prover=list(Role)[len(name) % 2]).run(), name)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted({*LIES} - {*FEW, *STALLS}))
def test_whoever_lies_loses(name):
    check_lie(lied(name, prover=list(Role)[len(name) % 2]).run(), name)


@pytest.mark.parametrize("name", [n for n in DEEP_LIES if n.startswith(("assert", "no-"))])
def test_false_assertions_are_refuted_and_true_ones_taken(name):
    world = lied(name, DEEP).run()
    check_lie(world, name)
    refuted = any("REFUTE" in shown for shown in world.path())
    assert refuted is name.startswith("assert")
    assert any("TAKE" in shown for shown in world.path()) is (name == "no-refute")
    assert not any("TAKE" in refused for refused in world.refused)


def wide(name: str, **prover: object) -> World:
    """A false assertion that takes two transactions, against such a prover."""
    world = claimed(WIDE, width=32)
    sides = sides_of(world, name, step=4 ** (WIDE - 1))
    assert sides is not None
    return play(world, Sides(Strategy(**prover), sides.challenger))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["assert-pc-way", "assert-pc-record"])
def test_an_assertion_in_two_transactions(name):
    world = wide(name).run()
    check_lie(world, name)
    assert "holder:ASSERT_1_path" in world.path()


@pytest.mark.slow
def test_an_assertion_in_two_transactions_is_taken():
    world = wide("assert-pc-way", silent=lambda play: play.wait is Wait.REFUTE).run()
    assert world.path()[-3:] == ["holder:ASSERT_1_path", "holder:ASSERT_1", "holder:TAKE_1"]


@pytest.mark.slow
def test_an_assertion_that_is_not_completed_is_settled():
    """The prover waits a move's window for the second half."""
    world = until_said(wide("assert-pc-way"), "ASSERT_1_path")
    world.writer.alive = False
    world.until(lambda: world.holder.party.over)
    assert world.holder.party.outcome == "holder:SETTLE_path_1"


@pytest.mark.parametrize("prover", list(Role))
def test_a_true_claim_is_traced_once_and_not_challenged(prover):
    world = claimed(prover=prover).run()
    assert winner(world) is Party.PROVER
    assert f"{prover.value}:CHALLENGE" not in world.path()
    dispute = world.holder.party.dispute
    assert dispute is not None and dispute.fault is Fault.NONE
    assert not world.sides[prover].traced
    data = claim_of(world.terms, world.certificate()).encode()
    assert world.sides[prover.other].traced == [data]


def test_who_cannot_trace_the_claim_neither_challenges_nor_settles_it():
    world = until_said(lied("payout"), "KICKOFF")
    honest = world.sides[world.prover.other]
    honest.traces_nothing = True
    honest.start()
    world.chain.mine(20)
    world.sides[world.prover].alive = False
    for _ in range(20):
        world.tick()
    assert world.path()[-1] == "holder:KICKOFF"


def test_a_challenger_asks_from_the_first_confirmation_on():
    world = until_said(claimed(), "KICKOFF")
    [asked] = [e for e in world.writer.party.look(world.chain, 0) if isinstance(e, Retrace)]
    assert asked.data == claim_of(world.terms, world.certificate()).encode()
    again = world.writer.party.look(world.chain, 0)
    assert not [effect for effect in again if isinstance(effect, Retrace)]


def test_a_challenger_settles_a_true_claim_whose_prover_is_gone():
    world = until_said(claimed(), "KICKOFF")
    world.holder.alive = False
    world.until(lambda: world.writer.party.over)
    assert world.writer.party.outcome == "holder:SETTLE"


def test_a_trace_of_another_shape_is_refused():
    world = until_said(claimed(), "KICKOFF")
    other = replace(world.premises, log4_steps=SMALL + 1)
    data = claim_of(world.terms, world.certificate()).encode()
    with pytest.raises(TermsError, match=r"4\^4 steps"):
        world.writer.party.retraced(data, trace_of(other, data), world.chain, 0)


def test_an_answer_waits_for_what_counts():
    """Each answer is in the block behind the third that holds what it answers, or later."""
    world = lied("wrong-pc").run()
    heights = {
        name: seen.block.height
        for name in world.path()
        if (seen := world.chain.tx(_txid(world, name))) is not None and seen.block is not None
    }
    moves = [name for name in world.path() if name in graph_of(world).moves][2:]
    assert len(moves) > 7
    for before, after in pairwise(moves):
        assert heights[after] - heights[before] >= world.holder.policy.depth


def _txid(world: World, name: str) -> bytes:
    graph = graph_of(world)
    found = [tx for tx in contract_txs(world) if graph.names.get(txid(tx)) == name]
    return txid(found[0]) if found else b""


def test_who_has_signed_two_digits_is_held_to_the_one_that_is_executed():
    """A party and its watchtower that heard two versions of a node: both digits are signed, and
    EXECUTE may show either."""
    world = until_said(lied("wrong-pc"), "EXECUTE")
    graph = graph_of(world)
    game = Game.of(graph.contract.courses[world.prover])
    read = (Reader(graph).read(tx) for tx in contract_txs(world))
    *before, executed = (seen for seen in read if seen is not None and seen.move is not None)
    assert executed.move == "holder:EXECUTE"
    for one in before:
        game = game.after(one)
    said = game.play.said
    other = tuple((digit + 1) % 4 for digit in said.digits)
    elsewhere = replace(game, play=replace(game.play, said=replace(said, digits=other)))
    after = elsewhere.after(executed)
    assert after.play.wait is Wait.VERDICT
    assert after.play.said.digits == said.digits and after.step == game.step


def test_a_block_that_no_leaf_explains_stops_the_dispute_and_nothing_else(monkeypatch):
    world = until_said(lied("wrong-pc"), "EXECUTE")
    side, after = world.writer, Game.after

    def refuse(game: Game, seen: Seen) -> Game:
        if seen.move == "holder:EXECUTE":
            raise DisputeError("no EXECUTE leaf accepts this fragment")
        return after(game, seen)

    monkeypatch.setattr(Game, "after", refuse)
    side.start()
    side.do(side.party.look(world.chain, world.now_ms))
    reason = "holder:EXECUTE in a block: no EXECUTE leaf accepts this fragment"
    assert side.events(Event.REFUSED) == [reason]
    dispute = side.party.dispute
    assert dispute is not None and (dispute.wait, dispute.turn) == (Wait.EXECUTE, None)
    monkeypatch.undo()
    check_lie(world.run(), "wrong-pc")


def test_whatever_the_prover_takes_first_beside_a_refutation_it_has_refuted():
    """One transaction may take a bit of another SETTLE and K."""
    graph = graph_of(claimed())
    game = Game.of(graph.contract.courses[HOLDER])
    game = replace(game, play=replace(game.play, wait=Wait.REFUTE))
    way = graph.contract.splits[HOLDER].locks[0].path(sweep_name(HOLDER, HOLDER))
    after = game.after(Seen(None, "holder:SETTLE_assert_1", way, {}))
    assert after.refuted and after.play == game.play and not after.leaf


def test_a_dispute_is_seen_by_both_and_told_once():
    world = until_said(lied("wrong-pc"), "EXECUTE")
    world.tick()
    world.tick()
    for side in world.sides.values():
        assert side.events(Event.DISPUTED) == ["the holder's claim was challenged"]
        dispute = side.party.dispute
        assert dispute is not None and dispute.wait is Wait.VERDICT and dispute.step is not None
        assert dispute.winner is None and dispute.fault is None and dispute.leaf == ""


def test_a_lying_claim_needs_no_gain_of_an_honest_one():
    """Nothing is due to the holder, who claims one unit all the same and loses."""
    world = claimed(price_usd=40_000)
    scene = scene_of(world)
    assert int.from_bytes(scene.data[:4]) == 0
    sides = sides_of(world, "payout")
    assert sides is not None
    world = play(world, sides).run()
    check_lie(world, "payout")


def test_what_fails_half_way_is_asked_again(monkeypatch):
    world = until_said(claimed(), "KICKOFF")
    party = world.writer.party

    def fail(*_: object) -> None:
        raise ChainError("the node is gone")

    with monkeypatch.context() as broken:
        broken.setattr(party._patience, "look", fail)
        with pytest.raises(ChainError, match="gone"):
            party.look(world.chain, 0)
    assert any(isinstance(effect, Retrace) for effect in party.look(world.chain, 0))


def test_a_prover_that_has_lost_its_certificate_is_told_it_again():
    world = until_said(lied("challenge"), "PICK_1")
    side = world.holder
    side.records = [kept for kept in side.records if kept[1:6] != b"known"]
    side.start()
    assert side.party.facts.known is None
    side.do(side.party.settle(world.certificate(), world.chain, world.now_ms))
    check_lie(world.run(), "challenge")
