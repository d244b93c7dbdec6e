"""The catalogue of lies about the settlement program, played without Script: who lies loses, on the
leaf that the catalogue names; and what a lie is made of costs no copy of the trace."""

from dataclasses import fields
from functools import cache, lru_cache
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.dispute.claim import Fault, Party
from protocol.dispute.fragment import Fragment, Slot
from protocol.dispute.leaves.catalog import verdict_leaves
from protocol.dispute.lies.catalog import catalogue
from protocol.dispute.lies.fields import wrong_fields
from protocol.dispute.lies.rehearsal import Sides, rehearse
from protocol.dispute.lies.scene import Retold, Scene, nearest
from protocol.dispute.sides import HONEST
from protocol.settlement.dispute.premises import premises_of
from protocol.settlement.terms import Role
from riscv_vm.forge import Forgery, halting_forgery
from riscv_vm.isa import HALT
from riscv_vm.prove import Execution, prove
from riscv_vm.record import Record, absorbing
from riscv_vm.tree import SparseTree, check_opening, open_step, root_level
from tests.builders.claims import claim_at
from tests.builders.terms import contract_terms

K = 12
LIES = catalogue(K)
PLACES = ("first", "middle", "last", "random")


@lru_cache(maxsize=2)
def scene(prover=Role.HOLDER):
    """A true claim of the settlement program, of some 3.4 million steps."""
    terms = contract_terms()
    premises = premises_of(terms, prover)
    data = claim_at(terms).encode()
    units = int.from_bytes(data[:4]) + (1 if prover is Role.HOLDER else -1)

    @lru_cache(maxsize=8)
    def trace(data, forgery=None):
        return prove(Execution(premises.image, data, K, 20, forgery=forgery))

    return Scene(premises, data, units.to_bytes(4) + data[4:], trace)


def dice(name):
    return lambda purpose: Random(f"{name} {purpose}")


