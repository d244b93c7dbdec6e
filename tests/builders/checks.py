"""Programs that check themselves: HALT if every result is the expected one, else a TRAP that names
the case.

A case is assembler text, the register that holds its result, and the result; gp holds its number.
"""

from collections.abc import Sequence
from typing import NamedTuple

from riscv_vm.image import ProgramImage
from tests.builders.programs import program


class Case(NamedTuple):
    """``code`` leaves ``expected`` in ``register``; it may not touch gp and t6."""

    code: str
    register: str
    expected: int


def operation(name: str, a: int, b: int, expected: int) -> Case:
    """``name`` of two registers."""
    return Case(f"li a1, {a}\nli a2, {b}\n{name} a4, a1, a2", "a4", expected)


def immediate(name: str, a: int, imm: int, expected: int) -> Case:
    """``name`` of a register and an immediate."""
    return Case(f"li a1, {a}\n{name} a4, a1, {imm}", "a4", expected)


def branch(name: str, a: int, b: int, taken: bool) -> Case:
    """A branch forwards over one instruction and, if taken, another one backwards."""
    code = f"""
        li a1, {a}
        li a2, {b}
        li a4, 0
        {name} a1, a2, forward@
        addi a4, a4, 1
        j after@
    back@:
        addi a4, a4, 4
        j after@
    forward@:
        {name} a1, a2, back@
        addi a4, a4, 2
    after@:
    """
    return Case(code, "a4", 4 if taken else 1)


def checking(cases: Sequence[Case], data: bytes = b"") -> ProgramImage:
    """The program over ``cases``; ``@`` in their text becomes the number of the case."""
    lines = []
    for number, case in enumerate(cases, start=1):
        lines += [f"li gp, {number}", case.code.replace("@", f"_{number}")]
        lines += [f"li t6, {case.expected}", f"beq {case.register}, t6, good_{number}", "j fail"]
        lines += [f"good_{number}:"]
    lines += ["li a0, 0", "li a7, 93", "ecall", "fail:", "slli a0, gp, 1", "ori a0, a0, 1"]
    lines += ["li a7, 93", "ecall"]
    return program("\n".join(lines), data, 4096 if data else None)


def failed_case(a0: int) -> int:
    """The number of the case that a TRAP names."""
    return a0 >> 1
