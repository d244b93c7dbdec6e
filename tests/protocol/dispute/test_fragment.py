"""F_i: its digits, and the honest one of every instruction, of the end and of a trap."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.crypto.winternitz import with_checksum
from protocol.dispute.claim import base4
from protocol.dispute.execute import executes
from protocol.dispute.fragment import (
    UNUSED,
    Fragment,
    Message,
    Slot,
    fragment_of,
    index_digits,
    message_sizes,
    record_digits,
    record_of,
)
from protocol.dispute.premises import InputLayout, Premises
from protocol.errors import EncodingError
from riscv_vm.isa import ENCODINGS, HALT, NOWRITE, TRAP, decode
from riscv_vm.prove import Execution, prove
from riscv_vm.record import Record
from tests.builders.programs import EXIT, program, random_program

WORDS = st.integers(0, 2**32 - 1)


@st.composite
def fragments(draw, log4_steps):
    steps = st.integers(0, 4**log4_steps - 1)
    slots = [Slot(draw(WORDS), draw(WORDS), draw(steps), draw(st.integers(0, 15))) for _ in "123"]
    write = Record(draw(WORDS), draw(WORDS), draw(WORDS))
    return Fragment(draw(steps), draw(WORDS), draw(WORDS), tuple(slots), write)


@settings(max_examples=50)
@given(st.data())
def test_digits_hold_every_fragment_and_its_lies(data):
    k = data.draw(st.integers(1, 15))
    fragment = data.draw(fragments(k))
    digits = fragment.digits(k)
    assert {message: len(signed) for message, signed in digits.items()} == message_sizes(k)
    assert all(with_checksum(signed) for signed in digits.values())
    assert Fragment.of_digits(k, digits) == fragment


def test_the_layout_of_the_digits():
    slot = Slot(0xF000_0014, 0x89AB_CDEF, 0x123, 0)
    write = Record(NOWRITE, 0, HALT)
    fragment = Fragment(0xABC, 0x1_0004, 0x0000_0073, (slot, UNUSED, UNUSED), write)
    as_hex = {m: "".join(f"{d:x}" for d in ds) for m, ds in fragment.digits(6).items()}
    assert as_hex == {
        Message.HEAD: "abc" + "00010004" + "00000073",
        Message.SLOT_0: "f0000014" + "89abcdef" + "123" + "0",
        Message.SLOT_1: "00000000" + "00000000" + "000" + "1",
        Message.SLOT_2: "00000000" + "00000000" + "000" + "1",
        Message.WRITE: "ffffffff" + "00000000" + "fffffff1",
    }
    assert record_of(record_digits(write)) == write


@pytest.mark.parametrize(("log4_steps", "digits"), [(1, 1), (2, 1), (3, 2), (12, 6), (15, 8)])
def test_a_step_takes_two_base_4_digits_a_nibble(log4_steps, digits):
    assert index_digits(log4_steps) == digits


def test_what_digits_cannot_express_is_refused():
    good = Fragment(0, 0, 0, (UNUSED, UNUSED, UNUSED), Record(0, 0, 0))
    for wrong in (
        Fragment(16, 0, 0, good.slots, good.write),
        Fragment(-1, 0, 0, good.slots, good.write),
        Fragment(0, 1 << 32, 0, good.slots, good.write),
        Fragment(0, 0, 0, (UNUSED, Slot(0, 0, 16, 0), UNUSED), good.write),
        Fragment(0, 0, 0, (UNUSED, Slot(0, 0, 0, 16), UNUSED), good.write),
        Fragment(0, 0, 0, good.slots, Record(0, 1 << 32, 0)),
    ):
        with pytest.raises(EncodingError):
            wrong.digits(2)
    with pytest.raises(EncodingError, match="slot_1"):
        Fragment.of_digits(2, good.digits(2) | {Message.SLOT_1: (0,)})


def test_honest_fragments_of_random_programs_execute():
    """Every instruction, at least once, from the fast machine's trace with its read pointers."""
    seen = set()
    for seed in range(6):
        image = random_program(Random(seed))
        trace = prove(Execution(image, log4_steps=7))
        premises = Premises(image, InputLayout(b""), 7, 20)
        rng = Random(seed)
        for index in rng.sample(range(trace.steps), min(150, trace.steps)):
            fragment = fragment_of(trace.step(index))
            assert executes(premises, base4(index, 7), fragment), fragment
            seen.add(decode(fragment.opcode).name)
        for index in (trace.steps - 1, trace.steps, 4**7 - 1):
            assert executes(premises, base4(index, 7), fragment_of(trace.step(index)))
    assert seen >= {row.name for row in ENCODINGS} - {"ecall", "ebreak"}


TRAPS = {
    "misaligned load": "lw a0, 1(sp)",
    "load from nowhere": "lw a0, 0(zero)",
    "load from a register": "lui a1, 0xf0000\nlw a0, 4(a1)",
    "store to the input": "lui a1, 0x40000\nsw a0, 0(a1)",
    "half a store to nowhere": "sh a0, 0(zero)",
    "jump out of the text": "jalr ra, 0(zero)",
    "another system call": "ecall",
    "ebreak": "ebreak",
}


@pytest.mark.parametrize("source", TRAPS.values(), ids=TRAPS)
def test_a_trapping_step_reads_no_memory_and_writes_nothing(source):
    image = program(f"{source}\n{EXIT}")
    trace = prove(Execution(image, log4_steps=2))
    last = fragment_of(trace.step(trace.steps - 1))
    assert last.write == Record(NOWRITE, 0, TRAP)
    assert last.slots[2] == UNUSED
    assert all(slot.address == 0 or slot.address > 0xF000_0000 for slot in last.slots)
    premises = Premises(image, InputLayout(b""), 2, 20)
    assert executes(premises, base4(last.index, 2), last)


def test_behind_the_end_a_step_absorbs():
    image = program(EXIT)
    trace = prove(Execution(image, log4_steps=2))
    halted = fragment_of(trace.step(15))
    absorbing = Record(NOWRITE, 0, HALT)
    assert halted == Fragment(15, HALT, 0, (UNUSED, UNUSED, UNUSED), absorbing)
