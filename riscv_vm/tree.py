"""The commitment: a binary tree over blocks of four write records, its openings and their verifier.

Level 0 holds the block nodes, H(48 bytes of records); a node above is H(left || right); the root of
N = 4^k steps is on level 2(k - 1). H is BLAKE3 cut to 20 or 32 bytes. Behind a sentinel every block
is the same, so each level has one padding node.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Protocol

from blake3 import blake3

from riscv_vm.image import ImageError
from riscv_vm.isa import LOG4_STEPS_MAX, SENTINELS
from riscv_vm.machine import step_limit
from riscv_vm.record import (
    BLOCK_BYTES,
    BLOCK_RECORDS,
    Block,
    Record,
    absorbing,
    decode_block,
    encode_block,
)

WIDTHS: Final = (20, 32)
WIDTH_DEFAULT: Final = 20
_VERSION: Final = 1
_OPENING: Final = struct.Struct("<3BI")


def check_width(width: int) -> int:
    """``width`` if it is a node size; ImageError otherwise."""
    if width not in WIDTHS:
        raise ImageError(f"a node has 20 or 32 bytes, not {width}: choose --width 20 or 32")
    return width


def root_level(log4_steps: int) -> int:
    """The level of the root of 4^log4_steps steps."""
    return 2 * (log4_steps - 1)


def block_node(block: bytes, width: int) -> bytes:
    """The level-0 node of 48 bytes of records."""
    return blake3(block).digest(length=width)


def join(left: bytes, right: bytes) -> bytes:
    """The parent of two nodes."""
    return blake3(left + right).digest(length=len(left))


def subtree(nodes: Sequence[bytes]) -> bytes:
    """The root over a power of two of neighbouring nodes of one level."""
    count = len(nodes)
    assert count and count & (count - 1) == 0, "a subtree is full"
    while len(nodes) > 1:
        nodes = [join(nodes[i], nodes[i + 1]) for i in range(0, len(nodes), 2)]
    return nodes[0]


@lru_cache(maxsize=16)
def padding(sentinel: int, width: int) -> tuple[bytes, ...]:
    """The node of each level, up to the highest root, over records that stay at ``sentinel``."""
    nodes = [block_node(absorbing(sentinel).encode() * BLOCK_RECORDS, width)]
    for _ in range(root_level(LOG4_STEPS_MAX)):
        nodes.append(join(nodes[-1], nodes[-1]))
    return tuple(nodes)


def grow(
    nodes: list[bytes], level: int, log4_steps: int, sentinel: int | None
) -> list[list[bytes]]:
    """The nodes of ``level`` and of every level above it, the root's last.

    ``nodes`` are the first of their level; padding behind ``sentinel`` follows them. Padding is
    left away in the result too.
    """
    levels = [nodes]
    for height in range(level, root_level(log4_steps)):
        if len(nodes) % 2:
            assert sentinel is not None, "without an end, a level is full"
            nodes = [*nodes, padding(sentinel, len(nodes[0]))[height]]
        nodes = [join(nodes[i], nodes[i + 1]) for i in range(0, len(nodes), 2)]
        levels.append(nodes)
    return levels


class Tree(Protocol):
    """What the game and the openings ask of a commitment."""

    log4_steps: int
    width: int

    @property
    def root(self) -> bytes: ...

    def node(self, level: int, index: int) -> bytes: ...

    def block(self, index: int) -> Block: ...


class SparseTree:
    """A whole tree over 4^log4_steps steps, from a list of records and padding behind it."""

    def __init__(self, records: Sequence[Record], log4_steps: int, width: int) -> None:
        """``records`` start at step 0; fewer than N must end at a sentinel (else ImageError)."""
        count = step_limit(log4_steps)
        self.log4_steps, self.width = log4_steps, check_width(width)
        sentinel = records[-1].next_pc if records else None
        if len(records) > count:
            raise ImageError(f"{len(records)} records do not fit into {count} steps")
        if len(records) < count and sentinel not in SENTINELS:
            raise ImageError("the last record does not reach a sentinel: nothing to pad with")
        self._tail = absorbing(sentinel) if sentinel in SENTINELS else None
        self._records = list(records)
        if self._tail:
            self._records += [self._tail] * (-len(records) % BLOCK_RECORDS)
        blocks = range(0, len(self._records), BLOCK_RECORDS)
        nodes = [
            block_node(encode_block(self._records[i : i + BLOCK_RECORDS]), width) for i in blocks
        ]
        self._levels = grow(nodes, 0, log4_steps, sentinel)

    @property
    def root(self) -> bytes:
        return self._levels[-1][0]

    def node(self, level: int, index: int) -> bytes:
        """The node ``index`` of ``level``; IndexError outside the tree."""
        check_node(self.log4_steps, level, index)
        nodes = self._levels[level]
        return nodes[index] if index < len(nodes) else self._padding(level)

    def block(self, index: int) -> Block:
        """The records of steps 4 * index to 4 * index + 3; IndexError outside the tree."""
        check_node(self.log4_steps, 0, index)
        at = BLOCK_RECORDS * index
        if at < len(self._records):
            a, b, c, d = self._records[at : at + BLOCK_RECORDS]
            return a, b, c, d
        assert self._tail is not None
        return self._tail, self._tail, self._tail, self._tail

    def _padding(self, level: int) -> bytes:
        assert self._tail is not None
        return padding(self._tail.next_pc, self.width)[level]


def check_node(log4_steps: int, level: int, index: int) -> None:
    """IndexError unless the tree of 4^log4_steps steps has that node."""
    top = root_level(log4_steps)
    if not 0 <= level <= top or not 0 <= index < 1 << (top - level):
        raise IndexError(f"the tree of 4^{log4_steps} steps has no node {index} on level {level}")


@dataclass(frozen=True, slots=True)
class Opening:
    """The block of step ``step`` and the siblings from its node up to the root, lowest first."""

    step: int
    log4_steps: int
    width: int
    block: Block
    siblings: tuple[bytes, ...]

    @property
    def record(self) -> Record:
        """The record of the opened step."""
        return self.block[self.step % BLOCK_RECORDS]

    def encode(self) -> bytes:
        """Version 1, log4_steps, width (a byte each), step (u32 LE), the block, the siblings."""
        head = _OPENING.pack(_VERSION, self.log4_steps, self.width, self.step)
        return head + encode_block(self.block) + b"".join(self.siblings)

    @classmethod
    def decode(cls, data: bytes) -> "Opening":
        """The opening in ``data``; ImageError for bytes that ``encode`` cannot have written."""
        if len(data) < _OPENING.size:
            raise ImageError("the opening is cut off within its header: copy the whole file")
        version, log4_steps, width, step = _OPENING.unpack_from(data)
        if version != _VERSION:
            raise ImageError(f"the opening has version {version}; this program reads {_VERSION}")
        if step >= step_limit(log4_steps):
            raise ImageError(f"the opening is for step {step} of only 4^{log4_steps}")
        check_width(width)
        body = _OPENING.size + BLOCK_BYTES
        size = body + width * root_level(log4_steps)
        if len(data) != size:
            raise ImageError(f"the opening has {len(data)} bytes instead of {size}")
        siblings = tuple(data[i : i + width] for i in range(body, size, width))
        return cls(step, log4_steps, width, decode_block(data[_OPENING.size : body]), siblings)


def check_opening(root: bytes, opening: Opening) -> bool:
    """Does ``opening`` lead to ``root``? The root's length is the width."""
    if len(root) != opening.width or opening.width not in WIDTHS:
        return False
    if (
        not 1 <= opening.log4_steps <= LOG4_STEPS_MAX
        or not 0 <= opening.step < 4**opening.log4_steps
    ):
        return False
    if len(opening.siblings) != root_level(opening.log4_steps):
        return False
    if any(len(sibling) != opening.width for sibling in opening.siblings):
        return False
    index = opening.step // BLOCK_RECORDS
    node = block_node(encode_block(opening.block), opening.width)
    for level, sibling in enumerate(opening.siblings):
        node = join(sibling, node) if index >> level & 1 else join(node, sibling)
    return node == root


def open_step(tree: Tree, step: int) -> Opening:
    """The opening of ``step`` from any tree; IndexError outside it."""
    index = step // BLOCK_RECORDS
    siblings = tuple(
        tree.node(level, index >> level ^ 1) for level in range(root_level(tree.log4_steps))
    )
    return Opening(step, tree.log4_steps, tree.width, tree.block(index), siblings)
