"""Products, and division by hint: wrong and malleated hints are refused (dispute.md 4, rule 8)."""

from itertools import product
from random import Random

import pytest

from protocol.dispute.assembler import Assembler, Item
from protocol.dispute.gadgets import divide, multiply
from protocol.dispute.gadgets.word import Word
from riscv_vm.machine import signed
from tests.builders.programs import CORNERS, random_value
from tests.builders.scripts import calling, flat, holds, nibbles

MASK = 0xFFFF_FFFF
RNG = Random(62)
CORNER_PAIRS = list(product(CORNERS, repeat=2))
PAIRS = [*CORNER_PAIRS, *[(random_value(RNG), random_value(RNG)) for _ in range(40)]]
INT_MIN = 1 << 31


@pytest.mark.parametrize("signs", [(False, False), (True, False), (True, True)])
def test_the_high_half(signs: tuple[bool, bool]) -> None:
    def gadget(asm: Assembler, a: Word, b: Word) -> Word:
        return multiply.high_half(asm, a, b, signed_a=signs[0], signed_b=signs[1])

    code = calling(gadget, 2)
    for a, b in PAIRS:
        x, y = (signed(n) if s else n for n, s in zip((a, b), signs, strict=True))
        right = x * y >> 32 & MASK
        assert holds(code, flat(a, b, right)), (hex(a), hex(b))
        assert not holds(code, flat(a, b, right ^ 1 << RNG.randrange(32)))


def test_the_low_half() -> None:
    code = calling(lambda asm, a, b: multiply.multiply(asm, a, b, 8), 2)
    for a, b in PAIRS:
        assert holds(code, flat(a, b, a * b & MASK)), (hex(a), hex(b))
        assert not holds(code, flat(a, b, a * b & MASK ^ 1 << RNG.randrange(32)))


def test_every_multiple_of_every_nibble() -> None:
    """The tables of the 16 multiples, at each of their indexes, on every diagonal."""
    code = calling(lambda asm, a, b: multiply.multiply(asm, a, b), 2, results=16)
    for x, y in product(range(16), repeat=2):
        a, b = 0x1111_1111 * x, 0x1111_1111 * y
        assert holds(code, [*flat(a, b), *nibbles(a * b, 16)]), (x, y)


def test_every_digit_of_the_largest_product() -> None:
    """Every diagonal reaches its largest sum, so that every split sees its largest carry."""
    code = calling(lambda asm, a, b: multiply.multiply(asm, a, b), 2, results=16)
    for a, b in [(MASK, MASK), (MASK, 1), (0, MASK), (0xF0F0_F0F0, MASK)]:
        digits = [a * b >> 4 * n & 15 for n in reversed(range(16))]
        assert holds(code, [*flat(a, b), *digits])
        for n in range(16):
            wrong = [*digits[:n], digits[n] ^ 1, *digits[n + 1 :]]
            assert not holds(code, [*flat(a, b), *wrong])


def quotient_of(asm: Assembler, a: Word, b: Word, hint: tuple[Item, ...]) -> Word:
    return divide.divide(asm, a, b, hint)[0]


def remainder_of(asm: Assembler, a: Word, b: Word, hint: tuple[Item, ...]) -> Word:
    return divide.divide(asm, a, b, hint)[1]


def signed_quotient_of(asm: Assembler, a: Word, b: Word, hint: tuple[Item, ...]) -> Word:
    return divide.divide_signed(asm, a, b, hint)[0]


def signed_remainder_of(asm: Assembler, a: Word, b: Word, hint: tuple[Item, ...]) -> Word:
    return divide.divide_signed(asm, a, b, hint)[1]


UNSIGNED = (calling(quotient_of, 2, hints=16), calling(remainder_of, 2, hints=16))
SIGNED = (calling(signed_quotient_of, 2, hints=16), calling(signed_remainder_of, 2, hints=16))


