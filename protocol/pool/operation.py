"""The operations, their canonical bytes, and what an owner signs.

    head, 56 bytes   kind u8 | side u8 | flags u8 | order kind u8 | token u32 | owner 32 | nonce u64
                     | deadline u64
    then, u64 each
      1 add_liquidity      amount | min_glp
      2 remove_liquidity   glp | min_out
      3 increase           deposit | size | acceptable_price
      4 decrease           size | collateral | acceptable_price
      5 liquidate          -
      6 close_at_cap       -
      7 create_order       deposit | size | collateral | trigger_price | acceptable_price | expiry
      8 cancel_order       order_nonce
      9 fill_order         order_nonce
    then, in 1 to 4, 7 and 8, the owner's signature, 64 bytes

Fields of the head that an operation does not have are zero: side and token in 1, 2, 8 and 9, flags
and order kind in all but 7, nonce and deadline in 5, 6 and 9, which are anybody's and not signed.
There ``owner`` is whose position or order it is. Signed is TH("op", pool_id | the bytes before the
signature). EncodingError for anything else.
"""

from dataclasses import dataclass
from struct import Struct
from typing import Any, ClassVar, Final

from protocol.crypto.keys import verify
from protocol.errors import EncodingError
from protocol.pool.layout import (
    AMOUNT_MAX,
    PRICE_MAX,
    require,
    require_key,
    require_uint,
    th,
)
from protocol.pool.order import check_terms
from protocol.pool.position import Side
from protocol.units import U32_MAX

HEAD_SIZE: Final = 56
SIGNATURE_SIZE: Final = 64
_HEAD: Final = Struct("<BBBBI32sQQ")


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """Root of all operations: amounts in micro-USDC or 1e-6 shares, prices as mantissas of the
    token, ``deadline`` in unix seconds. EncodingError on a field out of range."""

    kind: ClassVar[int]
    amounts: ClassVar[tuple[tuple[str, int], ...]] = ()
    """The names of the u64 fields after the head, and their bounds."""
    head: ClassVar[tuple[str, ...]] = ()
    """The fields of the head that it has, besides owner."""

    owner: bytes

    def __post_init__(self) -> None:
        require_key("owner", self.owner)
        for name, most in self.amounts:
            require_uint(f"{self.name} {name}", getattr(self, name), most)
        for name in self.head:
            require_uint(f"{self.name} {name}", getattr(self, name), _HEAD_MAX[name])
        self._check()

    def _check(self) -> None:
        """What the fields must be together."""

    @property
    def name(self) -> str:
        """``add_liquidity``, as in the table."""
        return NAMES[self.kind]

    @property
    def is_signed(self) -> bool:
        """Whether it needs its owner's signature."""
        return isinstance(self, OwnerOperation)

    def encode(self) -> bytes:
        """The bytes of the module's head, without a signature."""
        head = {name: getattr(self, name) for name in self.head}
        order = head.get("order_kind", 0)
        return _HEAD.pack(
            self.kind,
            head.get("side", 0),
            head.get("flags", 0),
            order,
            head.get("token", 0),
            self.owner,
            head.get("nonce", 0),
            head.get("deadline", 0),
        ) + b"".join(getattr(self, name).to_bytes(8, "little") for name, _ in self.amounts)


