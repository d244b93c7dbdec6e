"""An input that both sides know before they sign: a digest commits to it, its words are opened.

The input region as the machine reads it, the length word first, is padded with zeros to *pages* of
1024 bytes: 16 blocks of 64 bytes (16 words). H is BLAKE3 cut to W bytes:

    block node   H(64 bytes)
    node         H(left || right)
    page root    the node four levels above the block nodes of a page
    digest       tagged("btcfi/dispute/input/v1", W u8 || every page root)        32 bytes

Terms commit to the digest; the page roots are constants of the leaves WORD, one leaf a page. So a
word is opened by its block and four siblings: five hashes, in a transaction that nodes relay. The
address says which word it is and steers the way, bit by bit:

    address - INPUT_BASE = page | block: 4 bits | word: 4 bits | 00
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from protocol.crypto.tagged import tagged_hash
from protocol.crypto.winternitz import Digits
from protocol.errors import DisputeError
from riscv_vm.image import input_region
from riscv_vm.isa import INPUT_BASE
from riscv_vm.tree import block_node, check_width, join

BLOCK_WORDS: Final = 16
PAGE_LEVELS: Final = 4
_WORD_BYTES: Final = 4
_BLOCK_BYTES: Final = _WORD_BYTES * BLOCK_WORDS
_PAGE_BYTES: Final = _BLOCK_BYTES << PAGE_LEVELS


@dataclass(frozen=True, slots=True)
class InputPage:
    """What a leaf knows of the words from address ``start`` to ``end``: their root, W bytes.

    ``end`` of the last page is the input's; the zeros behind it are no words of the machine.
    """

    start: int
    end: int
    root: bytes

    @property
    def name(self) -> str:
        return f"0x{self.start:x}..0x{self.end:x}"

    def holds(self, address: int) -> bool:
        """Does the page have the word at an aligned ``address``?"""
        return self.start <= address < self.end


@dataclass(frozen=True, slots=True)
class OpenedLayout:
    """The layout of an opened input: ``fixed`` is the whole of it, and nothing is published.

    Asked what is published, it answers as :class:`protocol.dispute.premises.InputLayout` does.
    """

    fixed: bytes

    @property
    def parts(self) -> tuple[int, ...]:
        """KICKOFF reveals no digit of the input, and no INPUT comes before it."""
        return (0,)

    @property
    def size(self) -> int:
        """The digits that are published."""
        return 0

    def published(self, data: bytes) -> tuple[Digits, ...]:
        """What each part reveals; DisputeError if ``data`` is another input."""
        if data != self.fixed:
            raise DisputeError("the input is not the one that the terms' digest commits to")
        return ((),)

    def data(self, published: Sequence[int]) -> bytes:
        """The whole input; DisputeError if anything is said to be ``published``."""
        if published:
            raise DisputeError("published: an opened input has no published digits")
        return self.fixed

    def digest(self, width: int) -> bytes:
        """The 32 bytes that commit to the input in nodes of ``width`` bytes."""
        roots = (page.root for page in self.pages(width))
        return tagged_hash("btcfi/dispute/input/v1", bytes([check_width(width)]), *roots)

    def pages(self, width: int) -> tuple[InputPage, ...]:
        """Every page, by rising address."""
        starts = range(INPUT_BASE, self.end, _PAGE_BYTES)
        return tuple(self._page(number, width) for number in range(len(starts)))

    @property
    def end(self) -> int:
        """The address behind the last word of the input."""
        return input_end(self.fixed)

    def page(self, address: int, width: int) -> InputPage | None:
        """The page that has the word at an aligned ``address``; None outside the input."""
        if address % _WORD_BYTES or not INPUT_BASE <= address < self.end:
            return None
        return self._page((address - INPUT_BASE) // _PAGE_BYTES, width)

    def word(self, address: int) -> int:
        """The word at an aligned ``address`` inside the input."""
        return self.block(address)[word_in_block(address)]

    def block(self, address: int) -> tuple[int, ...]:
        """The 16 words of the block with the word at an ``address`` inside the input."""
        start = (address - INPUT_BASE) // _BLOCK_BYTES * _BLOCK_BYTES
        return _words(_padded(self.fixed)[start : start + _BLOCK_BYTES])

    def siblings(self, address: int, width: int) -> tuple[bytes, ...]:
        """What leads from that block to its page's root, lowest first."""
        index, levels = (address - INPUT_BASE) // _BLOCK_BYTES, _levels(self.fixed, width)
        return tuple(levels[level][index >> level ^ 1] for level in range(PAGE_LEVELS))

    def _page(self, number: int, width: int) -> InputPage:
        start, root = INPUT_BASE + _PAGE_BYTES * number, _levels(self.fixed, width)[-1][number]
        return InputPage(start, min(start + _PAGE_BYTES, self.end), root)


def input_end(data: bytes) -> int:
    """The address behind the last word of the input region of ``data``: its length, its bytes."""
    return INPUT_BASE + _WORD_BYTES * (1 + -(-len(data) // _WORD_BYTES))


def word_in_block(address: int) -> int:
    """Which word of its block an address names."""
    return address // _WORD_BYTES % BLOCK_WORDS


def steering_of(address: int) -> tuple[int, ...]:
    """The bits that steer from its block to its page's root, lowest first; 1 = the right child."""
    return tuple(address // _BLOCK_BYTES >> level & 1 for level in range(PAGE_LEVELS))


def hash_words(words: Sequence[int], width: int) -> bytes:
    """The block node of 16 words."""
    return block_node(b"".join(word.to_bytes(_WORD_BYTES, "little") for word in words), width)


def _words(block: bytes) -> tuple[int, ...]:
    starts = range(0, len(block), _WORD_BYTES)
    return tuple(int.from_bytes(block[at : at + _WORD_BYTES], "little") for at in starts)


@lru_cache(maxsize=4)
def _padded(data: bytes) -> bytes:
    """The input region in whole pages."""
    region = input_region(data)
    return region.ljust(-(-len(region) // _PAGE_BYTES) * _PAGE_BYTES, b"\0")


@lru_cache(maxsize=4)
def _levels(data: bytes, width: int) -> tuple[tuple[bytes, ...], ...]:
    """The nodes of every page, level by level, the block nodes first and the roots last."""
    padded = _padded(data)
    blocks = range(0, len(padded), _BLOCK_BYTES)
    levels = [tuple(block_node(padded[at : at + _BLOCK_BYTES], width) for at in blocks)]
    for _ in range(PAGE_LEVELS):
        below = levels[-1]
        levels.append(tuple(join(*below[n : n + 2]) for n in range(0, len(below), 2)))
    return tuple(levels)
