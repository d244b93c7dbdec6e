"""Every leaf that hashes, at every depth and both widths, on random trees.

The hashes are those of ``riscv_vm.tree``; each true statement is followed by one with one bit
changed, in a place drawn at random.
"""

from collections.abc import Iterator
from itertools import pairwise, product
from random import Random

import pytest

from protocol.crypto.winternitz import Digits, digits_of, number_digits
from protocol.dispute.assertion import SEGMENT_LEVELS, signed_levels
from protocol.dispute.claim import base4_number
from protocol.dispute.fragment import index_digits
from protocol.dispute.leaves import said, verdict_assert, verdict_open, verdict_tree
from protocol.dispute.leaves.evidence import head
from protocol.dispute.leaves.verdict_open import Shape
from protocol.dispute.verdicts import Accusation
from riscv_vm.record import Record, encode_block
from riscv_vm.tree import block_node, join, subtree
from tests.builders.leaves import Shown, accused, word_digits

K = 7
CASES = 8
WIDTHS = pytest.mark.parametrize("width", [20, 32])
SLOW = [pytest.mark.slow, pytest.mark.timeout(600)]
COUNTS = pytest.mark.parametrize("count", [CASES, pytest.param(200, marks=SLOW)])


def headed(digits: tuple[int, ...], rng: Random) -> Digits:
    index = number_digits(base4_number(digits), index_digits(K))
    return (*index, *word_digits(rng.getrandbits(32), rng.getrandbits(32)))


def random_block(rng: Random) -> list[Record]:
    return [Record(*(rng.getrandbits(32) for _ in range(3))) for _ in range(4)]


@COUNTS
@WIDTHS
@pytest.mark.parametrize(("turn", "child"), [(1, 0), *product((2, K - 1), range(4))])
def test_node(turn: int, child: int, width: int, count: int) -> None:
    rng = Random(f"{turn} {child} {width}")
    for _ in range(count):
        nodes = [rng.randbytes(width) for _ in range(4)]
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
@pytest.mark.parametrize("child", range(4))
def test_block(child: int, width: int, count: int) -> None:
    rng = Random(f"{child} {width}")
    for _ in range(count):
        block = random_block(rng)
        digits = (*(rng.randrange(4) for _ in range(K - 2)), child, rng.randrange(4))
        messages = said.records(K)
        parent = verdict_tree.parents(K, width)[child]
        values = dict(zip(messages, (word_digits(*r) for r in block), strict=True))
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
@pytest.mark.parametrize("accusation", verdict_open.ACCUSATIONS, ids=verdict_open.name_of)
@pytest.mark.parametrize("levels", [0, 2, 4])
def test_open(levels: int, accusation: Accusation, width: int, count: int) -> None:
    """The record of step j, opened: by accusation what is a lie; and no other way leads there."""
    rng = Random(f"{levels} {width} {accusation}")
    turn, shown_cases, convicted = K - 1 - levels // 2, 0, 0
    while shown_cases < count or convicted < count // 2:
        child = shown_cases % 3
        shape = Shape(K, width, turn, child)
        assert shape.levels == levels and shape.direct
        told, step, below, record = accused(rng, accusation.predicate, K, turn, child)
        block = random_block(rng)
        block[below[-1]] = record
        siblings = [rng.randbytes(width) for _ in range(levels)]
        top = said.nodes(turn, width)[child]
        node = climbed(block_node(encode_block(block), width), siblings, below)
        values = told.values(K, accusation.slot) | {top: digits_of(node)}
        own = tuple(d for r in block for d in word_digits(*r))
        hints = (*own, *(d for s in siblings for d in digits_of(s)), *below)
        shown, template = Shown(values, hints), verdict_open.opening(shape, accusation)
        behind = told.index >> 2 * (K - turn) & 3 > child
        lie = behind and told.contradicted(accusation.predicate, step, record)
        assert shown.accepted(template) == lie
        if lie:
            assert not shown.with_one_bit(top, rng).accepted(template)
            assert not shown.with_one_hint(len(hints) - len(below), rng).accepted(template)
        shown_cases, convicted = shown_cases + 1, convicted + lie


def segments(shape: Shape) -> Iterator[tuple[int, int]]:
    """The levels that each REFUTE hashes."""
    return pairwise((0, *signed_levels(shape.levels)))


@COUNTS
@WIDTHS
@pytest.mark.parametrize("levels", [6, 8, 10, 20])
def test_refute(levels: int, width: int, count: int) -> None:
    """Each segment: what leads to C's signed upper node is not what C signed below."""
    rng = Random(1000 * levels + width)
    k = max(K, 2 + levels // 2)
    shape = Shape(k, width, k - 1 - levels // 2, 0)
    nodes = verdict_assert.path(shape)
    for _ in range(-(-count // 2)):
        below = tuple(rng.randrange(4) for _ in range(shape.below))
        way = said.below(k, shape.turn)
        for number, (start, end) in enumerate(segments(shape)):
            siblings = [rng.randbytes(width) for _ in range(end - start)]
            unsigned = tuple(d for s in siblings for d in digits_of(s))
            if number == 0:
                assert end == SEGMENT_LEVELS
                block = random_block(rng)
                node = block_node(encode_block(block), width)
                own = tuple(d for record in block for d in word_digits(*record))
                lower, same = said.record(k), word_digits(*block[below[-1]])
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