_HEAD_MAX: Final = {
    "side": Side.SHORT,
    "flags": 0xFF,
    "order_kind": 0xFF,
    "token": U32_MAX,
    "nonce": 2**64 - 1,
    "deadline": 2**64 - 1,
}
_SIGNED: Final = ("nonce", "deadline")
_ANY: Final = 2**64 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnerOperation(Operation):
    """One that its owner signs, with the account's next nonce."""

    head: ClassVar[tuple[str, ...]] = _SIGNED

    nonce: int
    deadline: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AddLiquidity(OwnerOperation):
    """Pays ``amount`` in for at least ``min_glp`` shares."""

    kind = 1
    amounts = (("amount", AMOUNT_MAX), ("min_glp", _ANY))

    amount: int
    min_glp: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveLiquidity(OwnerOperation):
    """Burns ``glp`` shares for at least ``min_out``."""

    kind = 2
    amounts = (("glp", _ANY), ("min_out", _ANY))

    glp: int
    min_out: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Increase(OwnerOperation):
    """Opens a position or adds to it. The fee is on top: collateral grows by deposit - fee. A long
    accepts no price above ``acceptable_price``, a short none below it."""

    kind = 3
    amounts = (("deposit", AMOUNT_MAX), ("size", AMOUNT_MAX), ("acceptable_price", _ANY))
    head = ("side", "token", *_SIGNED)

    token: int
    side: int
    deposit: int
    size: int
    acceptable_price: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Decrease(OwnerOperation):
    """Closes ``size`` of a position and takes ``collateral`` out. A long accepts no price below
    ``acceptable_price``, a short none above it."""

    kind = 4
    amounts = (("size", AMOUNT_MAX), ("collateral", AMOUNT_MAX), ("acceptable_price", _ANY))
    head = ("side", "token", *_SIGNED)

    token: int
    side: int
    size: int
    collateral: int = 0
    acceptable_price: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Liquidate(Operation):
    """Closes the position of ``owner`` because it is unhealthy."""

    kind = 5
    head = ("side", "token")

    token: int
    side: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CloseAtCap(Operation):
    """Closes the position of ``owner`` because its profit has reached its reserve."""

    kind = 6
    head = ("side", "token")

    token: int
    side: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateOrder(OwnerOperation):
    """Commits an order; ``deposit`` goes into escrow. Its nonce becomes the order's."""

    kind = 7
    amounts = (
        ("deposit", AMOUNT_MAX),
        ("size", AMOUNT_MAX),
        ("collateral", AMOUNT_MAX),
        ("trigger_price", PRICE_MAX),
        ("acceptable_price", _ANY),
        ("expiry", _ANY),
    )
    head = ("side", "flags", "order_kind", "token", *_SIGNED)

    token: int
    side: int
    order_kind: int
    flags: int = 0
    deposit: int = 0
    size: int
    collateral: int = 0
    trigger_price: int = 0
    acceptable_price: int
    expiry: int = _ANY

    def _check(self) -> None:
        check_terms(self.order_kind, self.side, self.flags, self.deposit, self.collateral)


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelOrder(OwnerOperation):
    """Takes an order back, and its escrow."""

    kind = 8
    amounts = (("order_nonce", _ANY),)

    order_nonce: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FillOrder(Operation):
    """Executes the order of ``owner`` at this batch's price."""

    kind = 9
    amounts = (("order_nonce", _ANY),)

    order_nonce: int


NAMES: Final = {
    1: "add_liquidity",
    2: "remove_liquidity",
    3: "increase",
    4: "decrease",
    5: "liquidate",
    6: "close_at_cap",
    7: "create_order",
    8: "cancel_order",
    9: "fill_order",
}
KINDS: Final[dict[int, type[Operation]]] = {
    found.kind: found
    for found in (
        AddLiquidity,
        RemoveLiquidity,
        Increase,
        Decrease,
        Liquidate,
        CloseAtCap,
        CreateOrder,
        CancelOrder,
        FillOrder,
    )
}


@dataclass(frozen=True, slots=True)
class SignedOperation:
    """An operation and its owner's signature, which is empty where none is needed."""

    operation: Operation
    signature: bytes = b""

    def __post_init__(self) -> None:
        size = SIGNATURE_SIZE if self.operation.is_signed else 0
        require(len(self.signature) == size, "signature", f"of {self.operation.name}: {size} bytes")

    def encode(self) -> bytes:
        """The operation's bytes and the signature."""
        return self.operation.encode() + self.signature

    def is_authentic(self, pool_id: bytes) -> bool:
        """Whether it is the owner's for this pool, or needs nobody's signature."""
        if not self.operation.is_signed:
            return True
        message = signing_message(pool_id, self.operation)
        return verify(self.operation.owner, message, self.signature)


def signing_message(pool_id: bytes, operation: Operation) -> bytes:
    """The 32 bytes that the owner signs (BIP340)."""
    return th("op", pool_id, operation.encode())


def decode(data: bytes) -> SignedOperation:
    """The operation of exactly these bytes; EncodingError names what is wrong."""
    operation, end = decode_at(data, 0)
    require(end == len(data), "operation", f"has {len(data) - end} bytes too many")
    return operation


def decode_at(data: bytes, start: int) -> tuple[SignedOperation, int]:
    """The operation that begins at ``start``, and where it ends; EncodingError as above."""
    if len(data) < start + HEAD_SIZE:
        raise EncodingError(f"operation: its head is {HEAD_SIZE} bytes")
    kind, side, flags, order_kind, token, owner, nonce, deadline = _HEAD.unpack_from(data, start)
    found = KINDS.get(kind)
    if found is None:
        raise EncodingError(f"operation kind {kind} is unknown: 1 to {max(KINDS)}")
    head = {
        "side": side,
        "flags": flags,
        "order_kind": order_kind,
        "token": token,
        "nonce": nonce,
        "deadline": deadline,
    }
    for name, value in head.items():
        require(name in found.head or value == 0, f"{NAMES[kind]} {name}", "must be zero")
    at = start + HEAD_SIZE
    end = at + 8 * len(found.amounts) + SIGNATURE_SIZE * issubclass(found, OwnerOperation)
    if len(data) < end:
        raise EncodingError(f"{NAMES[kind]}: {end - start} bytes, got {len(data) - start}")
    fields: dict[str, Any] = {name: head[name] for name in found.head}
    for name, _ in found.amounts:
        fields[name] = int.from_bytes(data[at : at + 8], "little")
        at += 8
    return SignedOperation(found(owner=owner, **fields), data[at:end]), end
