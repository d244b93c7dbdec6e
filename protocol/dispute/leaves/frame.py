"""F_i on the stack of an EXECUTE leaf, and what every instruction's leaf checks alike.

The reads and the write of ``riscv_vm.machine``: a register field of the instruction decides the
slot's address, or that the slot is unused because it is x0; rd decides where the result goes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from protocol.bitcoin.opcodes import Op
from protocol.dispute.assembler import Assembler, Item, Operand
from protocol.dispute.fragment import SLOTS, Message, index_digits
from protocol.dispute.gadgets.bits import bits, number
from protocol.dispute.gadgets.messages import require_index, word
from protocol.dispute.gadgets.word import (
    ZERO,
    Word,
    add,
    choose,
    constant,
    copy,
    items,
    mask_of,
    require_equal,
    require_zero,
    total,
    within,
)
from protocol.dispute.leaves import said
from protocol.dispute.leaves.evidence import SlotWords, slot_words, words
from protocol.dispute.leaves.said import Said
from protocol.dispute.leaves.template import Template, begin
from riscv_vm.isa import NOWRITE

Bits = Sequence[Operand]
"""The five bits of a register field, least significant first."""


@dataclass(frozen=True, slots=True)
class FragmentWords:
    """F_i, nibble by nibble."""

    index: Word
    pc: Word
    opcode: Word
    slots: tuple[SlotWords, SlotWords, SlotWords]
    waddr: Word
    wval: Word
    next_pc: Word

    @classmethod
    def of(cls, log4_steps: int, named: dict[Said, tuple[Item, ...]]) -> "FragmentWords":
        """From the verified digits of the five messages."""
        n = index_digits(log4_steps)
        by_message = {m: named[s] for m, s in said.fragment(log4_steps).items()}
        head = by_message[Message.HEAD]
        first, second, third = (
            slot_words(by_message[m]) for m in (Message.SLOT_0, Message.SLOT_1, Message.SLOT_2)
        )
        waddr, wval, next_pc = words(by_message[Message.WRITE])
        pc, opcode = words(head[n:])
        return cls(word(head[:n]), pc, opcode, (first, second, third), waddr, wval, next_pc)


@dataclass(slots=True)
class Frame:
    """An EXECUTE leaf in the making. Slots and the write are used up as they are checked."""

    asm: Assembler
    fragment: FragmentWords
    digits: tuple[Item, ...]
    hints: tuple[Item, ...]
    messages: tuple[Said, ...]
    first: frozenset[Said]

    @classmethod
    def begin(cls, log4_steps: int, hints: int = 0) -> "Frame":
        """All messages verified: F_i, which the prover signs here, and C's digits."""
        spoken, heard = tuple(said.fragment(log4_steps).values()), said.digits(log4_steps)
        asm, named, unsigned = begin((*heard, *spoken), hints)
        digits = tuple(named[s][0] for s in heard)
        fragment = FragmentWords.of(log4_steps, named)
        return cls(asm, fragment, digits, unsigned, (*heard, *spoken), frozenset(spoken))

    def finish(self, name: str) -> Template:
        """The template, once everything has been checked."""
        self.asm.clear()
        return Template(name, self.messages, self.first, len(self.hints), self.asm.parts)

    def require_step(self) -> None:
        """i is the step that the challenger's digits single out."""
        require_index(self.asm, self.fragment.index, self.digits)

    def require_in_text(self, start: int, end: int) -> None:
        """pc is an instruction's address: where the leaf ROM looks it up."""
        asm, pc = self.asm, self.fragment.pc
        asm.verify(Op.VERIFY, within(asm, copy(asm, pc), start, end))
        require_aligned(asm, pc[0])

    # Reads

    def read(self, slot: int, register: Bits) -> Word:
        """The value of a register that the instruction names; x0 leaves the slot unused."""
        asm, place = self.asm, self.fragment.slots[slot]
        used = nonzero(asm, register)
        b0, b1, b2, b3, b4 = register
        asm.verify(Op.NUMEQUAL, place.address[0], number(asm, (0, 0, b0, b1)))
        asm.verify(Op.NUMEQUAL, place.address[1], number(asm, (b2, b3, b4)))
        require_zero(asm, place.address[2:7])
        asm.verify(Op.NUMEQUAL, place.address[7], mask_of(asm, asm.copy(used)))
        known = total(asm, items(copy(asm, place.value), place.last))
        empty = asm.op(Op.BOOLAND, asm.op(Op.NOT, known), asm.op(Op.NUMEQUAL, place.init, 1))
        asm.verify(Op.BOOLOR, used, empty)
        return place.value

    def read_at(self, slot: int, address: Word) -> Word:
        """The value of the word at ``address``, which must be the slot's."""
        place = self.fragment.slots[slot]
        require_equal(self.asm, place.address, address)
        return place.value

    def unused(self, *slots: int) -> None:
        """These slots are (0, 0, INIT), in their one form."""
        for slot in slots:
            place = self.fragment.slots[slot]
            require_zero(self.asm, (*place.address, *place.value, *place.last))
            self.asm.verify(Op.NUMEQUAL, place.init, 1)

    def unused_from(self, slot: int) -> None:
        """This slot and those behind it are unused."""
        self.unused(*range(slot, SLOTS))

    # The write

    def write(self, register: Bits, value: Word) -> None:
        """w_i puts ``value`` into rd, or nowhere if rd is x0."""
        asm, fragment = self.asm, self.fragment
        used = nonzero(asm, register)
        nowhere = mask_of(asm, asm.op(Op.NOT, asm.copy(used)))
        b0, b1, b2, b3, b4 = register
        low = (number(asm, (0, 0, b0, b1)), number(asm, (b2, b3, b4)))
        for nibble, expected in zip(fragment.waddr[:2], low, strict=True):
            asm.verify(Op.NUMEQUAL, nibble, total(asm, [expected, asm.copy(nowhere)]))
        for nibble in fragment.waddr[2:7]:
            asm.verify(Op.NUMEQUAL, nibble, asm.copy(nowhere))
        asm.verify(Op.NUMEQUAL, fragment.waddr[7], 15)
        asm.drop(nowhere)
        require_equal(asm, fragment.wval, choose(asm, used, value, ZERO))

    def write_at(self, address: Word, value: Word) -> None:
        """w_i puts ``value`` at ``address``."""
        require_equal(self.asm, self.fragment.waddr, address)
        require_equal(self.asm, self.fragment.wval, value)

    def write_nothing(self) -> None:
        """w_i is (NOWRITE, 0, ...)."""
        self.write_at(constant(NOWRITE), ZERO)

    def go_on(self) -> None:
        """The next pc is pc + 4."""
        self.go_to(add(self.asm, self.fragment.pc, constant(4)))

    def go_to(self, next_pc: Word) -> None:
        """The next pc is ``next_pc``."""
        require_equal(self.asm, self.fragment.next_pc, next_pc)


def nonzero(asm: Assembler, register: Bits) -> Item:
    """1 unless all five bits are 0; keeps them."""
    return asm.op(Op.NOTEQUAL0, total(asm, [copy_of(asm, bit) for bit in register]))


def copy_of(asm: Assembler, operand: Operand) -> Operand:
    return asm.copy(operand) if isinstance(operand, Item) else operand


def require_aligned(asm: Assembler, lowest: Operand) -> None:
    """Fail unless an address with this lowest nibble is a multiple of 4; keeps the nibble."""
    assert isinstance(lowest, Item)
    b0, b1, *above = bits(asm, asm.copy(lowest))
    asm.drop(*above)
    require_zero(asm, (b0, b1))
