"""Single-field lies: one field of F_i, or of the committed record, and nothing else is false.

The challenger must come to that step, so the record there is false too: as the wrong field makes it
where EXECUTE accepts that, else by one bit.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import Final

from protocol.dispute.claim import base4
from protocol.dispute.execute import executes, shown_step
from protocol.dispute.fragment import UNUSED, Fragment, Slot, Slots
from protocol.dispute.lies.fragments import Forged, Forgery
from protocol.dispute.lies.premise import with_slot
from protocol.dispute.lies.scene import Chance, Scene
from riscv_vm.record import Record

_SLOT: Final = ("address", "value", "last", "init")
_FLIP: Final = 1 << 4
"""Of a word; an address stays aligned. ``index``, ``last`` and ``init`` are wrong by one."""


def wrong_fields(fragment: Fragment) -> Iterator[tuple[str, Fragment]]:
    """Every single-field corruption of ``fragment``, by the field's name."""
    yield "index", replace(fragment, index=fragment.index ^ 1)
    yield "pc", replace(fragment, pc=fragment.pc ^ _FLIP)
    yield "opcode", replace(fragment, opcode=fragment.opcode ^ _FLIP)
    for place, slot in enumerate(fragment.slots):
        for name in _SLOT:
            slots = with_slot(fragment, place, _wrong_slot(slot, name))
            yield f"slot-{place}-{name}", replace(fragment, slots=slots)
    for name in Record._fields:
        yield f"write-{name}", replace(fragment, write=wrong_record(fragment.write, name))


def wrong_record(record: Record, name: str) -> Record:
    """``record`` with one bit of one word flipped."""
    return record._replace(**{name: getattr(record, name) ^ _FLIP})


def _wrong_slot(slot: Slot, name: str) -> Slot:
    bit = _FLIP if name in ("address", "value") else 1
    return Slot(**{each: getattr(slot, each) ^ bit * (each == name) for each in _SLOT})


def _wrong_field(name: str, _rng: Chance, scene: Scene, index: int) -> Forged:
    """F_i with this field wrong, and the result that follows if one does."""
    honest = scene.fragment(index)
    wrong = dict(wrong_fields(honest))[name]
    step = shown_step(scene.premises, wrong)
    if step is not None and not name.startswith("write-"):
        led = replace(wrong, write=step.record)
        if executes(scene.premises, base4(index, scene.premises.log4_steps), led):
            wrong = led
    record = wrong.write
    return Forged(wrong, wrong_record(record, "wval") if record == honest.write else record)


def _wrong_record(name: str, _rng: Chance, scene: Scene, index: int) -> Forged:
    """The honest F_i of a record that is wrong in this field: RECORD."""
    honest = scene.fragment(index)
    return Forged(honest, wrong_record(honest.write, name))


_NO_SLOTS: Final[Slots] = (UNUSED, UNUSED, UNUSED)
_NAMES: Final = tuple(
    name for name, _ in wrong_fields(Fragment(0, 0, 0, _NO_SLOTS, Record(0, 0, 0)))
)
FRAGMENT_FIELDS: Final[Mapping[str, Forgery]] = MappingProxyType(
    {name: partial(_wrong_field, name) for name in _NAMES}
)
RECORD_FIELDS: Final[Mapping[str, Forgery]] = MappingProxyType(
    {name: partial(_wrong_record, name) for name in Record._fields}
)
