"""Every EXECUTE leaf against the reference machine: corners and random operands, all corruptions.

What is right comes from ``riscv_vm.machine``; the pure game's ``executes`` must agree with Script
on every corrupted fragment.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from random import Random

import pytest

from protocol.dispute.claim import base4
from protocol.dispute.execute import executes
from protocol.dispute.fragment import UNUSED, Fragment, Slot
from protocol.dispute.leaves import execute
from protocol.dispute.premises import InputLayout, Premises
from riscv_vm.image import ProgramImage, load_elf
from riscv_vm.isa import ENCODINGS, HALT, INPUT_BASE, STACK_BASE, STACK_TOP, TRAP, Format
from riscv_vm.machine import UNUSED as NO_READ
from riscv_vm.machine import next_step
from riscv_vm.record import Record
from tests.builders.asm import TEXT_BASE, encode
from tests.builders.elf import ElfSegment, R, W, X, write_elf
from tests.builders.leaves import bare_holds, fragment_values, leaf_holds
from tests.builders.programs import CORNERS, DATA_BASE, random_value

LOG4 = 5
INPUT = bytes(range(1, 31))
DATA = Random(6).randbytes(64)
TEXT_WORDS = 128
PC = TEXT_BASE + 4 * 64
ROWS = {row.name: row for row in ENCODINGS}
PER_LEAF = 60
"""Honest cases of a leaf in the default run; each is shown with four corruptions."""


def blank_image() -> ProgramImage:
    """A text of nops up to an ebreak, 64 bytes of data and 64 of bss."""
    words = [encode("addi")] * (TEXT_WORDS - 1) + [encode("ebreak")]
    text = b"".join(w.to_bytes(4, "little") for w in words)
    segments = [ElfSegment(TEXT_BASE, text, R | X), ElfSegment(DATA_BASE, DATA, R | W, 128)]
    return load_elf(write_elf(TEXT_BASE, segments))


IMAGE = blank_image()


def image_with(word: int, at: int) -> ProgramImage:
    offset = at - TEXT_BASE
    text = IMAGE.text[:offset] + word.to_bytes(4, "little") + IMAGE.text[offset + 4 :]
    return replace(IMAGE, text=text)


PREMISES = Premises(IMAGE, InputLayout.whole(len(INPUT)), LOG4, 20)
BORDERS = execute.Borders.of(PREMISES)


@dataclass
class Shown:
    """A state to take one step from."""

    image: ProgramImage
    pc: int
    registers: list[int]

    def register(self, index: int) -> int:
        return self.registers[index]

    def word(self, address: int) -> int | None:
        offset = address - INPUT_BASE
        region = len(INPUT).to_bytes(4, "little") + INPUT + bytes(-len(INPUT) % 4)
        if 0 <= offset < len(region):
            return int.from_bytes(region[offset : offset + 4], "little")
        return self.image.initial_word(address)

    def writable(self, address: int) -> bool:
        return self.image.initial_word(address) is not None


def honest(word: int, registers: list[int], rng: Random, pc: int = PC) -> Fragment:
    """F_i of the machine's step from ``registers``, at a random place of the trace."""
    step = next_step(Shown(image_with(word, pc), pc, [0, *registers[1:]]))
    index = rng.choice([0, 1, 3, 4, 4**LOG4 - 1, rng.randrange(4**LOG4)])
    slots = []
    for read in step.reads:
        if read == NO_READ:
            slots.append(UNUSED)
        elif rng.random() < 0.5 or index == 0:
            slots.append(Slot(read.address, read.value, 0, 1))
        else:
            slots.append(Slot(read.address, read.value, rng.randrange(index), 0))
    first, second, third = slots
    return Fragment(index, pc, word, (first, second, third), step.record)


def access_addresses(name: str, rng: Random) -> list[int]:
    """In and just outside every segment, misaligned, and in the registers' own space."""
    near = [start + d for start, end in BORDERS.readable for d in (-4, -1, 0, 1, 2, 3, 4)]
    near += [end + d for start, end in BORDERS.readable for d in (-4, -3, -2, -1, 0, 1)]
    far = [0, 4, 0xFFC, 0xF000_0004, 0xF000_0028, 0xFFFF_FFFC, 0xFFFF_FFFF, TEXT_BASE, STACK_TOP]
    inside = [DATA_BASE + rng.randrange(64) for _ in range(24)]
    return [a & 0xFFFF_FFFF for a in (*near, *far, *inside)]


def jump_targets(rng: Random) -> list[int]:
    end = TEXT_BASE + 4 * TEXT_WORDS
    edges = [e + d for e in (TEXT_BASE, end) for d in range(-4, 5)]
    near = [rng.randrange(TEXT_BASE, end) for _ in range(20)]
    return [*edges, *near, 0, 0xFFFF_FFFF, HALT, TRAP, DATA_BASE, random_value(rng)]


