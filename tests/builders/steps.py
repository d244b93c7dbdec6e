"""One step of every instruction from any state, with what is lawful about it.

``honest`` is what the reference machine does from a state drawn here; ``lawful`` asks it again
about a fragment that anyone may have made up. ``protocol.dispute`` is not asked what is right.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from random import Random

from protocol.dispute.fragment import UNUSED, Fragment, Slot
from protocol.dispute.premises import InputLayout, Premises
from riscv_vm.image import ProgramImage, load_elf
from riscv_vm.isa import (
    ENCODINGS,
    HALT,
    INPUT_BASE,
    SENTINELS,
    STACK_BASE,
    STACK_TOP,
    TRAP,
    Format,
    Instruction,
    decode,
)
from riscv_vm.machine import UNUSED as NO_READ
from riscv_vm.machine import Read, next_step
from riscv_vm.record import Record, absorbing
from tests.builders.asm import TEXT_BASE, encode
from tests.builders.elf import ElfSegment, R, W, X, write_elf
from tests.builders.programs import CORNERS, DATA_BASE, random_value

LOG4 = 5
INDEX_BITS = 12
"""Five base-4 digits take three nibbles, two bits more than they fill."""

INPUT = bytes(range(1, 31))
DATA = Random(6).randbytes(64)
TEXT_END = TEXT_BASE + 4 * 128
PC = TEXT_BASE + 4 * 64
ROWS = {row.name: row for row in ENCODINGS}
READABLE = [
    (DATA_BASE, DATA_BASE + 128),
    (STACK_BASE, STACK_TOP),
    (INPUT_BASE, INPUT_BASE + 4 + 32),
]
"""Data and bss, stack, input with its length and its padding."""

IMMEDIATES = (-2048, -1, 0, 1, 2047)
BRANCHES = (-256, -4, 4, 8, 240)
UPPERS = (0, 0x1000, 0x7FFF_F000, 0x8000_0000, 0xFFFF_F000)


def blank_image() -> ProgramImage:
    """A text of nops up to an ebreak, 64 bytes of data and 64 of bss."""
    words = [encode("addi")] * 127 + [encode("ebreak")]
    text = b"".join(w.to_bytes(4, "little") for w in words)
    segments = [ElfSegment(TEXT_BASE, text, R | X), ElfSegment(DATA_BASE, DATA, R | W, 128)]
    return load_elf(write_elf(TEXT_BASE, segments))


IMAGE = blank_image()
PREMISES = Premises(IMAGE, InputLayout.whole(len(INPUT)), LOG4, 20)


def image_with(word: int, at: int) -> ProgramImage:
    """The blank image with ``word`` as the instruction at an address."""
    offset = at - TEXT_BASE
    text = IMAGE.text[:offset] + word.to_bytes(4, "little") + IMAGE.text[offset + 4 :]
    return replace(IMAGE, text=text)


@dataclass
class State:
    """A state to take one step from: the words that nobody wrote, and any registers."""

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


def honest(word: int, registers: Sequence[int], rng: Random, pc: int = PC) -> Fragment:
    """F_i of the machine's step from ``registers``, at a random place of the trace."""
    step = next_step(State(image_with(word, pc), pc, [0, *registers[1:]]))
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


def step_of(name: str, a: int, b: int) -> Fragment:
    """The machine's step of ``name`` x3, x1, x2 with these operands."""
    return honest(encode(name, rd=3, rs1=1, rs2=2), [0, a, b, *[0] * 29], Random(1))


