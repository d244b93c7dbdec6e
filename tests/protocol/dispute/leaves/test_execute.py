"""Every EXECUTE leaf against the reference machine: all corners, random operands, all corruptions.

What is right comes from ``riscv_vm.machine`` (``tests.builders.steps``); the pure game's
``executes`` must say the same as Script about every fragment.
"""

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from random import Random

import pytest

from protocol.dispute.claim import base4
from protocol.dispute.execute import executes
from protocol.dispute.fragment import UNUSED, Fragment, Slot
from protocol.dispute.leaves import execute
from protocol.dispute.leaves.memory import STORES
from riscv_vm.isa import NOWRITE, SENTINELS, STACK_BASE, TRAP, decode
from riscv_vm.record import Record, absorbing, register_address
from tests.builders.leaves import bare_holds, fragment_values, leaf_holds
from tests.builders.steps import (
    LOG4,
    PREMISES,
    absorbing_cases,
    cases,
    corruptions,
    honest,
    lawful,
)

BORDERS = execute.Borders.of(PREMISES)
PER_LEAF = 200
"""Honest cases of each leaf; each is shown with a few fields corrupted, all of them in turn."""

FIELDS = LOG4 + 3 + 12 + 3


def cases_of(leaf: str, rng: Random) -> Iterator[Fragment]:
    """Honest fragments that belong to ``leaf``, as the machine ended them."""
    if leaf == execute.ABSORB:
        return absorbing_cases(rng)
    name, traps = leaf.removesuffix("_trap"), leaf.endswith("_trap")
    every = cases(name, rng)
    if name not in execute.TRAPPING:
        return every
    return (f for f in every if (f.write.next_pc == TRAP) == traps)


def accepted(fragment: Fragment, digits: tuple[int, ...], name: str) -> bool:
    """Whether the body of leaf ``name`` accepts it, with the hints that the values ask for."""
    template = execute.template(name, BORDERS)
    hints = execute.hints_for(fragment) if template.hints else ()
    values = fragment_values(fragment, LOG4, digits)
    return bare_holds(template, values, hints or (0,) * template.hints)


def leaves_for(fragment: Fragment, leaf: str) -> set[str]:
    """The leaves that could take a corrupted fragment: by its old and its new opcode."""
    instruction = decode(fragment.opcode)
    bases = {leaf.removesuffix("_trap"), *([instruction.name] if instruction else [])}
    traps = {f"{name}_trap" for name in bases if name in execute.TRAPPING}
    return bases | traps | ({execute.ABSORB} if fragment.pc in SENTINELS else set())


def check(leaf: str, fragment: Fragment, number: int, rng: Random, fields: int) -> None:
    """The leaf accepts it; of what has one field changed, leaves accept what is lawful."""
    right = base4(fragment.index, LOG4)
    assert lawful(fragment, right) and executes(PREMISES, right, fragment), fragment
    assert accepted(fragment, right, leaf), fragment
    changed = list(corruptions(fragment, rng))
    assert len(changed) == FIELDS
    for place in range(fields * number, fields * (number + 1)):
        field, other, digits = changed[place % FIELDS]
        expected = lawful(other, digits)
        assert executes(PREMISES, digits, other) == expected, (field, other)
        takers = [name for name in leaves_for(other, leaf) if accepted(other, digits, name)]
        assert len(takers) == expected, (field, other, digits, takers)


@pytest.mark.parametrize("fields", [2, pytest.param(7, marks=pytest.mark.slow)])
@pytest.mark.parametrize("leaf", execute.names())
def test_honest_steps_and_corrupted_ones(leaf: str, fields: int) -> None:
    rng = Random(f"{leaf} {fields}")
    for number, fragment in enumerate(islice(cases_of(leaf, rng), PER_LEAF)):
        check(leaf, fragment, number, rng, fields)


@pytest.mark.parametrize("leaf", execute.names())
def test_no_other_leaf_takes_a_step(leaf: str) -> None:
    """Of the 58 leaves one accepts an honest fragment, also a trap's twin does not."""
    fragment = next(cases_of(leaf, Random(f"other {leaf}")))
    digits = base4(fragment.index, LOG4)
    assert [n for n in execute.names() if accepted(fragment, digits, n)] == [leaf]


