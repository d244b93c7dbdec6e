"""The constants of a dispute: which leaf knows a word's initial value, and what is published."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.dispute.claim import Fault
from protocol.dispute.premises import InputLayout, Premises
from protocol.errors import DisputeError
from riscv_vm.isa import INPUT_BASE, REGISTER_BASE, STACK_BASE, STACK_TOP
from riscv_vm.machine import Machine
from tests.builders.disputes import FIXED, LAYOUT, claim_input
from tests.builders.programs import DATA_BASE, EXIT, program

PREMISES = Premises(program(EXIT, b"\1\2\3\4\5\6\7\0", 32), LAYOUT, 4, 20)
WORDS = (
    *range(INPUT_BASE - 8, INPUT_BASE + 32, 4),
    *range(DATA_BASE - 8, DATA_BASE + 48, 4),
    *range(REGISTER_BASE - 4, REGISTER_BASE + 136, 4),
    *(STACK_BASE - 4, STACK_BASE, STACK_TOP - 4, STACK_TOP, 0, 0x1000, 0xFFFF_FFFC, 0xFFFF_FFFF),
)


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1), st.binary(min_size=5, max_size=5))
def test_one_leaf_knows_each_word_and_its_value_is_the_machines(payout, price, rest):
    data = claim_input(payout, price, tuple(byte & 15 for byte in rest))
    published = [digit for part in LAYOUT.published(data) for digit in part]
    machine = Machine(PREMISES.image, data)
    for address in WORDS:
        register = (address - REGISTER_BASE) // 4
        is_register = 0 < register < 32
        value = machine.register(register) if is_register else machine.word(address)
        known = {
            Fault.INIT: PREMISES.constant(address),
            Fault.INPUT: PREMISES.input_word(address, published),
            Fault.ZERO: 0,
            None: None,
        }[PREMISES.origin(address)]
        assert known == value, hex(address)
        assert PREMISES.readable(address) == (value is not None and not is_register)
        assert PREMISES.writable(address) == machine.writable(address)
        assert (PREMISES.constant(address) is None) == (PREMISES.origin(address) is not Fault.INIT)


def test_the_words_of_a_claim():
    origins = [PREMISES.origin(INPUT_BASE + at) for at in range(0, 28, 4)]
    init, read = Fault.INIT, Fault.INPUT
    assert origins == [init, read, init, read, read, read, None]
    assert PREMISES.constant(INPUT_BASE) == len(FIXED)
    assert list(PREMISES.zero_ranges()) == [
        (DATA_BASE + 8, DATA_BASE + 32),
        (STACK_BASE, STACK_TOP),
    ]


def test_the_payout_is_one_message_and_one_input_word():
    """Rule 9: the digits that the payout outputs verify are those that the guest reads."""
    data = claim_input(0x0102_0304, 0)
    *_, last = LAYOUT.published(data)
    flat = [digit for part in LAYOUT.published(data) for digit in part]
    word = PREMISES.layout.word(INPUT_BASE + 4)
    payout = range(len(flat) - 8, len(flat))
    assert sorted(digit.published for digit in word) == list(payout)
    assert PREMISES.input_word(INPUT_BASE + 4, flat) == 0x0102_0304
    assert last[-8:] == (0, 4, 0, 3, 0, 2, 0, 1)


def test_publishing_and_reading_are_inverse():
    data = claim_input(0xDEAD_BEEF, 0x1234_5678, (9, 8, 7, 6, 5))
    parts = LAYOUT.published(data)
    assert tuple(map(len, parts)) == LAYOUT.parts
    assert LAYOUT.data([digit for part in parts for digit in part]) == data
    assert InputLayout.whole(3).data((1, 2, 3, 4, 5, 6)) == b"\x12\x34\x56"


def test_what_the_terms_fix_cannot_be_published_otherwise():
    data = bytearray(claim_input(1, 2))
    data[4] ^= 1
    with pytest.raises(DisputeError, match="fix"):
        LAYOUT.published(bytes(data))
    with pytest.raises(DisputeError, match="bytes"):
        LAYOUT.published(bytes(3))


@pytest.mark.parametrize(
    ("spans", "parts"),
    [(((0, 3), (2, 4)), (5,)), (((0, 9),), (9,)), (((-1, 1),), (2,)), (((0, 4),), (3,)), ((), ())],
)
def test_a_digit_is_published_once_and_in_some_part(spans, parts):
    with pytest.raises(DisputeError):
        InputLayout(bytes(4), spans, parts)


@pytest.mark.parametrize(("log4_steps", "width"), [(0, 20), (16, 20), (4, 21)])
def test_shapes_that_cannot_be_are_refused(log4_steps, width):
    with pytest.raises(DisputeError):
        Premises(PREMISES.image, LAYOUT, log4_steps, width)
