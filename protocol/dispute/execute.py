"""EXECUTE: may the prover spend the leaf of its opcode with this fragment? (dispute.md 3, step 7)

The leaf knows the fragment, the challenger's digits and the program's borders. It does not know
whether pc, opcode, values and pointers are true: verdicts pin those. The semantics are those of the
reference machine, which takes one step on what the fragment shows.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from protocol.dispute.claim import base4_number
from protocol.dispute.fragment import UNUSED, Fragment, Slot
from protocol.dispute.premises import Premises
from riscv_vm.image import ProgramImage
from riscv_vm.isa import SENTINELS, decode
from riscv_vm.machine import Read, Step, next_step
from riscv_vm.record import register_address


@dataclass(frozen=True, slots=True)
class Case:
    """What the leaf sees, and ``step``: the machine's step from the state that the fragment shows.

    ``step`` is None where no leaf exists.
    """

    premises: Premises
    digits: Sequence[int]
    fragment: Fragment
    step: Step | None


def executes(premises: Premises, digits: Sequence[int], fragment: Fragment) -> bool:
    """Does EXECUTE accept ``fragment`` when C has signed ``digits``, the base-4 digits of i?"""
    case = Case(premises, digits, fragment, shown_step(premises, fragment))
    return all(holds(case) for holds in CONDITIONS)


def shown_step(premises: Premises, fragment: Fragment) -> Step | None:
    """The machine's step from the state that ``fragment`` shows; None if no leaf is for it.

    A leaf is for an instruction, at a pc of the text, or for ABSORB, at a sentinel with opcode 0.
    """
    pc, opcode, image = fragment.pc, fragment.opcode, premises.image
    if pc in SENTINELS:
        return next_step(_Shown(premises, image, fragment)) if opcode == 0 else None
    if not image.in_text(pc) or decode(opcode) is None:
        return None
    at = pc - image.text_base
    text = image.text[:at] + opcode.to_bytes(4, "little") + image.text[at + 4 :]
    return next_step(_Shown(premises, replace(image, text=text), fragment))


def _answers_the_digits(case: Case) -> bool:
    """i is the step that C chose, so P cannot defend another one."""
    digits, fragment = tuple(case.digits), case.fragment
    return len(digits) == case.premises.log4_steps and fragment.index == base4_number(digits)


def _has_a_leaf(case: Case) -> bool:
    """pc is an instruction of the text, where ROM looks it up, or a sentinel, where ABSORB is."""
    return case.step is not None


def _reads_follow(case: Case) -> bool:
    """Addresses follow from the opcode's fields and, for memory, from rs1: no verdict pins them."""
    shown = tuple(Read(slot.address, slot.value) for slot in case.fragment.slots)
    return case.step is None or case.step.reads == shown


def _unused_canonical(case: Case) -> bool:
    """A slot that is not used is one message only, about which no verdict can hold."""
    return all(slot == UNUSED for slot in case.fragment.slots if slot.address == UNUSED.address)


def _result_follows(case: Case) -> bool:
    """w_i is what the instruction makes of what it reads."""
    return case.step is None or case.step.record == case.fragment.write


Condition = Callable[[Case], bool]
CONDITIONS: Final[tuple[Condition, ...]] = (
    _answers_the_digits,
    _has_a_leaf,
    _reads_follow,
    _unused_canonical,
    _result_follows,
)


@dataclass(slots=True)
class _Shown:
    """The state as a fragment shows it: every word that is read comes from a slot, in slot order.

    A word that no slot holds reads 0; the step's reads then differ from the slots.
    """

    premises: Premises
    image: ProgramImage
    fragment: Fragment
    left: list[Slot] = field(init=False)

    def __post_init__(self) -> None:
        self.left = list(self.fragment.slots)

    @property
    def pc(self) -> int:
        return self.fragment.pc

    def register(self, index: int) -> int:
        return self._take(register_address(index))

    def word(self, address: int) -> int | None:
        return self._take(address) if self.premises.readable(address) else None

    def writable(self, address: int) -> bool:
        return self.premises.writable(address)

    def _take(self, address: int) -> int:
        for slot in self.left:
            if slot.address == address:
                self.left.remove(slot)
                return slot.value
        return 0