def expected_signed(a: int, b: int) -> tuple[int, int]:
    """The manual's table: by zero and overflow included."""
    if b == 0:
        return MASK, a
    x, y = signed(a), signed(b)
    quotient = abs(x) // abs(y) * (1 if (x < 0) == (y < 0) else -1)
    return quotient & MASK, x - quotient * y & MASK


def test_unsigned_division() -> None:
    for a, b in PAIRS:
        hint = divide.hint_digits(a, b)
        right = (a // b, a % b) if b else (MASK, a)
        for code, result in zip(UNSIGNED, right, strict=True):
            assert holds(code, [*flat(a, b, result), *hint]), (hex(a), hex(b))
            assert not holds(code, [*flat(a, b, result ^ 1 << RNG.randrange(32)), *hint])


def test_signed_division() -> None:
    for a, b in PAIRS:
        hint = divide.hint_digits(abs(signed(a)), abs(signed(b)))
        for code, result in zip(SIGNED, expected_signed(a, b), strict=True):
            assert holds(code, [*flat(a, b, result), *hint]), (hex(a), hex(b))
            assert not holds(code, [*flat(a, b, result ^ 1 << RNG.randrange(32)), *hint])


def test_the_overflow() -> None:
    hint = divide.hint_digits(INT_MIN, 1)
    quotient, remainder = SIGNED
    assert holds(quotient, [*flat(INT_MIN, MASK, INT_MIN), *hint])
    assert holds(remainder, [*flat(INT_MIN, MASK, 0), *hint])
    assert not holds(quotient, [*flat(INT_MIN, MASK, INT_MIN - 1), *hint])


def test_division_modulo_2_to_the_32_is_refused() -> None:
    """7 = 3 * 2863311533 + 0 modulo 2^32."""
    false = 2863311533
    assert 3 * false & MASK == 7
    hint = [*divide.hint_digits(false, 1)[:8], *[0] * 8]
    for code, result in zip(UNSIGNED, (false, 0), strict=True):
        assert not holds(code, [*flat(7, 3, result), *hint])
        assert not holds(SIGNED[0], [*flat(7, 3, false), *hint])


@pytest.mark.parametrize(("a", "b"), [(100, 7), (MASK, 1), (5, 9), (INT_MIN, MASK), (9, 0)])
def test_no_other_hint_passes(a: int, b: int) -> None:
    """Another pair of the same value, digits out of range, digits that no range check saw."""
    q, r = (a // b, a % b) if b else (MASK, a)
    right = divide.hint_digits(a, b)
    shifted = [(q - 1, r + b), (q + 1, r - b), (q, r ^ 1), (q ^ 1, r), (0, a)]
    for other_q, other_r in shifted:
        if (other_q, other_r) == (q, r) or not (0 <= other_q <= MASK and 0 <= other_r <= MASK):
            continue
        hint = divide.hint_digits(other_q, 1)[:8] + divide.hint_digits(other_r, 1)[:8]
        assert not holds(UNSIGNED[0], [*flat(a, b, other_q), *hint])
        assert not holds(UNSIGNED[1], [*flat(a, b, other_r), *hint])
    for place in range(16):
        for wrong in (right[place] + 16, right[place] - 16, 16, -1, 17, 1 << 30, b"\x05\0\0\0\0"):
            hint = [*right[:place], wrong, *right[place + 1 :]]
            assert not holds(UNSIGNED[0], [*flat(a, b, q), *hint]), (place, wrong)
    # Carried between digits: the same sum, but a digit above 15.
    if right[1]:
        hint = [right[0] + 16, right[1] - 1, *right[2:]]
        assert not holds(UNSIGNED[0], [*flat(a, b, q), *hint])


def test_hints_that_are_not_minimal_mean_the_same() -> None:
    """Consensus takes 05 00 for 5; the digits are made minimal before they are compared."""
    right = divide.hint_digits(1000, 7)
    hint = [bytes([n, 0]) for n in right]
    assert holds(UNSIGNED[0], [*flat(1000, 7, 142), *hint])
    assert not holds(UNSIGNED[0], [*flat(1000, 7, 143), *hint])
