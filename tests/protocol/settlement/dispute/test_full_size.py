"""Disputes about the settlement program itself, 2^24 steps, in real blocks."""

from collections.abc import Callable, Iterator
from functools import lru_cache
from random import Random

import pytest

from protocol.bitcoin.tx import vsize
from protocol.dispute.claim import Fault, Party, base4, base4_number
from protocol.dispute.execute import shown_step
from protocol.dispute.fragment import Fragment, fragment_of
from protocol.dispute.opening import place_of
from protocol.dispute.play import Challenge, Execute, Pick, Play, Take, Wait
from protocol.dispute.sides import challenger_move, prover_move
from protocol.settlement.terms import Role
from regtest.conformance.backends import KERNEL
from riscv_vm.forge import halting_forgery
from riscv_vm.prove import Execution, Forgery, Trace, prove
from tests.builders.challengers import false_assertions
from tests.builders.claims import claim_at
from tests.builders.contracts import Stage, contract_terms, opened_stage
from tests.builders.dispute_chain import Setting, Table
from tests.builders.terms import SMALL, claim_terms

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
WIDTHS = [20, 32]


@pytest.fixture(scope="module")
def stage(tmp_path_factory) -> Iterator[Stage]:
    with opened_stage(KERNEL, tmp_path_factory.mktemp("dispute") / "chain") as made:
        yield made


@lru_cache(maxsize=2)
def about(width: int) -> Setting:
    return Setting(contract_terms(claim_terms(**SMALL), width=width), None, Role.HOLDER)


@lru_cache(maxsize=4)
def traced(width: int, extra_units: int) -> tuple[Trace, bytes]:
    """The honest trace of a claim of so many units too much, and the claim."""
    setting = about(width)
    true = claim_at(setting.course.terms)
    data = type(true)(true.certificate, true.units + extra_units).encode()
    return prove(execution(width, data)), data


def execution(width: int, data: bytes, **changes: object) -> Execution:
    return Execution(about(width).premises.image, data, 12, width, **changes)


def prover_of(trace: Trace, data: bytes, shown: Fragment | None = None) -> Callable:
    """A prover that commits to ``trace``, and shows ``shown`` where it is asked for that step."""

    def prover(play: Play) -> object:
        if play.wait is Wait.EXECUTE and shown is not None:
            assert shown.index == base4_number(play.said.digits)
            return Execute(shown)
        return prover_move(play, trace, data)

    return prover


def vbytes(table: Table) -> int:
    return sum(vsize(tx) for tx in table.txs.values())


@pytest.mark.parametrize("width", WIDTHS)
def test_a_false_claim_that_is_made_to_halt_loses(stage: Stage, width: int) -> None:
    trace, data = traced(width, 1)
    assert trace.outcome.end == "TRAP"
    honest = execution(width, data)
    forgery = halting_forgery(honest.image, data, trace.steps, honest.limit)
    forged = prove(execution(width, data, forgery=forgery))
    table = Table.fund(stage, about(width))
    table.play_out(prover_of(forged, data), lambda play: challenger_move(play, trace))
    assert table.fault is Fault.RECORD
    assert len(table.txs) == 2 + 1 + 24 + 1 + 1
    assert vbytes(table) < {20: 75_000, 32: 105_000}[width]
    print(f"width {width}: {len(table.txs)} transactions, {vbytes(table)} vbytes")


@pytest.mark.parametrize("width", WIDTHS)
def test_a_false_value_of_long_ago_is_asserted_and_taken(stage: Stage, width: int) -> None:
    trace, data = traced(width, 1)
    rng = Random(7)
    while True:
        index = rng.randrange(trace.steps)
        shown = false_value(rng, width, fragment_of(trace.step(index)))
        pointer = shown and shown.slots[0].pointer
        if shown and is_deep(width, index, pointer):
            break
    lying = prove(execution(width, data, forgery=Forgery(index, shown.write)))
    table = Table.fund(stage, about(width))
    table.play_out(prover_of(lying, data, shown), lambda play: challenger_move(play, trace))
    assert table.play.outcome.fault is Fault.OPEN
    names = [name.partition(":")[2] for name in table.txs]
    assert names[-1].startswith("TAKE")
    assert ("ASSERT" in names[-3]) == (width == 32)
    print(f"width {width}: {names[-3:]}, {len(names)} transactions, {vbytes(table)} vbytes")


def false_value(rng: Random, width: int, honest: Fragment) -> Fragment | None:
    """``honest`` with another value of x2..x31 in its first slot, where it is an addition's."""
    slot, premises = honest.slots[0], about(width).premises
    if honest.opcode & 0x7F not in (0x13, 0x33) or slot.address < 0xF000_0000:
        return None
    changed = type(slot)(slot.address, slot.value ^ 1 << rng.randrange(8), slot.last, slot.init)
    fragment = Fragment(
        honest.index, honest.pc, honest.opcode, (changed, *honest.slots[1:]), honest.write
    )
    step = shown_step(premises, fragment)
    if step is None or step.record == honest.write:
        return None
    return Fragment(fragment.index, fragment.pc, fragment.opcode, fragment.slots, step.record)


def is_deep(width: int, index: int, pointer: int) -> bool:
    """Whether an OPEN of the step that a slot points at is too long for one leaf."""
    return 0 <= pointer < index and place_of(about(width).premises, index, pointer).turn <= 2


def reaches(width: int, index: int) -> bool:
    """Whether the true claim's step ``index`` reads a word that was written long before."""
    trace, _ = traced(width, 0)
    slots = fragment_of(trace.step(index)).slots
    return any(is_deep(width, index, slot.pointer) for slot in slots)


@pytest.mark.parametrize("width", WIDTHS)
def test_a_false_assertion_against_a_true_claim_is_refuted(stage: Stage, width: int) -> None:
    trace, data = traced(width, 0)
    assert trace.outcome.end == "HALT"
    rng = Random(8)
    target = next(n for n in iter(lambda: rng.randrange(trace.steps), -1) if reaches(width, n))

    def liar(play: Play) -> object:
        if play.wait is Wait.WINDOW:
            return Challenge()
        if play.wait is Wait.DIGIT:
            return Pick(base4(target, 12)[len(play.said.digits)])
        if play.wait is Wait.TAKE:
            return Take()
        charges = false_assertions(rng, play.premises, play.said, trace)
        return next(charge for charge in charges if charge.holds(play.premises, play.said))

    table = Table.fund(stage, about(width))
    table.play_out(prover_of(trace, data), liar)
    assert table.fault is Fault.REFUTED
    assert table.play.outcome.winner is Party.PROVER
    names = [name.partition(":")[2] for name in table.txs]
    assert names[-1].startswith("SETTLE_assert_") and names[-2].startswith("REFUTE_")
    refute = vsize(table.txs[f"holder:{names[-2]}"])
    print(f"width {width}: {names[-2]} {refute} vbytes, in all {vbytes(table)}")
