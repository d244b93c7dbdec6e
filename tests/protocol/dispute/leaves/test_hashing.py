"""Every leaf that hashes, at every depth and both widths, on random trees.

The hashes are those of ``riscv_vm.tree``; each true statement is followed by one with one bit
changed, in a place drawn at random.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from random import Random

import pytest

from protocol.bitcoin.script import number_bytes
from protocol.crypto.winternitz import Digits, digits_of, number_digits
from protocol.dispute.assertion import SEGMENT_LEVELS, signed_levels
from protocol.dispute.claim import base4_number
from protocol.dispute.fragment import index_digits, record_digits, word_digits
from protocol.dispute.leaves import said, verdict_assert, verdict_open, verdict_tree
from protocol.dispute.leaves.evidence import head, slot
from protocol.dispute.leaves.said import Said
from protocol.dispute.leaves.template import Template
from protocol.dispute.leaves.verdict_open import Shape
from protocol.dispute.verdicts import Accusation, Predicate
from riscv_vm.record import Record, encode_block
from riscv_vm.tree import block_node, join, subtree
from tests.builders.leaves import NO_GUARD
from tests.builders.scripts import core_holds

K = 7
CASES = 8
STALE = Accusation(Predicate.STALE, 1)
WIDTHS = pytest.mark.parametrize("width", [20, 32])
COUNTS = pytest.mark.parametrize("count", [CASES, pytest.param(200, marks=pytest.mark.slow)])


@dataclass
class Shown:
    """What a leaf is shown: signed messages and unsigned digits."""

    values: dict[Said, Digits] = field(default_factory=dict)
    hints: tuple[int, ...] = ()

    def accepted(self, template: Template) -> bool:
        heard = [m for m in template.messages if m not in template.silent]
        digits = [d for message in reversed(heard) for d in self.values[message]]
        witness = [number_bytes(n) for n in (*self.hints, *digits)]
        return core_holds(template.body + NO_GUARD.signed, witness)

    def with_one_bit(self, message: Said, rng: Random) -> "Shown":
        digits = list(self.values[message])
        digits[rng.randrange(len(digits))] ^= 1 << rng.randrange(4)
        return Shown({**self.values, message: tuple(digits)}, self.hints)

    def with_one_hint(self, bound: int, rng: Random) -> "Shown":
        hints = list(self.hints)
        hints[rng.randrange(bound)] ^= 1 << rng.randrange(4)
        return Shown(self.values, tuple(hints))


def places(rng: Random, turn: int, child: int) -> tuple[int, ...]:
    """Base-4 digits of an i that lies behind child ``child`` of round ``turn``."""
    digits = [rng.randrange(4) for _ in range(K)]
    digits[turn - 1] = rng.randrange(child + 1, 4)
    return tuple(digits)


def headed(digits: tuple[int, ...], rng: Random) -> Digits:
    index = number_digits(base4_number(digits), index_digits(K))
    return (*index, *word_digits(rng.getrandbits(32)), *word_digits(rng.getrandbits(32)))


def random_block(rng: Random) -> list[Record]:
    return [Record(*(rng.getrandbits(32) for _ in range(3))) for _ in range(4)]


@COUNTS
@WIDTHS
@pytest.mark.parametrize("turn", [1, 2, K - 1])
def test_node(turn: int, width: int, count: int) -> None:
    rng = Random(100 * turn + width)
    for _ in range(count):
        nodes = [rng.randbytes(width) for _ in range(4)]
        child = rng.randrange(4) if turn > 1 else 0
        digits = tuple(child if n == turn - 2 else rng.randrange(4) for n in range(K))
        messages = said.nodes(turn, width)
        parent = verdict_tree.parents(turn, width)[child]
        values = dict(zip(messages, map(digits_of, nodes), strict=True))
        true = Shown({**values, parent: digits_of(subtree(nodes)), head(K): headed(digits, rng)})
        template = verdict_tree.node(K, width, turn, child)
        assert not true.accepted(template)
        assert true.with_one_bit(rng.choice([*messages, parent]), rng).accepted(template)


@COUNTS
@WIDTHS
def test_block(width: int, count: int) -> None:
    rng = Random(width)
    for _ in range(count):
        block, child = random_block(rng), rng.randrange(4)
        digits = (*(rng.randrange(4) for _ in range(K - 2)), child, rng.randrange(4))
        messages = said.records(K)
        parent = verdict_tree.parents(K, width)[child]
        values = dict(zip(messages, map(record_digits, block), strict=True))
        node = block_node(encode_block(block), width)
        true = Shown({**values, parent: digits_of(node), head(K): headed(digits, rng)})
        template = verdict_tree.block(K, width, child)
        assert not true.accepted(template)
        assert true.with_one_bit(rng.choice([*messages, parent]), rng).accepted(template)


def climbed(node: bytes, siblings: list[bytes], below: tuple[int, ...], start: int = 0) -> bytes:
    """The upper end of ``siblings`` above ``node`` on level ``start`` of the way ``below``."""
    way = base4_number(below[:-1])
    for level, sibling in enumerate(siblings, start):
        node = join(sibling, node) if way >> level & 1 else join(node, sibling)
    return node


@COUNTS
@WIDTHS
@pytest.mark.parametrize("levels", [0, 2, 4])
def test_open(levels: int, width: int, count: int) -> None:
    """A stale INIT: the record of the opened step wrote the slot's address."""
    rng = Random(10 * levels + width)
    turn = K - 1 - levels // 2
    for _ in range(count):
        child = rng.randrange(3)
        shape = Shape(K, width, turn, child)
        assert shape.levels == levels and shape.direct
        block, below = random_block(rng), tuple(rng.randrange(4) for _ in range(shape.below))
        siblings = [rng.randbytes(width) for _ in range(levels)]
        top = climbed(block_node(encode_block(block), width), siblings, below)
        address = block[below[-1]].waddr
        read = (*word_digits(address), *word_digits(7), *(0,) * index_digits(K), 1)
        values = {
            head(K): headed(places(rng, turn, child), rng),
            slot(K, 1): read,
            said.nodes(turn, width)[child]: digits_of(top),
        }
        records = tuple(d for record in block for d in record_digits(record))
        hints = (*records, *(d for s in siblings for d in digits_of(s)), *below)
        lie = Shown(values, hints)
        template = verdict_open.opening(shape, STALE)
        assert lie.accepted(template)
        assert not lie.with_one_bit(said.nodes(turn, width)[child], rng).accepted(template)
        assert not lie.with_one_hint(len(hints) - len(below), rng).accepted(template)
        before = Shown({**values, head(K): headed((*(0,) * K,), rng)}, hints)
        assert not before.accepted(template)


