"""RV32IM: memory map, sentinels, encodings, disassembly. The only constants the two machines share.

Encodings follow the RISC-V Unprivileged ISA manual (RV32I 2.1, M 2.0). MISC-MEM with funct3 = 0 is
a no-operation whatever else it holds; fence.i, CSR and privileged instructions do not decode.
"""

from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import Final

WORD_MASK: Final = 0xFFFF_FFFF

# Memory map (all addresses are bytes, all words little-endian).
REGISTER_BASE: Final = 0xF000_0000
"""x_r is the word at REGISTER_BASE + 4r, for r = 1..31; x0 has no address."""
DATA_BASE_MIN: Final = 0x1000
INPUT_BASE: Final = 0x4000_0000
INPUT_END: Final = 0x5000_0000
INPUT_BYTES_MAX: Final = 16 << 20
STACK_TOP: Final = 0x8000_0000
STACK_BYTES: Final = 1 << 20
STACK_BASE: Final = STACK_TOP - STACK_BYTES

# Values that are no address: a write to nowhere, and the two absorbing program counters.
NOWRITE: Final = 0xFFFF_FFFF
HALT: Final = 0xFFFF_FFF1
TRAP: Final = 0xFFFF_FFF5
SENTINELS: Final = (HALT, TRAP)

EXIT_CALL: Final = 93
"""The one system call: ``ecall`` with a7 = 93 ends the program, a0 = 0 means HALT."""
A0: Final = 10
A7: Final = 17
SP: Final = 2

LOG4_STEPS_DEFAULT: Final = 12
LOG4_STEPS_MAX: Final = 15

REGISTER_NAMES: Final = (
    *("zero", "ra", "sp", "gp", "tp", "t0", "t1", "t2", "s0", "s1"),
    *(f"a{i}" for i in range(8)),
    *(f"s{i}" for i in range(2, 12)),
    *(f"t{i}" for i in range(3, 7)),
)


class Format(Enum):
    """Where an instruction keeps its operands."""

    R = "rd, rs1, rs2"
    I = "rd, rs1, imm"  # noqa: E741  the manual's name
    SHIFT = "rd, rs1, shamt"
    LOAD = "rd, imm(rs1)"
    S = "rs2, imm(rs1)"
    B = "rs1, rs2, target"
    U = "rd, imm"
    J = "rd, target"
    NONE = ""


@dataclass(frozen=True, slots=True)
class Encoding:
    """One row of the opcode table: a word is this instruction if ``word & mask == match``."""

    name: str
    format: Format
    mask: int
    match: int


_OPCODE: Final = 0x0000_007F
_FUNCT3: Final = 0x0000_707F
_FUNCT7: Final = 0xFE00_707F

ENCODINGS: Final = (
    Encoding("lui", Format.U, _OPCODE, 0x0000_0037),
    Encoding("auipc", Format.U, _OPCODE, 0x0000_0017),
    Encoding("jal", Format.J, _OPCODE, 0x0000_006F),
    Encoding("jalr", Format.LOAD, _FUNCT3, 0x0000_0067),
    Encoding("beq", Format.B, _FUNCT3, 0x0000_0063),
    Encoding("bne", Format.B, _FUNCT3, 0x0000_1063),
    Encoding("blt", Format.B, _FUNCT3, 0x0000_4063),
    Encoding("bge", Format.B, _FUNCT3, 0x0000_5063),
    Encoding("bltu", Format.B, _FUNCT3, 0x0000_6063),
    Encoding("bgeu", Format.B, _FUNCT3, 0x0000_7063),
    Encoding("lb", Format.LOAD, _FUNCT3, 0x0000_0003),
    Encoding("lh", Format.LOAD, _FUNCT3, 0x0000_1003),
    Encoding("lw", Format.LOAD, _FUNCT3, 0x0000_2003),
    Encoding("lbu", Format.LOAD, _FUNCT3, 0x0000_4003),
    Encoding("lhu", Format.LOAD, _FUNCT3, 0x0000_5003),
    Encoding("sb", Format.S, _FUNCT3, 0x0000_0023),
    Encoding("sh", Format.S, _FUNCT3, 0x0000_1023),
    Encoding("sw", Format.S, _FUNCT3, 0x0000_2023),
    Encoding("addi", Format.I, _FUNCT3, 0x0000_0013),
    Encoding("slti", Format.I, _FUNCT3, 0x0000_2013),
    Encoding("sltiu", Format.I, _FUNCT3, 0x0000_3013),
    Encoding("xori", Format.I, _FUNCT3, 0x0000_4013),
    Encoding("ori", Format.I, _FUNCT3, 0x0000_6013),
    Encoding("andi", Format.I, _FUNCT3, 0x0000_7013),
    Encoding("slli", Format.SHIFT, _FUNCT7, 0x0000_1013),
    Encoding("srli", Format.SHIFT, _FUNCT7, 0x0000_5013),
    Encoding("srai", Format.SHIFT, _FUNCT7, 0x4000_5013),
    Encoding("add", Format.R, _FUNCT7, 0x0000_0033),
    Encoding("sub", Format.R, _FUNCT7, 0x4000_0033),
    Encoding("sll", Format.R, _FUNCT7, 0x0000_1033),
    Encoding("slt", Format.R, _FUNCT7, 0x0000_2033),
    Encoding("sltu", Format.R, _FUNCT7, 0x0000_3033),
    Encoding("xor", Format.R, _FUNCT7, 0x0000_4033),
    Encoding("srl", Format.R, _FUNCT7, 0x0000_5033),
    Encoding("sra", Format.R, _FUNCT7, 0x4000_5033),
    Encoding("or", Format.R, _FUNCT7, 0x0000_6033),
    Encoding("and", Format.R, _FUNCT7, 0x0000_7033),
    Encoding("mul", Format.R, _FUNCT7, 0x0200_0033),
    Encoding("mulh", Format.R, _FUNCT7, 0x0200_1033),
    Encoding("mulhsu", Format.R, _FUNCT7, 0x0200_2033),
    Encoding("mulhu", Format.R, _FUNCT7, 0x0200_3033),
    Encoding("div", Format.R, _FUNCT7, 0x0200_4033),
    Encoding("divu", Format.R, _FUNCT7, 0x0200_5033),
    Encoding("rem", Format.R, _FUNCT7, 0x0200_6033),
    Encoding("remu", Format.R, _FUNCT7, 0x0200_7033),
    Encoding("fence", Format.NONE, _FUNCT3, 0x0000_000F),
    Encoding("ecall", Format.NONE, WORD_MASK, 0x0000_0073),
    Encoding("ebreak", Format.NONE, WORD_MASK, 0x0010_0073),
)

