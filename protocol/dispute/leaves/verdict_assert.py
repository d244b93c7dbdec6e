"""ASSERT and REFUTE: an OPEN too deep for one transaction (protocol/dispute/assertion.py).

The challenger signs a record, the digits below and the nodes of the way; the leaf checks the
accusation, and that the top is the prover's revealed child. Where all of that is more than a
pre-signed transaction may weigh, the lower nodes are signed in one of their own before. The prover
refutes with what the challenger signed, and nothing else.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Final

from protocol.bitcoin.opcodes import Op
from protocol.dispute.assembler import Item
from protocol.dispute.assertion import SEGMENT_LEVELS, signed_levels
from protocol.dispute.claim import FAN
from protocol.dispute.gadgets.blake3 import blake3
from protocol.dispute.gadgets.word import Word, copy, items, range_checked, require_equal
from protocol.dispute.leaves import said
from protocol.dispute.leaves.evidence import Evidence, words
from protocol.dispute.leaves.moves import signing
from protocol.dispute.leaves.said import Said
from protocol.dispute.leaves.template import Template
from protocol.dispute.leaves.verdict_open import (
    ACCUSATIONS,
    BLOCK_DIGITS,
    Shape,
    accuse,
    accused,
    block_bytes,
    name_of,
    parent_of,
    picked,
    steering_bits,
)
from protocol.dispute.verdicts import DIRECT_LEVELS, Accusation

LAST_NODES: Final = {20: 5, 32: 3}
"""By width, the nodes that fit in the transaction with the record: at most 10,000 vB in all."""


def path(shape: Shape) -> tuple[Said, ...]:
    """Every node that an assertion of this shape signs, lowest first."""
    count = len(signed_levels(shape.levels))
    return said.path(shape.log4_steps, shape.width, count)


def assert_path(shape: Shape) -> Template | None:
    """The transaction before ASSERT, which signs the lower nodes; None where it is not needed."""
    lower = path(shape)[: -LAST_NODES[shape.width]]
    return signing(f"ASSERT {shape.turn} path", lower) if lower else None


@lru_cache(maxsize=256)
def assert_record(shape: Shape, accusation: Accusation) -> Template:
    """ASSERT: record, digits and the upper nodes, signed here, accuse; the top is P's."""
    k = shape.log4_steps
    record, below = said.record(k), said.below(k, shape.turn)
    *way, top = path(shape)[-LAST_NODES[shape.width] :]
    revealed = said.nodes(shape.turn, shape.width)[shape.child]
    messages = (record, below, *accused(shape, accusation), top, revealed)
    evidence = Evidence.begin(k, messages, first=(record, below, *way, top), silent=way)
    asm, digits = evidence.asm, evidence.named[below]
    for digit in digits:
        asm.verify(Op.LESSTHAN, asm.copy(digit), FAN)
    accuse(evidence, shape, accusation, words(evidence.named[record]), digits)
    require_equal(asm, evidence.named[top], evidence.named[revealed])
    return evidence.finish(f"ASSERT {shape.turn}.{shape.child} {name_of(accusation)}")


@lru_cache(maxsize=64)
def refute_block(shape: Shape) -> Template:
    """REFUTE: a block with another record at the signed place leads to the lowest signed node.

    Hints, bottom up: the block's digits, then its siblings', lowest first.
    """
    k, width = shape.log4_steps, shape.width
    record, below, lowest = said.record(k), said.below(k, shape.turn), path(shape)[0]
    hints = BLOCK_DIGITS + 2 * width * SEGMENT_LEVELS
    evidence = Evidence.begin(k, (lowest, record, below), hints)
    asm, digits = evidence.asm, evidence.named[below]
    block = range_checked(asm, evidence.hints[:BLOCK_DIGITS])
    other = picked(asm, block, digits[-1])
    signed = words(evidence.named[record])
    evidence.require_different(_all(signed), _all(other))
    node = blake3(asm, block_bytes(block), width)
    siblings = evidence.hints[BLOCK_DIGITS:]
    _climb(evidence, shape, node, siblings, (0, SEGMENT_LEVELS), lowest)
    return evidence.finish(f"REFUTE {shape.turn} block")


@lru_cache(maxsize=64)
def refute_node(shape: Shape, number: int) -> Template:
    """REFUTE: another node in place of signed node ``number`` leads to the next one.

    Hints, bottom up: the node's digits, then its siblings', lowest first.
    """
    levels, width = signed_levels(shape.levels), shape.width
    lower, upper = path(shape)[number : number + 2]
    start, end = levels[number], levels[number + 1]
    below = said.below(shape.log4_steps, shape.turn)
    hints = 2 * width * (1 + end - start)
    evidence = Evidence.begin(shape.log4_steps, (upper, lower, below), hints)
    node = range_checked(evidence.asm, evidence.hints[: 2 * width])
    evidence.require_different(evidence.named[lower], copy(evidence.asm, node))
    _climb(evidence, shape, items(node), evidence.hints[2 * width :], (start, end), upper)
    return evidence.finish(f"REFUTE {shape.turn} node {number}")


def _all(several: Sequence[Word]) -> Word:
    """The nibbles of several words."""
    return tuple(nibble for word in several for nibble in word)


def _climb(
    evidence: Evidence,
    shape: Shape,
    node: tuple[Item, ...],
    siblings: tuple[Item, ...],
    levels: tuple[int, int],
    top: Said,
) -> None:
    """Fail unless unsigned ``siblings`` lead from ``node`` on the first of ``levels`` to ``top``.

    C's signed digits steer; an even number of levels takes whole digits of them.
    """
    asm, width = evidence.asm, shape.width
    below = evidence.named[said.below(shape.log4_steps, shape.turn)]
    way = below[-2::-1][levels[0] // 2 : levels[1] // 2]
    bits = [bit for digit in way for bit in steering_bits(asm, digit)]
    for level, bit in enumerate(bits):
        start = 2 * width * level
        sibling = range_checked(asm, siblings[start : start + 2 * width])
        node = parent_of(asm, node, sibling, bit, width)
    require_equal(asm, node, evidence.named[top])


def shapes(log4_steps: int, width: int) -> Iterator[Shape]:
    """Every place that is too deep for a direct OPEN."""
    for turn in range(1, log4_steps):
        for child in range(FAN - 1):
            shape = Shape(log4_steps, width, turn, child)
            if shape.levels > DIRECT_LEVELS:
                yield shape


def assert_leaves(shape: Shape) -> Iterator[Template]:
    """The leaves with which an assertion of this shape ends: one an accusation."""
    return (assert_record(shape, accusation) for accusation in ACCUSATIONS)


def refute_leaves(shape: Shape) -> Iterator[Template]:
    """The leaves of an assertion's connector."""
    yield refute_block(shape)
    for number in range(len(path(shape)) - 1):
        yield refute_node(shape, number)
