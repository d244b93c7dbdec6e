"""One-time messages and what their digits mean: named nibbles, words, base-4 digits, indexes."""

from collections.abc import Sequence

from protocol.bitcoin.opcodes import Op
from protocol.crypto.winternitz import checksum_size
from protocol.dispute.assembler import Assembler, Item
from protocol.dispute.gadgets.bits import bits, number
from protocol.dispute.gadgets.word import NIBBLES, Word, total


def message_items_count(digits: int) -> int:
    """The witness items of a message of ``digits`` digits."""
    return 2 * (digits + checksum_size(digits))


def word(digits: Sequence[Item]) -> Word:
    """The word whose digits are signed most significant first."""
    return tuple(reversed(digits))


def little_endian(digits: Sequence[Item]) -> tuple[Word, ...]:
    """The little-endian words of bytes whose digits are signed two a byte, the high one first."""
    starts = range(0, len(digits), NIBBLES)
    return tuple(tuple(digits[at + (n ^ 1)] for n in range(NIBBLES)) for at in starts)


def byte_digits(word: Word) -> Word:
    """The inverse: the digits of a word's little-endian bytes, as they are signed."""
    return tuple(word[n ^ 1] for n in range(len(word)))


def require_index(asm: Assembler, index: Word, base4: Sequence[Item]) -> None:
    """Fail unless ``index`` has exactly these base-4 digits, most significant first."""
    low_first = list(reversed(base4))
    for n, nibble in enumerate(index):
        low, *high = low_first[2 * n : 2 * n + 2]
        high_times_4 = number(asm, (0, 0, *high))
        asm.verify(Op.NUMEQUAL, total(asm, [high_times_4, low]), nibble)


def base4_digits(asm: Assembler, index: Word, count: int) -> tuple[Item, ...]:
    """The ``count`` base-4 digits of an index, most significant first; fails if it is longer."""
    digits: list[Item] = []
    for nibble in index:
        assert isinstance(nibble, Item)
        b0, b1, b2, b3 = bits(asm, nibble)
        for low, high in ((b0, b1), (b2, b3)):
            doubled = asm.op(Op.ADD, asm.copy(high), high)
            digits.append(asm.op(Op.ADD, doubled, low))
    for beyond in digits[count:]:
        asm.verify(Op.NUMEQUAL, beyond, 0)
    return tuple(reversed(digits[:count]))
