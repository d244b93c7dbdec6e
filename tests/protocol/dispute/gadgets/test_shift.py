"""Shifts by every amount 0..31, constant or not, and sign extension."""

from collections.abc import Callable
from random import Random

import pytest

from protocol.dispute.assembler import Assembler, Item
from protocol.dispute.gadgets import shift
from protocol.dispute.gadgets.bits import bits
from protocol.dispute.gadgets.word import Word, drop
from riscv_vm.machine import signed
from tests.builders.scripts import calling, flat, holds

MASK = 0xFFFF_FFFF
RNG = Random(61)
WORDS = [0, 1, MASK, 1 << 31, MASK >> 1, 0x8000_0001, *(RNG.getrandbits(32) for _ in range(2))]
WORDS += [0x0123_4567, 0x89AB_CDEF]
"""Every nibble is among them: each entry of the table that mirrors nibbles is looked up."""

Shift = Callable[[Assembler, Word, int], Word]
ShiftBy = Callable[[Assembler, Word, tuple[Item, ...]], Word]
SHIFTS: dict[str, tuple[Shift, ShiftBy, Callable[[int, int], int]]] = {
    "left": (shift.shift_left, shift.shift_left_by, lambda a, n: a << n & MASK),
    "right": (shift.shift_right, shift.shift_right_by, lambda a, n: a >> n),
    "signed": (
        shift.shift_right_signed,
        shift.shift_right_signed_by,
        lambda a, n: signed(a) >> n & MASK,
    ),
}


@pytest.mark.parametrize("name", SHIFTS)
def test_by_every_constant(name: str) -> None:
    gadget, _, compute = SHIFTS[name]
    for amount in range(32):
        code = calling(lambda asm, word, n=amount: gadget(asm, word, n), 1)
        for word in WORDS:
            right = compute(word, amount)
            assert holds(code, flat(word, right)), (hex(word), amount)
            assert not holds(code, flat(word, right ^ 1 << RNG.randrange(32)))


@pytest.mark.parametrize("name", SHIFTS)
def test_by_every_value(name: str) -> None:
    _, gadget, compute = SHIFTS[name]

    def by(asm: Assembler, word: Word, amount: Word) -> Word:
        low, high, *rest = amount
        assert isinstance(low, Item) and isinstance(high, Item)
        b4, *above = bits(asm, high)
        drop(asm, (*above, *rest))
        return gadget(asm, word, (*bits(asm, low), b4))

    code = calling(by, 2)
    for amount in range(32):
        for word in WORDS:
            right = compute(word, amount)
            shown = amount | RNG.getrandbits(27) << 5
            assert holds(code, flat(word, shown, right)), (hex(word), amount)
            assert not holds(code, flat(word, shown, right ^ 1 << RNG.randrange(32)))


@pytest.mark.parametrize("digits", [2, 4])
def test_sign_extension(digits: int) -> None:
    def gadget(asm: Assembler, word: Word) -> Word:
        drop(asm, word[digits:])
        return shift.sign_extend(asm, word[:digits])

    code = calling(gadget, 1)
    size = 4 * digits
    for value in [*range(256), 0x7FFF, 0x8000, 0xFFFF, *(RNG.getrandbits(32) for _ in range(50))]:
        low = value & (1 << size) - 1
        right = (low - (1 << size) if low >> size - 1 else low) & MASK
        assert holds(code, flat(value, right))
        assert not holds(code, flat(value, right ^ 0x8000_0000))
