"""Shifts of a word, by a constant and by a value of 0 to 31; sign extension.

Moving by whole nibbles is naming them anew. To the left by bits is adding a word to itself. To the
right by bits is to the left in a mirror: reverse the bits of every nibble and the nibbles' order.
"""

from collections.abc import Callable, Sequence

from protocol.dispute.assembler import Assembler, Item, Table
from protocol.dispute.gadgets.bits import drop_table
from protocol.dispute.gadgets.word import (
    NIBBLES,
    ZERO,
    Word,
    add,
    copy,
    drop,
    invert_by,
    is_negative,
    mask_of,
    on_stack,
)

_REVERSED = [int(f"{n:04b}"[::-1], 2) for n in range(16)]


def shift_left(asm: Assembler, word: Word, amount: int) -> Word:
    """``word`` moved left by a constant 0..31, zeros from below."""
    nibbles, ones = divmod(amount, 4)
    drop(asm, word[NIBBLES - nibbles :])
    word = ZERO[:nibbles] + word[: NIBBLES - nibbles]
    for _ in range(ones):
        word = add(asm, copy(asm, word), word)
    return word


def shift_right(asm: Assembler, word: Word, amount: int) -> Word:
    """``word`` moved right by a constant 0..31, zeros from above."""
    return _mirrored(asm, word, lambda image: shift_left(asm, image, amount))


def shift_right_signed(asm: Assembler, word: Word, amount: int) -> Word:
    """``word`` moved right by a constant 0..31, its sign from above."""
    return _keeping_sign(asm, word, lambda image: shift_right(asm, image, amount))


def shift_left_by(asm: Assembler, word: Word, amount: Sequence[Item]) -> Word:
    """``word`` moved left by the number of five bits, least significant first."""
    for place, bit in reversed(list(enumerate(amount))):
        word = _if(asm, bit, word, 1 << place)
    return word


def shift_right_by(asm: Assembler, word: Word, amount: Sequence[Item]) -> Word:
    """The same to the right, zeros from above."""
    return _mirrored(asm, word, lambda image: shift_left_by(asm, image, amount))


def shift_right_signed_by(asm: Assembler, word: Word, amount: Sequence[Item]) -> Word:
    """The same to the right, the sign from above."""
    return _keeping_sign(asm, word, lambda image: shift_right_by(asm, image, amount))


def sign_extend(asm: Assembler, low: Word) -> Word:
    """The 32-bit word with the low nibbles of a signed byte or half word."""
    mask = mask_of(asm, is_negative(asm, low))
    above = [asm.copy(mask) for _ in range(NIBBLES - len(low) - 1)]
    return (*low, *above, mask)


def _if(asm: Assembler, bit: Item, word: Word, amount: int) -> Word:
    """One stage of a barrel shifter: ``word`` moved left by ``amount`` if ``bit`` is 1."""
    placed = on_stack(asm, word)
    shifted = asm.branch(
        bit,
        lambda: on_stack(asm, shift_left(asm, placed, amount))[::-1],
        lambda: placed[::-1],
    )
    return shifted[::-1]


def _mirrored(asm: Assembler, word: Word, change: Callable[[Word], Word]) -> Word:
    table = asm.table(_REVERSED, "reversed")
    result = _mirror(asm, table, change(_mirror(asm, table, word)))
    drop_table(asm, table)
    return result


def _mirror(asm: Assembler, table: Table, word: Word) -> Word:
    return tuple(
        _REVERSED[n] if isinstance(n, int) else asm.look_up(table, n) for n in reversed(word)
    )


def _keeping_sign(asm: Assembler, word: Word, change: Callable[[Word], Word]) -> Word:
    """A negative word is inverted before and after, so that what comes from above is ones."""
    mask = mask_of(asm, is_negative(asm, word))
    result = change(invert_by(asm, asm.copy(mask), word))
    return invert_by(asm, mask, result)
