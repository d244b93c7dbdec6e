"""ELF -> ProgramImage: what the machine runs, or one sentence why it cannot.

The machine is Harvard: text is fetched and never read as data, data is read and written and never
fetched. Everything that would leave the machine without a successor
state is refused here, so a running program can only HALT, TRAP or reach the step limit. Sizes are
checked before anything is copied; a hostile file costs bounded time and memory.
"""

import hashlib
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from types import MappingProxyType
from typing import Final

import numpy as np

from riscv_vm.isa import (
    DATA_BASE_MIN,
    INPUT_BASE,
    INPUT_BYTES_MAX,
    INPUT_END,
    REGISTER_BASE,
    STACK_BASE,
    STACK_BYTES,
    STACK_TOP,
    Format,
)
from riscv_vm.text import UNDECODABLE, decode_text, falls_through, rows_of

TEXT_BYTES_MAX: Final = 4 << 20
DATA_BYTES_MAX: Final = 64 << 20
SEGMENTS_MAX: Final = 64
SYMBOLS_MAX: Final = 1 << 16
TERMS_SYMBOL: Final = "terms"
TERMS_BYTES: Final = 4096

_HEADER: Final = struct.Struct("<16sHHIIIIIHHHHHH")
_PROGRAM_HEADER: Final = struct.Struct("<8I")
_SECTION_HEADER: Final = struct.Struct("<10I")
_SYMBOL: Final = struct.Struct("<IIIBBH")
_MACHINE_RISCV: Final = 243
_TYPE_EXEC: Final = 2
_FLAG_RVC: Final = 0x1
_PT_LOAD, _PT_DYNAMIC, _PT_INTERP = 1, 2, 3
_PF_X, _PF_W = 1, 2
_SHT_SYMTAB: Final = 2


class ImageError(ValueError):
    """The machine refuses an image, an input, a parameter or an opening; the message says why."""


@dataclass(frozen=True, slots=True)
class Segment:
    """``size`` bytes of data memory at ``base``: ``content``, then zeros. Multiples of 4."""

    base: int
    size: int
    content: bytes

    @property
    def end(self) -> int:
        return self.base + self.size

    def word(self, address: int) -> int | None:
        """The initial word at an aligned ``address``; None outside the segment."""
        if not self.base <= address < self.end:
            return None
        offset = address - self.base
        return int.from_bytes(self.content[offset : offset + 4], "little")


@dataclass(frozen=True, slots=True)
class Symbol:
    address: int
    size: int


STACK: Final = Segment(STACK_BASE, STACK_BYTES, b"")


