"""Programs for the machine: from assembler text, or random ones that always end."""

from random import Random

from riscv_vm.image import ProgramImage, load_elf
from tests.builders.asm import TEXT_BASE, asm
from tests.builders.elf import ElfSegment, R, W, X, write_elf

DATA_BASE = 0x2_0000
CORNERS = (0, 1, 2, 31, 32, 0x7FFF_FFFF, 0x8000_0000, 0x8000_0001, 0xFFFF_FFFE, 0xFFFF_FFFF)
EXIT = "li a7, 93\necall\n"

_ARITHMETIC = (
    *("add", "sub", "sll", "slt", "sltu", "xor", "srl", "sra", "or", "and"),
    *("mul", "mulh", "mulhsu", "mulhu", "div", "divu", "rem", "remu"),
)
_IMMEDIATE = ("addi", "slti", "sltiu", "xori", "ori", "andi")
_BRANCHES = ("beq", "bne", "blt", "bge", "bltu", "bgeu")
_ACCESS = {"lb": 1, "lbu": 1, "sb": 1, "lh": 2, "lhu": 2, "sh": 2, "lw": 4, "sw": 4}
# s0 = data, s1 = loop counter, s11 = address; ra and sp keep their meaning.
_FREE = ("zero", "gp", "tp", "t0", "t1", "t2", "a0", "a1", "a2", "a3", "a4", "s2", "s3", "t5", "t6")


def program(source: str, data: bytes = b"", size: int | None = None) -> ProgramImage:
    """The image of assembler ``source``, with ``data`` and zeros up to ``size`` at DATA_BASE."""
    segments = [ElfSegment(TEXT_BASE, asm(source), R | X)]
    if data or size:
        segments.append(ElfSegment(DATA_BASE, data, R | W, size))
    return load_elf(write_elf(TEXT_BASE, segments))


def random_value(rng: Random) -> int:
    return rng.choice(CORNERS) if rng.random() < 0.3 else rng.getrandbits(32)


def random_program(rng: Random, blocks: int = 8) -> ProgramImage:
    """A program with every instruction class, loops, calls and accesses of every width.

    It ends with HALT or with one of the traps.
    """
    lines = [f"li {register}, {random_value(rng)}" for register in _FREE[1:]]
    lines.append(f"la s0, {DATA_BASE}")
    for block in range(blocks):
        repeats = rng.randint(1, 5)
        lines += [f"li s1, {repeats}", f"loop{block}:"]
        lines += _block(rng, f"b{block}")
        lines += ["addi s1, s1, -1", f"bne s1, zero, loop{block}"]
        lines.append(_call(rng))
    lines += _ending(rng)
    for function in range(2):
        lines += [f"function{function}:", *_block(rng, f"f{function}"), "ret"]
    content = rng.randbytes(256)
    return program("\n".join(lines), content, 512)


def _block(rng: Random, label: str) -> list[str]:
    lines: list[str] = []
    count = rng.randint(3, 12)
    for index in range(count):
        kind = rng.random()
        rd, rs1, rs2 = (rng.choice(_FREE) for _ in range(3))
        if kind < 0.35:
            lines.append(f"{rng.choice(_ARITHMETIC)} {rd}, {rs1}, {rs2}")
        elif kind < 0.5:
            lines.append(f"{rng.choice(_IMMEDIATE)} {rd}, {rs1}, {rng.randint(-2048, 2047)}")
        elif kind < 0.58:
            lines.append(
                f"{rng.choice(('slli', 'srli', 'srai'))} {rd}, {rs1}, {rng.randint(0, 31)}"
            )
        elif kind < 0.64:
            lines.append(f"{rng.choice(('lui', 'auipc'))} {rd}, {rng.getrandbits(20)}")
        elif kind < 0.67:
            lines.append("fence")
        elif kind < 0.9:
            lines += _access(rng, rd, rs1, rs2)
        else:
            branch = rng.choice(_BRANCHES)
            lines += [f"{branch} {rs1}, {rs2}, {label}_{index}", f"xor {rd}, {rs1}, {rs2}"]
            lines.append(f"{label}_{index}:")
    return lines


def _access(rng: Random, rd: str, rs1: str, rs2: str) -> list[str]:
    """A load or store at a random, rightly aligned place of the data or the stack."""
    name = rng.choice(tuple(_ACCESS))
    width = _ACCESS[name]
    base, reach = rng.choice((("s0", 508), ("sp", -512)))
    low, high = sorted((0, reach))
    if rng.random() < 0.5:
        offset = rng.randrange(low, high, width)
        value = rs2 if name[0] == "s" else rd
        return [f"{name} {value}, {offset}({base})"]
    value = rs2 if name[0] == "s" else rd
    lines = [f"andi s11, {rs1}, {0x1FF & ~(width - 1)}"]
    lines.append(f"add s11, {base}, s11" if base == "s0" else f"sub s11, {base}, s11")
    lines.append(f"{name} {value}, {0 if base == 's0' else -4}(s11)")
    return lines


def _call(rng: Random) -> str:
    target = f"function{rng.randint(0, 1)}"
    return rng.choice((f"jal ra, {target}", f"la s11, {target}\njalr ra, 0(s11)", "nop"))


def _ending(rng: Random) -> list[str]:
    halt = ["li a0, 0", "li a7, 93", "ecall"]
    traps = (["ebreak"], ["ecall"], ["lw t0, 1(s0)"], ["sw t0, 0(zero)"], ["jalr ra, 2(ra)"])
    return [*(rng.choice(traps) if rng.random() < 0.25 else []), *halt]
