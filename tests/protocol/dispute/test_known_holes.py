"""Holes of published systems, and of drafts of this one: each is closed by a named test.

Leaves are judged by Bitcoin Core. ``RUN`` is an honest run of 4^5 steps: an odd number of base-4
digits, so that i and every pointer have two bits more than they need.
"""

from dataclasses import replace
from itertools import product
from random import Random

import pytest

from protocol.dispute.assembler import Assembler
from protocol.dispute.claim import base4
from protocol.dispute.fragment import UNUSED, Fragment, Slot
from protocol.dispute.gadgets.blake3 import _Compression
from protocol.dispute.gadgets.word import require_equal
from protocol.dispute.leaves import (
    catalog,
    execute,
    said,
    verdict_open,
    verdict_program,
    verdict_tree,
    verdict_words,
)
from protocol.dispute.leaves.verdict_open import Shape
from protocol.dispute.premises import Premises
from protocol.dispute.verdicts import Accusation, Predicate
from riscv_vm.isa import HALT, SENTINELS, TRAP
from riscv_vm.record import Record
from tests.builders import steps
from tests.builders.asm import TEXT_BASE, encode
from tests.builders.disputes import LAYOUT, Run, claim_input, settling_program
from tests.builders.leaves import (
    Told,
    bare_holds,
    fragment_values,
    opening_hints,
    told,
    word_digits,
)
from tests.builders.programs import DATA_BASE
from tests.builders.scripts import holds

K = 5
N = 4**K
RUN = Run(Premises(settling_program(Random(5), 70, 3), LAYOUT, K, 20), claim_input(9, 9))
TEXT_END = RUN.premises.image.text_end
BORDERS = execute.Borders.of(steps.PREMISES)
INT_MIN, MINUS_1 = 1 << 31, 0xFFFF_FFFF


def executed(
    name: str, fragment: Fragment, digits: tuple[int, ...] = (), hints: tuple[int, ...] = ()
) -> bool:
    """Whether the EXECUTE leaf ``name`` accepts a fragment of ``tests.builders.steps``."""
    digits = digits or base4(fragment.index, steps.LOG4)
    template = execute.template(name, BORDERS)
    return bare_holds(template, fragment_values(fragment, steps.LOG4, digits), hints)


def with_result(fragment: Fragment, value: int) -> Fragment:
    return replace(fragment, write=fragment.write._replace(wval=value))


# Pages


def test_rom_at_both_borders_of_a_page() -> None:
    """A page that answers for an address beyond its last word convicts with a word of garbage, and
    one that forgets its last word lets an invented instruction stand there."""
    image = RUN.premises.image
    first, *_, last = pages = verdict_program.text_pages(image)
    assert len(pages) > 1 and first.end % 256 == 0 and last.end == TEXT_END
    for page in pages:
        leaf = verdict_program.rom(K, page)
        for pc in (page.start - 4, page.start, page.end - 4, page.end, page.end + 256):
            inside = page.start <= pc < page.end
            right = image.opcode(pc) if image.in_text(pc) else 0
            for opcode in (right, right ^ 1, right ^ 1 << 31):
                shown = Told(7, pc, opcode).values(K)
                assert bare_holds(leaf, shown) == (inside and opcode != right), (hex(pc), opcode)


def test_no_pc_lies_between_rom_and_absorb() -> None:
    """A pc that no ROM page knows and that is no sentinel could execute any invented opcode."""
    fragment = steps.step_of("add", 3, 4)
    for pc in (TEXT_BASE - 4, steps.TEXT_END, steps.PC + 1, steps.PC + 2, 0, HALT - 4, TRAP + 4):
        write = fragment.write._replace(next_pc=pc + 4 & MINUS_1)
        assert not executed("add", replace(fragment, pc=pc, write=write))


def test_data_at_both_borders_of_its_pages() -> None:
    """The same for initial data: the word behind the last constant is bss, where ZERO judges."""
    premises = RUN.premises
    for page in verdict_words.initial_pages(premises):
        leaf = verdict_words.init(K, page, 1)
        for address in (page.start - 4, page.start, page.end - 4, page.end):
            inside = page.start <= address < page.end
            right = RUN.value(address, 0) if inside else 0
            for value in (right, right ^ 1 << 16):
                shown = Told(7, address=address, value=value).values(K, 1)
                assert bare_holds(leaf, shown) == (inside and value != right), hex(address)
    bss = DATA_BASE + 64
    zero = verdict_words.zero(K, tuple(premises.zero_ranges()), 1)
    for address, inside in (
        (bss - 4, False),
        (bss, True),
        (DATA_BASE + 124, True),
        (bss + 64, False),
    ):
        assert bare_holds(zero, Told(7, address=address, value=1).values(K, 1)) == inside


# Tables and arithmetic