def segments(shape: Shape) -> Iterator[tuple[int, int]]:
    """The levels that each REFUTE hashes."""
    return pairwise((0, *signed_levels(shape.levels)))


@COUNTS
@WIDTHS
@pytest.mark.parametrize("levels", [6, 8, 10])
def test_refute(levels: int, width: int, count: int) -> None:
    """Each segment: what leads to C's signed upper node is not what C signed below."""
    rng = Random(1000 * levels + width)
    shape = Shape(K, width, K - 1 - levels // 2, 0)
    nodes = verdict_assert.path(shape)
    for _ in range(-(-count // 2)):
        below = tuple(rng.randrange(4) for _ in range(shape.below))
        way = said.below(K, shape.turn)
        for number, (start, end) in enumerate(segments(shape)):
            siblings = [rng.randbytes(width) for _ in range(end - start)]
            unsigned = tuple(d for s in siblings for d in digits_of(s))
            if number == 0:
                assert end == SEGMENT_LEVELS
                block = random_block(rng)
                node = block_node(encode_block(block), width)
                own = tuple(d for record in block for d in record_digits(record))
                lower, same = said.record(K), record_digits(block[below[-1]])
                template = verdict_assert.refute_block(shape)
            else:
                node = rng.randbytes(width)
                own = same = digits_of(node)
                lower = nodes[number - 1]
                template = verdict_assert.refute_node(shape, number - 1)
            upper = digits_of(climbed(node, siblings, below, start))
            honest = Shown({lower: same, nodes[number]: upper, way: below}, (*own, *unsigned))
            assert not honest.accepted(template)
            lie = honest.with_one_bit(lower, rng)
            assert lie.accepted(template)
            assert not lie.with_one_bit(nodes[number], rng).accepted(template)
            assert not lie.with_one_hint(len(lie.hints), rng).accepted(template)