NO_FALL_THROUGH: Final = frozenset({"jal", "jalr", "ecall", "ebreak"})
"""After these, control never reaches pc + 4 by itself."""

_BY_MASK: Final = {
    mask: {e.match: e for e in ENCODINGS if e.mask == mask}
    for mask in (_OPCODE, _FUNCT3, _FUNCT7, WORD_MASK)
}


@dataclass(frozen=True, slots=True)
class Instruction:
    """A decoded word; ``imm`` is signed (for U formats the upper 20 bits in place)."""

    name: str
    format: Format
    rd: int
    rs1: int
    rs2: int
    imm: int


@lru_cache(maxsize=1 << 16)
def decode(word: int) -> Instruction | None:
    """The instruction that the 32-bit ``word`` encodes, or None if it encodes none of RV32IM."""
    for mask, rows in _BY_MASK.items():
        if row := rows.get(word & mask):
            rd, rs1, rs2 = word >> 7 & 31, word >> 15 & 31, word >> 20 & 31
            return Instruction(row.name, row.format, rd, rs1, rs2, immediate(word, row.format))
    return None


def immediate(word: int, layout: Format) -> int:
    """The immediate of ``word`` as a signed integer (manual, section 2.3); 0 if there is none."""
    if layout in (Format.I, Format.LOAD):
        return _signed(word >> 20, 12)
    if layout is Format.SHIFT:
        return word >> 20 & 31
    if layout is Format.S:
        return _signed(word >> 25 << 5 | word >> 7 & 31, 12)
    if layout is Format.B:
        bits = (word >> 31 << 12) | (word >> 7 & 1) << 11 | (word >> 25 & 63) << 5
        return _signed(bits | (word >> 8 & 15) << 1, 13)
    if layout is Format.U:
        return _signed(word & 0xFFFF_F000, 32)
    if layout is Format.J:
        bits = (word >> 31 << 20) | (word >> 12 & 255) << 12 | (word >> 20 & 1) << 11
        return _signed(bits | (word >> 21 & 1023) << 1, 21)
    return 0


def _signed(value: int, bits: int) -> int:
    return value - (1 << bits) if value >> (bits - 1) else value


def disassemble(word: int, pc: int) -> str:
    """``word`` as assembler text; branch and jump targets are absolute, seen from ``pc``."""
    instruction = decode(word)
    if instruction is None:
        return f".word 0x{word:08x}"
    names = REGISTER_NAMES
    operands = {
        "rd": names[instruction.rd],
        "rs1": names[instruction.rs1],
        "rs2": names[instruction.rs2],
        "target": f"0x{(pc + instruction.imm) & WORD_MASK:x}",
        "shamt": str(instruction.imm),
        "imm": str(instruction.imm),
    }
    if instruction.format is Format.U:
        operands["imm"] = f"0x{(instruction.imm & WORD_MASK) >> 12:x}"
    shape = instruction.format.value
    if shape.endswith("(rs1)"):
        first, _ = shape.split(", ")
        text = f"{operands[first]}, {operands['imm']}({operands['rs1']})"
    else:
        text = ", ".join(operands[field] for field in shape.split(", ") if field)
    return f"{instruction.name} {text}".rstrip()
