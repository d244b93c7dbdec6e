"""A tiny RV32IM assembler for tests: a statement or a ``label:`` a line.

    asm('''
        li a0, 5          # pseudo: lui + addi, always two words
    loop:
        addi a0, a0, -1
        bne a0, zero, loop
        li a7, 93
        ecall
    ''')

Pseudo-instructions: li, la (= li of a label), mv, nop, j, ret, .word VALUE.
"""

import re
import struct

from riscv_vm.isa import ENCODINGS, REGISTER_NAMES, Encoding, Format

TEXT_BASE = 0x1_0000
_ROWS = {encoding.name: encoding for encoding in ENCODINGS}
_REGISTERS = {name: number for number, name in enumerate(REGISTER_NAMES)}
_REGISTERS |= {f"x{number}": number for number in range(32)} | {"fp": 8}


def encode(name: str, *, rd: int = 0, rs1: int = 0, rs2: int = 0, imm: int = 0) -> int:
    """The word of one instruction; the ``imm`` of U formats has its upper bits in place."""
    row = _ROWS[name]
    word = row.match
    if row.format is Format.NONE:
        return word
    if row.format in (Format.R, Format.I, Format.SHIFT, Format.LOAD, Format.U, Format.J):
        word |= rd << 7
    if row.format not in (Format.U, Format.J):
        word |= rs1 << 15
    if row.format in (Format.R, Format.S, Format.B):
        word |= rs2 << 20
    return word | _immediate_bits(row, imm)


def _immediate_bits(row: Encoding, imm: int) -> int:
    if row.format in (Format.I, Format.LOAD):
        assert -2048 <= imm < 2048, imm
        return (imm & 0xFFF) << 20
    if row.format is Format.SHIFT:
        return (imm & 31) << 20
    if row.format is Format.S:
        assert -2048 <= imm < 2048, imm
        return (imm >> 5 & 0x7F) << 25 | (imm & 31) << 7
    if row.format is Format.B:
        assert -4096 <= imm < 4096, imm
        high = (imm >> 12 & 1) << 31 | (imm >> 5 & 0x3F) << 25
        return high | (imm >> 1 & 15) << 8 | (imm >> 11 & 1) << 7
    if row.format is Format.U:
        return imm & 0xFFFF_F000
    if row.format is Format.J:
        assert -(1 << 20) <= imm < 1 << 20, imm
        high = (imm >> 20 & 1) << 31 | (imm >> 1 & 0x3FF) << 21
        return high | (imm >> 11 & 1) << 20 | (imm >> 12 & 0xFF) << 12
    return 0


def assemble(source: str, base: int = TEXT_BASE) -> list[int]:
    """The words of ``source`` placed at ``base``."""
    lines: list[str] = []
    labels: dict[str, int] = {}
    address = base
    for raw in source.splitlines():
        line = raw.split("#")[0].strip()
        if line.endswith(":"):
            labels[line[:-1]] = address
        elif line:
            lines.append(line)
            address += 8 if line.split()[0] in ("li", "la") else 4
    words: list[int] = []
    for line in lines:
        words += _statement(line, base + 4 * len(words), labels)
    return words


def _statement(line: str, pc: int, labels: dict[str, int]) -> list[int]:
    name, _, rest = line.partition(" ")
    operands = [part.strip() for part in rest.split(",")] if rest.strip() else []

    def number(text: str) -> int:
        return labels[text] if text in labels else int(text, 0)

    if name in ("li", "la"):
        rd, value = _REGISTERS[operands[0]], number(operands[1]) & 0xFFFF_FFFF
        low = (value & 0xFFF) - (value & 0x800) * 2
        upper = encode("lui", rd=rd, imm=(value - low) & 0xFFFF_FFFF)
        return [upper, encode("addi", rd=rd, rs1=rd, imm=low)]
    if name == ".word":
        return [number(operands[0]) & 0xFFFF_FFFF]
    pseudo = {
        "nop": "addi x0, x0, 0",
        "ret": "jalr x0, 0(ra)",
        "mv": "addi {0}, {1}, 0",
        "j": "jal x0, {0}",
    }
    if name in pseudo:
        return _statement(pseudo[name].format(*operands), pc, labels)
    row = _ROWS[name]
    fields: dict[str, int] = {}
    shape = row.format.value.split(", ") if row.format.value else []
    for field, operand in zip(shape, operands, strict=True):
        if field == "imm(rs1)":
            match = re.fullmatch(r"(.*)\((\w+)\)", operand)
            assert match, operand
            fields |= {"imm": number(match[1] or "0"), "rs1": _REGISTERS[match[2]]}
        elif field == "target":
            offset = (number(operand) - pc) & 0xFFFF_FFFF
            fields["imm"] = offset - (offset >> 31 << 32)
        elif field in ("imm", "shamt"):
            upper = 12 if row.format is Format.U else 0
            fields["imm"] = number(operand) << upper
        else:
            fields[field] = _REGISTERS[operand]
    return [encode(name, **fields)]


def asm(source: str, base: int = TEXT_BASE) -> bytes:
    words = assemble(source, base)
    return struct.pack(f"<{len(words)}I", *words)
