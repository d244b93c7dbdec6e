"""F_i: what the prover says about the disputed step, as EXECUTE makes it sign (dispute.md 3).

    message   digits        fields, most significant digit first
    head      n + 16        i n | pc 8 | opcode 8           n = index_digits(log4_steps)
    slot 0-2  n + 17 each   address 8 | value 8 | last n | init 1
    write     24            waddr 8 | wval 8 | next_pc 8

Slot 0 = rs1 (ecall: a7), 1 = rs2 or the loaded word (ecall: a0), 2 = the word that sb and sh merge
into. ``last`` is the step that wrote the word before; init = 1 says that none did, and then last is
0. A slot that the instruction does not use is :data:`UNUSED`. A fragment may hold any lie that its
digits can express: the range of every field is the range of its digits.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol, Self

from protocol.crypto.winternitz import BASE, Digits, digits_number, number_digits
from protocol.errors import EncodingError
from riscv_vm.record import Record

WORD_DIGITS: Final = 8
RECORD_DIGITS: Final = 3 * WORD_DIGITS
SLOTS: Final = 3
NEVER: Final = -1
"""The step that wrote a word which nobody wrote: before every step."""


class Message(StrEnum):
    """The five messages of a fragment, each under a one-time key of its own."""

    HEAD = "head"
    SLOT_0 = "slot_0"
    SLOT_1 = "slot_1"
    SLOT_2 = "slot_2"
    WRITE = "write"


class Pointed(Protocol):
    """A read with its pointer, as ``riscv_vm.trace.ReadPointer``; ``last`` is -1 for INIT."""

    @property
    def address(self) -> int: ...
    @property
    def value(self) -> int: ...
    @property
    def last(self) -> int: ...


class Stepped(Protocol):
    """A step with its place in the trace, as ``riscv_vm.trace.TracedStep``."""

    @property
    def index(self) -> int: ...
    @property
    def pc(self) -> int: ...
    @property
    def opcode(self) -> int: ...
    @property
    def reads(self) -> Sequence[Pointed]: ...
    @property
    def record(self) -> Record: ...


def index_digits(log4_steps: int) -> int:
    """The base-16 digits of a step of 4^log4_steps: two base-4 digits each, rounded up."""
    return (log4_steps + 1) // 2


@dataclass(frozen=True, slots=True)
class Slot:
    """A word that the step reads: ``init`` is a digit, 1 = never written, 0 = by step ``last``."""

    address: int
    value: int
    last: int
    init: int

    @property
    def pointer(self) -> int:
        """The step that wrote the word, NEVER if ``init`` is not 0."""
        return NEVER if self.init else self.last


UNUSED: Final = Slot(0, 0, 0, 1)
"""A slot that the instruction does not use, in its one canonical form."""

Slots = tuple[Slot, Slot, Slot]


@dataclass(frozen=True, slots=True)
class Fragment:
    """F_i. ``write`` is w_i, the record that the prover says step ``index`` commits."""

    index: int
    pc: int
    opcode: int
    slots: Slots
    write: Record

    def digits(self, log4_steps: int) -> dict[Message, Digits]:
        """What is signed; EncodingError for a field that its digits cannot express."""
        n = index_digits(log4_steps)
        head = (*number_digits(self.index, n), *word_digits(self.pc), *word_digits(self.opcode))
        slots = [
            (
                *word_digits(slot.address),
                *word_digits(slot.value),
                *number_digits(slot.last, n),
                *number_digits(slot.init, 1),
            )
            for slot in self.slots
        ]
        messages = (head, *slots, record_digits(self.write))
        return dict(zip(Message, messages, strict=True))

    @classmethod
    def of_digits(cls, log4_steps: int, messages: dict[Message, Digits]) -> Self:
        """The inverse of ``digits``; EncodingError for messages of other lengths."""
        sizes = message_sizes(log4_steps)
        for message, size in sizes.items():
            if len(messages.get(message, ())) != size:
                raise EncodingError(f"fragment: the message {message} has {size} digits")
        n = index_digits(log4_steps)
        head, *slots, write = (messages[message] for message in Message)
        index, (pc, opcode) = digits_number(head[:n]), words_of(head[n:])
        first, second, third = (_slot(digits) for digits in slots)
        return cls(index, pc, opcode, (first, second, third), record_of(write))


def message_sizes(log4_steps: int) -> dict[Message, int]:
    """The digits of each message of a fragment."""
    n = index_digits(log4_steps)
    slot = n + 2 * WORD_DIGITS + 1
    sizes = (n + 2 * WORD_DIGITS, slot, slot, slot, RECORD_DIGITS)
    return dict(zip(Message, sizes, strict=True))


def fragment_of(step: Stepped) -> Fragment:
    """The honest fragment of ``step`` (``Trace.step(i)`` has its read pointers)."""
    first, second, third = (_pointed(read) for read in step.reads)
    return Fragment(step.index, step.pc, step.opcode, (first, second, third), step.record)


def word_digits(word: int) -> Digits:
    """A 32-bit word in 8 digits, most significant first."""
    return number_digits(word, WORD_DIGITS)


def words_of(digits: Sequence[int]) -> tuple[int, ...]:
    """The words in digits, 8 each."""
    starts = range(0, len(digits), WORD_DIGITS)
    return tuple(digits_number(digits[at : at + WORD_DIGITS]) for at in starts)


def record_digits(record: Record) -> Digits:
    """A record in 24 digits: waddr, wval, next_pc. The prover signs each record of a block so."""
    return tuple(digit for word in record for digit in word_digits(word))


def record_of(digits: Sequence[int]) -> Record:
    """The inverse of ``record_digits``."""
    return Record(*words_of(digits))


def _pointed(read: Pointed) -> Slot:
    init = read.last == NEVER
    return Slot(read.address, read.value, 0 if init else read.last, int(init))


def _slot(digits: Digits) -> Slot:
    address, value = words_of(digits[: 2 * WORD_DIGITS])
    *last, init = digits[2 * WORD_DIGITS :]
    assert 0 <= init < BASE
    return Slot(address, value, digits_number(last), init)
