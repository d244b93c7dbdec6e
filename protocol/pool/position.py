"""A position: one datum under the state root, consumed and created again by every operation.

    PositionDatum, 112 bytes   owner 32 | token u32 | side u8 | flags u8 | 0 u16 | nonce u32 | 0 u32
        | size u64 | base u64 | collateral u64 | reserve u64 | entry_funding i64 | entry_borrow u64
        | opened u64 | last_increased u64

Its place in the tree is TH("pos", owner | token u32 | side u8): one position an owner, token and
side. Its own id, which every operation changes, is TH("pos", owner | token | side | nonce u32).
"""

from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from struct import Struct
from typing import ClassVar, Final, Self

from protocol.pool.layout import AMOUNT_MAX, require, require_uint, th, unpack

_LAYOUT: Final = Struct("<32sIBBHIIQQQQqQQQ")
_KEY: Final = Struct("<32sIB")
_ID: Final = Struct("<32sIBI")


class Side(IntEnum):
    """The direction of a position."""

    LONG = 0
    SHORT = 1


@lru_cache(maxsize=65_536)
def position_key(owner: bytes, token: int, side: int) -> bytes:
    """Where the position is in the positions tree."""
    return th("pos", _KEY.pack(owner, token, side))


@dataclass(frozen=True, slots=True)
class PositionDatum:
    """``size``, ``collateral`` and ``reserve`` in micro-USDC, ``base`` in 10^-qty_exp tokens,
    entries in 1e-12 USD per USD, times in unix seconds."""

    tag: ClassVar[int] = 1
    """The byte before it in its bucket."""

    owner: bytes
    token: int
    side: int
    nonce: int
    size: int
    base: int
    collateral: int
    reserve: int
    entry_funding: int
    entry_borrow: int
    opened: int
    last_increased: int

    @property
    def key(self) -> bytes:
        """Where it is in the positions tree."""
        return position_key(self.owner, self.token, self.side)

    @property
    def id(self) -> bytes:
        """The id of this very datum, as of a UTXO."""
        return th("pos", _ID.pack(self.owner, self.token, self.side, self.nonce))

    def encode(self) -> bytes:
        """The 112 bytes of the module's head; no flag is defined yet."""
        return _LAYOUT.pack(
            self.owner,
            self.token,
            self.side,
            0,
            0,
            self.nonce,
            0,
            self.size,
            self.base,
            self.collateral,
            self.reserve,
            self.entry_funding,
            self.entry_borrow,
            self.opened,
            self.last_increased,
        )

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """The position of exactly these bytes; EncodingError names what is wrong."""
        owner, token, side, flags, pad, nonce, pad2, *amounts = unpack("position", _LAYOUT, data)
        require(side in (Side.LONG, Side.SHORT), "position side", "is 0 (long) or 1 (short)")
        require(flags == 0, "position", "has an unknown flag")
        require(pad == pad2 == 0, "position", "padding must be zero")
        require_uint("position size", amounts[0], AMOUNT_MAX)
        return cls(owner, token, side, nonce, *amounts)


POSITION_SIZE: Final = _LAYOUT.size
