"""A batch as the chain sees it: which STATE it spends, what comes in and out, what is claimed.

    STATE_n  +  deposits  =  STATE_n+1  +  payments      in sats; fees come from elsewhere

The guest computes the new root, the new vault and the payments (docs/pool.md); here they are
numbers that must add up, and ``data`` is what the guest read to compute them: all of it, known to
everybody.
"""

from dataclasses import dataclass, field
from itertools import pairwise
from struct import Struct
from typing import Any, Final, Self

from bitcoin.core import COutPoint

from protocol.bitcoin.tx import outpoint, outpoint_key
from protocol.crypto.keys import is_public
from protocol.crypto.tagged import tagged_hash
from protocol.errors import EncodingError, TermsError
from protocol.oracle.layout import require_bytes, require_uint
from protocol.pool.batch import Deposit, Payment
from protocol.settlement.cursor import Cursor
from protocol.settlement.record import pack_parts, unpack_parts
from riscv_vm.image import ProgramImage

DUST_SATS: Final = 330
"""The least Taproot output that nodes relay. A payment below it has no output: its sats go to the
fee. The program does not know this number, so no rule has to be the same in two places."""
FLOOR_SATS: Final = DUST_SATS
"""What STATE's output holds beside the vault, so that an empty vault is an output too. It comes
from whoever made the first STATE, and belongs to no batch."""
_OLD: Final = Struct(">36s32sQ")
_NEW: Final = Struct(">32sQ")
_DEPOSIT_BYTES: Final = 76
_PAYMENT_BYTES: Final = 40
_PARTS: Final = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """A STATE output: where it is, the pool's root that it commits to, and the pool's sats."""

    outpoint: COutPoint
    root: bytes
    vault_sats: int

    @property
    def sats(self) -> int:
        """What the output holds."""
        return self.vault_sats + FLOOR_SATS


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """One step of the pool. TermsError names what does not add up.

    ``image`` with its terms halts on ``data`` exactly if the rest is right: that is the claim.
    ``payments`` are in ascending order of their owners, one each.
    """

    old: State
    new_root: bytes
    new_vault_sats: int
    deposits: tuple[Deposit, ...]
    payments: tuple[Payment, ...]
    image: ProgramImage = field(repr=False)
    data: bytes = field(repr=False)

    def __post_init__(self) -> None:
        require_bytes("new_root", self.new_root, 32)
        require_uint("new_vault_sats", self.new_vault_sats, 64)
        points = [one.outpoint for one in self.deposits]
        if len(set(points)) != len(points):
            raise TermsError("deposits: one outpoint is named twice")
        if any(a.owner >= b.owner for a, b in pairwise(self.payments)):
            raise TermsError("payments: owners must ascend, one payment each")
        for payment in self.payments:
            if payment.sats <= 0 or not is_public(payment.owner):
                raise TermsError(
                    f"payments: {payment.sats} sats to {payment.owner.hex()}: nobody has that key"
                    " or there is nothing to pay"
                )
        paid, came = sum(p.sats for p in self.payments), sum(d.sats for d in self.deposits)
        if self.old.vault_sats + came != self.new_vault_sats + paid:
            raise TermsError(
                f"new_vault_sats {self.new_vault_sats}: {self.old.vault_sats} and deposits of"
                f" {came} less payments of {paid} are {self.old.vault_sats + came - paid}"
            )

    @property
    def outputs(self) -> tuple[Payment, ...]:
        """The payments that have an output."""
        return tuple(payment for payment in self.payments if payment.sats >= DUST_SATS)

    def encode(self) -> bytes:
        """All of it but the image, of which the hash: what ``digest`` is of."""
        parts = [
            outpoint_key(self.old.outpoint) + self.old.root + _u64(self.old.vault_sats),
            self.new_root + _u64(self.new_vault_sats),
            b"".join(deposit.encode() for deposit in self.deposits),
            b"".join(payment.encode() for payment in self.payments),
            self.image.hash,
            self.data,
        ]
        return pack_parts(parts)

    @classmethod
    def decode(cls, data: bytes, image: ProgramImage) -> Self:
        """The inverse of ``encode``; EncodingError for other bytes or another image, TermsError
        for what does not add up."""
        parts = unpack_parts("batch", data)
        if len(parts) != _PARTS:
            raise EncodingError(f"batch: {len(parts)} parts, it has {_PARTS}")
        if parts[4] != image.hash:
            raise EncodingError("batch: it is of another program than this one; give that image")
        (point, root, sats), new = _read(_OLD, parts[0]), _read(_NEW, parts[1])
        return cls(
            old=State(outpoint=outpoint_of(point), root=root, vault_sats=sats),
            new_root=new[0],
            new_vault_sats=new[1],
            deposits=tuple(map(Deposit.decode, _split(parts[2], _DEPOSIT_BYTES))),
            payments=tuple(
                Payment(one[:32], int.from_bytes(one[32:], "little"))
                for one in _split(parts[3], _PAYMENT_BYTES)
            ),
            image=image,
            data=parts[5],
        )

    @property
    def digest(self) -> bytes:
        """What names the batch: 32 bytes. A game's keys and signatures are of one batch."""
        return tagged_hash("btcfi/vault-batch/v1", self.encode())


def outpoint_of(key: bytes) -> COutPoint:
    """The inverse of ``outpoint_key``, as deposits name their output."""
    return outpoint(key[:32], int.from_bytes(key[32:], "little"))


def _u64(number: int) -> bytes:
    return number.to_bytes(8)


def _read(layout: Struct, data: bytes) -> tuple[Any, ...]:
    cursor = Cursor("batch", data)
    fields = cursor.read(layout)
    cursor.end()
    return fields


def _split(data: bytes, size: int) -> list[bytes]:
    if len(data) % size:
        raise EncodingError(f"batch: {len(data)} bytes are no row of {size} each")
    return [data[at : at + size] for at in range(0, len(data), size)]
