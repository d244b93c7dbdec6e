"""The way from a record up to a left sibling that the prover revealed (dispute.md 3, OPEN).

In round t the prover revealed four nodes. Child m < c_t lies to the left of the disputed step, and
by "leftmost" it equals the challenger's own. A record below it is opened by its block and siblings,
which are unsigned; its step j is no claim of the challenger's but follows from the way itself:

    j = c_1 .. c_(t-1) | m | the bits that steer left or right while hashing | the record's place
"""

from collections.abc import Sequence
from dataclasses import dataclass

from protocol.dispute.claim import FAN, base4, base4_number, is_digit
from protocol.dispute.premises import Premises
from protocol.units import U32_MAX
from riscv_vm.record import BLOCK_RECORDS, Block, Record, encode_block
from riscv_vm.tree import Tree, block_node, join


@dataclass(frozen=True, slots=True)
class Place:
    """Where step j leaves the way to step i: in round ``turn`` (R + 1: in i's block), at ``child``.

    ``below`` are j's base-4 digits behind ``child``; the last is the record's place in its block.
    """

    turn: int
    child: int
    below: tuple[int, ...]


def place_of(premises: Premises, disputed: int, step: int) -> Place:
    """The place of ``step`` < ``disputed``: one and only one (t, m) fits."""
    assert 0 <= step < disputed
    k = premises.log4_steps
    ours, theirs = base4(step, k), base4(disputed, k)
    turn = next(t for t in range(k) if ours[t] != theirs[t])
    return Place(turn + 1, ours[turn], ours[turn + 1 :])


def step_at(premises: Premises, disputed: int, place: Place) -> int | None:
    """j, if ``place`` is well-formed and to the left of the disputed step; None otherwise."""
    k = premises.log4_steps
    if not (type(place.turn) is int and 1 <= place.turn <= k and is_digit(place.child)):
        return None
    if len(place.below) != k - place.turn or not all(map(is_digit, place.below)):
        return None
    above = base4(disputed, k)
    if place.child >= above[place.turn - 1]:
        return None
    return base4_number((*above[: place.turn - 1], place.child, *place.below))


def levels_below(premises: Premises, turn: int) -> int:
    """d: the levels between the nodes of round ``turn`` and the block nodes."""
    return 2 * (premises.rounds - turn)


def steering(below: Sequence[int]) -> tuple[int, ...]:
    """The bits that steer from the block node upwards, lowest first; 1 = we are the right child.

    ``below`` as in :class:`Place`; the record's place steers nothing.
    """
    number = base4_number(tuple(below[:-1]))
    return tuple(number >> bit & 1 for bit in range(2 * (len(below) - 1)))


def climb(node: bytes, siblings: Sequence[bytes], bits: Sequence[int]) -> bytes:
    """The node at the upper end of ``siblings``."""
    for sibling, bit in zip(siblings, bits, strict=True):
        node = join(sibling, node) if bit else join(node, sibling)
    return node


def siblings_of(tree: Tree, step: int, lower: int, upper: int) -> tuple[bytes, ...]:
    """The siblings on the way of ``step``'s block from level ``lower`` to level ``upper``."""
    block = step // BLOCK_RECORDS
    return tuple(tree.node(level, block >> level ^ 1) for level in range(lower, upper))


def node_above(tree: Tree, step: int, level: int) -> bytes:
    """The node of ``level`` on the way of ``step``."""
    return tree.node(level, step // BLOCK_RECORDS >> level)


def is_block(block: object) -> bool:
    """Is this four records of three 32-bit words?"""
    if not isinstance(block, tuple) or len(block) != FAN:
        return False
    return all(map(is_record, block))


def is_record(record: object) -> bool:
    """Is this three 32-bit words?"""
    return isinstance(record, Record) and all(map(_is_word, record))


def are_words(words: object, count: int) -> bool:
    """Are these ``count`` 32-bit words?"""
    return isinstance(words, tuple) and len(words) == count and all(map(_is_word, words))


def are_nodes(nodes: object, count: int, width: int) -> bool:
    """Are these ``count`` nodes of ``width`` bytes?"""
    if not isinstance(nodes, tuple) or len(nodes) != count:
        return False
    return all(type(node) is bytes and len(node) == width for node in nodes)


def hash_block(block: Block, width: int) -> bytes:
    """The block node of four records."""
    return block_node(encode_block(block), width)


def _is_word(value: object) -> bool:
    return type(value) is int and 0 <= value <= U32_MAX
