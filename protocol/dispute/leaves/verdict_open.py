"""OPEN: an earlier record contradicts pc, a read or its pointer (dispute.md 3, steps 7 and 8).

A leaf is for one round t, one child m < c_t and one accusation. The spender gives no j: it is

    c_1 .. c_(t-1) | m | the bits that steer left or right while hashing | the record's place

The block, its siblings and those digits are unsigned and checked digit by digit. Within i's own
block (t = k) the record is one that the prover revealed, and nothing is hashed. Hints, bottom up:
the block's 96 digits as records are signed, the siblings' digits from the lowest, the digits below.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from protocol.bitcoin.opcodes import Op
from protocol.bitcoin.script import script
from protocol.crypto.winternitz import digits_of
from protocol.dispute.assembler import Assembler, Item, Operand, Table
from protocol.dispute.claim import FAN
from protocol.dispute.fragment import RECORD_DIGITS, SLOTS, record_digits
from protocol.dispute.gadgets.bits import number
from protocol.dispute.gadgets.blake3 import blake3
from protocol.dispute.gadgets.messages import base4_digits
from protocol.dispute.gadgets.word import (
    Word,
    less_than,
    range_checked,
    require_equal,
    require_zero,
    total,
)
from protocol.dispute.leaves import said
from protocol.dispute.leaves.evidence import Evidence, SlotWords, head, slot, words
from protocol.dispute.leaves.said import Said
from protocol.dispute.leaves.template import Template
from protocol.dispute.leaves.verdict_tree import record_bytes
from protocol.dispute.opening import Place
from protocol.dispute.verdicts import DIRECT_LEVELS, Accusation, Predicate
from riscv_vm.record import Block

BLOCK_DIGITS = FAN * RECORD_DIGITS
ACCUSATIONS = (
    Accusation(Predicate.PC),
    *(Accusation(p, s) for p in (Predicate.POINTED, Predicate.STALE) for s in range(SLOTS)),
)


@dataclass(frozen=True, slots=True)
class Shape:
    """Which OPEN: the trace's shape, and where the record lies beside the way to i."""

    log4_steps: int
    width: int
    turn: int
    child: int

    @property
    def below(self) -> int:
        """The base-4 digits of j behind the child; the last is the record's place."""
        return self.log4_steps - self.turn

    @property
    def levels(self) -> int:
        """The siblings between the block node and the child."""
        return 2 * (self.below - 1) if self.below else 0

    @property
    def direct(self) -> bool:
        """Is there a leaf OPEN for it, of at most DIRECT_LEVELS siblings?"""
        exists = 1 <= self.turn < self.log4_steps and 0 <= self.child < FAN - 1
        return exists and self.levels <= DIRECT_LEVELS

    @property
    def hints(self) -> int:
        """The unsigned digits."""
        if not self.below:
            return 0
        return BLOCK_DIGITS + 2 * self.width * self.levels + self.below


def open_hints(block: Block, siblings: Sequence[bytes], place: Place) -> tuple[int, ...]:
    """The unsigned digits of an OPEN, bottom to top."""
    records = (digit for record in block for digit in record_digits(record))
    nodes = (digit for sibling in siblings for digit in digits_of(sibling))
    return (*records, *nodes, *place.below)


@lru_cache(maxsize=256)
def near(shape: Shape, accusation: Accusation) -> Template:
    """OPEN within i's block: the revealed record ``shape.child`` contradicts the fragment."""
    revealed = said.records(shape.log4_steps)[shape.child]
    evidence = Evidence.begin(shape.log4_steps, (revealed, *accused(shape, accusation)))
    record = words(evidence.named[revealed])
    accuse(evidence, shape, accusation, record, ())
    return evidence.finish(f"OPEN near {shape.child} {name_of(accusation)}")


@lru_cache(maxsize=256)
def opening(shape: Shape, accusation: Accusation) -> Template:
    """OPEN(t, m): a record below child m of round t, by its block and siblings."""
    top = said.nodes(shape.turn, shape.width)[shape.child]
    messages = (*accused(shape, accusation), top)
    evidence = Evidence.begin(shape.log4_steps, messages, shape.hints)
    asm, hints = evidence.asm, evidence.hints
    block = range_checked(asm, hints[:BLOCK_DIGITS])
    below = range_checked(asm, hints[-shape.below :], FAN)
    record = picked(asm, block, below[-1])
    steering = [steering_bits(asm, asm.copy(digit)) for digit in reversed(below[:-1])]
    accuse(evidence, shape, accusation, record, below)
    node = blake3(asm, block_bytes(block), shape.width)
    siblings = hints[BLOCK_DIGITS : len(hints) - shape.below]
    for level, bit in enumerate(bit for pair in steering for bit in pair):
        start = 2 * shape.width * level
        sibling = range_checked(asm, siblings[start : start + 2 * shape.width])
        node = parent_of(asm, node, sibling, bit, shape.width)
    require_equal(asm, node, evidence.named[top])
    return evidence.finish(f"OPEN {shape.turn}.{shape.child} {name_of(accusation)}")


def accused(shape: Shape, accusation: Accusation) -> tuple[Said, ...]:
    """What the fragment says about it."""
    located = (head(shape.log4_steps),)
    if accusation.predicate is Predicate.PC:
        return located
    return (slot(shape.log4_steps, accusation.slot), *located)


