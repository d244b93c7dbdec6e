"""An order: committed in one batch, filled at the certified price of a later one.

    OrderDatum, 112 bytes   owner 32 | nonce u64 | token u32 | kind u8 | side u8 | flags u8 | 0 u8
        | deposit u64 | size u64 | collateral u64 | trigger_price u64 | acceptable_price u64
        | expiry u64 | commit_seq u64 | 0 u64

Its place is TH("order", owner | nonce u64), in the positions tree. ``nonce`` is that of the
operation that created it.
"""

from dataclasses import dataclass
from enum import IntEnum, IntFlag
from struct import Struct
from typing import ClassVar, Final, Self

from protocol.pool.layout import AMOUNT_MAX, require, require_uint, th, unpack
from protocol.pool.position import Side

_LAYOUT: Final = Struct("<32sQIBBBBQQQQQQQQ")
_KEY: Final = Struct("<32sQ")


class OrderKind(IntEnum):
    """When it fills (docs/pool.md, "Orders")."""

    MARKET = 1
    LIMIT = 2
    STOP = 3
    TAKE_PROFIT = 4


class OrderFlag(IntFlag):
    """DECREASE: it closes, else it opens. REDUCE_ONLY: a size above the position's closes all."""

    DECREASE = 1
    REDUCE_ONLY = 2


def order_key(owner: bytes, nonce: int) -> bytes:
    """Where the order is in the positions tree."""
    return th("order", _KEY.pack(owner, nonce))


def check_terms(kind: int, side: int, flags: int, deposit: int, collateral: int) -> None:
    """EncodingError for terms that no order can have, in an operation as in a datum."""
    require(kind in _KINDS, "order kind", "is 1 market, 2 limit, 3 stop, 4 take_profit")
    require(side in (Side.LONG, Side.SHORT), "order side", "is 0 (long) or 1 (short)")
    require(flags <= sum(OrderFlag), "order", "has an unknown flag")
    if flags & OrderFlag.DECREASE:
        require(deposit == 0, "order deposit", "must be 0 where the order decreases")
    else:
        require(flags == 0, "order reduce_only", "asks for an order that decreases")
        require(collateral == 0, "order collateral", "must be 0 where the order increases")
        require(kind != OrderKind.TAKE_PROFIT, "order take_profit", "must decrease")


@dataclass(frozen=True, slots=True)
class OrderDatum:
    """Amounts in micro-USDC, prices as mantissas of the token, ``expiry`` in unix seconds."""

    tag: ClassVar[int] = 2
    """The byte before it in its bucket."""

    owner: bytes
    nonce: int
    token: int
    kind: int
    side: int
    flags: int
    deposit: int
    """Held in escrow until it fills or is cancelled; 0 where it decreases."""
    size: int
    collateral: int
    """To take out with a decrease."""
    trigger_price: int
    acceptable_price: int
    expiry: int
    commit_seq: int

    @property
    def key(self) -> bytes:
        """Where it is in the positions tree."""
        return order_key(self.owner, self.nonce)

    def encode(self) -> bytes:
        """The 112 bytes of the module's head."""
        return _LAYOUT.pack(
            self.owner,
            self.nonce,
            self.token,
            self.kind,
            self.side,
            self.flags,
            0,
            self.deposit,
            self.size,
            self.collateral,
            self.trigger_price,
            self.acceptable_price,
            self.expiry,
            self.commit_seq,
            0,
        )

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """The order of exactly these bytes; EncodingError names what is wrong."""
        owner, nonce, token, kind, side, flags, pad, *rest, pad2 = unpack("order", _LAYOUT, data)
        require(pad == pad2 == 0, "order", "padding must be zero")
        check_terms(kind, side, flags, rest[0], rest[2])
        for name, amount in zip(("deposit", "size", "collateral"), rest, strict=False):
            require_uint(f"order {name}", amount, AMOUNT_MAX)
        return cls(owner, nonce, token, kind, side, flags, *rest)


_KINDS: Final = frozenset(OrderKind)
ORDER_SIZE: Final = _LAYOUT.size
