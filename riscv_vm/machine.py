"""The REFERENCE machine: one readable, total step at a time. Fast machine and scripts follow it.

``next_step`` is the specification: a pure function from a state to what one step reads and writes.
Every function of an instruction class has the same three parts: operands, effect, successor.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from riscv_vm.image import ImageError, ProgramImage, input_region
from riscv_vm.isa import (
    A0,
    A7,
    EXIT_CALL,
    HALT,
    INPUT_BASE,
    LOG4_STEPS_DEFAULT,
    LOG4_STEPS_MAX,
    NOWRITE,
    REGISTER_BASE,
    SENTINELS,
    SP,
    STACK_TOP,
    TRAP,
    WORD_MASK,
    Instruction,
    decode,
)
from riscv_vm.record import Outcome, Record, absorbing, register_address


@dataclass(frozen=True, slots=True)
class Read:
    """A word that a step reads, at its address in the one space of registers and memory."""

    address: int
    value: int


UNUSED: Final = Read(0, 0)
"""A read slot that the instruction does not use; x0 is one too."""

Reads = tuple[Read, Read, Read]
"""Slot 0 = rs1 (ecall: a7), slot 1 = rs2 or the loaded word (ecall: a0), slot 2 = the word that sb
and sh merge into."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step: the instruction word at ``pc`` (0 at a sentinel), what it reads and commits."""

    pc: int
    opcode: int
    reads: Reads
    record: Record


class State(Protocol):
    """What a step may look at."""

    @property
    def image(self) -> ProgramImage: ...

    @property
    def pc(self) -> int: ...

    def register(self, index: int) -> int:
        """The value of x1..x31."""

    def word(self, address: int) -> int | None:
        """The word at an aligned address, None outside data, stack and input."""

    def writable(self, address: int) -> bool:
        """May a store change the word at this aligned address?"""


def next_step(state: State) -> Step:
    """The one step that follows ``state``."""
    pc = state.pc
    if pc in SENTINELS:
        return Step(pc, 0, (UNUSED, UNUSED, UNUSED), absorbing(pc))
    opcode = state.image.opcode(pc)
    instruction = decode(opcode)
    assert instruction is not None, "the loader refuses words that do not decode"
    reads, record = _EXECUTE[instruction.name](state, instruction)
    slots = (*reads, UNUSED, UNUSED, UNUSED)
    return Step(pc, opcode, (slots[0], slots[1], slots[2]), record)


def signed(word: int) -> int:
    """A 32-bit word as a two's complement integer."""
    return word - (1 << 32) if word >> 31 else word


_Effect = tuple[tuple[Read, ...], Record]
_TRAPPED: Final = absorbing(TRAP)


def _read(state: State, register: int) -> Read:
    return Read(register_address(register), state.register(register)) if register else UNUSED


def _write(register: int, value: int, next_pc: int) -> Record:
    if register == 0:
        return Record(NOWRITE, 0, next_pc)
    return Record(register_address(register), value & WORD_MASK, next_pc)


def _after(state: State) -> int:
    return state.pc + 4


def _div(a: int, b: int) -> int:
    """Signed quotient, rounded towards zero; all ones if b = 0 (manual, table 11)."""
    x, y = signed(a), signed(b)
    if y == 0:
        return WORD_MASK
    quotient = abs(x) // abs(y)
    return quotient if (x < 0) == (y < 0) else -quotient


def _rem(a: int, b: int) -> int:
    """Signed remainder with the sign of the dividend; the dividend if b = 0."""
    x, y = signed(a), signed(b)
    if y == 0:
        return a
    remainder = abs(x) % abs(y)
    return remainder if x >= 0 else -remainder


