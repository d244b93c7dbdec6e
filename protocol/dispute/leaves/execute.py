"""EXECUTE: one leaf per instruction, ABSORB, and the trapping cases (dispute.md 3, step 7).

The specification is ``riscv_vm.machine``; each leaf here is the instruction there, on nibbles. A
leaf verifies F_i and the challenger's digits and fails unless w_i is what the instruction makes of
the slots. What pc, opcode and the slots should have been, verdicts decide.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from protocol.bitcoin.opcodes import Op
from protocol.dispute.assembler import Assembler, Item
from protocol.dispute.fragment import Fragment
from protocol.dispute.gadgets.bits import bits, drop_table, logic, logic_table, number
from protocol.dispute.gadgets.divide import HINT_ITEMS, divide, divide_signed, hint_digits
from protocol.dispute.gadgets.multiply import high_half, multiply
from protocol.dispute.gadgets.shift import (
    shift_left_by,
    shift_right_by,
    shift_right_signed_by,
)
from protocol.dispute.gadgets.word import (
    NIBBLES,
    Word,
    add,
    choose,
    constant,
    copy,
    drop,
    equal,
    less_than,
    less_than_signed,
    require_equal,
    subtract,
    within,
)
from protocol.dispute.leaves import memory
from protocol.dispute.leaves.frame import Frame
from protocol.dispute.leaves.opcode import Opcode
from protocol.dispute.leaves.template import Template
from protocol.dispute.premises import Premises
from protocol.errors import ScriptError
from riscv_vm.isa import (
    A0,
    A7,
    ENCODINGS,
    EXIT_CALL,
    HALT,
    INPUT_BASE,
    SENTINELS,
    TRAP,
    Encoding,
    Format,
    decode,
)
from riscv_vm.machine import signed
from riscv_vm.record import register_address

ABSORB: Final = "absorb"
TRAPPING: Final = ("jalr", *memory.LOADS, *memory.STORES)
"""Instructions with a second leaf, ``<name>_trap``."""


@dataclass(frozen=True, slots=True)
class Borders:
    """What EXECUTE knows of a program: ranges [start, end) of text and memory, and log4 N."""

    log4_steps: int
    text: tuple[int, int]
    readable: tuple[tuple[int, int], ...]
    writable: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, premises: Premises) -> "Borders":
        """The borders of a contract's program and input."""
        image, size = premises.image, 4 + len(premises.layout.fixed)
        writable = tuple((segment.base, segment.end) for segment in image.memory)
        given = (INPUT_BASE, INPUT_BASE + -(-size // 4) * 4)
        text = (image.text_base, image.text_end)
        return cls(premises.log4_steps, text, (*writable, given), writable)


def names() -> tuple[str, ...]:
    """Every EXECUTE leaf: the instructions', the trapping cases', ABSORB."""
    traps = (f"{name}_trap" for name in TRAPPING)
    return (*(row.name for row in ENCODINGS), *traps, ABSORB)


def name_for(fragment: Fragment) -> str | None:
    """The leaf that the prover spends to show ``fragment``; None if there is none."""
    if fragment.pc in SENTINELS:
        return ABSORB
    instruction = decode(fragment.opcode)
    if instruction is None:
        return None
    trapped = instruction.name in TRAPPING and fragment.write.next_pc == TRAP
    return f"{instruction.name}_trap" if trapped else instruction.name


def hints_for(fragment: Fragment) -> tuple[int, ...]:
    """The unsigned numbers that the leaf of ``fragment`` takes: quotient and remainder."""
    instruction = decode(fragment.opcode)
    if instruction is None or instruction.name not in _DIVISIONS:
        return ()
    a, b = (slot.value for slot in fragment.slots[:2])
    if instruction.name in ("div", "rem"):
        a, b = abs(signed(a)), abs(signed(b))
    return hint_digits(a, b)


@lru_cache(maxsize=512)
def template(name: str, borders: Borders) -> Template:
    """The EXECUTE leaf ``name`` for programs of these ``borders``; ScriptError if none is so."""
    if name not in names():
        raise ScriptError(f"there is no EXECUTE leaf {name!r}: see names()")
    base = name.removesuffix("_trap")
    frame = Frame.of(borders.log4_steps, HINT_ITEMS if base in _DIVISIONS else 0)
    frame.require_step()
    if name == ABSORB:
        _absorb(frame)
        return frame.finish(name)
    frame.require_in_text(*borders.text)
    opcode = Opcode(frame.asm, frame.opcode, _ENCODING[base])
    _LEAVES[name](_Case(frame, opcode, _ENCODING[base], borders))
    return frame.finish(name)


@dataclass(frozen=True, slots=True)
class _Case:
    """What a leaf is made of."""

    frame: Frame
    opcode: Opcode
    encoding: Encoding
    borders: Borders

    @property
    def asm(self) -> Assembler:
        return self.frame.asm

    def immediate(self) -> Word:
        return self.opcode.immediate(self.encoding.format)

    def address(self) -> Word:
        """rs1 + immediate, with rs1 in slot 0."""
        base = self.frame.read(0, self.opcode.rs1)
        return add(self.asm, base, self.immediate())


_Compute = Callable[[Frame, Word, Word], Word]


def _flag(asm: Assembler, flag: Item) -> Word:
    return (flag, *constant(0)[1:])


def _bitwise(name: str) -> _Compute:
    def compute(frame: Frame, a: Word, b: Word) -> Word:
        table = logic_table(frame.asm, name)
        result = logic(frame.asm, table, a, b)
        drop_table(frame.asm, table)
        return result

    return compute


def _shift(by: Callable[[Assembler, Word, tuple[Item, ...]], Word]) -> _Compute:
    def compute(frame: Frame, a: Word, b: Word) -> Word:
        return by(frame.asm, a, _low_five(frame.asm, b))

    return compute


def _low_five(asm: Assembler, amount: Word) -> tuple[Item, ...]:
    """Bits 0 to 4; the rest of the word does not count."""
    low, high, *rest = amount
    assert isinstance(low, Item) and isinstance(high, Item)
    b4, *above = bits(asm, high)
    drop(asm, (*above, *rest))
    return (*bits(asm, low), b4)


def _division(name: str) -> _Compute:
    by, result = _DIVISIONS[name]
    return lambda frame, a, b: by(frame.asm, a, b, frame.hints)[result]


def _high(signed_a: bool, signed_b: bool) -> _Compute:
    return lambda frame, a, b: high_half(frame.asm, a, b, signed_a=signed_a, signed_b=signed_b)


_Divide = Callable[[Assembler, Word, Word, tuple[Item, ...]], tuple[Word, Word]]
_DIVISIONS: Final[Mapping[str, tuple[_Divide, int]]] = {
    "div": (divide_signed, 0),
    "divu": (divide, 0),
    "rem": (divide_signed, 1),
    "remu": (divide, 1),
}
"""Which division, and whether its quotient or its remainder."""

_ARITHMETIC: Final[Mapping[str, _Compute]] = {
    "add": lambda frame, a, b: add(frame.asm, a, b),
    "sub": lambda frame, a, b: subtract(frame.asm, a, b),
    "sll": _shift(shift_left_by),
    "slt": lambda frame, a, b: _flag(frame.asm, less_than_signed(frame.asm, a, b)),
    "sltu": lambda frame, a, b: _flag(frame.asm, less_than(frame.asm, a, b)),
    "xor": _bitwise("xor"),
    "srl": _shift(shift_right_by),
    "sra": _shift(shift_right_signed_by),
    "or": _bitwise("or"),
    "and": _bitwise("and"),
    "mul": lambda frame, a, b: multiply(frame.asm, a, b, NIBBLES),
    "mulh": _high(True, True),
    "mulhsu": _high(True, False),
    "mulhu": _high(False, False),
    **{name: _division(name) for name in _DIVISIONS},
}
_CONDITION: Final[Mapping[str, Callable[[Assembler, Word, Word], Item]]] = {
    "beq": equal,
    "bne": lambda asm, a, b: asm.op(Op.NOT, equal(asm, a, b)),
    "blt": less_than_signed,
    "bge": lambda asm, a, b: asm.op(Op.NOT, less_than_signed(asm, a, b)),
    "bltu": less_than,
    "bgeu": lambda asm, a, b: asm.op(Op.NOT, less_than(asm, a, b)),
}


def _register_register(case: _Case) -> None:
    frame, opcode = case.frame, case.opcode
    a, b = frame.read(0, opcode.rs1), frame.read(1, opcode.rs2)
    frame.unused_from(2)
    frame.write(opcode.rd, _ARITHMETIC[case.encoding.name](frame, a, b))
    frame.go_on()


def _register_immediate(case: _Case) -> None:
    frame, opcode, name = case.frame, case.opcode, case.encoding.name
    a = frame.read(0, opcode.rs1)
    frame.unused_from(1)
    if case.encoding.format is Format.SHIFT:
        amount = tuple(bit for bit in opcode.shift_amount if isinstance(bit, Item))
        result = _SHIFTS[name](case.asm, a, amount)
    else:
        operation = "sltu" if name == "sltiu" else name.removesuffix("i")
        result = _ARITHMETIC[operation](frame, a, case.immediate())
    frame.write(opcode.rd, result)
    frame.go_on()


_SHIFTS: Final = {"slli": shift_left_by, "srli": shift_right_by, "srai": shift_right_signed_by}


def _upper(case: _Case) -> None:
    frame, value = case.frame, case.immediate()
    if case.encoding.name == "auipc":
        value = add(case.asm, value, copy(case.asm, frame.pc))
    frame.unused_from(0)
    frame.write(case.opcode.rd, value)
    frame.go_on()


def _branch(case: _Case) -> None:
    asm, frame, opcode = case.asm, case.frame, case.opcode
    a, b = frame.read(0, opcode.rs1), frame.read(1, opcode.rs2)
    frame.unused_from(2)
    taken = _CONDITION[case.encoding.name](asm, a, b)
    distance = choose(asm, taken, case.immediate(), constant(4))
    frame.write_nothing()
    frame.go_to(add(asm, frame.pc, distance))


def _jal(case: _Case) -> None:
    asm, frame = case.asm, case.frame
    frame.unused_from(0)
    frame.write(case.opcode.rd, add(asm, copy(asm, frame.pc), constant(4)))
    frame.go_to(add(asm, frame.pc, case.immediate()))


def _jalr(case: _Case) -> None:
    asm, frame = case.asm, case.frame
    target, bit_1 = _even(asm, case.address())
    frame.unused_from(1)
    asm.verify(Op.NOT, bit_1)
    asm.verify(Op.VERIFY, within(asm, copy(asm, target), *case.borders.text))
    frame.write(case.opcode.rd, add(asm, frame.pc, constant(4)))
    frame.go_to(target)


def _jalr_trap(case: _Case) -> None:
    asm, frame = case.asm, case.frame
    target, bit_1 = _even(asm, case.address())
    frame.unused_from(1)
    outside = asm.op(Op.NOT, within(asm, target, *case.borders.text))
    asm.verify(Op.BOOLOR, outside, bit_1)
    memory.trapped(frame)


def _even(asm: Assembler, address: Word) -> tuple[Word, Item]:
    """The address with bit 0 cleared, and bit 1."""
    lowest, *above = address
    assert isinstance(lowest, Item)
    b0, b1, b2, b3 = bits(asm, lowest)
    asm.drop(b0)
    bit_1 = asm.copy(b1)
    return (number(asm, (0, b1, b2, b3)), *above), bit_1


def _load(case: _Case) -> None:
    frame, name = case.frame, case.encoding.name
    value = memory.load(frame, name, case.address(), case.borders.readable)
    frame.unused_from(2)
    frame.write(case.opcode.rd, value)
    frame.go_on()


def _load_trap(case: _Case) -> None:
    memory.load_trap(case.frame, case.encoding.name, case.address(), case.borders.readable)


def _store(case: _Case) -> None:
    frame, name, opcode = case.frame, case.encoding.name, case.opcode
    memory.store(frame, name, case.address(), opcode.rs2, case.borders.writable)
    frame.go_on()


def _store_trap(case: _Case) -> None:
    frame, name, opcode = case.frame, case.encoding.name, case.opcode
    memory.store_trap(frame, name, case.address(), opcode.rs2, case.borders.writable)


def _fence(case: _Case) -> None:
    case.frame.unused_from(0)
    case.frame.write_nothing()
    case.frame.go_on()


def _ecall(case: _Case) -> None:
    asm, frame = case.asm, case.frame
    call = frame.read_at(0, constant(register_address(A7)))
    status = frame.read_at(1, constant(register_address(A0)))
    frame.unused_from(2)
    frame.write_nothing()
    exits = equal(asm, call, constant(EXIT_CALL))
    halts = asm.op(Op.BOOLAND, exits, equal(asm, status, constant(0)))
    frame.go_to(choose(asm, halts, constant(HALT), constant(TRAP)))


def _ebreak(case: _Case) -> None:
    case.frame.unused_from(0)
    memory.trapped(case.frame)


def _absorb(frame: Frame) -> None:
    """pc is HALT or TRAP and stays; there is no opcode, so the field is 0."""
    asm, pc = frame.asm, frame.pc
    same = [equal(asm, copy(asm, pc[:1]), constant(s, 1)) for s in SENTINELS]
    asm.verify(Op.BOOLOR, *same)
    require_equal(asm, copy(asm, pc[1:]), constant(HALT)[1:])
    require_equal(asm, frame.opcode, constant(0))
    frame.unused_from(0)
    frame.write_nothing()
    frame.go_to(pc)


_ENCODING: Final = {row.name: row for row in ENCODINGS}
_LEAVES: Final[Mapping[str, Callable[[_Case], None]]] = (
    dict.fromkeys(_ARITHMETIC, _register_register)
    | dict.fromkeys(
        ("addi", "slti", "sltiu", "xori", "ori", "andi", "slli", "srli", "srai"),
        _register_immediate,
    )
    | dict.fromkeys(memory.LOADS, _load)
    | dict.fromkeys((f"{name}_trap" for name in memory.LOADS), _load_trap)
    | dict.fromkeys(memory.STORES, _store)
    | dict.fromkeys((f"{name}_trap" for name in memory.STORES), _store_trap)
    | dict.fromkeys(_CONDITION, _branch)
    | dict.fromkeys(("lui", "auipc"), _upper)
    | {"jal": _jal, "jalr": _jalr, "jalr_trap": _jalr_trap}
    | {"fence": _fence, "ecall": _ecall, "ebreak": _ebreak}
)
