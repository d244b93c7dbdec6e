"""Writes small RISC-V ELF files, right or deliberately wrong, for tests."""

import struct
from collections.abc import Iterable
from dataclasses import dataclass

R, W, X = 4, 2, 1
PT_LOAD = 1


@dataclass(frozen=True)
class ElfSegment:
    """A program header and its file bytes; ``size`` (memory) defaults to the file size."""

    address: int
    content: bytes = b""
    flags: int = R | W
    size: int | None = None
    kind: int = PT_LOAD


def write_elf(
    entry: int,
    segments: Iterable[ElfSegment],
    *,
    machine: int = 243,
    flags: int = 0,
    kind: int = 2,
    elf_class: int = 1,
    endian: int = 1,
    symbols: dict[str, tuple[int, int]] | None = None,
) -> bytes:
    """An ELF32 file; symbols are name -> (address, size)."""
    segments = list(segments)
    body = bytearray()
    offset = 52 + 32 * len(segments)
    headers = bytearray()
    for s in segments:
        size = len(s.content) if s.size is None else s.size
        headers += struct.pack(
            "<8I",
            s.kind,
            offset + len(body),
            s.address,
            s.address,
            len(s.content),
            size,
            s.flags,
            4,
        )
        body += s.content + bytes(-len(s.content) % 4)
    sections = bytearray()
    if symbols:
        strings, table = bytearray(b"\0"), bytearray(16)
        for name, (address, size) in symbols.items():
            table += struct.pack("<IIIBBH", len(strings), address, size, 1 << 4 | 1, 0, 1)
            strings += name.encode() + b"\0"
        table_at = offset + len(body)
        body += table + strings + bytes(-len(strings) % 4)
        strings_at = table_at + len(table)
        sections += bytes(40)
        sections += struct.pack("<10I", 0, 2, 0, 0, table_at, len(table), 2, 1, 4, 16)
        sections += struct.pack("<10I", 0, 3, 0, 0, strings_at, len(strings), 0, 0, 1, 0)
    shoff = offset + len(body) if symbols else 0
    ident = b"\x7fELF" + bytes([elf_class, endian, 1]) + bytes(9)
    header = struct.pack(
        "<16sHHIIIIIHHHHHH",
        *(ident, kind, machine, 1, entry, 52, shoff, flags),
        *(52, 32, len(segments), 40, len(sections) // 40, 0),
    )
    return header + bytes(headers) + bytes(body) + bytes(sections)
