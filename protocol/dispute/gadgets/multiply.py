"""The full 64-bit product of two words, and its halves.

A table of the 16 multiples of each nibble of one factor, the 64 products by look-up, and the sums
of the 15 diagonals, each split into a digit and what it carries on.
"""

from protocol.bitcoin.opcodes import Op
from protocol.bitcoin.script import script
from protocol.dispute.assembler import Assembler, Item, Operand, Table
from protocol.dispute.gadgets.bits import drop_table
from protocol.dispute.gadgets.word import (
    NIBBLES,
    ZERO,
    Word,
    add,
    choose,
    copy,
    drop,
    is_negative,
    on_stack,
    subtract,
)


def multiply(asm: Assembler, a: Word, b: Word, digits: int = 2 * NIBBLES) -> Word:
    """The ``digits`` lowest of the 16 nibbles of a * b, both unsigned."""
    factor = on_stack(asm, b)
    tables = [_multiples(asm, nibble) for nibble in on_stack(asm, a)]
    result: list[Operand] = []
    carry: Operand = 0
    carry_bound = 0
    for diagonal in range(digits):
        places = [n for n in range(NIBBLES) if 0 <= diagonal - n < NIBBLES]
        for n in places:
            product = asm.look_up(tables[n], asm.copy(factor[diagonal - n]), "product")
            carry = product if carry == 0 else asm.op(Op.ADD, carry, product)
        bound = carry_bound + 225 * len(places)
        carry, digit = _split(asm, carry, bound)
        carry_bound = bound // 16
        result.append(digit)
    drop(asm, (carry,), factor)
    for table in reversed(tables):
        drop_table(asm, table)
    return tuple(result)


def high_half(asm: Assembler, a: Word, b: Word, *, signed_a: bool, signed_b: bool) -> Word:
    """The upper word of a * b. A factor below 0 counts 2^32 too much: take the other one away."""
    minus_b = _if_negative(asm, a, b) if signed_a else ZERO
    minus_a = _if_negative(asm, b, a) if signed_b else ZERO
    low_and_high = multiply(asm, a, b)
    drop(asm, low_and_high[:NIBBLES])
    high = low_and_high[NIBBLES:]
    for correction in (minus_b, minus_a):
        if correction is not ZERO:
            high = subtract(asm, high, correction)
    return high


def _if_negative(asm: Assembler, sign: Word, other: Word) -> Word:
    flag = is_negative(asm, sign)
    return choose(asm, flag, copy(asm, other), ZERO)


def _multiples(asm: Assembler, nibble: Item) -> Table:
    """0 to 15 times ``nibble``, which becomes the entry 1."""
    entries = [asm.push(0, "multiple")]
    asm.bring(nibble)
    entries.append(nibble)
    for _ in range(14):
        entries.append(asm.op(Op.ADD, asm.copy(nibble), asm.copy(entries[-1])))
    asm.bring(*reversed(entries))
    return Table(tuple(entries))


def _split(asm: Assembler, amount: Operand, bound: int) -> tuple[Operand, Operand]:
    """``amount`` <= ``bound`` as (amount // 16, amount % 16): one comparison a bit."""
    if isinstance(amount, int):
        return divmod(amount, 16)
    if bound < 16:
        return 0, amount
    asm.bring(amount)
    code = [script(0, Op.SWAP)]
    for weight in (1 << n for n in reversed(range((bound // 16).bit_length()))):
        lower = script(Op.DUP, 16 * weight - 1, Op.GREATERTHAN, Op.IF, 16 * weight, Op.SUB)
        code.append(lower + script(Op.SWAP, weight, Op.ADD, Op.SWAP, Op.ENDIF))
    carry, digit = asm.raw(b"".join(code), 1, ("carry", "digit"))
    return carry, digit


def require_product_plus(
    asm: Assembler, quotient: Word, divisor: Word, remainder: Word, dividend: Word
) -> None:
    """Fail unless quotient * divisor + remainder = dividend, over the integers.

    The whole product is computed: modulo 2^32, 7 / 3 = 2863311533 remainder 0 would pass.
    """
    product = multiply(asm, quotient, divisor)
    for high in product[NIBBLES:]:
        asm.verify(Op.NUMEQUAL, high, 0)
    carried = _add_exactly(asm, product[:NIBBLES], remainder)
    for x, y in zip(carried, dividend, strict=True):
        asm.verify(Op.NUMEQUAL, x, y)


def _add_exactly(asm: Assembler, a: Word, b: Word) -> Word:
    """a + b; fails if it is 2^32 or more."""
    extended = add(asm, (*a, 0), (*b, 0))
    asm.verify(Op.NUMEQUAL, extended[-1], 0)
    return extended[:-1]
