"""WORD: a load that no step of the trace explains is not what the opened input has there.

A leaf is for one page of the input (protocol/dispute/opened.py). The spender shows the block with
the word and its siblings, unsigned; the prover's signed address alone picks the word, steers the
way and says that the page is this one. All but the page's borders and root is the same code.

Hints, bottom up: the block's words as records are signed, most significant digit first, then the
siblings' digits, the lowest sibling first.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Final

from protocol.bitcoin.opcodes import Op
from protocol.bitcoin.script import script
from protocol.crypto.winternitz import digits_of
from protocol.dispute.assembler import Assembler, Item, Operand, Table
from protocol.dispute.fragment import WORD_DIGITS, word_digits
from protocol.dispute.gadgets.bits import bits, number
from protocol.dispute.gadgets.blake3 import blake3
from protocol.dispute.gadgets.messages import byte_digits, word
from protocol.dispute.gadgets.word import (
    Word,
    copy,
    items,
    range_checked,
    require_equal,
    require_zero,
    within,
)
from protocol.dispute.leaves.evidence import Evidence, slot, words
from protocol.dispute.leaves.template import Template
from protocol.dispute.leaves.verdict_open import parent_of
from protocol.dispute.opened import BLOCK_WORDS, PAGE_LEVELS, InputPage, OpenedLayout
from protocol.dispute.premises import Premises
from protocol.dispute.verdicts import WordVerdict

WORDS_DIGITS: Final = BLOCK_WORDS * WORD_DIGITS


@lru_cache(maxsize=1024)
def opened_word(log4_steps: int, page: InputPage) -> Template:
    """WORD: the loaded word was never written, lies in ``page``, and is not what is there."""
    width = len(page.root)
    evidence = _begin(log4_steps, width)
    asm, size = evidence.asm, 2 * width
    names = (*(f"address[{n}]" for n in range(WORD_DIGITS)), *(f"root[{n}]" for n in range(size)))
    found = asm.raw(_climbed(log4_steps, width), len(asm.stack), names)
    address, root = word(found[:WORD_DIGITS]), found[WORD_DIGITS:]
    require_equal(asm, root, digits_of(page.root))
    asm.verify(Op.VERIFY, within(asm, address, page.start, page.end))
    return evidence.finish(f"WORD {page.name}")


def opened_hints(block: Sequence[int], siblings: Sequence[bytes]) -> tuple[int, ...]:
    """The unsigned digits of a WORD, bottom to top."""
    shown = (digit for one in block for digit in word_digits(one))
    nodes = (digit for sibling in siblings for digit in digits_of(sibling))
    return (*shown, *nodes)


def opened_leaves(premises: Premises) -> Iterator[Template]:
    """All leaves of this file: one a page of the input, none if the input is not opened."""
    if isinstance(premises.layout, OpenedLayout):
        for page in premises.layout.pages(premises.width):
            yield opened_word(premises.log4_steps, page)


def _begin(log4_steps: int, width: int) -> Evidence:
    hints = WORDS_DIGITS + 2 * width * PAGE_LEVELS
    return Evidence.begin(log4_steps, (slot(log4_steps, WordVerdict.slot),), hints)


@lru_cache(maxsize=4)
def _climbed(log4_steps: int, width: int) -> bytes:
    """What replaces hints and slot by the slot's address and the root that the hints lead to.

    Fails unless the slot was never written and its value differs from the word that they show.
    """
    evidence = _begin(log4_steps, width)
    asm, hints, place = evidence.asm, evidence.hints, evidence.slot(WordVerdict.slot)
    asm.verify(Op.NUMEQUAL, place.init, 1)
    asm.drop(*items(place.last))
    low, middle, high = (bits(asm, nibble) for nibble in items(copy(asm, place.address[:3])))
    require_zero(asm, low[:2])
    asm.drop(*high[2:])
    block = range_checked(asm, hints[:WORDS_DIGITS])
    shown = _picked(asm, block, number(asm, (*low[2:], *middle[:2])))
    evidence.require_different(shown, place.value)
    node = blake3(asm, items(*(byte_digits(one) for one in words(block))), width)
    size = 2 * width
    for level, right in enumerate((*middle[2:], *high[:2])):
        start = WORDS_DIGITS + size * level
        sibling = range_checked(asm, hints[start : start + size])
        node = parent_of(asm, node, sibling, right, width)
    asm.bring(*reversed(items(place.address)), *node)
    return asm.code()


def _picked(asm: Assembler, block: tuple[Item, ...], place: Operand) -> Word:
    """The word at ``place``, 0 to 15; keeps the block."""
    assert isinstance(place, Item)
    asm.bring(*reversed(block))
    table = Table(block)
    asm.bring(place)
    (at,) = asm.raw(script(*[Op.DUP, Op.ADD] * 3), 1, ("at",))
    digits = []
    for n in range(WORD_DIGITS):
        index = asm.copy(at) if n + 1 < WORD_DIGITS else at
        digits.append(asm.look_up(table, asm.op(Op.ADD, index, n) if n else index))
    return word(digits)
