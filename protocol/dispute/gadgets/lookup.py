"""Constants by address: pages of at most 64 words whose two lowest address digits are the index.

A word is kept as two numbers of 16 bits: a number of Script is compared as a whole only where it is
known to lie below 2^31. A page knows which of its words there are: an address at its border but
outside is refused, so that nobody is convicted by a word that does not exist.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from protocol.bitcoin.opcodes import Op
from protocol.dispute.assembler import Assembler, Item, Operand
from protocol.dispute.gadgets.bits import bits, drop_table, number, times_16
from protocol.dispute.gadgets.word import Word, constant, require_equal, require_zero, total

PAGE_BYTES = 256


@dataclass(frozen=True, slots=True)
class Page:
    """The words from address ``start``, in one aligned page."""

    start: int
    words: tuple[int, ...]

    @property
    def end(self) -> int:
        return self.start + 4 * len(self.words)

    @property
    def name(self) -> str:
        return f"0x{self.start:x}..0x{self.end:x}"

    def holds(self, address: int) -> bool:
        """Does the page have the word at an aligned ``address``?"""
        return self.start <= address < self.end


def pages_of(words: Iterable[tuple[int, int]]) -> tuple[Page, ...]:
    """Neighbouring words, given by rising address, together in pages."""
    pages: list[Page] = []
    for address, value in words:
        if pages and pages[-1].end == address and address % PAGE_BYTES:
            pages[-1] = Page(pages[-1].start, (*pages[-1].words, value))
        else:
            pages.append(Page(address, (value,)))
    return tuple(pages)


def page_with(pages: Iterable[Page], address: int) -> Page | None:
    """The page that has the word at an address."""
    return next((page for page in pages if page.holds(address)), None)


def require_not_at(asm: Assembler, page: Page, address: Word, value: Word) -> None:
    """Fail unless ``address`` is a word of ``page`` and ``value`` is not that word."""
    require_equal(asm, address[2:], constant(page.start)[2:])
    index = _word_index(asm, address[0], address[1])
    first = page.start % PAGE_BYTES // 4
    asm.verify(Op.WITHIN, asm.copy(index), first, first + len(page.words))
    low, high = _halves(asm, value)
    index = asm.op(Op.SUB, index, first) if first else index
    equal = [_half_is(asm, page, shift, index, half) for shift, half in ((0, low), (16, high))]
    asm.drop(index)
    asm.verify(Op.NOT, asm.op(Op.BOOLAND, *equal))


def _half_is(asm: Assembler, page: Page, shift: int, index: Item, half: Item) -> Item:
    table = asm.table([word >> shift & 0xFFFF for word in page.words], "page")
    found = asm.look_up(table, asm.copy(index))
    same = asm.op(Op.NUMEQUAL, found, half)
    drop_table(asm, table)
    return same


def _word_index(asm: Assembler, low: Operand, high: Operand) -> Item:
    """The place of an address in its page, in words; fails unless the address is aligned."""
    assert isinstance(low, Item) and isinstance(high, Item)
    b0, b1, b2, b3 = bits(asm, low)
    require_zero(asm, (b0, b1))
    doubled = asm.op(Op.ADD, asm.copy(high), high)
    four_high = asm.op(Op.ADD, asm.copy(doubled), doubled)
    index = total(asm, [four_high, number(asm, (b2, b3))])
    assert isinstance(index, Item)
    return index


def _halves(asm: Assembler, word: Word) -> tuple[Item, Item]:
    """The two 16-bit numbers of a word, the lower one first."""
    halves = []
    for part in (word[:4], word[4:]):
        value = part[-1]
        assert isinstance(value, Item)
        for nibble in reversed(part[:-1]):
            value = asm.op(Op.ADD, times_16(asm, value), nibble)
        halves.append(value)
    low, high = halves
    return low, high