_ARITHMETIC: Final[dict[str, Callable[[int, int], int]]] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "sll": lambda a, b: a << (b & 31),
    "slt": lambda a, b: signed(a) < signed(b),
    "sltu": lambda a, b: a < b,
    "xor": lambda a, b: a ^ b,
    "srl": lambda a, b: a >> (b & 31),
    "sra": lambda a, b: signed(a) >> (b & 31),
    "or": lambda a, b: a | b,
    "and": lambda a, b: a & b,
    "mul": lambda a, b: a * b,
    "mulh": lambda a, b: signed(a) * signed(b) >> 32,
    "mulhsu": lambda a, b: signed(a) * b >> 32,
    "mulhu": lambda a, b: a * b >> 32,
    "div": _div,
    "divu": lambda a, b: a // b if b else WORD_MASK,
    "rem": _rem,
    "remu": lambda a, b: a % b if b else a,
}
_CONDITION: Final[dict[str, Callable[[int, int], bool]]] = {
    "beq": lambda a, b: a == b,
    "bne": lambda a, b: a != b,
    "blt": lambda a, b: signed(a) < signed(b),
    "bge": lambda a, b: signed(a) >= signed(b),
    "bltu": lambda a, b: a < b,
    "bgeu": lambda a, b: a >= b,
}
_WIDTH: Final = {"lb": 1, "lbu": 1, "sb": 1, "lh": 2, "lhu": 2, "sh": 2, "lw": 4, "sw": 4}
_SIGN_EXTENDED: Final = {"lb": 8, "lh": 16}


def _register_register(state: State, i: Instruction) -> _Effect:
    a, b = _read(state, i.rs1), _read(state, i.rs2)
    value = _ARITHMETIC[i.name](a.value, b.value)
    return (a, b), _write(i.rd, value, _after(state))


def _register_immediate(state: State, i: Instruction) -> _Effect:
    a = _read(state, i.rs1)
    operation = "sltu" if i.name == "sltiu" else i.name.removesuffix("i")
    value = _ARITHMETIC[operation](a.value, i.imm & WORD_MASK)
    return (a,), _write(i.rd, value, _after(state))


def _upper(state: State, i: Instruction) -> _Effect:
    value = i.imm + (state.pc if i.name == "auipc" else 0)
    return (), _write(i.rd, value, _after(state))


def _load(state: State, i: Instruction) -> _Effect:
    base = _read(state, i.rs1)
    address = (base.value + i.imm) & WORD_MASK
    width = _WIDTH[i.name]
    word = state.word(address & ~3) if address % width == 0 else None
    if word is None:
        return (base,), _TRAPPED
    value = word >> 8 * (address & 3) & (1 << 8 * width) - 1
    sign = _SIGN_EXTENDED.get(i.name)
    if sign and value >> (sign - 1):
        value -= 1 << sign
    return (base, Read(address & ~3, word)), _write(i.rd, value, _after(state))


def _store(state: State, i: Instruction) -> _Effect:
    base, value = _read(state, i.rs1), _read(state, i.rs2)
    address = (base.value + i.imm) & WORD_MASK
    width, place = _WIDTH[i.name], address & ~3
    if address % width or not state.writable(place):
        return (base, value), _TRAPPED
    if width == 4:
        return (base, value), Record(place, value.value, _after(state))
    old = state.word(place)
    assert old is not None, "a writable word is readable"
    shift, field = 8 * (address & 3), (1 << 8 * width) - 1
    merged = old & ~(field << shift) | (value.value & field) << shift
    return (base, value, Read(place, old)), Record(place, merged, _after(state))


def _branch(state: State, i: Instruction) -> _Effect:
    a, b = _read(state, i.rs1), _read(state, i.rs2)
    taken = _CONDITION[i.name](a.value, b.value)
    target = (state.pc + i.imm) & WORD_MASK
    return (a, b), Record(NOWRITE, 0, target if taken else _after(state))


def _jal(state: State, i: Instruction) -> _Effect:
    target = (state.pc + i.imm) & WORD_MASK
    return (), _write(i.rd, _after(state), target)


def _jalr(state: State, i: Instruction) -> _Effect:
    base = _read(state, i.rs1)
    target = (base.value + i.imm) & WORD_MASK & ~1
    if not state.image.in_text(target):
        return (base,), _TRAPPED
    return (base,), _write(i.rd, _after(state), target)


def _fence(state: State, i: Instruction) -> _Effect:
    return (), Record(NOWRITE, 0, _after(state))


def _ecall(state: State, i: Instruction) -> _Effect:
    call, status = _read(state, A7), _read(state, A0)
    halts = call.value == EXIT_CALL and status.value == 0
    return (call, status), absorbing(HALT if halts else TRAP)


