"""ASSERT and REFUTE: an OPEN that is too deep for one transaction (dispute.md 3).

The challenger signs the record of step j, the digits of its place and the nodes on its way, every
four levels above the block's and at the top. The prover refutes one segment of the way: from
another block, or another node in place of a signed one, unsigned siblings lead to the next signed
node, steered by C's signed digits. Of an honest way nobody can show that.
"""

from dataclasses import dataclass
from typing import ClassVar, Final

from protocol.dispute.claim import Fault
from protocol.dispute.opening import (
    Place,
    are_nodes,
    climb,
    hash_block,
    is_block,
    is_record,
    levels_below,
    steering,
    step_at,
)
from protocol.dispute.premises import Premises
from protocol.dispute.transcript import Transcript
from protocol.dispute.verdicts import DIRECT_LEVELS, Accusation
from riscv_vm.record import Block, Record

SEGMENT_LEVELS: Final = 4
"""So many levels, and the block below the lowest, are hashed in one REFUTE that is relayed."""


def signed_levels(levels: int) -> tuple[int, ...]:
    """The levels of the nodes that C signs, lowest first: every fourth and the top's, ``levels``.

    The block nodes are on level 0.
    """
    return (*range(SEGMENT_LEVELS, levels, SEGMENT_LEVELS), levels)


@dataclass(frozen=True, slots=True)
class Assertion:
    """ASSERT(t, m): C signs ``record``, ``place.below`` and the ``nodes``, lowest first."""

    fault: ClassVar = Fault.OPEN
    accusation: Accusation
    place: Place
    record: Record
    nodes: tuple[bytes, ...]

    def holds(self, premises: Premises, said: Transcript) -> bool:
        """Does the leaf accept it? The top is P's revealed child; the way below is not hashed."""
        place = self.place
        step = step_at(premises, said.executed.index, place)
        if step is None or place.turn > premises.rounds or not is_record(self.record):
            return False
        levels = levels_below(premises, place.turn)
        count = len(signed_levels(levels))
        if levels <= DIRECT_LEVELS or not are_nodes(self.nodes, count, premises.width):
            return False
        if not self.accusation.holds(said.executed, step, self.record):
            return False
        return self.nodes[-1] == said.rounds[place.turn - 1][place.child]


@dataclass(frozen=True, slots=True)
class BlockRefutation:
    """A block with another record at the signed place leads to the lowest signed node."""

    block: Block
    siblings: tuple[bytes, ...]

    def holds(self, premises: Premises, assertion: Assertion) -> bool:
        below = assertion.place.below
        if not is_block(self.block) or self.block[below[-1]] == assertion.record:
            return False
        if not are_nodes(self.siblings, SEGMENT_LEVELS, premises.width):
            return False
        node = hash_block(self.block, premises.width)
        return climb(node, self.siblings, steering(below)[:SEGMENT_LEVELS]) == assertion.nodes[0]


@dataclass(frozen=True, slots=True)
class NodeRefutation:
    """Another ``node`` in place of signed node ``number`` leads to the next one."""

    number: int
    node: bytes
    siblings: tuple[bytes, ...]

    def holds(self, premises: Premises, assertion: Assertion) -> bool:
        levels = signed_levels(levels_below(premises, assertion.place.turn))
        if type(self.number) is not int or not 0 <= self.number < len(levels) - 1:
            return False
        lower, upper = levels[self.number], levels[self.number + 1]
        if not are_nodes((self.node, *self.siblings), 1 + upper - lower, premises.width):
            return False
        if self.node == assertion.nodes[self.number]:
            return False
        bits = steering(assertion.place.below)[lower:upper]
        return climb(self.node, self.siblings, bits) == assertion.nodes[self.number + 1]


Refutation = BlockRefutation | NodeRefutation
