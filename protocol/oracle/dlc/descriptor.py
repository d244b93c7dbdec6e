"""What the outcome of an event looks like (dlcspecs, Oracle.md): one of a list, or digits.

    55302 enum    nb u16 | nb x text
    55306 digits  base u16 | is_signed u8 | unit text | precision i32 | nb_digits u16

The base is two bytes wide, as every oracle in the wild writes it (the text says BigSize).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

from protocol.errors import EncodingError
from protocol.oracle.dlc.tlv import Reader, require_text, text, tlv
from protocol.oracle.layout import require_uint

ENUM: Final = 55302
DIGITS: Final = 55306
PLUS: Final = "+"
MINUS: Final = "-"


@dataclass(frozen=True, slots=True)
class EnumDescriptor:
    """One of ``outcomes``, all different: one signature. EncodingError otherwise."""

    outcomes: tuple[str, ...]

    def __post_init__(self) -> None:
        require_uint("enum descriptor count", len(self.outcomes), 16)
        if not self.outcomes or len(set(self.outcomes)) != len(self.outcomes):
            raise EncodingError("enum descriptor outcomes: name at least one, each once")
        for outcome in self.outcomes:
            require_text("enum descriptor outcome", outcome)

    @property
    def signatures(self) -> int:
        """Of an attestation, and nonces of an announcement."""
        return 1

    def require(self, outcomes: Sequence[str]) -> None:
        """EncodingError unless these texts are one outcome of the list."""
        if len(outcomes) != 1 or outcomes[0] not in self.outcomes:
            raise EncodingError(
                f"outcome {list(outcomes)}: it must be one of {', '.join(self.outcomes)}"
            )

    def encode(self) -> bytes:
        """The TLV."""
        return tlv(ENUM, len(self.outcomes).to_bytes(2) + b"".join(map(text, self.outcomes)))

    @classmethod
    def read(cls, value: bytes) -> Self:
        """The inverse, of the TLV's value."""
        fields = Reader("enum descriptor", value)
        outcomes = tuple(fields.text("outcome") for _ in range(fields.uint("count", 2)))
        fields.end()
        return cls(outcomes)


@dataclass(frozen=True, slots=True)
class DigitDescriptor:
    """An integer of ``digits`` digits in ``base``, the most significant first and before them the
    sign if it has one; in ``unit`` times base ** ``precision``. A signature for each. EncodingError
    for a field out of range."""

    digits: int
    base: int = 2
    is_signed: bool = False
    unit: str = ""
    precision: int = 0

    def __post_init__(self) -> None:
        require_uint("digit descriptor base", self.base, 16)
        require_uint("digit descriptor nb_digits", self.digits, 16)
        require_text("digit descriptor unit", self.unit)
        if self.base < 2 or self.digits < 1:
            raise EncodingError(
                f"digit descriptor: base {self.base}, {self.digits} digits: at least 2 and 1"
            )
        if not -(1 << 31) <= self.precision < 1 << 31:
            raise EncodingError(f"digit descriptor precision {self.precision} is no i32")

    @property
    def signatures(self) -> int:
        """Of an attestation, and nonces of an announcement."""
        return self.digits + self.is_signed

    @property
    def most(self) -> int:
        """The greatest value."""
        return int(self.base**self.digits) - 1

    def outcomes_of(self, value: int) -> tuple[str, ...]:
        """The texts that are signed for ``value``. What does not fit is the nearest that does:
        ``most``, and zero or -``most``."""
        fitting = min(max(value, -self.most if self.is_signed else 0), self.most)
        rest, found = abs(fitting), []
        for _ in range(self.digits):
            rest, digit = divmod(rest, self.base)
            found.append(str(digit))
        sign = ((MINUS if fitting < 0 else PLUS),) if self.is_signed else ()
        return (*sign, *reversed(found))

    def value_of(self, outcomes: Sequence[str]) -> int:
        """The inverse. EncodingError for texts that ``outcomes_of`` never gives: another number of
        digits, a digit outside the base or with a leading zero, minus zero."""
        if len(outcomes) != self.signatures:
            raise EncodingError(f"outcome: {len(outcomes)} texts, it has {self.signatures}")
        digits = list(outcomes[1:] if self.is_signed else outcomes)
        value = 0
        for place, digit in enumerate(digits):
            number = int(digit) if digit.isascii() and digit.isdecimal() else self.base
            if number >= self.base or str(number) != digit:
                raise EncodingError(f"outcome digit {place}: {digit!r} is none of base {self.base}")
            value = value * self.base + number
        if not self.is_signed:
            return value
        if outcomes[0] not in (PLUS, MINUS) or (outcomes[0] == MINUS and value == 0):
            raise EncodingError(f"outcome sign {outcomes[0]!r}: + or -, and zero is +")
        return -value if outcomes[0] == MINUS else value

    def require(self, outcomes: Sequence[str]) -> None:
        """EncodingError unless these texts are a value."""
        self.value_of(outcomes)

    def encode(self) -> bytes:
        """The TLV."""
        return tlv(
            DIGITS,
            self.base.to_bytes(2)
            + bytes([self.is_signed])
            + text(self.unit)
            + self.precision.to_bytes(4, signed=True)
            + self.digits.to_bytes(2),
        )

    @classmethod
    def read(cls, value: bytes) -> Self:
        """The inverse, of the TLV's value."""
        fields = Reader("digit descriptor", value)
        base, sign = fields.uint("base", 2), fields.uint("is_signed", 1)
        unit = fields.text("unit")
        precision = int.from_bytes(fields.take("precision", 4), signed=True)
        digits = fields.uint("nb_digits", 2)
        fields.end()
        if sign > 1:
            raise EncodingError(f"digit descriptor is_signed {sign}: it is 0 or 1")
        return cls(digits, base, bool(sign), unit, precision)


Descriptor = EnumDescriptor | DigitDescriptor


def read_descriptor(kind: int, value: bytes) -> Descriptor:
    """The descriptor in a TLV of this type; EncodingError for another type."""
    if kind == ENUM:
        return EnumDescriptor.read(value)
    if kind == DIGITS:
        return DigitDescriptor.read(value)
    raise EncodingError(f"event descriptor: type {kind}, known are {ENUM} and {DIGITS}")
