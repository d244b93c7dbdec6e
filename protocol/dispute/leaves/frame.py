"""F_i on the stack of an EXECUTE leaf, and what every instruction's leaf checks alike.

The reads and the write of ``riscv_vm.machine``: a register field of the instruction decides the
slot's address, or that the slot is unused because it is x0; rd decides where the result goes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from protocol.bitcoin.opcodes import Op
from protocol.dispute.assembler import Assembler, Item, Operand
from protocol.dispute.fragment import SLOTS
from protocol.dispute.gadgets.bits import bits, number
from protocol.dispute.gadgets.messages import require_index
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
from protocol.dispute.leaves.evidence import Evidence
from riscv_vm.isa import NOWRITE

Bits = Sequence[Operand]
"""The five bits of a register field, least significant first."""


@dataclass(slots=True)
class Frame(Evidence):
    """An EXECUTE leaf in the making. Slots and the write are used up as they are checked."""

    @classmethod
    def of(cls, log4_steps: int, hints: int = 0) -> Self:
        """All messages verified: F_i, which the prover signs here, and C's digits."""
        spoken, heard = said.fragment(log4_steps).values(), said.digits(log4_steps)
        return cls.begin(log4_steps, (*heard, *spoken), hints, first=spoken)

    def require_step(self) -> None:
        """i is the step that the challenger's digits single out."""
        picked = [self.named[digit][0] for digit in said.digits(self.log4_steps)]
        require_index(self.asm, self.index, picked)

    def require_in_text(self, start: int, end: int) -> None:
        """pc is an instruction's address: where the leaf ROM looks it up."""
        asm, pc = self.asm, self.pc
        asm.verify(Op.VERIFY, within(asm, copy(asm, pc), start, end))
        require_aligned(asm, pc[0])

    # Reads

    def read(self, slot: int, register: Bits) -> Word:
        """The value of a register that the instruction names; x0 leaves the slot unused."""
        asm, place = self.asm, self.slot(slot)
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
        place = self.slot(slot)
        require_equal(self.asm, place.address, address)
        return place.value

    def unused(self, *slots: int) -> None:
        """These slots are (0, 0, INIT), in their one form."""
        for slot in slots:
            place = self.slot(slot)
            require_zero(self.asm, (*place.address, *place.value, *place.last))
            self.asm.verify(Op.NUMEQUAL, place.init, 1)

    def unused_from(self, slot: int) -> None:
        """This slot and those behind it are unused."""
        self.unused(*range(slot, SLOTS))

    # The write

    def write(self, register: Bits, value: Word) -> None:
        """w_i puts ``value`` into rd, or nowhere if rd is x0."""
        asm, (waddr, wval, _) = self.asm, self.record
        used = nonzero(asm, register)
        nowhere = mask_of(asm, asm.op(Op.NOT, asm.copy(used)))
        b0, b1, b2, b3, b4 = register
        low = (number(asm, (0, 0, b0, b1)), number(asm, (b2, b3, b4)))
        for nibble, expected in zip(waddr[:2], low, strict=True):
            asm.verify(Op.NUMEQUAL, nibble, total(asm, [expected, asm.copy(nowhere)]))
        for nibble in waddr[2:7]:
            asm.verify(Op.NUMEQUAL, nibble, asm.copy(nowhere))
        asm.verify(Op.NUMEQUAL, waddr[7], 15)
        asm.drop(nowhere)
        require_equal(asm, wval, choose(asm, used, value, ZERO))

    def write_at(self, address: Word, value: Word) -> None:
        """w_i puts ``value`` at ``address``."""
        waddr, wval, _ = self.record
        require_equal(self.asm, waddr, address)
        require_equal(self.asm, wval, value)

    def write_nothing(self) -> None:
        """w_i is (NOWRITE, 0, ...)."""
        self.write_at(constant(NOWRITE), ZERO)

    def go_on(self) -> None:
        """The next pc is pc + 4."""
        self.go_to(add(self.asm, self.pc, constant(4)))

    def go_to(self, next_pc: Word) -> None:
        """The next pc is ``next_pc``."""
        require_equal(self.asm, self.record[2], next_pc)


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
