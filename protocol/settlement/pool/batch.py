"""A batch as the chain sees it: which STATE it spends, what comes in and out, what is claimed.

    STATE_n  +  deposits  =  STATE_n+1  +  payments      in sats; fees come from elsewhere

The guest computes the new root, the new vault and the payments (docs/pool.md); here they are
numbers that must add up, and ``data`` is what the guest read to compute them: all of it, known to
everybody.
"""

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

from bitcoin.core import COutPoint

from protocol.bitcoin.tx import outpoint, outpoint_key
from protocol.crypto.keys import is_public
from protocol.crypto.tagged import tagged_hash
from protocol.errors import TermsError
from protocol.oracle.layout import require_bytes, require_uint
from protocol.pool.batch import Deposit, Payment
from riscv_vm.image import ProgramImage

DUST_SATS: Final = 330
"""The least Taproot output that nodes relay. A payment below it has no output: its sats go to the
fee. The program does not know this number, so no rule has to be the same in two places."""
FLOOR_SATS: Final = DUST_SATS
"""What STATE's output holds beside the vault, so that an empty vault is an output too. It comes
from whoever made the first STATE, and belongs to no batch."""


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

    @property
    def digest(self) -> bytes:
        """What names the batch: 32 bytes. A game's keys and signatures are of one batch."""
        parts = [
            outpoint_key(self.old.outpoint) + self.old.root + _u64(self.old.vault_sats),
            self.new_root + _u64(self.new_vault_sats),
            b"".join(deposit.encode() for deposit in self.deposits),
            b"".join(payment.encode() for payment in self.payments),
            self.image.hash,
            self.data,
        ]
        return tagged_hash("btcfi/vault-batch/v1", b"".join(map(_sized, parts)))


def outpoint_of(key: bytes) -> COutPoint:
    """The inverse of ``outpoint_key``, as deposits name their output."""
    return outpoint(key[:32], int.from_bytes(key[32:], "little"))


def _u64(number: int) -> bytes:
    return number.to_bytes(8)


def _sized(part: bytes) -> bytes:
    return len(part).to_bytes(4) + part