def cases(name: str, rng: Random) -> Iterator[Fragment]:
    """Honest fragments of the instruction, its corner operands first."""
    row = ROWS[name]
    corners = [(a, b) for a in CORNERS for b in CORNERS]
    rng.shuffle(corners)
    operands = [*corners, *((random_value(rng), random_value(rng)) for _ in range(100))]
    targets: list[int] = []
    if name in execute.TRAPPING:
        targets = jump_targets(rng) if name == "jalr" else access_addresses(name, rng)
        rng.shuffle(targets)
        operands = [operands[n % len(operands)] for n in range(2 * len(targets))]
    for n, (a, b) in enumerate(operands):
        registers = [random_value(rng) for _ in range(32)]
        rd, rs1, rs2 = (rng.randrange(1, 32) if rng.random() < 0.85 else 0 for _ in range(3))
        imm = rng.choice([-2048, -1, 0, 1, 2047, rng.randint(-2048, 2047)])
        if row.format in (Format.B, Format.J):
            imm = rng.choice([-256, 240, -4, 4, 8, rng.randrange(-240, 240, 4)])
        elif row.format is Format.U:
            imm = rng.choice([0, 0x1000, 0x8000_0000, 0xFFFF_F000, rng.getrandbits(32)])
        elif row.format is Format.SHIFT:
            imm = n % 32
        registers[rs2], registers[rs1] = b, a
        if targets:
            rs1 = rs1 or 7
            registers[rs1] = (targets[n % len(targets)] - imm) & 0xFFFF_FFFF
        word = encode(name, rd=rd, rs1=rs1, rs2=rs2, imm=imm)
        if name == "ecall":
            registers[17] = rng.choice([93, 93, 93, 92, 0, 0x1000_005D, random_value(rng)])
            registers[10] = rng.choice([0, 0, 1, 0x1000_0000, random_value(rng)])
        pc = PC
        if row.format not in (Format.B, Format.J):
            pc = rng.choice([TEXT_BASE, TEXT_BASE + 4 * (TEXT_WORDS - 2), PC])
        yield honest(word, registers, rng, pc)


def absorbing(rng: Random) -> Iterator[Fragment]:
    for sentinel in (HALT, TRAP):
        for index in (0, 1, 4**LOG4 - 1, rng.randrange(4**LOG4)):
            yield Fragment(index, sentinel, 0, (UNUSED,) * 3, Record(0xFFFF_FFFF, 0, sentinel))


def accepts(fragment: Fragment, digits: tuple[int, ...] | None = None) -> bool:
    """Whether any leaf accepts it: the leaf that it names, or, if it traps or not, its twin."""
    name = execute.name_for(fragment)
    if name is None:
        return False
    template = execute.template(name, BORDERS)
    values = fragment_values(fragment, LOG4, digits or base4(fragment.index, LOG4))
    return bare_holds(template, values, execute.hints_for(fragment))


def flipped(value: int, rng: Random) -> int:
    return value ^ 1 << rng.randrange(32)


def wrong_write(fragment: Fragment, rng: Random) -> Fragment:
    field = rng.choice(["waddr", "wval", "next_pc"])
    write = fragment.write
    return replace(fragment, write=write._replace(**{field: flipped(getattr(write, field), rng)}))


def with_slot(fragment: Fragment, n: int, field: str, value: int) -> Fragment:
    slots = list(fragment.slots)
    slots[n] = replace(slots[n], **{field: value})
    first, second, third = slots
    return replace(fragment, slots=(first, second, third))


def wrong_address(fragment: Fragment, rng: Random) -> Fragment:
    n = rng.randrange(3)
    return with_slot(fragment, n, "address", flipped(fragment.slots[n].address, rng))


