"""Operands that matter for one instruction: every pair of corner values, and random ones."""

from random import Random

from riscv_vm.image import ProgramImage, load_elf
from riscv_vm.isa import ENCODINGS, Encoding, Format
from tests.builders.asm import TEXT_BASE, encode
from tests.builders.elf import ElfSegment, R, W, X, write_elf
from tests.builders.programs import CORNERS, DATA_BASE, random_value

RUNNABLE = [row for row in ENCODINGS if row.name not in ("ecall", "ebreak")]
_RANDOM_CASES = 60
_MARGIN = 64  # nops around the instructions, so that near branches stay inside the text

OperandCase = tuple[int, list[int]]
"""pc and the values of x0..x31."""


def operand_cases(row: Encoding, rng: Random) -> tuple[ProgramImage, bytes, list[OperandCase]]:
    """An image with ``row`` in many forms, its 64 bytes of data, and the states to start from."""
    corners = [(a, b) for a in CORNERS for b in CORNERS]
    pairs = corners if row.format in (Format.R, Format.B) else [(a, a) for a in CORNERS]
    pairs += [(random_value(rng), random_value(rng)) for _ in range(_RANDOM_CASES)]
    words, cases = [], []
    for a, b in pairs:
        word, registers = _case(row, rng, a, b)
        cases.append((TEXT_BASE + 4 * (_MARGIN + len(words)), registers))
        words.append(word)
    content = rng.randbytes(64)
    nops = [encode("addi")] * _MARGIN
    text = b"".join(w.to_bytes(4, "little") for w in (*nops, *words, *nops, encode("ebreak")))
    segments = [ElfSegment(TEXT_BASE, text, R | X), ElfSegment(DATA_BASE, content, R | W)]
    return load_elf(write_elf(TEXT_BASE, segments)), content, cases


def _case(row: Encoding, rng: Random, a: int, b: int) -> tuple[int, list[int]]:
    """One form of ``row`` (x0 in any role now and then), with ``a`` and ``b`` as operands."""
    registers = [random_value(rng) for _ in range(32)]
    rd, rs1, rs2 = (rng.randrange(1, 32) if rng.random() < 0.9 else 0 for _ in range(3))
    imm = rng.randint(-2048, 2047)
    if row.format in (Format.B, Format.J):
        imm = rng.randrange(-256, 256, 4)
    elif row.format is Format.U:
        imm = rng.getrandbits(32)
    registers[rs1], registers[rs2] = a, b
    if row.format in (Format.LOAD, Format.S):
        rs1 = rs1 or 5
        rs2 = rs2 if rs2 != rs1 else rs1 % 31 + 1
        registers[rs2] = b
        registers[rs1] = (_target(row.name, rng) - imm) & 0xFFFF_FFFF
    registers[0] = 0
    return encode(row.name, rd=rd, rs1=rs1, rs2=rs2, imm=imm), registers


def _target(name: str, rng: Random) -> int:
    """Where an access or a jalr goes: inside, rightly aligned (jalr: or one byte off)."""
    if name == "jalr":
        return TEXT_BASE + rng.randrange(0, 512, 4) | rng.getrandbits(1)
    width = {"b": 1, "h": 2, "w": 4}[name.removesuffix("u")[-1]]
    return DATA_BASE + rng.randrange(0, 64, width)
