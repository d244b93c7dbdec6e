"""Words of 8 nibbles against Python's integers, judged by Bitcoin Core's interpreter and ours."""

from collections.abc import Callable
from itertools import product
from random import Random

import pytest

from protocol.bitcoin.opcodes import Op
from protocol.dispute.assembler import Assembler, Item
from protocol.dispute.gadgets import word
from protocol.dispute.gadgets.word import Word
from riscv_vm.machine import signed
from tests.builders.programs import CORNERS, random_value
from tests.builders.scripts import Gadget, calling, flat, holds

MASK = 0xFFFF_FFFF
RNG = Random(6)
PAIRS = [*product(CORNERS, repeat=2), *[(random_value(RNG), random_value(RNG)) for _ in range(40)]]


def is_zero_of_first(asm: Assembler, a: Word, b: Word) -> Item:
    return word.is_zero(asm, a)


BINARY: dict[str, tuple[Gadget, Callable[[int, int], int]]] = {
    "add": (word.add, lambda a, b: a + b & MASK),
    "subtract": (word.subtract, lambda a, b: a - b & MASK),
}
FLAGS: dict[str, tuple[Gadget, Callable[[int, int], bool]]] = {
    "less": (word.less_than, lambda a, b: a < b),
    "less_signed": (word.less_than_signed, lambda a, b: signed(a) < signed(b)),
    "equal": (word.equal, lambda a, b: a == b),
    "zero": (is_zero_of_first, lambda a, b: a == 0),
}


@pytest.mark.parametrize("name", BINARY)
def test_a_word_of_two_words(name: str) -> None:
    gadget, compute = BINARY[name]
    code = calling(gadget, 2)
    for a, b in PAIRS:
        right = compute(a, b)
        assert holds(code, flat(a, b, right)), (hex(a), hex(b))
        assert not holds(code, flat(a, b, right ^ 1 << RNG.randrange(32))), (hex(a), hex(b))


@pytest.mark.parametrize("name", FLAGS)
def test_a_flag_of_two_words(name: str) -> None:
    gadget, compute = FLAGS[name]
    code = calling(gadget, 2, results=1)
    for a, b in PAIRS:
        right = int(compute(a, b))
        assert holds(code, [*flat(a, b), right]), (hex(a), hex(b))
        assert not holds(code, [*flat(a, b), 1 - right]), (hex(a), hex(b))


@pytest.mark.parametrize("bound", [4, 16])
def test_what_nobody_signed_is_range_checked(bound: int) -> None:
    """Exactly 0 to bound - 1 pass, in any encoding that Script reads, and come out minimal."""
    asm = Assembler(["unsigned", "expected"])
    unsigned, expected = asm.stack
    asm.verify(Op.EQUAL, word.range_check(asm, unsigned, bound), expected)
    code = asm.finish()
    for n in range(-40, 40):
        assert holds(code, [n, n]) == (0 <= n < bound)
    for n in range(bound):
        for zeros in (1, 2, 3):
            assert holds(code, [bytes([n, *bytes(zeros)]), n])
            assert not holds(code, [bytes([n, *bytes(zeros)]), n + 1])
        assert not holds(code, [bytes([n, 0, 0, 0, 0]), n])
        assert holds(code, [bytes([n, 0x80]), n]) == (n == 0)
    for minus_zero in (b"\x80", b"\0\x80", b"\0\0\0\x80"):
        assert holds(code, [minus_zero, 0])