def not_trapped(fragment: Fragment, rng: Random) -> Iterator[Fragment]:
    """What a trapping step would show if its leaf forgot to look: rightly aligned, or as it is."""
    instruction = decode(fragment.opcode)
    assert instruction is not None
    name, first = instruction.name, fragment.slots[0]
    address = first.value + instruction.imm & 0xFFFF_FFFF
    place, after, word = address & ~3, fragment.pc + 4, rng.getrandbits(32)
    register = register_address(instruction.rd) if instruction.rd else NOWRITE
    if name == "jalr":
        for target in (address & ~1, address & ~3):
            yield replace(fragment, write=Record(register, after * bool(instruction.rd), target))
        return
    width = {"b": 1, "h": 2, "w": 4}[name.removesuffix("u")[-1]]
    field, read = (1 << 8 * width) - 1, Slot(place, word, 0, 1)
    for offset in {address & 3, address & 3 & -width}:
        if name in STORES:
            value = fragment.slots[1].value & field
            merged = (word & ~(field << 8 * offset) | value << 8 * offset) & 0xFFFF_FFFF
            slots = (first, fragment.slots[1], fragment.slots[2] if width == 4 else read)
            wval = fragment.slots[1].value if width == 4 else merged
            yield replace(fragment, slots=slots, write=Record(place, wval, after))
        else:
            loaded = word >> 8 * offset & field
            if name in ("lb", "lh") and loaded > field >> 1:
                loaded |= 0xFFFF_FFFF & ~field
            write = Record(register, loaded * bool(instruction.rd), after)
            yield replace(fragment, slots=(first, read, fragment.slots[2]), write=write)


@pytest.mark.parametrize("name", execute.TRAPPING)
def test_a_trap_is_no_choice(name: str) -> None:
    """Misaligned or outside, a step must trap; inside and aligned it must not."""
    rng = Random(f"trap {name}")
    for fragment in islice(cases_of(f"{name}_trap", rng), PER_LEAF):
        for shown in not_trapped(fragment, rng):
            assert not accepted(shown, base4(shown.index, LOG4), name), shown
    for fragment in islice(cases_of(name, rng), PER_LEAF):
        kept = 1 + (name in STORES)
        slots = (*fragment.slots[:kept], UNUSED, UNUSED)[:3]
        first, second, third = slots
        shown = replace(fragment, slots=(first, second, third), write=absorbing(TRAP))
        assert not accepted(shown, base4(shown.index, LOG4), f"{name}_trap"), shown


@pytest.mark.parametrize("leaf", execute.names())
def test_the_whole_leaf_with_its_signatures(leaf: str) -> None:
    """Signed messages in place of bare digits: the same verdicts, within the stack's limit."""
    rng = Random(f"whole {leaf}")
    fragment = next(cases_of(leaf, rng))
    template = execute.template(leaf, BORDERS)
    changed = {field: (f, digits) for field, f, digits in corruptions(fragment, rng)}
    shown = [(fragment, base4(fragment.index, LOG4))]
    shown += [changed[field] for field in ("digit 4", "slot 2 address", "wval", "next_pc")]
    for number, (f, digits) in enumerate(shown):
        values = fragment_values(f, LOG4, digits)
        assert leaf_holds(template, values, execute.hints_for(fragment)) == (number == 0)


def test_names() -> None:
    assert len(set(execute.names())) == len(execute.names()) == 48 + 9 + 1
    assert STACK_BASE in {start for start, _ in BORDERS.writable}


def test_the_least_hint_is_the_manuals() -> None:
    """What the prover's side supplies for a division is what the leaf takes."""
    rng = Random(1)
    divided = honest(0x02B5_4533, [0] * 10 + [7, 3] + [0] * 20, rng)  # div a0, a0, a1
    assert execute.hints_for(divided) == (2, *[0] * 7, 1, *[0] * 7)
    assert execute.hints_for(honest(0x00B5_0533, [0] * 32, rng)) == ()  # add a0, a0, a1