def cases(name: str, rng: Random) -> Iterator[Fragment]:
    """Honest fragments of an instruction without end: first every corner, then random ones.

    Corners: each pair of corner operands, every shift amount, each of rd, rs1, rs2 as x0 or the
    same register, the ends of the immediate; and for an access or a jump both sides of each border.
    """
    row = ROWS[name]
    pairs = list(product(CORNERS, repeat=2))
    pairs += [(rng.choice(CORNERS), n | rng.getrandbits(27) << 5) for n in range(32)]
    zeros = list(product((0, 1), repeat=3))
    targets = _targets(name, rng)
    rng.shuffle(pairs)
    count = 0
    while True:
        a, b = pairs[count] if count < len(pairs) else (random_value(rng), random_value(rng))
        some = (rng.randrange(1, 32) for _ in range(3))
        used = zeros[count // 4 % 8] if count % 4 == 0 else (1, 1, 1)
        rd, rs1, rs2 = (number * use for number, use in zip(some, used, strict=True))
        rs2 = rs1 if count % 16 == 1 else rs2
        imm = _immediate(row.format, count, rng)
        registers = [random_value(rng) for _ in range(32)]
        registers[rs2], registers[rs1] = b, a
        if targets and (rs1 or count % 8):
            rs1 = rs1 or 7
            registers[rs1] = targets[count % len(targets)] - imm & 0xFFFF_FFFF
        if name == "ecall":
            registers[17] = rng.choice([93, 93, 93, 92, 0, 0x1000_005D, random_value(rng)])
            registers[10] = rng.choice([0, 0, 1, 0x1000_0000, random_value(rng)])
        pc = PC
        if row.format not in (Format.B, Format.J):
            pc = rng.choice([TEXT_BASE, TEXT_END - 8, PC])
        yield honest(encode(name, rd=rd, rs1=rs1, rs2=rs2, imm=imm), registers, rng, pc)
        count += 1


def _immediate(layout: Format, count: int, rng: Random) -> int:
    """Its ends now and then, else at random."""
    corner = count % 3 == 0
    match layout:
        case Format.SHIFT:
            return count % 32
        case Format.U:
            return UPPERS[count % 5] if corner else rng.getrandbits(20) << 12
        case Format.B | Format.J:
            return BRANCHES[count % 5] if corner else rng.randrange(-256, 244, 4)
        case _:
            return IMMEDIATES[count % 5] if corner else rng.randint(-2048, 2047)


def _targets(name: str, rng: Random) -> list[int]:
    """Addresses at every border, misaligned, far away and inside, in random order."""
    if name == "jalr":
        found = [edge + d for edge in (TEXT_BASE, TEXT_END) for d in range(-4, 5)]
        found += [rng.randrange(TEXT_BASE, TEXT_END) for _ in range(20)]
        found += [0, 0xFFFF_FFFF, HALT, TRAP, DATA_BASE, random_value(rng)]
    elif ROWS[name].format in (Format.LOAD, Format.S):
        found = [start + d for start, _ in READABLE for d in (-4, -1, 0, 1, 2, 3, 4)]
        found += [end + d for _, end in READABLE for d in (-4, -3, -2, -1, 0, 1)]
        found += [0, 4, 0xFFC, 0xF000_0004, 0xF000_0028, 0xFFFF_FFFC, 0xFFFF_FFFF, TEXT_BASE]
        found += [DATA_BASE + rng.randrange(64) for _ in range(24)]
    else:
        return []
    rng.shuffle(found)
    return [address & 0xFFFF_FFFF for address in found]


def absorbing_cases(rng: Random) -> Iterator[Fragment]:
    """F_i behind the end of a run, without end."""
    while True:
        sentinel, index = rng.choice(SENTINELS), rng.randrange(4**LOG4)
        yield Fragment(index, sentinel, 0, (UNUSED,) * 3, absorbing(sentinel))


@dataclass
class Told:
    """The state that a fragment tells: every word comes from the slot of its role."""

    image: ProgramImage
    pc: int
    slots: Sequence[Slot]
    instruction: Instruction
    left: list[int] = field(init=False)

    def __post_init__(self) -> None:
        i = self.instruction
        both = (1, 1) if i.name == "ecall" else (i.rs1, i.rs2)
        self.left = [slot for slot, register in enumerate(both) if register]

    def register(self, index: int) -> int:
        """The machine asks for rs1 before rs2, and for neither if it is x0."""
        return self.slots[self.left.pop(0)].value

    def word(self, address: int) -> int | None:
        inside = any(start <= address < end for start, end in READABLE)
        slot = 2 if self.instruction.name in ("sb", "sh") else 1
        return self.slots[slot].value if inside else None

    def writable(self, address: int) -> bool:
        return any(start <= address < end for start, end in READABLE[:2])


def lawful(fragment: Fragment, digits: Sequence[int]) -> bool:
    """Does w_i follow from what the fragment tells, in answer to the challenger's digits?"""
    if int("".join(map(str, digits)), 4) != fragment.index:
        return False
    pc, slots = fragment.pc, fragment.slots
    shown = tuple(Read(slot.address, slot.value) for slot in slots)
    if pc in SENTINELS:
        reads, record = (NO_READ,) * 3, absorbing(pc)
        known = fragment.opcode == 0
    else:
        instruction = decode(fragment.opcode)
        known = instruction is not None and TEXT_BASE <= pc < TEXT_END and pc % 4 == 0
        if instruction is None or not known:
            return False
        image = image_with(fragment.opcode, pc)
        step = next_step(Told(image, pc, slots, instruction))
        reads, record = step.reads, step.record
    canonical = all(s == UNUSED for s, read in zip(slots, reads, strict=True) if read == NO_READ)
    return known and reads == shown and canonical and record == fragment.write


def corruptions(fragment: Fragment, rng: Random) -> Iterator[tuple[str, Fragment, tuple[int, ...]]]:
    """Each single field changed: its name, the fragment, and the challenger's digits."""
    right = tuple(fragment.index >> 2 * n & 3 for n in reversed(range(LOG4)))
    for place in range(LOG4):
        digit = right[place] ^ rng.randrange(1, 4)
        yield f"digit {place}", fragment, (*right[:place], digit, *right[place + 1 :])
    for name, bits in (("index", INDEX_BITS), ("pc", 32), ("opcode", 32)):
        value = getattr(fragment, name) ^ 1 << rng.randrange(bits)
        yield name, replace(fragment, **{name: value}), right
    for number in range(3):
        for name, bits in (("address", 32), ("value", 32), ("last", INDEX_BITS), ("init", 4)):
            value = getattr(fragment.slots[number], name) ^ 1 << rng.randrange(bits)
            yield f"slot {number} {name}", with_slot(fragment, number, **{name: value}), right
    for name in Record._fields:
        value = getattr(fragment.write, name) ^ 1 << rng.randrange(32)
        yield name, replace(fragment, write=fragment.write._replace(**{name: value})), right


def with_slot(fragment: Fragment, number: int, **changes: int) -> Fragment:
    """The fragment with other fields of one slot."""
    slots = list(fragment.slots)
    slots[number] = replace(slots[number], **changes)
    first, second, third = slots
    return replace(fragment, slots=(first, second, third))
