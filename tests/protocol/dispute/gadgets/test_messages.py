"""Signed digits as named nibbles, and base-4 digits as an index."""

from itertools import product
from random import Random

import pytest

from protocol.bitcoin.opcodes import Op
from protocol.crypto.winternitz import number_digits
from protocol.dispute.assembler import Assembler
from protocol.dispute.claim import base4
from protocol.dispute.gadgets import messages
from protocol.dispute.gadgets.word import items, require_equal
from tests.builders.scripts import holds

RNG = Random(64)


@pytest.mark.parametrize("log4", [1, 2, 5, 8])
def test_an_index_is_its_base_4_digits(log4: int) -> None:
    hexes = (log4 + 1) // 2
    asm = Assembler(f"d{n}" for n in range(hexes + log4))
    messages.require_index(asm, messages.word(asm.stack[:hexes]), asm.stack[hexes:])
    code = asm.finish()
    for index in {0, 4**log4 - 1, *(RNG.randrange(4**log4) for _ in range(20))}:
        digits = base4(index, log4)
        assert holds(code, [*number_digits(index, hexes), *digits])
        place = RNG.randrange(log4)
        wrong = [*digits[:place], digits[place] ^ RNG.randrange(1, 4), *digits[place + 1 :]]
        assert not holds(code, [*number_digits(index, hexes), *wrong])


@pytest.mark.parametrize("log4", [1, 2, 3, 4])
def test_the_base_4_digits_of_an_index(log4: int) -> None:
    """Every index of one and two nibbles; with an odd count, the two bits above must be 0."""
    hexes = (log4 + 1) // 2
    asm = Assembler(f"d{n}" for n in range(hexes + log4))
    expected = asm.stack[hexes:]
    found = messages.base4_digits(asm, messages.word(asm.stack[:hexes]), log4)
    for digit, right in zip(found, expected, strict=True):
        asm.verify(Op.NUMEQUAL, digit, right)
    code = asm.finish()
    whole = range(16**hexes) if hexes == 1 else RNG.sample(range(16**hexes), 64)
    for index in whole:
        digits = base4(index, log4)
        assert holds(code, [*number_digits(index, hexes), *digits]) == (index < 4**log4)
        wrong = [*digits[:-1], digits[-1] ^ 1]
        assert not holds(code, [*number_digits(index, hexes), *wrong])


def test_words_of_bytes_are_little_endian() -> None:
    asm = Assembler(f"d{n}" for n in range(16))
    first, _ = messages.little_endian(asm.stack)
    assert [item.name for item in items(first)] == ["d1", "d0", "d3", "d2", "d5", "d4", "d7", "d6"]
    require_equal(asm, first, tuple(0x1234_5678 >> 4 * n & 15 for n in range(8)))
    code = asm.finish()
    assert holds(code, [7, 8, 5, 6, 3, 4, 1, 2, *[0] * 8])


def test_every_base_4_pair() -> None:
    asm = Assembler(["n", "high", "low"])
    nibble, *digits = asm.stack
    messages.require_index(asm, (nibble,), digits)
    code = asm.finish()
    for n, high, low in product(range(16), range(4), range(4)):
        assert holds(code, [n, high, low]) == (n == 4 * high + low)