def _ebreak(state: State, i: Instruction) -> _Effect:
    return (), _TRAPPED


_Execute = Callable[[State, Instruction], _Effect]
_EXECUTE: Final[Mapping[str, _Execute]] = (
    dict.fromkeys(_ARITHMETIC, _register_register)
    | dict.fromkeys(
        ("addi", "slti", "sltiu", "xori", "ori", "andi", "slli", "srli", "srai"),
        _register_immediate,
    )
    | dict.fromkeys(("lb", "lh", "lw", "lbu", "lhu"), _load)
    | dict.fromkeys(("sb", "sh", "sw"), _store)
    | dict.fromkeys(_CONDITION, _branch)
    | dict.fromkeys(("lui", "auipc"), _upper)
    | {"jal": _jal, "jalr": _jalr, "fence": _fence, "ecall": _ecall, "ebreak": _ebreak}
)


class Machine:
    """A program, its input and the words that differ from their initial values."""

    def __init__(self, image: ProgramImage, data: bytes = b"") -> None:
        """At reset. ``data`` is the input; ImageError above 16 MiB."""
        self.image = image
        self.pc = image.entry
        self.steps = 0
        self._input = input_region(data)
        self._registers = [0] * 32
        self._registers[SP] = STACK_TOP
        self._written: dict[int, int] = {}

    @property
    def ended(self) -> bool:
        return self.pc in SENTINELS

    def register(self, index: int) -> int:
        return self._registers[index]

    def word(self, address: int) -> int | None:
        if (value := self._written.get(address)) is not None:
            return value
        offset = address - INPUT_BASE
        if 0 <= offset < len(self._input):
            return int.from_bytes(self._input[offset : offset + 4], "little")
        return self.image.initial_word(address)

    def writable(self, address: int) -> bool:
        return self.image.initial_word(address) is not None

    def step(self) -> Step:
        """Execute one step and return it. At a sentinel the machine stays there."""
        step = next_step(self)
        self.apply(step.record)
        return step

    def apply(self, record: Record) -> None:
        """Move to the state that ``record`` leads to; ImageError if it leads nowhere."""
        waddr, wval, next_pc = record
        check_successor(self, record)
        register = (waddr - REGISTER_BASE) // 4
        if waddr != NOWRITE and register > 0:
            self._registers[register] = wval
        elif waddr != NOWRITE:
            self._written[waddr] = wval
        self.pc = next_pc
        self.steps += 1


def check_successor(state: State, record: Record) -> None:
    """ImageError unless ``record`` leads from ``state`` to another state of the machine."""
    waddr, wval, next_pc = record
    register = register_address(1) <= waddr <= register_address(31)
    place = waddr == NOWRITE or (waddr % 4 == 0 and (register or state.writable(waddr)))
    if not place or not 0 <= wval <= WORD_MASK:
        raise ImageError(f"no step writes 0x{wval:x} to 0x{waddr:x}")
    if next_pc not in SENTINELS and not state.image.in_text(next_pc):
        raise ImageError(f"0x{next_pc:x} is no place to go on: give an address of the text")


def trace(image: ProgramImage, data: bytes = b"") -> Iterator[Step]:
    """The steps of a run, the one that reaches a sentinel included; endless if none does."""
    machine = Machine(image, data)
    while not machine.ended:
        yield machine.step()


def run(image: ProgramImage, data: bytes = b"", log4_steps: int = LOG4_STEPS_DEFAULT) -> Outcome:
    """How the program ends within 4^log4_steps steps."""
    limit = step_limit(log4_steps)
    machine = Machine(image, data)
    while not machine.ended:
        if machine.steps == limit:
            return Outcome("LIMIT", limit)
        machine.step()
    return Outcome("HALT" if machine.pc == HALT else "TRAP", machine.steps)


def step_limit(log4_steps: int) -> int:
    """N = 4^log4_steps; ImageError outside 1..15."""
    if not 1 <= log4_steps <= LOG4_STEPS_MAX:
        raise ImageError(f"log4-steps is {log4_steps}; choose 1 to {LOG4_STEPS_MAX}")
    return 1 << 2 * log4_steps
