"""An image made ready for the fast machine: predecoded instructions and one array for all memory.

An instruction is one u64: op | rd << 8 | rs1 << 16 | rs2 << 24 | imm << 32. Branch and jump
immediates are indices into the text; lui and auipc load a constant; rd is ``NO_REGISTER`` where no
register is written, x0 included.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from riscv_vm import ops
from riscv_vm.image import STACK, ProgramImage, Segment, input_region
from riscv_vm.isa import ENCODINGS, INPUT_BASE, Format
from riscv_vm.text import ROW_OF_NAME, DecodedText, decode_text, rows_of

U8 = NDArray[np.uint8]
U32 = NDArray[np.uint32]
U64 = NDArray[np.uint64]

NO_REGISTER: Final = 32
PAGE_WORDS: Final = 1024

_WRITING: Final = (Format.R, Format.I, Format.SHIFT, Format.LOAD, Format.U, Format.J)
_RENAMED: Final = {"lui": "const", "auipc": "const", "fence": "nop"}
_OP_OF_ROW: Final = np.array(
    [getattr(ops, _RENAMED.get(e.name, e.name).upper()) for e in ENCODINGS], dtype=np.uint8
)


def predecode(words: U32, text_base: int) -> U64:
    """One u64 an instruction, and one at the end that traps, in case control got there."""
    text = decode_text(words)
    writes = np.isin(text.row, rows_of(*_WRITING)) & (text.rd != 0)
    rd = np.where(writes, text.rd, np.uint8(NO_REGISTER))
    imm = _operand(text, text_base)
    code = _OP_OF_ROW[text.row].astype(np.uint64)
    for shift, field in ((8, rd), (16, text.rs1), (24, text.rs2), (32, imm)):
        code |= field.astype(np.uint64) << np.uint64(shift)
    return np.append(code, np.uint64(ops.EBREAK | NO_REGISTER << 8))


def _operand(text: DecodedText, text_base: int) -> U32:
    """Immediates as the machine wants them: target indices, and pc + imm for auipc."""
    imm = text.imm.astype(np.int64)
    index = np.arange(len(imm), dtype=np.int64)
    jumps = np.isin(text.row, rows_of(Format.B, Format.J))
    imm = np.where(jumps, index + imm // 4, imm)
    here = text_base + 4 * index
    imm = np.where(text.row == ROW_OF_NAME["auipc"], here + imm, imm)
    return (imm & 0xFFFF_FFFF).astype(np.uint32)


@dataclass(frozen=True, slots=True)
class Region:
    """``size`` bytes of guest memory at ``base``, kept from word ``first`` of the memory array."""

    base: int
    size: int
    first: int


@dataclass(frozen=True)
class Program:
    """What every run of an image shares."""

    image: ProgramImage
    code: U64
    regions: tuple[Region, ...]
    """Largest data region, stack, other data; the input region follows where these end."""
    writable_words: int

    @property
    def text_words(self) -> int:
        return len(self.code) - 1

    @property
    def pages(self) -> int:
        """How many pages of the memory array a store can change."""
        return -(-self.writable_words // PAGE_WORDS)

    def memory(self, data: bytes) -> tuple[U32, U32]:
        """Fresh memory with ``data`` as input, and its region table (rows: base, size, first)."""
        words = np.frombuffer(input_region(data), dtype="<u4")
        memory = np.zeros(self.writable_words + len(words), dtype=np.uint32)
        for segment in self.image.data:
            first = self.locate(segment.base)
            content = np.frombuffer(segment.content, dtype="<u4")
            memory[first : first + len(content)] = content
        memory[self.writable_words :] = words
        table = [(r.base, r.size, r.first) for r in self.regions]
        table.append((INPUT_BASE, 4 * len(words), self.writable_words))
        return memory, np.array(table, dtype=np.uint32)

    def locate(self, address: int) -> int:
        """The memory array index of a writable word."""
        for region in self.regions:
            if 0 <= address - region.base < region.size:
                return region.first + (address - region.base) // 4
        raise IndexError(f"0x{address:x} is not writable memory")


@lru_cache(maxsize=8)
def load_program(image: ProgramImage) -> Program:
    """Predecode ``image``; cached, so that a worker pays once."""
    words = np.frombuffer(image.text, dtype="<u4").astype(np.uint32)
    regions = _regions(image.data)
    writable = sum(region.size for region in regions) // 4
    return Program(image, predecode(words, image.text_base), regions, writable)


def _regions(data: tuple[Segment, ...]) -> tuple[Region, ...]:
    """Adjacent segments merged, the largest first, then the stack, then the rest."""
    merged: list[tuple[int, int]] = []
    for segment in data:
        if merged and sum(merged[-1]) == segment.base:
            merged[-1] = (merged[-1][0], merged[-1][1] + segment.size)
        else:
            merged.append((segment.base, segment.size))
    merged.sort(key=lambda region: -region[1])
    largest, *others = merged or [(0, 0)]
    regions: list[Region] = []
    first = 0
    for base, size in (largest, (STACK.base, STACK.size), *others):
        regions.append(Region(base, size, first))
        first += size // 4
    return tuple(regions)
