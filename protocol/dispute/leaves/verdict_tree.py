"""NODE, BLOCK, RECORD: what the prover revealed does not hang together (dispute.md 3, step 8).

i's digits pick the parent, not the spender: a leaf is for one round and one digit, and refuses
another i. At 32 bytes a leaf could not verify all four candidates; seven such messages fill it.
"""

from collections.abc import Iterator
from functools import lru_cache

from protocol.dispute.assembler import Item
from protocol.dispute.claim import FAN
from protocol.dispute.gadgets.blake3 import blake3
from protocol.dispute.gadgets.messages import byte_digits
from protocol.dispute.gadgets.word import items
from protocol.dispute.leaves import said
from protocol.dispute.leaves.evidence import Evidence, head, words, write
from protocol.dispute.leaves.said import Said
from protocol.dispute.leaves.template import Template


def parents(turn: int, width: int) -> tuple[Said, ...]:
    """What round ``turn`` may open: the root, or a node of the round before."""
    return (said.root(width),) if turn == 1 else said.nodes(turn - 1, width)


@lru_cache(maxsize=64)
def node(log4_steps: int, width: int, turn: int, child: int) -> Template:
    """NODE: the four nodes of round ``turn`` do not hash to node ``child`` of the round before.

    In round 1 the parent is the root, and ``child`` is 0.
    """
    parent, nodes = parents(turn, width)[child], said.nodes(turn, width)
    located = (head(log4_steps),) if turn > 1 else ()
    evidence = Evidence.begin(log4_steps, (*nodes, parent, *located))
    asm = evidence.asm
    first, second, third, fourth = (evidence.named[n] for n in nodes)
    # The hashes wait on the altstack: beside two messages the tables of a third would not fit.
    asm.to_alt(*blake3(asm, (*first, *second), width))
    asm.to_alt(*blake3(asm, (*third, *fourth), width))
    right = asm.from_alt(2 * width)
    left = asm.from_alt(2 * width)
    top = blake3(asm, (*left, *right), width)
    evidence.require_different(top, evidence.named[parent])
    if turn > 1:
        evidence.require_place(turn - 1, child)
    return evidence.finish(f"NODE {turn}.{child}")


@lru_cache(maxsize=16)
def block(log4_steps: int, width: int, child: int) -> Template:
    """BLOCK: the four records do not hash to node ``child`` of the last round of nodes."""
    parent, records = parents(log4_steps, width)[child], said.records(log4_steps)
    located = (head(log4_steps),) if log4_steps > 1 else ()
    evidence = Evidence.begin(log4_steps, (*records, parent, *located))
    message = [digit for r in records for digit in record_bytes(evidence.named[r])]
    found = blake3(evidence.asm, message, width)
    evidence.require_different(found, evidence.named[parent])
    if log4_steps > 1:
        evidence.require_place(log4_steps - 1, child)
    return evidence.finish(f"BLOCK {child}")


@lru_cache(maxsize=16)
def record(log4_steps: int, child: int) -> Template:
    """RECORD: F_i's w_i is not the revealed record at i's last digit, which is ``child``."""
    revealed, claimed = said.records(log4_steps)[child], write(log4_steps)
    evidence = Evidence.begin(log4_steps, (revealed, claimed, head(log4_steps)))
    evidence.require_different(evidence.named[revealed], evidence.named[claimed])
    evidence.require_place(log4_steps, child)
    return evidence.finish(f"RECORD {child}")


def record_bytes(digits: tuple[Item, ...]) -> tuple[Item, ...]:
    """The digits of a record's 12 bytes, as the tree hashes them, from those of its three words."""
    return items(*(byte_digits(word) for word in words(digits)))


def tree_leaves(log4_steps: int, width: int) -> Iterator[Template]:
    """All leaves of this file, for 4^log4_steps steps in nodes of ``width`` bytes."""
    for turn in range(1, log4_steps):
        for child in range(len(parents(turn, width))):
            yield node(log4_steps, width, turn, child)
    for child in range(len(parents(log4_steps, width))):
        yield block(log4_steps, width, child)
    for child in range(FAN):
        yield record(log4_steps, child)
