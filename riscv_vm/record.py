"""The write record that a step commits, and how a run ends.

A record is 12 bytes: waddr, wval, next_pc as little-endian 32-bit words. A block is four records.
"""

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

from riscv_vm.isa import HALT, NOWRITE, REGISTER_BASE, TRAP

RECORD_BYTES: Final = 12
BLOCK_RECORDS: Final = 4
BLOCK_BYTES: Final = RECORD_BYTES * BLOCK_RECORDS

End = Literal["HALT", "TRAP", "LIMIT"]
SENTINEL_OF_END: Final[dict[str, int]] = {"HALT": HALT, "TRAP": TRAP}
_LAYOUT: Final = struct.Struct("<3I")


class Record(NamedTuple):
    """What one step writes (``waddr`` = NOWRITE if nothing) and where it goes next."""

    waddr: int
    wval: int
    next_pc: int

    def encode(self) -> bytes:
        return _LAYOUT.pack(*self)

    @classmethod
    def decode(cls, data: bytes) -> "Record":
        """The record in 12 bytes; ``struct.error`` for any other length."""
        return cls(*_LAYOUT.unpack(data))


Block = tuple[Record, Record, Record, Record]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended after ``steps`` steps, the one that reached the sentinel included."""

    end: End
    steps: int


def absorbing(sentinel: int) -> Record:
    """The record of a step that ends in, or stays at, a sentinel."""
    return Record(NOWRITE, 0, sentinel)


def register_address(register: int) -> int:
    """The word address of x1..x31."""
    return REGISTER_BASE + 4 * register


def encode_block(records: Iterable[Record]) -> bytes:
    return b"".join(record.encode() for record in records)


def decode_block(data: bytes) -> Block:
    """The four records of a 48-byte block; ``struct.error`` for any other length."""
    a, b, c, d = (Record(*fields) for fields in _LAYOUT.iter_unpack(data))
    return a, b, c, d