def corrupted(fragment: Fragment, rng: Random) -> Fragment:
    """Any one field of F_i changed."""
    n, bit = rng.randrange(3), 1 << rng.randrange(4 * ((LOG4 + 1) // 2))
    slot = fragment.slots[n]
    match rng.choice(["index", "pc", "opcode", "value", "last", "init"]):
        case "index":
            return replace(fragment, index=fragment.index ^ bit)
        case "pc":
            return replace(fragment, pc=flipped(fragment.pc, rng))
        case "opcode":
            return replace(fragment, opcode=flipped(fragment.opcode, rng))
        case "value":
            return with_slot(fragment, n, "value", flipped(slot.value, rng))
        case "last":
            return with_slot(fragment, n, "last", slot.last ^ bit)
        case _:
            return with_slot(fragment, n, "init", slot.init ^ 1 << rng.randrange(4))


def check(fragment: Fragment, rng: Random) -> None:
    """The honest fragment is accepted; one with a wrong result, address or anything else is not."""
    assert accepts(fragment), fragment
    assert not accepts(wrong_write(fragment, rng)), fragment
    assert not accepts(wrong_address(fragment, rng)), fragment
    digits = base4(fragment.index, LOG4)
    for _ in range(2):
        other = corrupted(fragment, rng)
        assert accepts(other, digits) == executes(PREMISES, digits, other), other
    place = rng.randrange(LOG4)
    elsewhere = (*digits[:place], digits[place] ^ 1, *digits[place + 1 :])
    assert not accepts(fragment, elsewhere)


@pytest.mark.parametrize("name", ROWS)
def test_honest_steps_and_corrupted_ones(name: str) -> None:
    rng = Random(ROWS[name].match)
    for _, fragment in zip(range(PER_LEAF), cases(name, rng), strict=False):
        check(fragment, rng)


@pytest.mark.slow
@pytest.mark.parametrize("name", ROWS)
def test_all_honest_steps(name: str) -> None:
    rng = Random(ROWS[name].match + 1)
    count = 0
    while count < 200:
        for fragment in cases(name, rng):
            check(fragment, rng)
            count += 1


def test_absorbing_steps() -> None:
    rng = Random(66)
    for fragment in absorbing(rng):
        check(fragment, rng)
        for invented in (encode("addi"), 1, 0x8000_0000):
            assert not accepts(replace(fragment, opcode=invented))
    for pc in (0, 1, 0xFFFF_FFF0, 0xFFFF_FFF2, 0xFFFF_FFF9, 0xFFFF_FFFD, 0xFFFF_FFE1, 0x7FFF_FFF1):
        other = replace(fragment, pc=pc, write=fragment.write._replace(next_pc=pc))
        template = execute.template(execute.ABSORB, BORDERS)
        values = fragment_values(other, LOG4, base4(other.index, LOG4))
        assert not bare_holds(template, values, ())


@pytest.mark.parametrize("name", execute.TRAPPING)
def test_each_case_has_its_own_leaf(name: str) -> None:
    """Both leaves of a trapping instruction are met, and neither accepts the other's steps."""
    rng = Random(67)
    met = {name: 0, f"{name}_trap": 0}
    for _, fragment in zip(range(80), cases(name, rng), strict=False):
        mine = execute.name_for(fragment)
        assert mine in met
        met[mine] += 1
        (other,) = met.keys() - {mine}
        values = fragment_values(fragment, LOG4, base4(fragment.index, LOG4))
        assert not bare_holds(execute.template(other, BORDERS), values, ())
    assert all(met.values()), met


@pytest.mark.parametrize("name", ["addi", "beq", "lw", "ecall", "div"])
def test_pc_lies_in_text(name: str) -> None:
    """ROM looks a pc up in text only, so that EXECUTE takes no other."""
    rng = Random(68)
    fragment = next(f for f in cases(name, rng) if execute.name_for(f) == name)
    end = TEXT_BASE + 4 * TEXT_WORDS
    for pc in (TEXT_BASE - 4, TEXT_BASE - 1, end, end + 4, PC + 1, PC + 2, PC + 3, HALT, 0):
        step = fragment.write.next_pc - fragment.pc
        next_pc = fragment.write.next_pc if name == "ecall" else pc + step & 0xFFFF_FFFF
        moved = replace(fragment, pc=pc, write=fragment.write._replace(next_pc=next_pc))
        template = execute.template(name, BORDERS)
        values = fragment_values(moved, LOG4, base4(moved.index, LOG4))
        assert not bare_holds(template, values, execute.hints_for(fragment))


@pytest.mark.parametrize("name", ["div", "divu", "rem", "remu"])
def test_no_malleated_hint(name: str) -> None:
    rng = Random(69)
    for fragment in (f for _, f in zip(range(6), cases(name, rng), strict=False)):
        template = execute.template(name, BORDERS)
        values = fragment_values(fragment, LOG4, base4(fragment.index, LOG4))
        hints = execute.hints_for(fragment)
        assert bare_holds(template, values, hints)
        for place in range(16):
            for wrong in (hints[place] ^ 1, hints[place] + 16, -1, 16):
                changed = [*hints[:place], wrong, *hints[place + 1 :]]
                assert not bare_holds(template, values, changed), (fragment, place, wrong)


def test_a_load_to_x0_writes_nowhere() -> None:
    rng = Random(70)
    registers = [0] * 32
    registers[5] = DATA_BASE
    fragment = honest(encode("lw", rd=0, rs1=5, imm=0), registers, rng)
    assert fragment.slots[1].value and fragment.write[:2] == (0xFFFF_FFFF, 0)
    assert accepts(fragment)
    for write in ((0xF000_0000, fragment.slots[1].value), (0xFFFF_FFFF, fragment.slots[1].value)):
        assert not accepts(replace(fragment, write=Record(*write, fragment.write.next_pc)))


@pytest.mark.parametrize("name", execute.names())
def test_the_whole_leaf_with_its_signatures(name: str) -> None:
    """Signed messages in place of bare digits: the same verdicts, within the stack's limit."""
    rng = Random(71)
    fragments = absorbing(rng) if name == execute.ABSORB else cases(name.removesuffix("_trap"), rng)
    fragment = next(f for f in fragments if execute.name_for(f) == name)
    template = execute.template(name, BORDERS)
    digits = base4(fragment.index, LOG4)
    hints = execute.hints_for(fragment)
    assert leaf_holds(template, fragment_values(fragment, LOG4, digits), hints)
    wrong = wrong_write(fragment, rng)
    assert not leaf_holds(template, fragment_values(wrong, LOG4, digits), hints)


def test_names() -> None:
    assert len(set(execute.names())) == len(execute.names()) == 48 + 9 + 1
    assert STACK_BASE in {start for start, _ in BORDERS.writable}
