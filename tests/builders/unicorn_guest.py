"""Run a guest on unicorn: an independent judge of what its instructions do.

Reads the ELF by itself (no code of ours), maps text as execute-only and the input as read-only, and
ends at the first ecall. Memory outside the segments, data reads of text and any other fault show as
``Ended.fault``.
"""

import struct
from dataclasses import dataclass

from unicorn import (
    UC_ARCH_RISCV,
    UC_HOOK_BLOCK,
    UC_HOOK_INTR,
    UC_HOOK_MEM_READ,
    UC_HOOK_MEM_WRITE,
    UC_MODE_RISCV32,
    UC_PROT_EXEC,
    UC_PROT_READ,
    UC_PROT_WRITE,
    Uc,
    UcError,
)
from unicorn.riscv_const import UC_RISCV_REG_A0, UC_RISCV_REG_A7, UC_RISCV_REG_SP

PAGE = 4096
STACK_TOP = 0x8000_0000
STACK_SIZE = 1 << 20
INPUT_BASE = 0x4000_0000


@dataclass(frozen=True)
class Segment:
    """One PT_LOAD program header; ``flags`` as in ELF: 1 X, 2 W, 4 R."""

    address: int
    data: bytes
    size: int
    flags: int


@dataclass(frozen=True)
class Ended:
    """How a run ended: exit code (a0 at ecall 93) or fault, and the instructions executed."""

    code: int | None
    steps: int
    fault: str = ""
    input_words: frozenset[int] = frozenset()
    """Addresses of the input words that were read."""


def segments(elf: bytes) -> tuple[int, list[Segment]]:
    """The entry point and the PT_LOAD segments of a 32-bit little-endian ELF."""
    entry, offset = struct.unpack_from("<II", elf, 24)
    size, count = struct.unpack_from("<HH", elf, 42)
    found = []
    for index in range(count):
        kind, at, address, _, filesz, memsz, flags, _ = struct.unpack_from(
            "<8I", elf, offset + size * index
        )
        if kind == 1:
            found.append(Segment(address, elf[at : at + filesz], memsz, flags))
    return entry, found


def padded_input(data: bytes, padding: bytes = bytes(3)) -> bytes:
    """The words at the input base: length, bytes, padding up to a word."""
    return struct.pack("<I", len(data)) + data + padding[: -len(data) % 4]


def patched_elf(elf: bytes, address: int, content: bytes) -> bytes:
    """The file with ``content`` where the byte at ``address`` comes from."""
    offset, size, count = (*struct.unpack_from("<I", elf, 28), *struct.unpack_from("<HH", elf, 42))
    for index in range(count):
        kind, at, base, _, filesz = struct.unpack_from("<5I", elf, offset + size * index)
        start = at + address - base
        if kind == 1 and base <= address and address + len(content) <= base + filesz:
            return elf[:start] + content + elf[start + len(content) :]
    raise AssertionError(f"no {len(content)} bytes of the file are at {address:#x}")


class UnicornGuest:
    """One loaded guest; ``run`` starts from fresh memory every time."""

    def __init__(self, elf: bytes, *, strict: bool = False) -> None:
        """``strict`` also checks alignment and exact segment borders of every access (slow)."""
        self.entry, self.segments = segments(elf)
        self.strict = strict

    def run(self, data: bytes, *, limit: int = 0, padding: bytes = bytes(3)) -> Ended:
        """Execute to the first ecall; ``limit`` bounds the instructions (0: none)."""
        image = padded_input(data, padding)
        machine = Uc(UC_ARCH_RISCV, UC_MODE_RISCV32)
        for segment in self.segments:
            rights = UC_PROT_EXEC if segment.flags & 1 else UC_PROT_READ | UC_PROT_WRITE
            _map(machine, segment.address, segment.size, segment.data, rights)
        _map(machine, INPUT_BASE, len(image), image, UC_PROT_READ)
        _map(machine, STACK_TOP - STACK_SIZE, STACK_SIZE, b"", UC_PROT_READ | UC_PROT_WRITE)
        machine.reg_write(UC_RISCV_REG_SP, STACK_TOP)
        borders = [(INPUT_BASE, INPUT_BASE + len(image)), (STACK_TOP - STACK_SIZE, STACK_TOP)]
        borders += [(s.address, s.address + s.size) for s in self.segments if not s.flags & 1]
        steps = 0
        fault = ""
        words: set[int] = set()

        def on_block(_: Uc, address: int, size: int, __: object) -> None:
            nonlocal steps
            steps += size // 4

        def on_trap(uc: Uc, number: int, _: object) -> None:
            nonlocal fault
            if number != 8 or uc.reg_read(UC_RISCV_REG_A7) != 93:
                fault = f"exception {number}"
            uc.emu_stop()

        def on_access(uc: Uc, _: int, address: int, size: int, __: int, ___: object) -> None:
            nonlocal fault
            inside = any(low <= address and address + size <= high for low, high in borders)
            if address % size or not inside:
                fault = f"access of {size} bytes at {address:#x}"
                uc.emu_stop()

        def on_input(_: Uc, __: int, address: int, *___: object) -> None:
            words.add(address & -4)

        end = INPUT_BASE + len(image) - 1
        machine.hook_add(UC_HOOK_MEM_READ, on_input, begin=INPUT_BASE, end=end)
        machine.hook_add(UC_HOOK_BLOCK, on_block)
        machine.hook_add(UC_HOOK_INTR, on_trap)
        if self.strict:
            machine.hook_add(UC_HOOK_MEM_READ | UC_HOOK_MEM_WRITE, on_access)
        try:
            machine.emu_start(self.entry, 0, count=limit)
        except UcError as error:
            fault = str(error)
        if fault:
            return Ended(None, steps, fault)
        return Ended(machine.reg_read(UC_RISCV_REG_A0), steps, input_words=frozenset(words))


def _map(machine: Uc, address: int, size: int, data: bytes, rights: int) -> None:
    start = address & -PAGE
    end = (address + max(size, 1) + PAGE - 1) & -PAGE
    machine.mem_map(start, end - start, rights)
    if data:
        machine.mem_write(address, data)
