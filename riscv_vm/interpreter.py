"""The compiled loops of the fast machine. Everything here runs under numba; ``fast`` calls it.

One interpreter body is compiled three times: PLAIN only executes, RECORD also writes the records of
its steps into a tile, WATCH also notes the last step that wrote each register and one memory word.

numba widens uint32 op uint32 to 64 bits: every result is wrapped again. A text index is a uint64,
since a signed one would be checked for a negative value on every access.
"""

from collections.abc import Callable
from typing import Any, Final, NamedTuple

import numpy as np
from numba import int32, int64, uint32, uint64

from riscv_vm import ops
from riscv_vm.isa import (
    A0,
    A7,
    EXIT_CALL,
    HALT,
    NOWRITE,
    REGISTER_BASE,
    STACK_BASE,
    STACK_BYTES,
    TRAP,
)
from riscv_vm.jit import SOURCES, inline, jit
from riscv_vm.program import NO_REGISTER, U8, U32, U64

PLAIN, RECORD, WATCH = 0, 1, 2
WATCHED: Final = 33
"""Index of the watched memory word in ``last``; 1..31 are registers, 32 stands for no write."""

_ONE: Final = np.uint64(1)
_TWO: Final = np.uint64(2)
_EIGHT: Final = np.uint64(8)
_BYTE: Final = np.uint64(255)
_PAGE_SHIFT: Final = np.uint64(10)
_NONE: Final = np.uint64(NO_REGISTER)
_MISS: Final = np.uint64(2**64 - 1)


class Core(NamedTuple):
    """A machine's arrays. The text indices len(code) - 1 and len(code) mean HALT and TRAP."""

    code: U64
    registers: U32
    memory: U32
    dirty: U8
    regions: U32
    text_base: U32


class Tile(NamedTuple):
    """Records, planar: three arrays of the same length."""

    waddr: U32
    wval: U32
    next_pc: U32


@inline
def _place(address, data_base, data_size, stack_first, regions):  # type: ignore[no-untyped-def]
    """Index of the memory word that holds ``address``; _MISS if nothing is there."""
    offset = uint32(address - data_base)
    if offset < data_size:
        return uint64(offset >> 2)
    offset = uint32(address - uint32(STACK_BASE))
    if offset < STACK_BYTES:
        return uint64(offset >> 2) + stack_first
    for row in range(2, len(regions)):
        offset = uint32(address - regions[row, 0])
        if offset < regions[row, 1]:
            return uint64(offset >> 2) + uint64(regions[row, 2])
    return _MISS


@inline
def _magnitude(word):  # type: ignore[no-untyped-def]
    """|word| of a two's complement word."""
    return uint32(-int64(int32(word))) if word >> 31 else word