@pytest.mark.parametrize("constants", list(product((False, True), repeat=3)))
def test_a_nibble_sum_of_47(constants: tuple[bool, bool, bool]) -> None:
    """Three operands of ones and a carry of two: a table of 46 entries would read the one below.

    Each operand on the stack or a constant: the index is then made in another way.
    """
    asm = Assembler(f"n{n}" for n in range(32))
    ones = [tuple(asm.stack[8 * n : 8 * n + 8]) for n in range(3)]
    expected = tuple(asm.stack[24:])
    a, b, x = ((15,) * 8 if known else word for known, word in zip(constants, ones, strict=True))
    compression = _Compression.start(asm, ())
    compression.v[0], compression.v[4] = a, b
    compression.add_and_xor(0, (4, x), 12, 4)
    require_equal(asm, compression.v[0], expected)
    code = asm.finish()
    total = 3 * MINUS_1 & MINUS_1
    nibbles = [total >> 4 * n & 15 for n in range(8)]
    assert holds(code, [15] * 24 + nibbles)
    assert not holds(code, [15] * 24 + [nibbles[0] ^ 1, *nibbles[1:]])


@pytest.mark.parametrize(("name", "right"), [("div", INT_MIN), ("rem", 0)])
def test_the_least_number_divided_by_minus_one(name: str, right: int) -> None:
    """2^31 is no signed word: the quotient overflows to itself, and nothing traps."""
    fragment = steps.step_of(name, INT_MIN, MINUS_1)
    hints = execute.hints_for(fragment)
    assert fragment.write.wval == right
    for value in (INT_MIN, 0, MINUS_1, INT_MIN - 1, 1):
        assert executed(name, with_result(fragment, value), hints=hints) == (value == right)


def test_division_modulo_2_to_the_32() -> None:
    """7 = 3 * 2863311533 + 0 modulo 2^32: only the full product tells that 7 / 3 is not that."""
    false, honest = 2863311533, {name: steps.step_of(name, 7, 3) for name in ("div", "divu")}
    assert 3 * false & MINUS_1 == 7
    digits = (*(false >> 4 * n & 15 for n in range(8)), *[0] * 8)
    for name, fragment in honest.items():
        assert executed(name, fragment, hints=execute.hints_for(fragment))
        assert not executed(name, with_result(fragment, false), hints=digits)
    for name in ("rem", "remu"):
        assert not executed(name, with_result(steps.step_of(name, 7, 3), 0), hints=digits)


# Machine


def test_a_load_to_x0() -> None:
    """It reads and may trap, but x0 has no address: writing there, or reading nothing, is false."""
    load = encode("lw", rd=0, rs1=5, imm=0)
    fragment = steps.honest(load, [0] * 5 + [DATA_BASE] + [0] * 26, Random(1))
    value, after = fragment.slots[1].value, fragment.write.next_pc
    assert value and fragment.write == (MINUS_1, 0, after) and executed("lw", fragment)
    for waddr, wval in ((0xF000_0000, value), (MINUS_1, value), (0, 0), (0xF000_0000, 0)):
        assert not executed("lw", replace(fragment, write=Record(waddr, wval, after)))
    first, _, third = fragment.slots
    assert not executed("lw", replace(fragment, slots=(first, UNUSED, third)))


@pytest.mark.parametrize("sentinel", SENTINELS)
def test_no_opcode_is_invented_at_a_sentinel(sentinel: int) -> None:
    """ROM has no word there: if an instruction could run, a halted machine would go on anywhere."""
    resting = Record(MINUS_1, 0, sentinel)
    fragment = Fragment(9, sentinel, 0, (UNUSED, UNUSED, UNUSED), resting)
    assert executed(execute.ABSORB, fragment)
    for name in execute.names():
        row = steps.ROWS.get(name.removesuffix("_trap"))
        if row is None:
            continue
        for write in (resting, Record(MINUS_1, 0, sentinel + 4), Record(MINUS_1, 0, TRAP)):
            invented = replace(fragment, opcode=row.match, write=write)
            hints = (0,) * execute.template(name, BORDERS).hints
            assert not executed(name, invented, hints=hints)
            assert not executed(execute.ABSORB, invented)


@pytest.mark.parametrize("name", ["add", "lw", "sb", "beq", "ecall", execute.ABSORB])
def test_execute_with_another_step_than_the_challenger_picked(name: str) -> None:
    """P would defend a step that nobody disputed; also one that is i but for bits beyond N."""
    rng = Random(name)
    found = steps.absorbing_cases(rng) if name == execute.ABSORB else steps.cases(name, rng)
    fragment = next(f for f in found if execute.name_for(f) == name)
    right = base4(fragment.index, steps.LOG4)
    assert executed(name, fragment)
    for place, other in product(range(steps.LOG4), range(4)):
        digits = (*right[:place], other, *right[place + 1 :])
        assert executed(name, fragment, digits) == (digits == right)
    for beyond in (1, 2, 3):
        moved = replace(fragment, index=fragment.index + beyond * 4**steps.LOG4)
        assert not executed(name, moved, right)


