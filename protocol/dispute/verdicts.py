"""The verdict leaves: each proves one lie (dispute.md 3, step 8).

A verdict names its leaf and carries what the challenger supplies unsigned. ``holds`` decides as the
leaf does: from the premises, from what the prover has signed, and from range-checked unsigned data.
For an honest prover every one of them is false, unless a hash collides or a signature is forged.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar, Final

from protocol.dispute.claim import FAN, Fault
from protocol.dispute.fragment import SLOTS, Fragment, Slot
from protocol.dispute.opened import (
    BLOCK_WORDS,
    PAGE_LEVELS,
    hash_words,
    steering_of,
    word_in_block,
)
from protocol.dispute.opening import (
    Place,
    are_nodes,
    are_words,
    climb,
    hash_block,
    is_block,
    levels_below,
    steering,
    step_at,
)
from protocol.dispute.premises import Premises
from protocol.dispute.transcript import Transcript
from riscv_vm.isa import HALT
from riscv_vm.record import Block, Record
from riscv_vm.tree import subtree

DIRECT_LEVELS: Final = 5
"""So deep an OPEN is relayed by default; deeper ones take ASSERT, TAKE and REFUTE."""
LOADED: Final = 1
"""The slot of a loaded word."""


@dataclass(frozen=True, slots=True)
class NodeVerdict:
    """The four nodes of round ``turn`` do not hash to their parent."""

    fault: ClassVar = Fault.NODE
    turn: int

    def holds(self, premises: Premises, said: Transcript) -> bool:
        if not 1 <= self.turn <= premises.rounds:
            return False
        return subtree(said.rounds[self.turn - 1]) != said.parent(premises, self.turn)


@dataclass(frozen=True, slots=True)
class BlockVerdict:
    """The four records do not hash to their block node."""

    fault: ClassVar = Fault.BLOCK

    def holds(self, premises: Premises, said: Transcript) -> bool:
        parent = said.parent(premises, premises.rounds + 1)
        return hash_block(said.block, premises.width) != parent


@dataclass(frozen=True, slots=True)
class RecordVerdict:
    """F_i's w_i is not the revealed record of step i."""

    fault: ClassVar = Fault.RECORD

    def holds(self, premises: Premises, said: Transcript) -> bool:
        return said.executed.write != said.record(premises)


@dataclass(frozen=True, slots=True)
class RomVerdict:
    """The opcode is not the word of the text at pc. At a sentinel there is no such word."""

    fault: ClassVar = Fault.ROM

    def holds(self, premises: Premises, said: Transcript) -> bool:
        pc, image = said.executed.pc, premises.image
        return image.in_text(pc) and said.executed.opcode != image.opcode(pc)


@dataclass(frozen=True, slots=True)
class EntryVerdict:
    """The first step is not at the entry point."""

    fault: ClassVar = Fault.ENTRY

    def holds(self, premises: Premises, said: Transcript) -> bool:
        return said.executed.index == 0 and said.executed.pc != premises.image.entry


@dataclass(frozen=True, slots=True)
class NotHaltVerdict:
    """The last of the N steps does not end in HALT."""

    fault: ClassVar = Fault.NOT_HALT

    def holds(self, premises: Premises, said: Transcript) -> bool:
        fragment = said.executed
        return fragment.index == premises.steps - 1 and fragment.write.next_pc != HALT


@dataclass(frozen=True, slots=True)
class FutureVerdict:
    """The pointer of ``slot`` is no pointer: init is over 1, or ``last`` is not before i."""

    fault: ClassVar = Fault.FUTURE
    slot: int

    def holds(self, premises: Premises, said: Transcript) -> bool:
        slot = picked(said.executed, self.slot)
        if slot is None:
            return False
        return slot.init > 1 or (slot.init == 0 and slot.last >= said.executed.index)


@dataclass(frozen=True, slots=True)
class InitVerdict:
    """``slot`` was never written, and its value is not the constant that it began with."""

    fault: ClassVar = Fault.INIT
    slot: int

    def holds(self, premises: Premises, said: Transcript) -> bool:
        slot = never_written(said.executed, self.slot)
        if slot is None:
            return False
        constant = premises.constant(slot.address)
        return constant is not None and slot.value != constant


@dataclass(frozen=True, slots=True)
class InputVerdict:
    """``slot`` is an input word, and its value is not what the prover published."""

    fault: ClassVar = Fault.INPUT
    slot: int

    def holds(self, premises: Premises, said: Transcript) -> bool:
        slot = never_written(said.executed, self.slot)
        if slot is None or premises.origin(slot.address) is not Fault.INPUT:
            return False
        return slot.value != premises.input_word(slot.address, said.input_digits)


