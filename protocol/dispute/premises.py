"""What both sides agreed on before the game: the constants of every script of one dispute.

The program, the shape of the trace, and the input. Of a short input the terms fix some digits; the
others are published by the prover under one-time signatures, in INPUT_1..m and KICKOFF. A long one
is known to both sides before they sign anything, and its words are opened: ``OpenedLayout``.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from typing import Final

from protocol.crypto.winternitz import TOP, Digits, digits_number, digits_of, message_of
from protocol.dispute.claim import Fault, require_shape
from protocol.dispute.opened import InputPage, OpenedLayout, input_end
from protocol.errors import DisputeError
from riscv_vm.image import ProgramImage, input_region
from riscv_vm.isa import INPUT_BASE, SP, STACK_TOP
from riscv_vm.record import register_address

WORD_BYTES: Final = 4


@dataclass(frozen=True, slots=True)
class InputDigit:
    """A digit of an input word: number ``published`` of what the prover publishes, or a constant.

    ``value`` is the constant; it is 0 for a published digit.
    """

    value: int
    published: int | None = None


@dataclass(frozen=True, slots=True)
class InputLayout:
    """Which digits of the input the terms fix. Digits count two a byte, the high one first.

    ``fixed``: the whole input, with zeros where the prover publishes; its length is fixed too.
    ``spans``: ranges [start, end) of the input's digits in the order in which they are published.
    ``parts``: how many of those digits INPUT_1..m and, last, KICKOFF reveal.
    """

    fixed: bytes
    spans: tuple[tuple[int, int], ...] = ()
    parts: tuple[int, ...] = (0,)

    def __post_init__(self) -> None:
        places = list(self._places())
        inside = all(0 <= place < 2 * len(self.fixed) for place in places)
        if not inside or len(set(places)) != len(places):
            raise DisputeError("spans: each digit of the input is published once at most")
        if not self.parts or min(self.parts) < 0 or sum(self.parts) != len(places):
            raise DisputeError(f"parts: together they must be the {len(places)} published digits")

    @classmethod
    def whole(cls, size: int) -> "InputLayout":
        """Every digit of ``size`` bytes is published, in KICKOFF."""
        return cls(bytes(size), ((0, 2 * size),), (2 * size,))

    @property
    def size(self) -> int:
        """The digits that are published."""
        return sum(self.parts)

    def published(self, data: bytes) -> tuple[Digits, ...]:
        """What each part reveals of the input ``data``; DisputeError if it is not one."""
        if len(data) != len(self.fixed):
            raise DisputeError(f"the input has {len(data)} bytes instead of {len(self.fixed)}")
        digits = digits_of(data)
        flat = tuple(digits[place] for place in self._places())
        if self.data(flat) != data:
            raise DisputeError("the input differs from what the terms fix of it")
        ends = tuple(accumulate(self.parts))
        return tuple(flat[end - part : end] for part, end in zip(self.parts, ends, strict=True))

    def data(self, published: Sequence[int]) -> bytes:
        """The whole input, with all ``published`` digits in place."""
        digits = list(digits_of(self.fixed))
        for place, digit in zip(self._places(), published, strict=True):
            digits[place] = digit
        return message_of(digits)

    def word(self, address: int) -> tuple[InputDigit, ...] | None:
        """The 8 digits of an aligned input word, most significant first; None outside the input.

        The word at INPUT_BASE is the length; the last word is padded with zeros.
        """
        at = address - INPUT_BASE
        words = _input_words(self)
        return words[at // WORD_BYTES] if 0 <= at < WORD_BYTES * len(words) else None

    def _places(self) -> tuple[int, ...]:
        """The input's digits in the order of publication."""
        return tuple(place for start, end in self.spans for place in range(start, end))


