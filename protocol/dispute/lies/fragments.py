"""Forged steps: each makes a false record of one step, and the fragment that defends it.

A forgery is a function of chance, a scene and the step to lie at; None where this kind of lie is
not possible. The first ones need no false premise; the others have one that EXECUTE cannot see.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Final, NamedTuple

from protocol.dispute.execute import shown_step
from protocol.dispute.fragment import NEVER, SLOTS, Fragment, Slot
from protocol.dispute.lies.premise import Premise, justify, with_slot
from protocol.dispute.lies.scene import Chance, Scene, record_at
from riscv_vm.isa import HALT, NOWRITE, REGISTER_BASE, SENTINELS, TRAP
from riscv_vm.record import Record, register_address

CORNERS: Final = (
    *(0, 1, 4, 0x1000, 0x7FFF_FFFF, 0x8000_0000),
    *(register_address(0), register_address(1), NOWRITE, HALT, TRAP),
)
_REGISTERS: Final = 32
_OLDER: Final = 6
"""So many older values of a word a liar looks for."""
_SAMPLES: Final = 8


class Forged(NamedTuple):
    """What a liar shows at a step, and what it has committed there."""

    fragment: Fragment
    record: Record


Forgery = Callable[[Chance, Scene, int], Forged | None]


def other(rng: Chance, word: int) -> int:
    """A word that is not ``word``: near it, a corner or random."""
    choices = (word ^ 1 << rng.randrange(0, 32), rng.choice(CORNERS), rng.getrandbits(32))
    return next((c for c in rng.sample(choices, len(choices)) if c != word), word ^ 1)


def false_record(rng: Chance, record: Record, field: str | None = None) -> Record:
    """``record`` with one wrong field."""
    name = field or rng.choice(Record._fields)
    return record._replace(**{name: other(rng, getattr(record, name))})


# Without a false premise


def unexecuted(rng: Chance, scene: Scene, index: int) -> Forged:
    """The true premises, and the false record as their result: EXECUTE refuses."""
    honest = scene.fragment(index)
    record = false_record(rng, honest.write)
    return Forged(replace(honest, write=record), record)


def unrevealed(rng: Chance, scene: Scene, index: int) -> Forged:
    """The honest fragment of a step whose record was false: RECORD."""
    honest = scene.fragment(index)
    return Forged(honest, false_record(rng, honest.write))


def wrong_index(rng: Chance, scene: Scene, index: int) -> Forged:
    """The fragment of another step, of the same block or any: EXECUTE refuses."""
    another = rng.choice((index ^ 1, index ^ 2, (index + 1) % scene.premises.steps))
    return Forged(scene.fragment(another), false_record(rng, record_at(scene.past, index)))


def wrong_slot_address(rng: Chance, scene: Scene, index: int) -> Forged:
    """A slot at another address than the instruction's: EXECUTE refuses."""
    honest = scene.fragment(index)
    place = rng.randrange(0, SLOTS)
    wrong = replace(honest.slots[place], address=other(rng, honest.slots[place].address))
    record = false_record(rng, honest.write)
    return Forged(replace(honest, slots=with_slot(honest, place, wrong), write=record), record)


def wrong_word(rng: Chance, scene: Scene, index: int) -> Forged | None:
    """All that is true of another word than the one that the instruction reads: EXECUTE refuses."""
    honest, past = scene.fragment(index), scene.past
    used = [place for place in range(SLOTS) if honest.slots[place].address]
    if not used:
        return None
    place, address = rng.choice(used), register_address(rng.randrange(1, _REGISTERS))
    last = past.writer(address, index)
    slot = Slot(address, past.value(address, index), max(last, 0), int(last == NEVER))
    shown = replace(honest, slots=with_slot(honest, place, slot))
    step = shown_step(scene.premises, shown)
    if step is None or step.record == honest.write:
        return None
    return Forged(replace(shown, write=step.record), step.record)


def wrong_x0(rng: Chance, scene: Scene, index: int) -> Forged | None:
    """A value in a slot that is not used, x0 for one: EXECUTE refuses."""
    honest = scene.fragment(index)
    empty = [place for place in range(SLOTS) if honest.slots[place].address == 0]
    if not empty:
        return None
    place = rng.choice(empty)
    slot = honest.slots[place]
    strange = (replace(slot, value=1), replace(slot, last=1), replace(slot, init=0))
    record = false_record(rng, honest.write)
    slots = with_slot(honest, place, rng.choice(strange))
    return Forged(replace(honest, slots=slots, write=record), record)


def invented_opcode(rng: Chance, scene: Scene, index: int) -> Forged:
    """A sentinel pc with an opcode that the text has somewhere: EXECUTE refuses."""
    honest, image = scene.fragment(index), scene.premises.image
    record = false_record(rng, honest.write)
    pc, opcode = rng.choice(SENTINELS), image.opcode(image.entry)
    return Forged(replace(honest, pc=pc, opcode=opcode, write=record), record)


# With a false premise


