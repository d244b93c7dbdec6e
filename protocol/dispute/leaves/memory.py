"""Loads and stores in an EXECUTE leaf: where they go, whether they trap, bytes within a word."""

from collections.abc import Sequence
from typing import Final

from protocol.bitcoin.opcodes import Op
from protocol.dispute.assembler import Assembler, Item, Operand, Table
from protocol.dispute.gadgets.bits import bits, number
from protocol.dispute.gadgets.shift import sign_extend
from protocol.dispute.gadgets.word import (
    NIBBLES,
    ZERO,
    Word,
    choose,
    constant,
    copy,
    drop,
    items,
    require_zero,
    within,
)
from protocol.dispute.leaves.frame import Bits, Frame
from riscv_vm.isa import NOWRITE, TRAP

LOADS: Final = {"lb": 1, "lh": 2, "lw": 4, "lbu": 1, "lhu": 2}
STORES: Final = {"sb": 1, "sh": 2, "sw": 4}
"""Bytes that each moves."""

Ranges = Sequence[tuple[int, int]]


def load(frame: Frame, name: str, address: Word, readable: Ranges) -> Word:
    """The value that a load which does not trap puts into rd; its word is in slot 1."""
    asm = frame.asm
    place, offset = _aligned(asm, address)
    misaligned = _misaligned(offset, LOADS[name])
    require_zero(asm, misaligned)
    asm.verify(Op.VERIFY, _inside(asm, copy(asm, place), readable))
    value = frame.read_at(1, place)
    if LOADS[name] == 4:
        return value
    digits = 2 * LOADS[name]
    low = _part(asm, items(value), number(asm, (0, *_outside(offset, misaligned))), digits)
    return (*low, *ZERO[digits:]) if name.endswith("u") else sign_extend(asm, low)


def load_trap(frame: Frame, name: str, address: Word, readable: Ranges) -> None:
    """A load that traps: misaligned, or of no word of memory. It reads no word."""
    _require_trap(frame, address, LOADS[name], readable)
    frame.unused_from(1)
    trapped(frame)


def store(frame: Frame, name: str, address: Word, rs2: Bits, writable: Ranges) -> None:
    """A store that does not trap; the word that sb and sh merge into is in slot 2."""
    asm = frame.asm
    place, offset = _aligned(asm, address)
    misaligned = _misaligned(offset, STORES[name])
    require_zero(asm, misaligned)
    asm.verify(Op.VERIFY, _inside(asm, copy(asm, place), writable))
    value = frame.read(1, rs2)
    if STORES[name] == 4:
        frame.unused_from(2)
        frame.write_at(place, value)
        return
    old = frame.read_at(2, copy(asm, place))
    merged = _merged(asm, old, value, _outside(offset, misaligned), 2 * STORES[name])
    frame.write_at(place, merged)


def store_trap(frame: Frame, name: str, address: Word, rs2: Bits, writable: Ranges) -> None:
    """A store that traps: misaligned, or to no word that can be written."""
    _require_trap(frame, address, STORES[name], writable)
    drop(frame.asm, frame.read(1, rs2))
    frame.unused_from(2)
    trapped(frame)


def trapped(frame: Frame) -> None:
    """w_i is (NOWRITE, 0, TRAP)."""
    frame.write_at(constant(NOWRITE), ZERO)
    frame.go_to(constant(TRAP))


def _aligned(asm: Assembler, address: Word) -> tuple[Word, tuple[Item, Item]]:
    """The address of the word, and the two bits that pick the byte in it."""
    lowest, *above = address
    assert isinstance(lowest, Item)
    b0, b1, b2, b3 = bits(asm, lowest)
    return (number(asm, (0, 0, b2, b3)), *above), (b0, b1)


def _misaligned(offset: tuple[Item, Item], width: int) -> tuple[Item, ...]:
    """The bits of the offset that must be 0."""
    return offset[: width.bit_length() - 1]


def _outside(offset: tuple[Item, Item], checked: tuple[Item, ...]) -> tuple[Operand, ...]:
    """The offset with the bits that were checked to be 0 as constants."""
    return tuple(0 if bit in checked else bit for bit in offset)


def _inside(asm: Assembler, place: Word, ranges: Ranges) -> Item:
    """1 if the address lies in one of the ranges, else 0."""
    inside: Item | None = None
    for start, end in ranges:
        one = within(asm, copy(asm, place), start, end)
        inside = one if inside is None else asm.op(Op.BOOLOR, inside, one)
    drop(asm, place)
    return asm.push(0) if inside is None else inside


def _require_trap(frame: Frame, address: Word, width: int, ranges: Ranges) -> None:
    asm = frame.asm
    place, offset = _aligned(asm, address)
    reason = asm.op(Op.NOT, _inside(asm, place, ranges))
    for bit in _misaligned(offset, width):
        reason = asm.op(Op.BOOLOR, reason, bit)
    asm.verify(Op.VERIFY, reason)


def _part(asm: Assembler, value: tuple[Item, ...], index: Operand, count: int) -> Word:
    """``count`` nibbles of ``value``, the first of them at ``index`` (a multiple of ``count``)."""
    assert isinstance(index, Item)
    asm.bring(*reversed(value))
    table = Table(value)
    part = []
    for n in range(count):
        at = asm.copy(index) if n + 1 < count else index
        part.append(asm.look_up(table, asm.op(Op.ADD, at, n) if n else at))
    asm.drop(*value)
    return tuple(part)


def _merged(
    asm: Assembler, old: Word, value: Word, offset: tuple[Operand, ...], count: int
) -> Word:
    """``old`` with the lowest ``count`` nibbles of ``value`` at the place that ``offset`` picks."""
    place = number(asm, offset)
    assert isinstance(place, Item)
    result: list[Operand] = []
    for start in range(0, NIBBLES, count):
        here = asm.op(Op.NUMEQUAL, asm.copy(place), start // 2)
        new = copy(asm, value[:count])
        result += choose(asm, here, new, old[start : start + count])
    asm.drop(place)
    drop(asm, value)
    return tuple(result)
