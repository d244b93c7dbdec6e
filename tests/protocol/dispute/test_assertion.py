"""ASSERT, TAKE and REFUTE, where the disputed step lies far behind the one that accuses it."""

from dataclasses import replace
from functools import lru_cache
from random import Random

import pytest

from protocol.dispute.assertion import (
    Assertion,
    BlockRefutation,
    NodeRefutation,
    signed_levels,
)
from protocol.dispute.claim import Fault, Party
from protocol.dispute.lies.fragments import Premise, justify
from protocol.dispute.opening import (
    Place,
    levels_below,
    node_above,
    place_of,
    siblings_of,
    step_at,
)
from protocol.dispute.play import Outcome, Play, Take, Wait
from protocol.dispute.premises import Premises
from protocol.dispute.rules import charges, refutation
from protocol.dispute.verdicts import Accusation, Predicate
from protocol.errors import DisputeError
from riscv_vm.record import Record
from tests.builders.challengers import LyingChallenger, false_refutations
from tests.builders.disputes import (
    LAYOUT,
    Plan,
    claim_input,
    honest_challenger,
    play_out,
    run_of,
    scene_of,
)
from tests.builders.programs import program

SOURCE = """
    addi s3, zero, 77
    li s1, 2500
again:
    addi s1, s1, -1
    bne s1, zero, again
    add a1, s3, s3
    addi a0, zero, 0
    addi a7, zero, 93
    ecall
"""
S3 = 0xF000_0000 + 4 * 19
DISPUTED = 3 + 2 * 2500
"""``add a1, s3, s3`` reads what step 0 wrote: ten levels below a left sibling."""


@lru_cache(maxsize=4)
def deep_run(k=7, width=20):
    return run_of(program(SOURCE), k, width, claim_input(1, 1))


def played(plan, until):
    """The game until it waits for ``until``."""
    play = Play(plan.premises)
    while play.wait is not until:
        side = plan.move if play.turn is Party.PROVER else honest_challenger
        play = play.apply(side(play))
    return play


def lying_plan(k=7, width=20):
    run = deep_run(k, width)
    plan = Plan(run)
    fragment = justify(scene_of(run), DISPUTED, Premise(words={S3: 78}))
    plan.forge(DISPUTED, fragment, fragment.write)
    return plan


def honest_case(k=7, width=20):
    """An honest prover whose step was disputed, and how a liar would accuse it of step 0."""
    run = deep_run(k, width)
    plan = Plan(run)
    play = Play(run.premises)
    liar = LyingChallenger(Random(0), run, DISPUTED)
    while play.wait is not Wait.VERDICT:
        play = play.apply((plan if play.turn is Party.PROVER else liar).move(play))
    return run, play


def false_assertion(run, play, honest_from=0):
    """Step 0 wrote something else: false below signed node ``honest_from``."""
    place = place_of(run.premises, play.said.executed.index, 0)
    levels = signed_levels(levels_below(run.premises, place.turn))
    nodes = [node_above(run, 0, level) for level in levels]
    nodes[:honest_from] = [bytes(run.width)] * honest_from
    accusation = Accusation(Predicate.POINTED, 0)
    return Assertion(accusation, place, Record(S3, 78, 0x1_0004), tuple(nodes))


@pytest.mark.parametrize(
    ("levels", "signed"),
    [(6, (4, 6)), (8, (4, 8)), (10, (4, 8, 10)), (20, (4, 8, 12, 16, 20))],
)
def test_every_fourth_node_and_the_top_are_signed(levels, signed):
    assert signed_levels(levels) == signed


@pytest.mark.parametrize("width", [20, 32])
@pytest.mark.parametrize("k", [7, 8])
def test_a_deep_lie_is_asserted_and_taken(k, width):
    plan = lying_plan(k, width)
    play = played(plan, Wait.VERDICT)
    charge = honest_challenger(play)
    assert isinstance(charge, Assertion)
    assert charge.record == plan.run.records[0]
    waiting = play.apply(charge)
    for refuting in false_refutations(Random(1), waiting, (plan.run, plan.story)):
        with pytest.raises(DisputeError):
            waiting.apply(refuting)
    with pytest.raises(DisputeError):
        waiting.apply(Take())
    taking = waiting.expire()
    assert (waiting.turn, taking.turn) == (Party.PROVER, Party.CHALLENGER)
    assert taking.apply(Take()).outcome == Outcome(Party.CHALLENGER, Fault.OPEN)
    assert taking.expire().outcome == Outcome(Party.PROVER, Fault.TIMEOUT, "SETTLE_assert")
    assert play_out(plan.premises, plan.move, honest_challenger).outcome.fault is Fault.OPEN


@pytest.mark.parametrize("honest_from", [0, 1, 2])
def test_each_false_segment_of_an_assertion_is_refuted(honest_from):
    run, play = honest_case()
    assertion = false_assertion(run, play, honest_from)
    waiting = play.apply(assertion)
    answer = Plan(run).move(waiting)
    assert isinstance(answer, NodeRefutation if honest_from else BlockRefutation)
    settled = Outcome(Party.PROVER, Fault.REFUTED, "SETTLE_assert")
    assert waiting.apply(answer).outcome == settled
    assert waiting.expire().apply(answer).outcome == settled


