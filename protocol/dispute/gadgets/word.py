"""32-bit words as 8 nibbles: add, subtract, compare, equal (dispute.md 4, rules 3 and 6).

A word is a tuple of operands, least significant first. A nibble that is an ``int`` is a constant
and lies nowhere on the stack: it is pushed where it is used, and two of them are added right here.
Like the assembler's operations, gadgets consume their operands; :func:`copy` keeps them.
"""

from collections.abc import Iterable, Sequence

from protocol.bitcoin.opcodes import Op
from protocol.bitcoin.script import script
from protocol.dispute.assembler import Assembler, Item, Operand

NIBBLES = 8

Word = tuple[Operand, ...]
"""Nibbles, least significant first; 8 of them unless a function says otherwise."""

ZERO: Word = (0,) * NIBBLES


def constant(value: int, nibbles: int = NIBBLES) -> Word:
    """``value`` as constant nibbles."""
    return tuple(value >> 4 * n & 15 for n in range(nibbles))


def items(*words: Word) -> tuple[Item, ...]:
    """Those nibbles that lie on the stack."""
    return tuple(n for word in words for n in word if isinstance(n, Item))


def copy(asm: Assembler, word: Word) -> Word:
    """A second ``word``."""
    return tuple(asm.copy(n) if isinstance(n, Item) else n for n in word)


def drop(asm: Assembler, *words: Word) -> None:
    """Forget words."""
    asm.drop(*items(*words))


def on_stack(asm: Assembler, word: Word) -> tuple[Item, ...]:
    """``word`` with its constants pushed, its least significant nibble on top."""
    placed = {n: asm.push(v) if isinstance(v, int) else v for n, v in enumerate(word)}
    order = tuple(placed[n] for n in reversed(range(len(word))))
    asm.bring(*order)
    return order[::-1]


def range_check(asm: Assembler, item: Item, bound: int, name: str = "") -> Item:
    """A number of the witness, refused unless it lies in 0..bound-1, in its minimal form."""
    asm.verify(Op.WITHIN, asm.copy(item), 0, bound)
    return asm.op(Op.ADD, item, 0, name=name or item.name)


def range_checked(asm: Assembler, unsigned: Iterable[Item], bound: int = 16) -> tuple[Item, ...]:
    """Several such numbers: whatever the spender supplies unsigned goes through here."""
    return tuple(range_check(asm, item, bound) for item in unsigned)


def total(asm: Assembler, operands: Sequence[Operand]) -> Operand:
    """The sum of small numbers."""
    known = sum(o for o in operands if isinstance(o, int))
    unknown = [o for o in operands if isinstance(o, Item)]
    if not unknown:
        return known
    result = unknown[0]
    for operand in unknown[1:]:
        result = asm.op(Op.ADD, result, operand)
    return asm.op(Op.ADD, result, known) if known else result


def add(asm: Assembler, a: Word, b: Word, carry: Operand = 0) -> Word:
    """a + b + carry modulo 2^32. ``carry`` is 0 or 1."""
    result: list[Operand] = []
    for n, (x, y) in enumerate(zip(a, b, strict=True)):
        digit = total(asm, [carry, x, y])
        if isinstance(digit, int):
            carry, digit = divmod(digit, 16)
        elif [carry, x, y].count(0) == 2:
            carry = 0
        elif n + 1 < len(a):
            asm.bring(digit)
            carry, digit = asm.raw(_CARRY, 1, ("carry", f"sum[{n}]"))
        else:
            asm.bring(digit)
            (digit,) = asm.raw(_WRAP, 1, (f"sum[{n}]",))
        result.append(digit)
    return tuple(result)


_CARRY = script(Op.DUP, 15, Op.GREATERTHAN, Op.TUCK, Op.IF, 16, Op.SUB, Op.ENDIF)
_WRAP = script(Op.DUP, 15, Op.GREATERTHAN, Op.IF, 16, Op.SUB, Op.ENDIF)


def subtract(asm: Assembler, a: Word, b: Word) -> Word:
    """a - b modulo 2^32."""
    result: list[Operand] = []
    borrow: Operand = 0
    for n, (x, y) in enumerate(zip(a, b, strict=True)):
        taken = total(asm, [borrow, y])
        if taken == 0 or (isinstance(x, int) and isinstance(taken, int)):
            digit = x if taken == 0 else asm.push(x - int(taken)) if isinstance(x, int) else x
        else:
            digit = asm.op(Op.SUB, x, taken)
        if taken == 0:
            borrow = 0
        elif isinstance(digit, Item):
            asm.bring(digit)
            borrow, digit = asm.raw(_BORROW, 1, ("borrow", f"difference[{n}]"))
        result.append(digit)
    drop(asm, (borrow,))
    return tuple(result)


