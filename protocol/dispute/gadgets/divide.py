"""Quotient and remainder from a hint, checked by the full product (dispute.md 4, rule 8).

The spender supplies the unsigned quotient and remainder as digits, least significant first.
They are refused unless they are the ones: a hint leaves no choice.
"""

from protocol.bitcoin.opcodes import Op
from protocol.dispute.assembler import Assembler, Item
from protocol.dispute.gadgets.multiply import require_product_plus
from protocol.dispute.gadgets.word import (
    Word,
    constant,
    copy,
    drop,
    is_negative,
    is_zero,
    items,
    less_than,
    negate_if,
    range_checked,
    require_equal,
)

ALL_ONES = constant(0xFFFF_FFFF)
HINT_ITEMS = 16
"""Digits of a hint in the witness: the quotient's, then the remainder's."""


def hint_digits(dividend: int, divisor: int) -> tuple[int, ...]:
    """The hint for an unsigned division, as the manual defines it for a divisor of 0."""
    quotient, remainder = divmod(dividend, divisor) if divisor else (0xFFFF_FFFF, dividend)
    return tuple(int(n) for n in (*constant(quotient), *constant(remainder)) if isinstance(n, int))


def divide(asm: Assembler, a: Word, b: Word, hint: tuple[Item, ...]) -> tuple[Word, Word]:
    """Quotient and remainder of a / b, unsigned; all ones and a if b = 0."""
    digits = range_checked(asm, hint)
    quotient, remainder = digits[:8], digits[8:]
    by_zero = is_zero(asm, copy(asm, b))
    asm.bring(*items(quotient, remainder, a, b), by_zero)

    def undefined() -> tuple[Item, ...]:
        drop(asm, b)
        require_equal(asm, copy(asm, quotient), ALL_ONES)
        require_equal(asm, copy(asm, remainder), a)
        return ()

    def defined() -> tuple[Item, ...]:
        asm.verify(Op.VERIFY, less_than(asm, copy(asm, remainder), copy(asm, b)))
        require_product_plus(asm, copy(asm, quotient), b, copy(asm, remainder), a)
        return ()

    asm.branch(by_zero, undefined, defined)
    return quotient, remainder


def divide_signed(asm: Assembler, a: Word, b: Word, hint: tuple[Item, ...]) -> tuple[Word, Word]:
    """The same in two's complement, rounded towards zero; the hint is for |a| / |b|.

    -2^31 / -1 is 2^31 as a magnitude, which is -2^31 again. By zero, the quotient is -1, whatever
    the sign of a, and the remainder is a.
    """
    negative_a, negative_b = is_negative(asm, a), is_negative(asm, b)
    by_zero = is_zero(asm, copy(asm, b))
    differ = asm.op(Op.NUMNOTEQUAL, asm.copy(negative_a), asm.copy(negative_b))
    negative = asm.op(Op.BOOLAND, differ, asm.op(Op.NOT, by_zero))
    magnitude_a = negate_if(asm, asm.copy(negative_a), a)
    magnitude_b = negate_if(asm, negative_b, b)
    quotient, remainder = divide(asm, magnitude_a, magnitude_b, hint)
    return negate_if(asm, negative, quotient), negate_if(asm, negative_a, remainder)