@dataclass(frozen=True, slots=True)
class WordVerdict:
    """The loaded word is one of an opened input, and not the one that ``block`` has there.

    ``block`` are 16 words; they and ``siblings``, which lead to the page's root, are unsigned. Only
    slot 1 can hold such a word: slot 0 is a register, slot 2 a word that can be written.
    """

    fault: ClassVar = Fault.WORD
    slot: ClassVar = LOADED
    block: tuple[int, ...]
    siblings: tuple[bytes, ...]

    def holds(self, premises: Premises, said: Transcript) -> bool:
        slot, width = never_written(said.executed, self.slot), premises.width
        page = None if slot is None else premises.input_page(slot.address)
        if slot is None or page is None or not are_words(self.block, BLOCK_WORDS):
            return False
        if not are_nodes(self.siblings, PAGE_LEVELS, width):
            return False
        if self.block[word_in_block(slot.address)] == slot.value:
            return False
        bits = steering_of(slot.address)
        return climb(hash_words(self.block, width), self.siblings, bits) == page.root


@dataclass(frozen=True, slots=True)
class ZeroVerdict:
    """``slot`` is a word of bss or stack that was never written, and its value is not zero."""

    fault: ClassVar = Fault.ZERO
    slot: int

    def holds(self, premises: Premises, said: Transcript) -> bool:
        slot = never_written(said.executed, self.slot)
        if slot is None or slot.value == 0:
            return False
        return any(start <= slot.address < end for start, end in premises.zero_ranges())


class Predicate(StrEnum):
    """What an earlier record, of step j, contradicts."""

    PC = "pc"  # j = i - 1 and goes on elsewhere
    POINTED = "pointed"  # j = last, and wrote something else
    STALE = "stale"  # last < j, and wrote the same address


@dataclass(frozen=True, slots=True)
class Accusation:
    """A predicate about one record; ``slot`` counts for POINTED and STALE."""

    predicate: Predicate
    slot: int = 0

    def holds(self, fragment: Fragment, step: int, record: Record) -> bool:
        """Does ``record`` of ``step`` < i contradict the fragment?"""
        slot = picked(fragment, self.slot)
        if slot is None:
            return False
        match self.predicate:
            case Predicate.PC:
                return step == fragment.index - 1 and record.next_pc != fragment.pc
            case Predicate.POINTED:
                written = (record.waddr, record.wval)
                return step == slot.pointer and written != (slot.address, slot.value)
            case Predicate.STALE:
                return slot.pointer < step and record.waddr == slot.address


@dataclass(frozen=True, slots=True)
class NearVerdict:
    """OPEN within i's own block: the revealed record ``child``, which no hash is needed for."""

    fault: ClassVar = Fault.OPEN
    accusation: Accusation
    child: int

    def holds(self, premises: Premises, said: Transcript) -> bool:
        place = Place(premises.log4_steps, self.child, ())
        step = step_at(premises, said.executed.index, place)
        if step is None:
            return False
        return self.accusation.holds(said.executed, step, said.block[self.child])


@dataclass(frozen=True, slots=True)
class OpenVerdict:
    """OPEN(t, m): a record below child m of round t, with its block and siblings (unsigned)."""

    fault: ClassVar = Fault.OPEN
    accusation: Accusation
    place: Place
    block: Block
    siblings: tuple[bytes, ...]

    def holds(self, premises: Premises, said: Transcript) -> bool:
        place, width = self.place, premises.width
        step = step_at(premises, said.executed.index, place)
        if step is None or place.turn > premises.rounds or not is_block(self.block):
            return False
        levels = levels_below(premises, place.turn)
        if levels > DIRECT_LEVELS or not are_nodes(self.siblings, levels, width):
            return False
        if not self.accusation.holds(said.executed, step, self.block[place.below[-1]]):
            return False
        top = climb(hash_block(self.block, width), self.siblings, steering(place.below))
        return top == said.rounds[place.turn - 1][place.child]


PLAIN: Final = (RecordVerdict, RomVerdict, EntryVerdict, NotHaltVerdict, BlockVerdict)
"""Those that name nothing."""
OF_SLOT: Final = (FutureVerdict, InitVerdict, InputVerdict, ZeroVerdict)
"""Those that name a slot and nothing else."""

SlotVerdict = FutureVerdict | InitVerdict | InputVerdict | WordVerdict | ZeroVerdict
"""Those about one read slot."""

Verdict = (
    NodeVerdict
    | BlockVerdict
    | RecordVerdict
    | RomVerdict
    | EntryVerdict
    | NotHaltVerdict
    | SlotVerdict
    | NearVerdict
    | OpenVerdict
)


def hashes(verdict: Verdict) -> int:
    """How many compressions the leaf evaluates: what it costs."""
    match verdict:
        case NodeVerdict():
            return FAN - 1
        case BlockVerdict():
            return 1
        case OpenVerdict() | WordVerdict():
            return 1 + len(verdict.siblings)
        case _:
            return 0


def picked(fragment: Fragment, slot: int) -> Slot | None:
    """The slot that an unsigned selector picks; None for a selector out of range."""
    return fragment.slots[slot] if type(slot) is int and 0 <= slot < SLOTS else None


def never_written(fragment: Fragment, slot: int) -> Slot | None:
    """The picked slot if it says INIT, with its digit at exactly 1."""
    found = picked(fragment, slot)
    return found if found is not None and found.init == 1 else None
