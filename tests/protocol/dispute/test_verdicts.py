"""The verdict leaves: true of a lie, false of the truth, and deaf to what is out of range.

The holes of dispute.md 4 that concern the game without Script are named tests here.
"""

from dataclasses import replace
from random import Random

import pytest

from protocol.dispute.claim import Fault, base4
from protocol.dispute.fragment import UNUSED
from protocol.dispute.opening import Place, siblings_of, step_at
from protocol.dispute.premises import Premises
from protocol.dispute.rules import charges
from protocol.dispute.transcript import Transcript
from protocol.dispute.verdicts import (
    Accusation,
    BlockVerdict,
    FutureVerdict,
    InitVerdict,
    NearVerdict,
    NodeVerdict,
    NotHaltVerdict,
    OpenVerdict,
    Predicate,
    RecordVerdict,
    hashes,
)
from riscv_vm.isa import HALT, NOWRITE, TRAP
from riscv_vm.record import Record
from tests.builders.challengers import every_charge, open_at
from tests.builders.disputes import LAYOUT, Run, claim_input, settling_program
from tests.builders.lies import fragment_field_lies
from tests.builders.programs import DATA_BASE, program

K = 4
SOURCE = f"""
    lui s2, 0x40000
    la s0, {DATA_BASE}
    lw t0, 4(s2)
    sw t0, 0(s0)
    sw t0, 32(s0)
    addi t0, t0, 1
    addi t0, t0, 2
    sw t0, 32(s0)
    lw t1, 0(s0)
    lw t2, 32(s0)
    addi a0, zero, 0
    addi a7, zero, 93
    ecall
"""
T0 = 0xF000_0014


@pytest.fixture(scope="module")
def run():
    image = program(SOURCE, bytes(range(1, 33)), 64)
    return Run(Premises(image, LAYOUT, K, 20), claim_input(5, 5))


def said_by(run, disputed, fragment=None):
    """What an honest prover has said when ``disputed`` is down to one step."""
    rounds, index = [], 0
    digits = base4(disputed, K)
    for turn, digit in enumerate(digits[:-1], 1):
        level = 2 * (run.premises.rounds - turn)
        rounds.append(tuple(run.node(level, 4 * index + child) for child in range(4)))
        index = 4 * index + digit
    published = run.premises.layout.published(run.data)
    fragment = fragment or run.fragment(disputed)
    return Transcript(published, run.root, tuple(rounds), run.block(index), digits, fragment)


def opening(run, disputed, step, accusation):
    return open_at(run.premises, run, disputed, step, accusation)


def step_writing(run, address, number=-1):
    return run.writes(address, run.steps)[number][0]


def with_slot(fragment, place, **fields):
    slots = list(fragment.slots)
    slots[place] = replace(slots[place], **fields)
    return replace(fragment, slots=tuple(slots))


def test_nothing_convicts_an_honest_prover_at_any_step(run):
    for disputed in range(run.premises.steps):
        said = said_by(run, disputed)
        assert not charges(run.premises, said, run)
        assert not every_charge(run.premises, said, run)


def test_every_lie_in_a_fragment_convicts_or_changes_nothing():
    """Only ``last`` of a read that says INIT means nothing: INIT counts as -1."""
    rng = Random(3)
    image = settling_program(rng, 30, 5)
    run = Run(Premises(image, LAYOUT, K, 20), claim_input(9, 9))
    for disputed in range(run.premises.steps):
        for name, lie in fragment_field_lies(run.fragment(disputed)):
            if name == "index" or "write" in name or "address" in name:
                continue  # EXECUTE refuses them (test_execute)
            said = said_by(run, disputed, lie)
            place = int(name.split("-")[1]) if name.startswith("slot") else 0
            meaningless = name.endswith("last") and lie.slots[place].init == 1
            unused = run.fragment(disputed).slots[place] == UNUSED and name.startswith("slot")
            if not meaningless and not unused and lie.pc in range(0x1_0000, 0x2_0000):
                assert charges(run.premises, said, run), (name, lie)


def test_a_prover_that_shows_another_message_than_before_is_caught(run):
    """Rule 1: in EXECUTE the prover's own signatures bind nothing; RECORD compares the two."""
    said = said_by(run, 5)
    other = replace(said.executed, write=said.executed.write._replace(wval=1))
    assert not RecordVerdict().holds(run.premises, said)
    assert RecordVerdict().holds(run.premises, replace(said, fragment=other))


def test_node_and_block_open_the_slot_that_the_disputed_step_picked(run):
    """A false sibling in a slot that was not chosen is no parent of what was revealed."""
    for disputed in (0, 27, 63):
        said = said_by(run, disputed)
        digits = base4(disputed, K)
        for turn in range(1, run.premises.rounds + 1):
            for child in range(4):
                nodes = list(said.rounds[turn - 1])
                nodes[child] = bytes(20)
                rounds = (*said.rounds[: turn - 1], tuple(nodes), *said.rounds[turn:])
                lied = replace(said, rounds=rounds)
                assert NodeVerdict(turn).holds(run.premises, lied)
                below = child == digits[turn - 1]
                if turn < run.premises.rounds:
                    assert NodeVerdict(turn + 1).holds(run.premises, lied) == below
                else:
                    assert BlockVerdict().holds(run.premises, lied) == below
    assert not NodeVerdict(0).holds(run.premises, said)
    assert not NodeVerdict(run.premises.rounds + 1).holds(run.premises, said)


