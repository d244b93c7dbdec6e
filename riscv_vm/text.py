"""A whole text decoded at once, one array a field: for the loader and the fast machine."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from riscv_vm.isa import ENCODINGS, NO_FALL_THROUGH, Format

U8 = NDArray[np.uint8]
U32 = NDArray[np.uint32]
I32 = NDArray[np.int32]

UNDECODABLE: Final = 255
ROW_OF_NAME: Final = {encoding.name: row for row, encoding in enumerate(ENCODINGS)}


@dataclass(frozen=True, slots=True)
class DecodedText:
    """Arrays with one entry per text word; ``row`` indexes ``isa.ENCODINGS`` or is UNDECODABLE."""

    row: U8
    rd: U8
    rs1: U8
    rs2: U8
    imm: I32


def decode_text(words: U32) -> DecodedText:
    """Decode ``words``, the vector twin of ``isa.decode``."""
    row = np.full(len(words), UNDECODABLE, dtype=np.uint8)
    imm = np.zeros(len(words), dtype=np.int32)
    immediates = _immediates(words)
    for index, encoding in enumerate(ENCODINGS):
        here = (words & np.uint32(encoding.mask)) == encoding.match
        row[here] = index
        if encoding.format in immediates:
            imm[here] = immediates[encoding.format][here]

    def field(shift: int) -> U8:
        return (words >> np.uint32(shift) & np.uint32(31)).astype(np.uint8)

    return DecodedText(row, field(7), field(15), field(20), imm)


def _immediates(words: U32) -> dict[Format, I32]:
    signed = words.view(np.int32)

    def bits(low: int, count: int, at: int) -> I32:
        """``count`` unsigned bits of each word from bit ``low``, moved to bit ``at``."""
        return (signed >> np.int32(low) & np.int32((1 << count) - 1)) << np.int32(at)

    def sign(at: int) -> I32:
        """Bit 31 of each word, spread over bit ``at`` and everything above it."""
        return signed >> np.int32(31) << np.int32(at)

    i_type = signed >> np.int32(20)
    return {
        Format.I: i_type,
        Format.LOAD: i_type,
        Format.SHIFT: bits(20, 5, 0),
        Format.S: sign(11) | bits(25, 6, 5) | bits(7, 5, 0),
        Format.B: sign(12) | bits(7, 1, 11) | bits(25, 6, 5) | bits(8, 4, 1),
        Format.U: signed & np.int32(-4096),
        Format.J: sign(20) | bits(12, 8, 12) | bits(20, 1, 11) | bits(21, 10, 1),
    }


def rows_of(*formats: Format) -> U8:
    """The rows of the opcode table that have one of ``formats``."""
    return np.array([i for i, e in enumerate(ENCODINGS) if e.format in formats], dtype=np.uint8)


def falls_through(text: DecodedText) -> NDArray[np.bool_]:
    """For each word: can control reach the next word?"""
    stops = np.array([ROW_OF_NAME[name] for name in sorted(NO_FALL_THROUGH)], dtype=np.uint8)
    return ~np.isin(text.row, stops)
