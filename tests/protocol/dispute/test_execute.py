"""EXECUTE: the true fragment and no other, as far as a leaf can see."""

from dataclasses import replace
from random import Random

import pytest

from protocol.dispute.claim import base4
from protocol.dispute.execute import executes
from protocol.dispute.fragment import UNUSED, Slot
from protocol.dispute.premises import InputLayout, Premises
from riscv_vm.isa import HALT, NOWRITE, SENTINELS, TRAP
from riscv_vm.record import Record
from tests.builders.disputes import Run
from tests.builders.lies import false_record, fragment_field_lies
from tests.builders.programs import EXIT, program, random_program

K = 7


def run_of(source):
    return Run(Premises(program(source, bytes(range(16)), 32), InputLayout(b""), K, 20), b"")


def accepts(run, fragment, index=None):
    index = fragment.index if index is None else index
    return executes(run.premises, base4(index, K), fragment)


@pytest.mark.parametrize("seed", range(3))
def test_no_other_result_is_accepted(seed):
    rng = Random(seed)
    run = Run(Premises(random_program(rng), InputLayout(b""), K, 20), b"")
    for index in range(0, run.steps, 3):
        fragment = run.fragment(index)
        assert accepts(run, fragment)
        assert not accepts(run, replace(fragment, write=false_record(rng, fragment.write)))
        for name, lie in fragment_field_lies(fragment):
            if name == "index" or name.startswith("write") or name.endswith("address"):
                assert not accepts(run, lie, index), (name, lie)


def test_it_answers_all_digits_of_the_challenger_and_no_others():
    run = run_of(EXIT)
    fragment = run.fragment(1)
    assert accepts(run, fragment)
    for digits in (base4(2, K), base4(1, K - 1), base4(1, K + 1), ()):
        assert not executes(run.premises, digits, fragment)


@pytest.mark.parametrize("pc", [0, 0xFFC, 0x1_0002, 0x1_0000 + 4 * 4, 0xFFFF_FFFC, HALT - 1])
def test_pc_lies_in_the_text_or_is_a_sentinel(pc):
    run = run_of(f"nop\n{EXIT}")
    fragment = replace(run.fragment(0), pc=pc, write=Record(NOWRITE, 0, (pc + 4) % 2**32))
    assert not accepts(run, fragment)


@pytest.mark.parametrize("sentinel", SENTINELS)
def test_no_opcode_can_be_invented_at_a_sentinel(sentinel):
    run = run_of(f"nop\n{EXIT}")
    absorbing = Record(NOWRITE, 0, sentinel)
    at_rest = replace(run.fragment(9), pc=sentinel, write=absorbing)
    assert accepts(run, at_rest)
    for opcode in (0x13, 0x73, 1, 0xFFFF_FFFF):
        assert not accepts(run, replace(at_rest, opcode=opcode))
        going_on = Record(NOWRITE, 0, (sentinel + 4) % 2**32)
        assert not accepts(run, replace(at_rest, opcode=opcode, write=going_on))
    for other in (Record(NOWRITE, 0, HALT + TRAP - sentinel), Record(NOWRITE, 1, sentinel)):
        assert not accepts(run, replace(at_rest, write=other))


def test_an_opcode_that_does_not_decode_has_no_leaf():
    run = run_of(f"nop\n{EXIT}")
    for opcode in (0, 0xFFFF_FFFF, 0x0000_100F):  # nothing, nothing, fence.i
        assert not accepts(run, replace(run.fragment(0), opcode=opcode))


def test_a_load_to_x0_still_reads_and_writes_nothing():
    run = run_of(f"lui a0, 0x20\nlw zero, 4(a0)\n{EXIT}")
    fragment = run.fragment(1)
    assert fragment.slots[1] == Slot(0x2_0004, 0x0706_0504, 0, 1)
    assert fragment.write == Record(NOWRITE, 0, 0x1_0008)
    assert accepts(run, fragment)
    written = Record(0xF000_0000, 0x0706_0504, 0x1_0008)
    assert not accepts(run, replace(fragment, write=written))


def test_x0_reads_zero_in_its_one_form():
    run = run_of(f"add a0, zero, zero\n{EXIT}")
    fragment = run.fragment(0)
    assert fragment.slots == (UNUSED, UNUSED, UNUSED)
    for place in range(3):
        for slot in (Slot(0, 1, 0, 1), Slot(0, 0, 1, 1), Slot(0, 0, 0, 0), Slot(0, 0, 0, 2)):
            slots = (*fragment.slots[:place], slot, *fragment.slots[place + 1 :])
            result = fragment.write._replace(wval=slot.value)
            assert not accepts(run, replace(fragment, slots=slots, write=result))
        register = Slot(0xF000_0000, 5, 0, 1)
        slots = (*fragment.slots[:place], register, *fragment.slots[place + 1 :])
        assert not accepts(run, replace(fragment, slots=slots))


def test_both_operands_may_be_the_same_register():
    """Each has a slot of its own, and the leaf uses the right one for each operand."""
    run = run_of(f"addi a0, zero, 9\nsub a1, a0, a0\n{EXIT}")
    fragment = run.fragment(1)
    assert accepts(run, fragment)
    first, second, third = fragment.slots
    lie = replace(fragment, slots=(replace(first, value=11), second, third))
    assert accepts(run, replace(lie, write=fragment.write._replace(wval=2)))
    assert not accepts(run, replace(lie, write=fragment.write._replace(wval=2**32 - 2)))


def test_division_overflows_and_divides_by_zero_as_in_the_manual():
    source = "lui a0, 0x80000\naddi a1, zero, -1\ndiv a2, a0, a1\nrem a3, a0, a1\ndivu a4, a0, zero"
    run = run_of(f"{source}\n{EXIT}")
    for index, value in ((2, 0x8000_0000), (3, 0), (4, 0xFFFF_FFFF)):
        fragment = run.fragment(index)
        assert fragment.write.wval == value
        assert accepts(run, fragment)
        wrong = fragment.write._replace(wval=value ^ 1)
        assert not accepts(run, replace(fragment, write=wrong))
