"""Bits of nibbles, and the bitwise operations, over every pair of nibbles."""

from itertools import product
from random import Random

import pytest

from protocol.dispute.assembler import Assembler, Item
from protocol.dispute.gadgets import bits
from protocol.dispute.gadgets.word import Word, constant
from tests.builders.scripts import calling, flat, holds

RNG = Random(60)


def test_every_nibble_and_its_bits() -> None:
    asm = Assembler(["n", "b3", "b2", "b1", "b0"])
    nibble, *expected = asm.stack
    for bit, right in zip(bits.bits(asm, nibble), reversed(expected), strict=True):
        asm.verify(bits.Op.NUMEQUAL, bit, right)
    code = asm.finish()
    for n, *claimed in product(range(16), *[range(2)] * 4):
        assert holds(code, [n, *claimed]) == (f"{n:04b}" == "".join(map(str, claimed)))


def test_every_number_of_four_bits() -> None:
    asm = Assembler(["b3", "b2", "b1", "b0", "n"])
    *low_last, expected = asm.stack
    asm.verify(bits.Op.NUMEQUAL, bits.number(asm, low_last[::-1]), expected)
    code = asm.finish()
    for n in range(16):
        for claimed in (n, n ^ 1, n + 16):
            assert holds(code, [*map(int, f"{n:04b}"), claimed]) == (claimed == n)


@pytest.mark.parametrize("name", bits.LOGIC)
def test_every_pair_of_nibbles(name: str) -> None:
    """All 256 entries of the table, eight pairs a word."""

    def gadget(asm: Assembler, a: Word, b: Word) -> Word:
        table = bits.logic_table(asm, name)
        result = bits.logic(asm, table, a, b)
        bits.drop_table(asm, table)
        return result

    code = calling(gadget, 2)
    compute = bits.LOGIC[name]
    for high, start in product(range(16), (0, 8)):
        a = int(f"{high:x}" * 8, 16)
        b = sum(start + n << 4 * n for n in range(8))
        right = compute(a, b)
        assert holds(code, flat(a, b, right))
        assert not holds(code, flat(a, b, right ^ 1 << RNG.randrange(32)))


@pytest.mark.parametrize("name", bits.LOGIC)
def test_a_constant_operand(name: str) -> None:
    mask = 0x0F5A_37C1

    def gadget(asm: Assembler, a: Word) -> Word:
        return bits.logic(asm, bits.logic_table(asm, name), a, constant(mask))

    code = calling(gadget, 1)
    for a in (0, 0xFFFF_FFFF, *(RNG.getrandbits(32) for _ in range(20))):
        assert holds(code, flat(a, bits.LOGIC[name](a, mask)))
        assert not holds(code, flat(a, bits.LOGIC[name](a, mask) ^ 0x100))


def test_sixteen_times() -> None:
    def gadget(asm: Assembler, a: Word) -> Item:
        assert isinstance(a[0], Item)
        return bits.times_16(asm, a[0])

    code = calling(gadget, 1, results=1)
    for n in range(16):
        assert holds(code, [*flat(n), 16 * n]) and not holds(code, [*flat(n), 16 * n + 1])