def wrong_opcode(rng: Chance, scene: Scene, index: int) -> Forged | None:
    """Another instruction: ROM. At a sentinel there is none: EXECUTE refuses."""
    opcode, text = scene.fragment(index).opcode, scene.premises.image.text
    known = int.from_bytes(text[4 * rng.randrange(0, len(text) // 4) :][:4], "little")
    near = (opcode ^ 1 << bit for bit in rng.sample(range(32), 12))
    lies = (Premise(opcode=word) for word in (known, *near) if word != opcode)
    return _first(scene, index, lies)


def wrong_pc(rng: Chance, scene: Scene, index: int) -> Forged | None:
    """Another place of the text or a sentinel, with what truly is there: ENTRY or OPEN."""
    image, honest = scene.premises.image, scene.fragment(index).pc
    places = [*range(image.text_base, image.text_end, 4), *SENTINELS]
    rng.shuffle(places)
    return _first(scene, index, (Premise(pc=pc) for pc in places if pc != honest))


def wrong_value(rng: Chance, scene: Scene, index: int) -> Forged | None:
    """A wrong word at the honest pointer: OPEN, or INIT, INPUT or ZERO if nothing wrote it."""
    lies = (
        Premise(words={address: other(rng, value)})
        for address, value in _reads(rng, scene, index)
        for _ in range(3)
    )
    return _first(scene, index, lies)


def wrong_initial(rng: Chance, scene: Scene, index: int) -> Forged | None:
    """A wrong initial value of a word that truly was never written: INIT, INPUT or ZERO."""
    lies = (
        Premise(words={address: other(rng, value)})
        for address, value in _reads(rng, scene, index)
        if scene.past.writer(address, index) == NEVER
        for _ in range(3)
    )
    return _first(scene, index, lies)


def wrong_input(rng: Chance, scene: Scene, index: int) -> Forged | None:
    """A wrong word of an opened input: WORD."""
    lies = (
        Premise(words={address: other(rng, value)})
        for address, value in _reads(rng, scene, index)
        if scene.premises.input_page(address)
        for _ in range(3)
    )
    return _first(scene, index, lies)


def stale_write(rng: Chance, scene: Scene, index: int) -> Forged | None:
    """An older value of the word, with the step that truly wrote it: OPEN."""

    def lies() -> Iterator[Premise]:
        for address, _ in _reads(rng, scene, index):
            older = list(_older(scene, address, index))
            rng.shuffle(older)
            for step in older:
                value = record_at(scene.past, step).wval
                yield Premise.pointing(address, value, step, 0)

    return _first(scene, index, lies())


def stale_initial(rng: Chance, scene: Scene, index: int) -> Forged | None:
    """The initial value of a word, as if nothing had written it: OPEN."""
    past = scene.past
    lies = (
        Premise.pointing(address, past.value(address, 0), 0, 1)
        for address, _ in _reads(rng, scene, index)
        if past.writer(address, index) != NEVER
    )
    return _first(scene, index, lies)


def invented_initial(rng: Chance, scene: Scene, index: int) -> Forged | None:
    """A value that a word of memory never began with, as if it had: INIT, INPUT or ZERO."""
    lies = (
        Premise.pointing(address, other(rng, scene.past.value(address, 0)), 0, 1)
        for address, _ in _reads(rng, scene, index)
        if address < REGISTER_BASE
        for _ in range(3)
    )
    return _first(scene, index, lies)


def elsewhere(rng: Chance, scene: Scene, index: int) -> Forged | None:
    """What another step wrote to another address: OPEN."""

    def lies() -> Iterator[Premise]:
        for address, _ in _reads(rng, scene, index):
            later = range(scene.past.writer(address, index) + 1, index)
            for step in rng.sample(later, min(len(later), _SAMPLES)):
                yield Premise.pointing(address, record_at(scene.past, step).wval, step, 0)

    return _first(scene, index, lies())


def future(rng: Chance, scene: Scene, index: int) -> Forged | None:
    """A pointer to the step itself or a later one: FUTURE."""
    end = scene.premises.steps

    def lies() -> Iterator[Premise]:
        for address, value in _reads(rng, scene, index):
            last = rng.choice((index, end - 1, rng.randrange(index, end)))
            for _ in range(3):
                yield Premise.pointing(address, other(rng, value), last, 0)

    return _first(scene, index, lies())


def strange_init(rng: Chance, scene: Scene, index: int) -> Forged | None:
    """An INIT digit that is neither 0 nor 1: FUTURE."""

    def lies() -> Iterator[Premise]:
        for address, value in _reads(rng, scene, index):
            last = max(scene.past.writer(address, index), 0)
            for _ in range(3):
                init = rng.randrange(2, 16)
                yield Premise.pointing(address, other(rng, value), last, init)

    return _first(scene, index, lies())


FORGERIES: Final[Mapping[str, Forgery]] = MappingProxyType(
    {
        forgery.__name__: forgery
        for forgery in (
            *(unexecuted, unrevealed, wrong_index, wrong_slot_address, wrong_word, wrong_x0),
            *(invented_opcode, wrong_opcode, wrong_pc, wrong_value, wrong_initial, stale_write),
            *(stale_initial, invented_initial, elsewhere, future, strange_init),
        )
    }
)


def _reads(rng: Chance, scene: Scene, index: int) -> list[tuple[int, int]]:
    """The (address, value) pairs that a step truly reads, shuffled."""
    reads = [(slot.address, slot.value) for slot in scene.fragment(index).slots if slot.address]
    rng.shuffle(reads)
    return reads


def _older(scene: Scene, address: int, before: int) -> Iterator[int]:
    """The steps that wrote a word before the one whose value it has, the newest first."""
    step = scene.past.writer(address, before)
    for _ in range(_OLDER):
        step = NEVER if step == NEVER else scene.past.writer(address, step)
        if step == NEVER:
            return
        yield step


def _first(scene: Scene, index: int, lies: Iterable[Premise]) -> Forged | None:
    """The fragment of the first lie that leads to another record than the true one."""
    honest = record_at(scene.past, index)
    for said in lies:
        fragment = justify(scene, index, said)
        if fragment is not None and fragment.write != honest:
            return Forged(fragment, fragment.write)
    return None