def step_of(place, name):
    steps = scene().past.steps
    chosen = {"first": 0, "middle": steps // 2, "last": steps - 1}
    return chosen.get(place, Random(name).randrange(steps))


@cache
def ended(name, place):
    sides = LIES[name].sides(scene(), dice(name), step_of(place, name))
    assert sides is not None, f"{name} cannot be told at the {place} step"
    return rehearse(scene(), sides)


GAMES = [(name, place) for name, lie in LIES.items() for place in (PLACES if lie.has_step else "-")]


@pytest.mark.parametrize("name", LIES)
def test_who_lies_loses_on_the_leaf_that_the_catalogue_names(name):
    for place in PLACES if LIES[name].has_step else ["first"]:
        end = ended(name, place).outcome
        assert end.winner is LIES[name].winner, place
        assert end.fault in LIES[name].ends, place


def test_together_they_need_every_leaf_of_the_table():
    ends = {ended(name, place).outcome.fault for name, place in GAMES}
    assert ends == set(Fault) - {Fault.EXECUTE, Fault.WORD}


@pytest.mark.parametrize("name", ["payout", "step", "root", "stall", "other-input"])
def test_who_lies_about_the_payout_claims_one_unit_more(name):
    due = int.from_bytes(scene().data[:4])
    assert LIES[name].side is Party.PROVER
    assert int.from_bytes(claimed(name)[:4]) == due + 1


def claimed(name):
    """What the liar publishes as the input."""
    return LIES[name].sides(scene(), dice(name), 0).prover.claim(scene().data)


def test_every_field_and_every_verdict_leaf_has_a_lie():
    slots = (Slot(4, 5, 6, 0),) * 3
    honest = Fragment(0, 1, 2, slots, Record(1, 2, 3))
    names = [name for name, _ in wrong_fields(honest)]
    assert len(names) == len(set(names)) == 2 + 1 + 3 * len(fields(Slot)) + len(Record._fields)
    assert {f"fragment-{name}" for name in names} <= LIES.keys()
    assert {f"record-{name}".replace("_", "-") for name in Record._fields} <= LIES.keys()
    kinds = {leaf.name.split()[0] for leaf in verdict_leaves(scene().premises)}
    told = {name.split("-")[1] for name in LIES if name.startswith("verdict-")}
    assert {kind.removeprefix("VERDICT_").partition("-")[0].lower() for kind in kinds} <= told


def test_a_wrong_field_is_the_only_wrong_one():
    honest = scene().fragment(100_000)
    for name, wrong in wrong_fields(honest):
        different = [
            f"slot-{place}-{field.name}"
            for place, (ours, theirs) in enumerate(zip(honest.slots, wrong.slots, strict=True))
            for field in fields(Slot)
            if getattr(ours, field.name) != getattr(theirs, field.name)
        ]
        different += [
            f"write-{field}"
            for field in Record._fields
            if getattr(honest.write, field) != getattr(wrong.write, field)
        ]
        different += [
            field for field in ("index", "pc", "opcode")
            if getattr(honest, field) != getattr(wrong, field)
        ]  # fmt: skip
        assert different == [name]


def test_stalls_and_wrong_digits_are_at_every_move():
    rounds = range(1, K + 1)
    for turn in rounds:
        assert {f"silent-reveal-{turn}", f"silent-pick-{turn}", f"digit-{turn}"} <= LIES.keys()
        assert turn == K or {f"node-{turn}", f"verdict-node-{turn}"} <= LIES.keys()
    assert {"silent-input", "silent-execute", "no-take", "no-refute", "stall"} <= LIES.keys()


@pytest.mark.parametrize("turn", range(1, K))
def test_nodes_of_each_round_are_convicted_in_that_round(turn):
    play = ended(f"node-{turn}", "middle")
    said, premises = play.said, play.premises
    assert play.outcome.fault is Fault.NODE
    honest = scene().past
    level, index = root_level(K), 0
    for round_ in range(1, turn):  # false nodes down to the round before
        level, index = level - 2, 4 * index + said.digits[round_ - 1]
        assert said.rounds[round_ - 1][index % 4] != honest.node(level, index)
    assert said.parent(premises, turn) != honest.node(level, index)
    assert said.rounds[turn - 1] == tuple(
        honest.node(level - 2, 4 * index + child) for child in range(4)
    )


def test_the_same_dice_tell_the_same_lie_and_others_another():
    for name in ("wrong-value", "random-node", "mixed-nodes", "false-block", "digit-5"):
        games = [
            rehearse(scene(), LIES[name].sides(scene(), dice(seed), 1_000_000)).said
            for seed in ("a", "a", "b")
        ]
        assert games[0] == games[1] != games[2], name


def test_honest_sides_settle_a_true_claim_unchallenged():
    end = rehearse(scene(), Sides(HONEST, HONEST))
    assert end.outcome.settle == "SETTLE_open"


def test_the_writer_lies_the_other_way():
    lie, told = LIES["payout"], scene(Role.WRITER)
    sides = lie.sides(told, dice("w"), 0)
    data = sides.prover.claim(told.data)
    assert int.from_bytes(data[:4]) == int.from_bytes(told.data[:4]) - 1
    assert rehearse(told, sides).outcome.fault is Fault.NOT_HALT


def test_a_forged_write_makes_the_program_halt():
    told = scene()
    false = told.trace(told.false_data, None)
    premises = told.premises
    assert false.outcome.end == "TRAP"
    forgery = halting_forgery(premises.image, told.false_data, false.steps, premises.steps)
    forged = told.trace(told.false_data, forgery)
    assert forged.outcome.end == "HALT"
    assert halting_forgery(premises.image, told.data, 64, 64) is None
    later = Forgery(false.steps - 1, absorbing(HALT))
    assert told.trace(told.false_data, later).outcome.end == "HALT"


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_a_retold_trace_is_the_tree_of_the_changed_records(data):
    k = data.draw(st.integers(1, 4))
    word = st.integers(0, 2**32 - 1)
    records = data.draw(st.lists(st.builds(Record, word, word, word), max_size=4**k - 1))
    records.append(absorbing(HALT))
    changes = data.draw(
        st.dictionaries(st.integers(0, 4**k - 1), st.builds(Record, word, word, word), max_size=3)
    )
    whole = [*records, *[absorbing(HALT)] * (4**k - len(records))]
    changed = [changes.get(step, record) for step, record in enumerate(whole)]
    retold = Retold(SparseTree(records, k, 20), changes)
    expected = SparseTree(changed, k, 20)
    assert retold.root == expected.root
    for step in {0, 4**k - 1, *changes}:
        opening = open_step(retold, step)
        assert opening.record == changed[step]
        assert check_opening(expected.root, opening)


def test_a_word_is_looked_up_at_any_step():
    """``value`` and ``writer`` against what the steps themselves read, with their pointers."""
    past, rng = scene().past, Random(4)
    for step in (0, *(rng.randrange(past.steps) for _ in range(40)), past.steps - 1):
        for read in past.step(step).reads:
            if read.address:
                assert past.value(read.address, step) == read.value
                assert past.writer(read.address, step) == read.last


def test_an_occasion_is_looked_for_nearby_and_then_early():
    told = scene()
    assert nearest(told, 500_000, lambda step: step or None) == (500_000, 500_000)
    assert nearest(told, 500_000, lambda step: step == 499_990 or None) == (499_990, True)
    assert nearest(told, 500_000, lambda step: step == 7 or None) == (7, True)
    assert nearest(told, 500_000, lambda step: None) is None