@inline
def _div(a, b):  # type: ignore[no-untyped-def]
    if b == 0:
        return uint32(0xFFFF_FFFF)
    quotient = uint32(_magnitude(a) // _magnitude(b))
    return uint32(-int64(quotient)) if (a ^ b) >> 31 else quotient


@inline
def _rem(a, b):  # type: ignore[no-untyped-def]
    if b == 0:
        return a
    remainder = uint32(_magnitude(a) % _magnitude(b))
    return uint32(-int64(remainder)) if a >> 31 else remainder


def _interpreter(mode: int, sources: int) -> Callable[..., Any]:
    """The interpreter loop for one mode."""

    def loop(core, pc, step, stop, tile, last, watched):  # type: ignore[no-untyped-def]
        """Run from text index ``pc`` and number ``step`` until ``stop`` or a sentinel.

        The number indexes ``tile`` (RECORD) or is the step's own (WATCH). Returns the next
        (pc, step).
        """
        _ = sources
        code, registers, memory, dirty, regions = (
            core.code,
            core.registers,
            core.memory,
            core.dirty,
            core.regions,
        )
        base = core.text_base[0]
        data_base, data_size, stack_first = regions[0, 0], regions[0, 1], uint64(regions[1, 2])
        halt = uint64(len(code) - 1)
        trap = uint64(len(code))
        readonly = uint64(regions[len(regions) - 1, 2])
        while step < stop:
            word = code[pc]
            op = int64(word & _BYTE)
            rd = (word >> _EIGHT) & _BYTE
            a = registers[(word >> uint64(16)) & _BYTE]
            b = registers[(word >> uint64(24)) & _BYTE]
            imm = uint32(word >> uint64(32))
            value = uint32(0)
            after = pc + _ONE
            if op == ops.NOP:
                pass
            elif op == ops.ADDI:
                value = uint32(a + imm)
            elif op == ops.SLTI:
                value = uint32(int32(a) < int32(imm))
            elif op == ops.SLTIU:
                value = uint32(a < imm)
            elif op == ops.XORI:
                value = uint32(a ^ imm)
            elif op == ops.ORI:
                value = uint32(a | imm)
            elif op == ops.ANDI:
                value = uint32(a & imm)
            elif op == ops.SLLI:
                value = uint32(a << (imm & 31))
            elif op == ops.SRLI:
                value = uint32(a >> (imm & 31))
            elif op == ops.SRAI:
                value = uint32(int32(a) >> (imm & 31))
            elif op == ops.ADD:
                value = uint32(a + b)
            elif op == ops.SUB:
                value = uint32(a - b)
            elif op == ops.SLL:
                value = uint32(a << (b & 31))
            elif op == ops.SLT:
                value = uint32(int32(a) < int32(b))
            elif op == ops.SLTU:
                value = uint32(a < b)
            elif op == ops.XOR:
                value = uint32(a ^ b)
            elif op == ops.SRL:
                value = uint32(a >> (b & 31))
            elif op == ops.SRA:
                value = uint32(int32(a) >> (b & 31))
            elif op == ops.OR:
                value = uint32(a | b)
            elif op == ops.AND:
                value = uint32(a & b)
            elif op == ops.MUL:
                value = uint32(a * b)
            elif op == ops.MULH:
                value = uint32((int64(int32(a)) * int64(int32(b))) >> 32)
            elif op == ops.MULHSU:
                value = uint32((int64(int32(a)) * int64(b)) >> 32)
            elif op == ops.MULHU:
                value = uint32((uint64(a) * uint64(b)) >> uint64(32))
            elif op == ops.DIV:
                value = _div(a, b)
            elif op == ops.DIVU:
                value = uint32(a // b) if b != 0 else uint32(0xFFFF_FFFF)
            elif op == ops.REM:
                value = _rem(a, b)
            elif op == ops.REMU:
                value = uint32(a % b) if b != 0 else a
            elif op == ops.CONST:
                value = imm
            elif op == ops.BEQ:
                after = uint64(imm) if a == b else after
            elif op == ops.BNE:
                after = uint64(imm) if a != b else after
            elif op == ops.BLT:
                after = uint64(imm) if int32(a) < int32(b) else after
            elif op == ops.BGE:
                after = uint64(imm) if int32(a) >= int32(b) else after
            elif op == ops.BLTU:
                after = uint64(imm) if a < b else after
            elif op == ops.BGEU:
                after = uint64(imm) if a >= b else after
            elif op == ops.JAL:
                value = uint32(base + uint32(after << _TWO))
                after = uint64(imm)
            elif op == ops.JALR:
                value = uint32(base + uint32(after << _TWO))
                target = uint32((uint32(a + imm) & uint32(0xFFFF_FFFE)) - base)
                after = uint64(target >> 2)
                if target & 3 or after >= halt:
                    pc = trap
                    break
            elif op == ops.LW:
                address = uint32(a + imm)
                place = _place(address, data_base, data_size, stack_first, regions)
                if address & 3 or place == _MISS:
                    pc = trap
                    break
                value = memory[place]
            elif op in (ops.LH, ops.LHU, ops.LB, ops.LBU):
                address = uint32(a + imm)
                place = _place(address, data_base, data_size, stack_first, regions)
                span = 1 if op in (ops.LH, ops.LHU) else 0
                if address & span or place == _MISS:
                    pc = trap
                    break
                value = uint32(memory[place] >> ((address & 3) << 3))
                if op == ops.LH:
                    value = uint32(int32(value << 16) >> 16)
                elif op == ops.LHU:
                    value = uint32(value & 0xFFFF)
                elif op == ops.LB:
                    value = uint32(int32(value << 24) >> 24)
                elif op == ops.LBU:
                    value = uint32(value & 0xFF)
            elif op in (ops.SW, ops.SH, ops.SB):
                address = uint32(a + imm)
                place = _place(address, data_base, data_size, stack_first, regions)
                span = 3 if op == ops.SW else (1 if op == ops.SH else 0)
                if address & span or place >= readonly:
                    pc = trap
                    break
                value = b
                if op != ops.SW:
                    shift = (address & 3) << 3
                    field = uint32((0xFFFF if op == ops.SH else 0xFF) << shift)
                    value = uint32((memory[place] & ~field) | (uint32(b << shift) & field))
                memory[place] = value
                dirty[place >> _PAGE_SHIFT] = 1
                if mode == RECORD:
                    tile.waddr[step] = address & uint32(0xFFFF_FFFC)
                    tile.wval[step] = value
                    tile.next_pc[step] = uint32(base + uint32(after << _TWO))
                if mode == WATCH and address & uint32(0xFFFF_FFFC) == watched:
                    last[WATCHED] = step
                pc = after
                step += _ONE
                continue
            else:
                exits = op == ops.ECALL and registers[A7] == EXIT_CALL and registers[A0] == 0
                pc = halt if exits else trap
                break
            registers[rd] = value
            if mode == RECORD:
                tile.waddr[step] = (
                    uint32(NOWRITE) if rd == _NONE else uint32(REGISTER_BASE) + uint32(rd << _TWO)
                )
                tile.wval[step] = uint32(0) if rd == _NONE else value
                tile.next_pc[step] = uint32(base + uint32(after << _TWO))
            if mode == WATCH:
                last[rd] = step
            pc = after
            step += _ONE
        if pc >= halt:
            if mode == RECORD:
                tile.waddr[step] = NOWRITE
                tile.wval[step] = 0
                tile.next_pc[step] = HALT if pc == halt else TRAP
            step += _ONE
        return pc, step

    return loop


run_plain = jit(_interpreter(PLAIN, SOURCES))
run_record = jit(_interpreter(RECORD, SOURCES))
run_watch = jit(_interpreter(WATCH, SOURCES))