@dataclass(frozen=True, slots=True)
class ProgramImage:
    """A program that the machine can run: one range of text, data segments in order of address."""

    entry: int
    text_base: int
    text: bytes
    data: tuple[Segment, ...]
    symbols: Mapping[str, Symbol] = field(default_factory=dict, compare=False)

    @property
    def text_end(self) -> int:
        return self.text_base + len(self.text)

    @property
    def memory(self) -> tuple[Segment, ...]:
        """Everything a store may write: the data segments and the stack."""
        return (*self.data, STACK)

    @property
    def hash(self) -> bytes:
        """SHA-256 over everything that decides the trace: entry, text and initial data."""
        digest = hashlib.sha256(b"riscv_vm image 1")
        digest.update(struct.pack("<3I", self.entry, self.text_base, len(self.text)) + self.text)
        for segment in self.data:
            digest.update(struct.pack("<3I", segment.base, segment.size, len(segment.content)))
            digest.update(segment.content)
        return digest.digest()

    def in_text(self, pc: int) -> bool:
        return pc % 4 == 0 and self.text_base <= pc < self.text_end

    def opcode(self, pc: int) -> int:
        """The instruction word at ``pc``, which must lie in text."""
        offset = pc - self.text_base
        return int.from_bytes(self.text[offset : offset + 4], "little")

    def initial_word(self, address: int) -> int | None:
        """The word at an aligned data or stack ``address`` before the first step; None outside."""
        for segment in self.memory:
            word = segment.word(address)
            if word is not None:
                return word
        return None

    def with_data(self, address: int, content: bytes) -> "ProgramImage":
        """The image with ``content`` in place of the data bytes at ``address`` (a terms page, say).

        ImageError if the bytes do not lie in one data segment.
        """
        for index, segment in enumerate(self.data):
            if segment.base <= address and address + len(content) <= segment.end:
                start = address - segment.base
                old = segment.content.ljust(start + len(content), b"\0")
                new = old[:start] + content + old[start + len(content) :]
                patched = Segment(
                    segment.base, segment.size, new.ljust(-(-len(new) // 4) * 4, b"\0")
                )
                return replace(self, data=(*self.data[:index], patched, *self.data[index + 1 :]))
        raise ImageError(
            f"{len(content)} bytes at 0x{address:x} do not lie in one data segment of the program"
        )

    def __reduce__(self) -> tuple[object, ...]:
        fields = (self.entry, self.text_base, self.text, self.data, dict(self.symbols))
        return ProgramImage, fields


def with_terms(image: ProgramImage, terms: bytes) -> ProgramImage:
    """The image with ``terms`` in place of the page at symbol ``terms``, zeros behind them.

    ImageError if the program has no such symbol or the page is too small.
    """
    symbol = _terms_symbol(image)
    size = symbol.size or TERMS_BYTES
    if len(terms) > size:
        raise ImageError(f"the terms have {len(terms)} bytes; the program's page has {size}")
    return image.with_data(symbol.address, terms.ljust(symbol.size, b"\0"))


def terms_of(image: ProgramImage) -> bytes:
    """The whole page at symbol ``terms``; ImageError if the program has no such symbol."""
    symbol = _terms_symbol(image)
    page = range(symbol.address, symbol.address + (symbol.size or TERMS_BYTES), 4)
    return b"".join((image.initial_word(at) or 0).to_bytes(4, "little") for at in page)


def _terms_symbol(image: ProgramImage) -> Symbol:
    symbol = image.symbols.get(TERMS_SYMBOL)
    if symbol is None:
        raise ImageError(
            f"the program has no symbol `{TERMS_SYMBOL}`: link it with a page of that name and do"
            " not strip the symbol, or run it without terms"
        )
    return symbol


def input_region(data: bytes) -> bytes:
    """The bytes of the input region: the length as a word, then ``data`` padded to a word.

    ImageError above 16 MiB.
    """
    if len(data) > INPUT_BYTES_MAX:
        raise ImageError(f"the input has {len(data)} bytes; the machine takes {INPUT_BYTES_MAX}")
    return len(data).to_bytes(4, "little") + data + bytes(-len(data) % 4)


@dataclass(frozen=True, slots=True)
class _Load:
    """A PT_LOAD program header, checked against the file and rounded out to words."""

    offset: int
    address: int
    file_bytes: int
    size: int
    executable: bool

    @property
    def base(self) -> int:
        return self.address & ~3

    @property
    def end(self) -> int:
        return self.address + self.size + 3 & ~3

    def content(self, elf: bytes) -> bytes:
        body = bytes(self.address - self.base) + elf[self.offset : self.offset + self.file_bytes]
        return body + bytes(-len(body) % 4)


def load_elf(elf: bytes) -> ProgramImage:
    """The image in a 32-bit RISC-V executable; ImageError if the machine cannot run it."""
    entry, program_headers, section_headers = _header(elf)
    loads = sorted(_loads(elf, *program_headers), key=lambda load: load.base)
    for lower, upper in pairwise(loads):
        if upper.base < lower.end:
            raise ImageError(f"segments overlap at 0x{upper.base:x}: link them to disjoint words")
    code = [load for load in loads if load.executable]
    data = [load for load in loads if not load.executable]
    text_base, text = _text(elf, code)
    _check_data(data)
    image = ProgramImage(
        entry,
        text_base,
        text,
        tuple(Segment(d.base, d.end - d.base, d.content(elf)) for d in data),
        MappingProxyType(_symbols(elf, *section_headers)),
    )
    if not image.in_text(entry):
        raise ImageError(f"the entry point 0x{entry:x} is not an instruction of the text segment")
    _check_text(image)
    return image


def _header(elf: bytes) -> tuple[int, tuple[int, int], tuple[int, int]]:
    """Entry point, (offset, count) of the program headers and of the section headers."""
    if len(elf) < _HEADER.size or elf[:4] != b"\x7fELF":
        raise ImageError("this is not an ELF file, or it is cut off within its header")
    fields = _HEADER.unpack_from(elf)
    ident, kind, machine, _, entry, phoff, shoff, flags, _, phsize, phnum, shsize, shnum, _ = fields
    if ident[4] != 1 or ident[5] != 1:
        raise ImageError(
            "the machine runs 32-bit little-endian ELF files: compile with -mabi=ilp32"
        )
    if machine != _MACHINE_RISCV:
        raise ImageError(f"the ELF file is for machine {machine}, not RISC-V ({_MACHINE_RISCV})")
    if kind != _TYPE_EXEC:
        raise ImageError(
            "the ELF file is not a static executable: link it with -static, without -pie"
        )
    if flags & _FLAG_RVC:
        raise ImageError("the ELF file uses compressed instructions: compile with -march=rv32im")
    if phsize != _PROGRAM_HEADER.size or not 1 <= phnum <= SEGMENTS_MAX:
        raise ImageError(f"the ELF file needs 1 to {SEGMENTS_MAX} program headers of 32 bytes")
    if phoff + phnum * phsize > len(elf):
        raise ImageError("the ELF file is cut off within its program headers")
    if shoff and shnum and shsize != _SECTION_HEADER.size:
        raise ImageError("the ELF file's section headers are not 40 bytes long: link it again")
    return entry, (phoff, phnum), (shoff, shnum if shoff else 0)


def _loads(elf: bytes, phoff: int, phnum: int) -> Iterator[_Load]:
    """The non-empty PT_LOAD segments, each inside the file and the address space."""
    for index in range(phnum):
        fields = _PROGRAM_HEADER.unpack_from(elf, phoff + index * _PROGRAM_HEADER.size)
        kind, offset, address, _, file_bytes, size, flags, _ = fields
        if kind in (_PT_DYNAMIC, _PT_INTERP):
            raise ImageError("the ELF file needs a dynamic linker: link it with -static")
        if kind != _PT_LOAD or size == 0:
            continue
        if file_bytes > size:
            raise ImageError(f"segment 0x{address:x} holds more bytes in the file than in memory")
        if offset + file_bytes > len(elf):
            raise ImageError(f"the ELF file is cut off within segment 0x{address:x}")
        if flags & _PF_X and flags & _PF_W:
            raise ImageError(f"segment 0x{address:x} is both writable and executable: split it")
        load = _Load(offset, address, file_bytes, size, bool(flags & _PF_X))
        _check_place(load)
        yield load


def _check_place(load: _Load) -> None:
    reserved = (
        (REGISTER_BASE, 1 << 33, "the registers"),
        (INPUT_BASE, INPUT_END, "the input region"),
        (STACK_BASE, STACK_TOP, "the stack"),
    )
    for low, high, owner in reserved:
        if load.base < high and low < load.end:
            raise ImageError(
                f"segment 0x{load.address:x} overlaps {owner} at 0x{low:x}: link it elsewhere"
            )


def _text(elf: bytes, code: list[_Load]) -> tuple[int, bytes]:
    """Base and bytes of the one contiguous range that the executable segments form."""
    if not code:
        raise ImageError("the ELF file has no executable segment")
    if code[-1].end - code[0].base > TEXT_BYTES_MAX:
        raise ImageError(f"the text is larger than {TEXT_BYTES_MAX >> 20} MiB")
    for lower, upper in pairwise(code):
        if upper.base != lower.end:
            raise ImageError(
                f"the executable segments leave a gap at 0x{lower.end:x}: link them into one range"
            )
    text = b"".join(load.content(elf).ljust(load.end - load.base, b"\0") for load in code)
    return code[0].base, text


def _check_data(data: list[_Load]) -> None:
    if data and data[0].base < DATA_BASE_MIN:
        raise ImageError(
            f"segment 0x{data[0].address:x} lies below 0x{DATA_BASE_MIN:x}, where accesses trap: "
            "link it higher"
        )
    total = sum(load.end - load.base for load in data)
    if total > DATA_BYTES_MAX:
        raise ImageError(
            f"the program maps {total} bytes of data; the machine has {DATA_BYTES_MAX >> 20} MiB"
        )


def _check_text(image: ProgramImage) -> None:
    """Every word decodes, every static target is an instruction, nothing falls off the end."""
    text = decode_text(np.frombuffer(image.text, dtype="<u4").astype(np.uint32))
    bad = np.flatnonzero(text.row == UNDECODABLE)
    if len(bad):
        pc = image.text_base + 4 * int(bad[0])
        raise ImageError(
            f"the word 0x{image.opcode(pc):08x} at 0x{pc:x} is not an RV32IM instruction: "
            "keep data out of the text segment"
        )
    jumps = np.flatnonzero(np.isin(text.row, rows_of(Format.B, Format.J)))
    offsets = 4 * jumps.astype(np.int64) + text.imm[jumps]
    lost = (offsets < 0) | (offsets >= len(image.text)) | (offsets % 4 != 0)
    if lost.any():
        pc = image.text_base + 4 * int(jumps[lost][0])
        raise ImageError(f"the jump at 0x{pc:x} leads to no instruction of the text segment")
    if falls_through(text)[-1]:
        raise ImageError(
            f"the last instruction, at 0x{image.text_end - 4:x}, can run off the end of the text"
        )


def _symbols(elf: bytes, shoff: int, shnum: int) -> dict[str, Symbol]:
    """Name -> place of the named symbols; empty for a stripped file."""
    if shoff + shnum * _SECTION_HEADER.size > len(elf):
        raise ImageError("the ELF file is cut off within its section headers")
    for index in range(shnum):
        section = _SECTION_HEADER.unpack_from(elf, shoff + index * _SECTION_HEADER.size)
        _, kind, _, _, offset, size, link, _, _, entry_size = section
        if kind == _SHT_SYMTAB:  # a file has at most one
            break
    else:
        return {}
    if entry_size != _SYMBOL.size or offset + size > len(elf) or link >= shnum:
        raise ImageError("the ELF file's symbol table is cut off or damaged: link it again")
    if size // _SYMBOL.size > SYMBOLS_MAX:
        raise ImageError(f"the ELF file has more than {SYMBOLS_MAX} symbols: strip it")
    strings = _SECTION_HEADER.unpack_from(elf, shoff + link * _SECTION_HEADER.size)
    names = elf[strings[4] : strings[4] + strings[5]]
    symbols: dict[str, Symbol] = {}
    for name_at, address, length, *_ in _SYMBOL.iter_unpack(
        elf[offset : offset + size - size % _SYMBOL.size]
    ):
        if name := _name(names, name_at):
            symbols.setdefault(name, Symbol(address, length))
    return symbols


def _name(names: bytes, start: int) -> str:
    end = names.find(b"\0", start, start + 256)
    return names[start:end].decode("ascii", "replace") if 0 <= start < end else ""
