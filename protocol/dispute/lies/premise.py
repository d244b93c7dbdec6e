"""How a false premise of a step is defended: by a fragment that EXECUTE accepts.

A liar says another pc, opcode or word than the true one; what follows from it is computed as the
machine does, so that only a verdict about the premise convicts.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from protocol.dispute.fragment import NEVER, Fragment, Slot, Slots
from protocol.dispute.lies.scene import Scene
from riscv_vm.image import ProgramImage
from riscv_vm.isa import SENTINELS, decode
from riscv_vm.machine import next_step
from riscv_vm.record import register_address


@dataclass(frozen=True, slots=True)
class Premise:
    """What a liar says that is not so: the pc, the opcode, words by address, and their pointers
    (last, init). What it does not say stays as it is."""

    pc: int | None = None
    opcode: int | None = None
    words: Mapping[int, int] = field(default_factory=dict)
    pointers: Mapping[int, tuple[int, int]] = field(default_factory=dict)

    @classmethod
    def pointing(cls, address: int, value: int, last: int, init: int) -> "Premise":
        """A word with its pointer."""
        return cls(words={address: value}, pointers={address: (last, init)})


def justify(scene: Scene, index: int, said: Premise) -> Fragment | None:
    """A fragment that EXECUTE accepts, from false premises; None if there is no leaf for it."""
    image, past = scene.premises.image, scene.past
    pc = past.step(index).pc if said.pc is None else said.pc
    if pc in SENTINELS:
        opcode = said.opcode or 0
    elif not image.in_text(pc):
        return None
    else:
        opcode = image.opcode(pc) if said.opcode is None else said.opcode
        if decode(opcode) is None:
            return None
        at = pc - image.text_base
        text = image.text[:at] + opcode.to_bytes(4, "little") + image.text[at + 4 :]
        image = replace(image, text=text)
    step = next_step(_Lying(scene, index, pc, image, said.words))
    slots = (_slot(scene, index, read.address, read.value, said) for read in step.reads)
    first, second, third = slots
    return Fragment(index, pc, opcode, (first, second, third), step.record)


def with_slot(fragment: Fragment, place: int, slot: Slot) -> Slots:
    """The slots of ``fragment`` with another one at ``place``."""
    a, b, c = (slot if place == n else old for n, old in enumerate(fragment.slots))
    return a, b, c


def _slot(scene: Scene, index: int, address: int, value: int, said: Premise) -> Slot:
    if address and address in said.pointers:
        return Slot(address, value, *said.pointers[address])
    last = scene.past.writer(address, index) if address else NEVER
    return Slot(address, value, 0, 1) if last == NEVER else Slot(address, value, last, 0)


@dataclass(frozen=True, slots=True)
class _Lying:
    """The machine's state before a step, with another pc, opcode or words than the true ones."""

    scene: Scene
    index: int
    pc: int
    image: ProgramImage
    words: Mapping[int, int]

    def register(self, index: int) -> int:
        return self._value(register_address(index))

    def word(self, address: int) -> int | None:
        return self._value(address) if self.scene.premises.readable(address) else None

    def writable(self, address: int) -> bool:
        return self.scene.premises.writable(address)

    def _value(self, address: int) -> int:
        known = self.words.get(address)
        return self.scene.past.value(address, self.index) if known is None else known