@dataclass(frozen=True, slots=True)
class Premises:
    """The constants of a dispute about 4^log4_steps steps in nodes of ``width`` bytes."""

    image: ProgramImage
    layout: InputLayout | OpenedLayout
    log4_steps: int
    width: int

    def __post_init__(self) -> None:
        require_shape(self.log4_steps, self.width)

    @property
    def steps(self) -> int:
        """N, the steps under a root."""
        return 1 << 2 * self.log4_steps

    @property
    def rounds(self) -> int:
        """R, the rounds in which the prover reveals nodes; one more reveals records."""
        return self.log4_steps - 1

    def readable(self, address: int) -> bool:
        """Does a load of this aligned word not trap?"""
        return self.in_input(address) or self.writable(address)

    def in_input(self, address: int) -> bool:
        """Is this aligned word one of the input's?"""
        return INPUT_BASE <= address < input_end(self.layout.fixed)

    def writable(self, address: int) -> bool:
        """Does a store to this aligned word not trap?"""
        return any(segment.base <= address < segment.end for segment in self.image.memory)

    def origin(self, address: int) -> Fault | None:
        """The leaf that knows a word's initial value: INIT, INPUT, WORD, ZERO; None for no word."""
        if self.in_input(address):
            if isinstance(self.layout, OpenedLayout):
                return Fault.WORD
            return Fault.INPUT if self.published_word(address) else Fault.INIT
        if _is_register(address):
            return Fault.INIT
        if not self.writable(address):
            return None
        zero = any(start <= address < end for start, end in self.zero_ranges())
        return Fault.ZERO if zero else Fault.INIT

    def constant(self, address: int) -> int | None:
        """The initial value of a word that the leaf INIT knows; None for every other address."""
        if self.origin(address) is not Fault.INIT:
            return None
        if _is_register(address):
            return STACK_TOP if address == register_address(SP) else 0
        if self.in_input(address):
            return self.input_word(address, ())
        return self.image.initial_word(address)

    def published_word(self, address: int) -> tuple[InputDigit, ...] | None:
        """The digits of an input word of which the prover publishes some; None for other words."""
        if isinstance(self.layout, OpenedLayout):
            return None
        word = self.layout.word(address) or ()
        return word if any(digit.published is not None for digit in word) else None

    def input_page(self, address: int) -> InputPage | None:
        """The page of an opened input with the word at ``address``; None for every other word."""
        layout = self.layout
        return layout.page(address, self.width) if isinstance(layout, OpenedLayout) else None

    def input_word(self, address: int, published: Sequence[int]) -> int | None:
        """The input word at ``address`` with the ``published`` digits; None outside the input."""
        if isinstance(self.layout, OpenedLayout):
            return self.layout.word(address) if self.in_input(address) else None
        word = self.layout.word(address)
        if word is None:
            return None
        known = (d.value if d.published is None else published[d.published] for d in word)
        return digits_number(known)

    def zero_ranges(self) -> Iterator[tuple[int, int]]:
        """The ranges [start, end) of words that are zero before the first step: bss and stack."""
        for segment in self.image.memory:
            start = segment.base + -(-len(segment.content) // WORD_BYTES) * WORD_BYTES
            if start < segment.end:
                yield start, segment.end


def _is_register(address: int) -> bool:
    first, last = register_address(1), register_address(31)
    return first <= address <= last and address % WORD_BYTES == 0


@lru_cache(maxsize=16)
def _input_words(layout: InputLayout) -> tuple[tuple[InputDigit, ...], ...]:
    """The words of the input region, the length first."""
    region = input_region(layout.fixed)
    position = {place: number for number, place in enumerate(layout._places())}
    words = []
    for at in range(0, len(region), WORD_BYTES):
        digits = []
        for byte in reversed(range(at, at + WORD_BYTES)):
            for low in (False, True):
                number = position.get(2 * (byte - WORD_BYTES) + low)
                value = region[byte] & TOP if low else region[byte] >> 4
                digits.append(InputDigit(value if number is None else 0, number))
        words.append(tuple(digits))
    return tuple(words)
