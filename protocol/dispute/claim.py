"""The words of a dispute: who plays, what a verdict rests on, base-4 places."""

from enum import StrEnum
from typing import Final

from protocol.errors import DisputeError
from riscv_vm.isa import LOG4_STEPS_MAX
from riscv_vm.tree import WIDTHS

FAN: Final = 4
"""Nodes that P reveals a round, and records in a block."""


class Party(StrEnum):
    """The two sides of a dispute."""

    PROVER = "prover"
    CHALLENGER = "challenger"


class Fault(StrEnum):
    """What the end of a game rests on: the names of dispute.md's leaves."""

    NODE = "NODE"  # the grandchildren do not hash to their parent
    BLOCK = "BLOCK"  # the records do not hash to their block node
    RECORD = "RECORD"  # the executed record is not the one that was revealed
    EXECUTE = "EXECUTE"  # the record is not the result of the instruction
    ROM = "ROM"  # the opcode is not the text's word at pc
    ENTRY = "ENTRY"  # the first step is not at the entry point
    OPEN = "OPEN"  # an earlier record contradicts pc, a read or its pointer
    FUTURE = "FUTURE"  # a pointer that is no earlier step
    INIT = "INIT"  # a word never written has another constant initial value
    INPUT = "INPUT"  # a word never written is another in the published input
    WORD = "WORD"  # a word never written is another in the opened input
    ZERO = "ZERO"  # a word never written is not zero
    NOT_HALT = "NOT-HALT"  # the honest trace does not end in HALT
    REFUTED = "REFUTED"  # what the challenger asserted is false
    TIMEOUT = "TIMEOUT"  # a side did not answer in time
    NONE = "NONE"  # no lie was shown


def require_shape(log4_steps: int, width: int) -> None:
    """DisputeError unless a trace of 4^log4_steps steps in nodes of ``width`` bytes can be."""
    if not 1 <= log4_steps <= LOG4_STEPS_MAX:
        raise DisputeError(
            f"a trace holds 4^1 to 4^{LOG4_STEPS_MAX} steps, not 4^{log4_steps}: change log4_steps"
        )
    if width not in WIDTHS:
        raise DisputeError(f"a node has 20 or 32 bytes, not {width}: change width")


def base4(index: int, digits: int) -> tuple[int, ...]:
    """``index`` in base-4 digits, most significant first; higher digits are lost."""
    return tuple(index >> 2 * place & 3 for place in reversed(range(digits)))


def base4_number(digits: tuple[int, ...]) -> int:
    """The inverse of ``base4``."""
    value = 0
    for digit in digits:
        value = value * FAN + digit
    return value


def is_digit(value: object) -> bool:
    """Is this an integer from 0 to 3, and no bool?"""
    return type(value) is int and 0 <= value < FAN