_BORROW = script(Op.DUP, 0, Op.LESSTHAN, Op.TUCK, Op.IF, 16, Op.ADD, Op.ENDIF)


def negate_if(asm: Assembler, flag: Item, word: Word) -> Word:
    """-word modulo 2^32 if ``flag`` is 1, ``word`` if it is 0: invert every bit, then add 1."""
    mask = mask_of(asm, asm.copy(flag))
    inverted = invert_by(asm, mask, word)
    return add(asm, inverted, ZERO, flag)


def mask_of(asm: Assembler, flag: Item) -> Item:
    """15 for 1, 0 for 0."""
    asm.bring(flag)
    (mask,) = asm.raw(script(Op.IF, 15, Op.ELSE, 0, Op.ENDIF), 1, ("mask",))
    return mask


def invert_by(asm: Assembler, mask: Item, word: Word) -> Word:
    """Every nibble x, or 15 - x if ``mask`` is 15 and not 0; consumes the mask."""
    result = tuple(asm.op(Op.ABS, asm.op(Op.SUB, asm.copy(mask), x)) for x in word)
    asm.drop(mask)
    return result


def less_than(asm: Assembler, a: Word, b: Word) -> Item:
    """1 if a < b, both unsigned, else 0."""
    borrow: Operand = 0
    for x, y in zip(a, b, strict=True):
        bound = total(asm, [borrow, y])
        if isinstance(x, int) and isinstance(bound, int):
            borrow = int(x < bound)
        else:
            borrow = asm.op(Op.LESSTHAN, x, bound)
    return asm.push(borrow) if isinstance(borrow, int) else borrow


def less_than_signed(asm: Assembler, a: Word, b: Word) -> Item:
    """1 if a < b, both in two's complement, else 0: their top nibbles count from -8 to 7."""
    (*low_a, top_a), (*low_b, top_b) = a, b
    above = _signed_nibble(asm, top_a)
    return less_than(asm, (*low_a, above), (*low_b, _signed_nibble(asm, top_b)))


def _signed_nibble(asm: Assembler, nibble: Operand) -> Operand:
    if isinstance(nibble, int):
        return nibble - 16 if nibble > 7 else nibble
    asm.bring(nibble)
    code = script(Op.DUP, 7, Op.GREATERTHAN, Op.IF, 16, Op.SUB, Op.ENDIF)
    return asm.raw(code, 1, ("signed",))[0]


def is_negative(asm: Assembler, word: Word) -> Item:
    """The top bit; keeps the word."""
    top = word[-1]
    if isinstance(top, int):
        return asm.push(int(top > 7))
    return asm.op(Op.GREATERTHAN, asm.copy(top), 7, name="negative")


def is_zero(asm: Assembler, word: Word) -> Item:
    """1 if every nibble is 0, else 0."""
    amount = total(asm, word)
    return asm.push(int(amount == 0)) if isinstance(amount, int) else asm.op(Op.NOT, amount)


def equal(asm: Assembler, a: Word, b: Word) -> Item:
    """1 if a and b are the same, else 0."""
    same: Item | None = None
    for x, y in zip(a, b, strict=True):
        one = asm.op(Op.NUMEQUAL, x, y)
        same = one if same is None else asm.op(Op.BOOLAND, same, one)
    return asm.push(1) if same is None else same


def require_equal(asm: Assembler, a: Word, b: Word) -> None:
    """Fail unless a and b are the same."""
    for x, y in zip(a, b, strict=True):
        asm.verify(Op.NUMEQUAL, x, y)


def require_zero(asm: Assembler, word: Word) -> None:
    """Fail unless every nibble is 0; they are digits, so that their sum tells."""
    asm.verify(Op.NOT, total(asm, word))


def within(asm: Assembler, word: Word, start: int, end: int) -> Item:
    """1 if start <= word < end, unsigned; ``end`` may be 2^32."""
    not_below = asm.op(Op.NOT, less_than(asm, copy(asm, word), constant(start)))
    if end > 0xFFFF_FFFF:
        drop(asm, word)
        return not_below
    below = less_than(asm, word, constant(end))
    return asm.op(Op.BOOLAND, not_below, below)


def choose(asm: Assembler, flag: Item, if_one: Word, if_zero: Word) -> Word:
    """``if_one`` or ``if_zero``, by a flag of 0 or 1."""

    def taken(kept: Word, other: Word) -> tuple[Item, ...]:
        drop(asm, other)
        return on_stack(asm, kept)[::-1]

    asm.bring(*items(if_zero), *items(if_one), flag)
    chosen = asm.branch(flag, lambda: taken(if_one, if_zero), lambda: taken(if_zero, if_one))
    return chosen[::-1]