def test_an_honest_prover_is_accused_of_nothing_true():
    run, play = honest_case()
    assert not charges(run.premises, play.said, run)


def test_the_leaf_of_assert_checks_place_top_and_predicate():
    run, play = honest_case()
    good = false_assertion(run, play)
    assert good.holds(run.premises, play.said)
    place, nodes = good.place, good.nodes
    for wrong in (
        replace(good, nodes=(*nodes[:-1], bytes(20))),
        replace(good, nodes=nodes[:-1]),
        replace(good, nodes=(*nodes, nodes[-1])),
        replace(good, nodes=(nodes[0][:19], *nodes[1:])),
        replace(good, place=replace(place, child=place.child + 1)),
        replace(good, place=replace(place, turn=place.turn + 1)),
        replace(good, place=replace(place, below=place.below[:-1])),
        replace(good, place=replace(place, below=(*place.below[:-1], 1))),
        replace(good, record=run.records[0]),
        replace(good, record=(S3, 78, 0)),
        replace(good, record=Record(S3, 1 << 32, 0)),
        replace(good, accusation=Accusation(Predicate.POINTED, 2)),
        replace(good, accusation=Accusation(Predicate.PC)),
    ):
        assert not wrong.holds(run.premises, play.said), wrong


def test_a_digit_over_3_would_put_a_true_record_at_another_step():
    """The steering bits of 4 are those of 0, so REFUTE could not answer: ASSERT must refuse it."""
    run, play = honest_case()
    place = place_of(run.premises, DISPUTED, 0)
    moved = replace(place, below=(*place.below[:-2], 4, place.below[-1]))
    assert [digit & 3 for digit in moved.below] == [digit & 3 for digit in place.below]
    assert step_at(run.premises, DISPUTED, place) == 0
    assert step_at(run.premises, DISPUTED, moved) is None
    assert not replace(false_assertion(run, play), place=moved).holds(run.premises, play.said)


def test_shallow_openings_need_no_assertion():
    run, play = honest_case()
    premises = run.premises
    for levels in (0, 4):
        step = next(s for s in range(DISPUTED) if depth(premises, s) == levels)
        accusation = Accusation(Predicate.STALE, 0)
        record = Record(S3, 1, 0)
        nodes = (node_above(run, step, levels),)
        assertion = Assertion(accusation, place_of(premises, DISPUTED, step), record, nodes)
        assert accusation.holds(play.said.executed, step, record)
        assert not assertion.holds(premises, play.said)


def depth(premises, step):
    return levels_below(premises, place_of(premises, DISPUTED, step).turn)


def test_a_refutation_is_range_checked():
    run, play = honest_case()
    low, high = (play.apply(false_assertion(run, play, n)).assertion for n in (0, 1))
    block = refutation(run.premises, play.said, low, run)
    node = refutation(run.premises, play.said, high, run)
    assert block.holds(run.premises, low)
    assert node.holds(run.premises, high)
    assert not block.holds(run.premises, high)
    for wrong, assertion in (
        (replace(block, block=block.block[:3]), low),
        (replace(block, block=(Record(-1, 0, 0), *block.block[1:])), low),
        (replace(block, siblings=block.siblings[:-1]), low),
        (replace(block, siblings=(bytes(19), *block.siblings[1:])), low),
        (replace(node, number=-1), high),
        (replace(node, number=len(high.nodes) - 1), high),
        (replace(node, number=True), high),
        (replace(node, node=high.nodes[0]), high),
        (replace(node, node=bytes(19)), high),
        (replace(node, siblings=node.siblings[1:]), high),
    ):
        assert not wrong.holds(run.premises, assertion), wrong


def test_a_way_that_no_prover_knows_the_top_of_cannot_be_refuted():
    run, play = honest_case()
    assertion = false_assertion(run, play)
    strange = replace(assertion, nodes=tuple(bytes(20) for _ in assertion.nodes))
    assert refutation(run.premises, play.said, strange, run) is None


def test_a_place_is_one_and_only_one():
    premises = Premises(program(SOURCE), LAYOUT, 4, 20)
    for disputed in (1, 17, 100, 255):
        for step in range(disputed):
            assert step_at(premises, disputed, place_of(premises, disputed, step)) == step
    assert step_at(premises, 5, Place(4, 1, ())) is None


def test_the_true_way_of_every_step_climbs_to_the_revealed_node():
    run, play = honest_case()
    rng = Random(2)
    for step in rng.sample(range(DISPUTED), 40):
        place = place_of(run.premises, DISPUTED, step)
        levels = levels_below(run.premises, place.turn)
        if place.turn > run.premises.rounds:
            continue
        top = node_above(run, step, levels)
        assert top == play.said.rounds[place.turn - 1][place.child]
        assert len(siblings_of(run, step, 0, levels)) == levels