def accuse(
    evidence: Evidence,
    shape: Shape,
    accusation: Accusation,
    record: Sequence[Word],
    below: tuple[Item, ...],
) -> None:
    """Fail unless the record of step j < i contradicts the fragment. Uses ``below`` up."""
    asm, pc = evidence.asm, evidence.pc
    place = evidence.slot(accusation.slot) if accusation.predicate is not Predicate.PC else None
    places = evidence.places
    ours = places[shape.turn - 1]
    asm.verify(Op.GREATERTHAN, asm.copy(ours), shape.child)
    step: Word = (*places[: shape.turn - 1], shape.child, *below)
    if place is None:
        _require_one_before(asm, shape, places, below)
        evidence.require_different(record[2], pc)
    elif accusation.predicate is Predicate.POINTED:
        _require_pointed(evidence, place, step, record)
    else:
        _require_stale(asm, place, step, record)


def _require_one_before(
    asm: Assembler, shape: Shape, places: Sequence[Item], below: tuple[Item, ...]
) -> None:
    """j = i - 1: i's digit is the next one, then i has zeros where j has threes."""
    asm.verify(Op.NUMEQUAL, places[shape.turn - 1], shape.child + 1)
    if below:
        require_zero(asm, tuple(places[shape.turn :]))
        asm.verify(Op.NUMEQUAL, total(asm, below), 3 * len(below))


def _require_pointed(
    evidence: Evidence, place: SlotWords, step: tuple[Operand, ...], record: Sequence[Word]
) -> None:
    """j is the pointer, and the record wrote another word, or elsewhere."""
    asm = evidence.asm
    asm.verify(Op.NUMEQUAL, place.init, 0)
    last = base4_digits(asm, place.last, len(step))
    require_equal(asm, last, step)
    evidence.require_different((*record[0], *record[1]), (*place.address, *place.value))


def _require_stale(
    asm: Assembler, place: SlotWords, step: tuple[Operand, ...], record: Sequence[Word]
) -> None:
    """j is behind the pointer, and the record wrote the slot's address."""
    low_first = step[::-1]
    index = tuple(_nibble(asm, low_first[n : n + 2]) for n in range(0, len(step), 2))
    later = less_than(asm, place.last, index)
    asm.verify(Op.BOOLOR, later, asm.op(Op.NOTEQUAL0, place.init))
    require_equal(asm, record[0], place.address)


def _nibble(asm: Assembler, pair: Sequence[Operand]) -> Operand:
    """The nibble of two base-4 digits, the lower one first."""
    return total(asm, [number(asm, (0, 0, *pair[1:])), pair[0]])


def picked(asm: Assembler, block: tuple[Item, ...], place: Item) -> tuple[Word, ...]:
    """The words of the record at ``place``, 0 to 3; keeps both."""
    asm.bring(*reversed(block))
    table = Table(block)
    start = asm.copy(place)
    doubled = asm.op(Op.ADD, asm.copy(start), start)
    tripled = asm.op(Op.ADD, asm.copy(doubled), asm.copy(place))
    asm.drop(doubled)
    asm.bring(tripled)
    (at,) = asm.raw(script(*[Op.DUP, Op.ADD] * 3), 1, ("at",))
    digits = []
    for n in range(RECORD_DIGITS):
        index = asm.op(Op.ADD, asm.copy(at), n) if n else asm.copy(at)
        digits.append(asm.look_up(table, index))
    asm.drop(at)
    return tuple(words(digits))


def steering_bits(asm: Assembler, digit: Item) -> tuple[Item, Item]:
    """The two bits of a base-4 digit, the lower one first."""
    asm.bring(digit)
    code = script(Op.DUP, 1, Op.GREATERTHAN, Op.TUCK, Op.IF, 2, Op.SUB, Op.ENDIF)
    high, low = asm.raw(code, 1, ("right_above", "right"))
    return low, high


def block_bytes(block: Sequence[Item]) -> tuple[Item, ...]:
    """The digits of the block's 48 bytes."""
    starts = range(0, BLOCK_DIGITS, RECORD_DIGITS)
    return tuple(d for at in starts for d in record_bytes(tuple(block[at : at + RECORD_DIGITS])))


def parent_of(
    asm: Assembler, node: tuple[Item, ...], sibling: tuple[Item, ...], bit: Item, width: int
) -> tuple[Item, ...]:
    """The node above the two: ``node`` is the right child if ``bit`` is 1."""
    asm.bring(*node, *sibling, bit)
    pair = asm.branch(bit, lambda: (*sibling, *node), lambda: (*node, *sibling))
    return blake3(asm, pair, width)


def name_of(accusation: Accusation) -> str:
    slot_name = "" if accusation.predicate is Predicate.PC else f" slot {accusation.slot}"
    return accusation.predicate.value + slot_name


def open_leaves(log4_steps: int, width: int) -> Iterator[Template]:
    """All leaves of this file: near ones, and direct ones of at most DIRECT_LEVELS siblings."""
    for child in range(FAN - 1):
        for accusation in ACCUSATIONS:
            yield near(Shape(log4_steps, width, log4_steps, child), accusation)
    for turn in range(1, log4_steps):
        for child in range(FAN - 1):
            shape = Shape(log4_steps, width, turn, child)
            if shape.direct:
                yield from (opening(shape, accusation) for accusation in ACCUSATIONS)