def test_a_stale_pointer_is_not_proved_with_a_later_write(run):
    """An OPEN to the right of the disputed step, or at it, is no verdict: m < c_t."""
    first, last = step_writing(run, T0, 0), step_writing(run, T0)
    disputed = next(i for i in range(first + 1, last) if run.fragment(i).slots[1].address == T0)
    said, stale = said_by(run, disputed), Accusation(Predicate.STALE, 1)
    later = run.block(last // 4)[last % 4]
    assert stale.holds(said.executed, last, later), "only the step's place protects the prover"
    for turn in range(1, K + 1):
        digits = base4(last, K)
        place = Place(turn, digits[turn - 1], digits[turn:])
        if digits[: turn - 1] == base4(disputed, K)[: turn - 1]:
            assert step_at(run.premises, disputed, place) is None
        siblings = siblings_of(run, last, 0, max(0, 2 * (run.premises.rounds - turn)))
        assert not OpenVerdict(stale, place, run.block(last // 4), siblings).holds(
            run.premises, said
        )
    for child in range(base4(disputed, K)[-1], 4):
        assert not NearVerdict(stale, child).holds(run.premises, said)


def test_a_stale_pointer_is_proved_with_the_write_between(run):
    first, last = step_writing(run, DATA_BASE + 32, 0), step_writing(run, DATA_BASE + 32)
    disputed = last + 2
    honest = run.fragment(disputed)
    assert honest.slots[1].address == DATA_BASE + 32
    lie = with_slot(honest, 1, value=run.value(DATA_BASE + 32, last), last=first)
    stale = opening(run, disputed, last, Accusation(Predicate.STALE, 1))
    assert stale.holds(run.premises, said_by(run, disputed, lie))
    assert not stale.holds(run.premises, said_by(run, disputed))
    unwritten = with_slot(honest, 1, value=run.value(DATA_BASE + 32, 0), last=0, init=1)
    assert stale.holds(run.premises, said_by(run, disputed, unwritten))


def test_what_the_challenger_supplies_is_range_checked(run):
    """Rule 3: each unsigned digit, bit, word, node and selector."""
    good = opening(run, 16, 15, Accusation(Predicate.PC))
    said = said_by(run, 16, replace(run.fragment(16), pc=run.step(16).pc ^ 4))
    assert good.place == Place(2, 0, (3, 3))
    assert good.holds(run.premises, said)
    place, block, siblings = good.place, good.block, good.siblings
    wrong = [
        replace(good, place=replace(place, below=(3, 4))),
        replace(good, place=replace(place, below=(3, -1))),
        replace(good, place=replace(place, below=(7, 3))),
        replace(good, place=replace(place, below=(3, True))),
        replace(good, place=replace(place, below=(3,))),
        replace(good, place=replace(place, below=(3, 3, 3))),
        replace(good, place=replace(place, child=-1)),
        replace(good, place=replace(place, child=1)),
        replace(good, place=replace(place, child=4)),
        replace(good, place=replace(place, turn=0)),
        replace(good, place=replace(place, turn=9)),
        replace(good, block=block[:3]),
        replace(good, block=(*block[:3], Record(1 << 32, 0, 0))),
        replace(good, block=(*block[:3], Record(-1, 0, 0))),
        replace(good, siblings=siblings[:-1]),
        replace(good, siblings=(*siblings, bytes(20))),
        replace(good, siblings=(siblings[0][:19], *siblings[1:])),
        replace(good, accusation=Accusation(Predicate.POINTED, 3)),
        replace(good, accusation=Accusation(Predicate.STALE, -1)),
    ]
    for verdict in wrong:
        assert not verdict.holds(run.premises, said), verdict
    for slot in (-1, 3, True):
        assert not FutureVerdict(slot).holds(run.premises, said)
        assert not InitVerdict(slot).holds(run.premises, said)


def test_an_opened_block_must_lead_to_the_revealed_node(run):
    said = said_by(run, 16)
    honest = opening(run, 16, 15, Accusation(Predicate.PC))
    block = (*honest.block[:3], honest.block[3]._replace(next_pc=0x1_0000))
    for verdict in (
        replace(honest, block=block),
        replace(honest, block=block, siblings=tuple(reversed(honest.siblings))),
        replace(honest, block=block, place=replace(honest.place, below=(2, 3))),
    ):
        assert not verdict.holds(run.premises, said)


def test_init_has_one_form_and_every_pointer_lies_in_the_past(run):
    disputed = next(i for i in range(run.steps) if run.fragment(i).slots[0] != UNUSED)
    honest = run.fragment(disputed)
    for fields, future in (
        ({"init": 2}, True),
        ({"init": 15}, True),
        ({"init": 0, "last": disputed}, True),
        ({"init": 0, "last": run.premises.steps - 1}, True),
        ({"init": 0, "last": disputed - 1}, False),
        ({"init": 1, "last": run.premises.steps - 1}, False),
    ):
        said = said_by(run, disputed, with_slot(honest, 0, **fields))
        assert FutureVerdict(0).holds(run.premises, said) == future, fields


def test_only_the_last_step_must_be_in_halt(run):
    last = run.premises.steps - 1
    for disputed, next_pc, guilty in ((last, HALT, 0), (last, TRAP, 1), (last - 1, TRAP, 0)):
        lie = replace(run.fragment(disputed), write=Record(NOWRITE, 0, next_pc))
        assert NotHaltVerdict().holds(run.premises, said_by(run, disputed, lie)) == guilty


def test_leaves_cost_what_the_table_says(run):
    near = NearVerdict(Accusation(Predicate.PC), 0)
    far = opening(run, 16, 15, Accusation(Predicate.PC))
    costs = [(RecordVerdict(), 0), (BlockVerdict(), 1), (NodeVerdict(1), 3), (near, 0), (far, 3)]
    assert [(verdict, hashes(verdict)) for verdict, _ in costs] == costs
    assert far.fault is near.fault is Fault.OPEN