@pytest.mark.parametrize("init", range(16))
def test_an_init_nibble_that_is_no_bit(init: int) -> None:
    """2 to 15 are neither a pointer nor INIT: FUTURE convicts, no other leaf takes them for 1 or 0,
    and a slot that is not used has no such form at all."""
    address = DATA_BASE
    wrong = Told(20, address=address, value=RUN.value(address, 0) ^ 1, last=3, init=init)
    page = next(p for p in verdict_words.initial_pages(RUN.premises) if p.holds(address))
    assert bare_holds(verdict_words.future(K, 1), wrong.values(K, 1)) == (init > 1)
    assert bare_holds(verdict_words.init(K, page, 1), wrong.values(K, 1)) == (init == 1)
    pointed = verdict_open.near(Shape(K, 20, K, 0), Accusation(Predicate.POINTED, 1))
    inside = replace(wrong, index=21, last=20)
    shown = inside.values(K, 1) | {said.records(K)[0]: word_digits(address, 5, 0)}
    assert bare_holds(pointed, shown) == (init == 0)
    fragment = steps.step_of("add", 1, 2)
    first, second, _ = fragment.slots
    unused = replace(fragment, slots=(first, second, Slot(0, 0, 0, init)))
    assert executed("add", unused) == (init == 1)


def test_the_unused_bits_of_a_pointer() -> None:
    """last has 12 bits for a step of 10: the two above make a later step, which FUTURE convicts;
    POINTED must not read it as the step below, whose record is right."""
    disputed, number, slot = next(
        (i, n, s)
        for i in range(RUN.steps - 1, 0, -1)
        for n, s in enumerate(RUN.fragment(i).slots)
        if s.init == 0 and s.last // 4 == i // 4
    )
    near = verdict_open.near(Shape(K, 20, K, slot.last % 4), Accusation(Predicate.POINTED, number))
    honest = told(RUN, disputed)
    for beyond in range(4):
        last = slot.last + beyond * N
        for value in (slot.value, slot.value ^ 1):
            fragment = steps.with_slot(honest.executed, number, last=last, value=value)
            values = catalog.spoken(RUN.premises, replace(honest, fragment=fragment))
            future = verdict_words.future(K, number)
            assert bare_holds(future, values) == (beyond > 0)
            assert bare_holds(near, values) == (beyond == 0 and value != slot.value)


# Verdicts


def test_a_verdict_in_a_slot_that_was_not_chosen() -> None:
    """The parent is the node that i's digit picks: every other node of the round is the parent of
    something else, and would convict everybody."""
    transcript = told(RUN, 0b10_11_01)
    values = catalog.spoken(RUN.premises, transcript)
    for child, turn in product(range(4), range(2, K)):
        assert not bare_holds(verdict_tree.node(K, 20, turn, child), values)
    for child in range(4):
        assert not bare_holds(verdict_tree.block(K, 20, child), values)
        assert not bare_holds(verdict_tree.record(K, child), values)


def test_a_stale_pointer_proved_with_a_later_write() -> None:
    """Every register is written again one day. Opened at or behind i, the write proves nothing; and
    no leaf for a child before i's takes its way."""
    tried = 0
    for disputed in range(1, RUN.steps):
        honest = told(RUN, disputed)
        values = catalog.spoken(RUN.premises, honest)
        for number, slot in enumerate(honest.executed.slots[:2]):
            later = [s for s, _ in RUN.writes(slot.address, N) if s >= disputed][:1]
            for step, turn in product(later, (2, 3, 4)):
                if step // 4 ** (K - turn + 1) != disputed // 4 ** (K - turn + 1):
                    continue
                hints = opening_hints(RUN.premises, RUN, step, turn)
                for child in range(3):
                    accusation = Accusation(Predicate.STALE, number)
                    leaf = verdict_open.opening(Shape(K, 20, turn, child), accusation)
                    assert not bare_holds(leaf, values, hints)
                    tried += 1
        if tried > 200:
            break
    assert tried > 100


@pytest.mark.parametrize("turn", [2, 3, 4])
def test_an_opening_of_the_disputed_step_itself(turn: int) -> None:
    """m = c_t and j = i: a step that reads what it writes would look like a stale pointer."""
    step, fragment = next(
        (i, RUN.fragment(i))
        for i in range(4, RUN.steps)
        if RUN.records[i].waddr == RUN.fragment(i).slots[0].address and base4(i, K)[turn - 1] < 3
    )
    values = catalog.spoken(RUN.premises, told(RUN, step))
    hints, way = opening_hints(RUN.premises, RUN, step, turn), base4(step, K)
    for predicate in Predicate:
        leaf = verdict_open.opening(Shape(K, 20, turn, way[turn - 1]), Accusation(predicate))
        assert not bare_holds(leaf, values, hints)
        never = steps.with_slot(fragment, 0, init=1, last=0)
        lie = replace(told(RUN, step), fragment=never)
        assert not bare_holds(leaf, catalog.spoken(RUN.premises, lie), hints)
    if way[-1] < 3:
        near = verdict_open.near(Shape(K, 20, K, way[-1]), Accusation(Predicate.STALE, 0))
        assert not bare_holds(near, values)
