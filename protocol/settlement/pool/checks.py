"""What everybody checks of a batch before signing anything for it."""

from collections.abc import Iterator
from typing import Protocol

from bitcoin.core import COutPoint

from protocol.bitcoin.tx import outpoint, txid
from protocol.dispute.rules import History
from protocol.errors import TermsError
from protocol.settlement.pool.batch import Batch, outpoint_of
from protocol.settlement.pool.terms import VaultTerms
from protocol.settlement.pool.vault import deposit_lock, state_lock
from protocol.settlement.view import View
from riscv_vm.image import ProgramImage
from riscv_vm.isa import HALT
from riscv_vm.record import BLOCK_RECORDS


class Judge(Protocol):
    """The program that decides about batches, and what its input says about one."""

    @property
    def image(self) -> ProgramImage:
        """With the pool's terms in it."""

    def require(self, vault: VaultTerms, batch: Batch, /) -> None:
        """TermsError unless the program is of the pool of this vault, and the claim in
        ``batch.data`` of this batch: its roots, its deposits, its payments. Whether the claim is
        right is not asked: that takes the machine."""


def require_batch(
    view: View, vault: VaultTerms, judge: Judge, batch: Batch, kickoff_height: int = 0
) -> None:
    """TermsError unless ``batch`` spends a STATE that the chain has, confirmed deposits that their
    owners cannot take back before its games are over, kicked off at ``kickoff_height`` at the
    latest, which is not too far away, and is what its own input claims."""
    most = view.height + vault.deposit_window - vault.late_window
    if not 0 <= kickoff_height <= most:
        raise TermsError(
            f"refund_height {kickoff_height}: so long bonds would rest, take {most} at most"
        )
    old = view.utxo(batch.old.outpoint)
    if old is None or old.script != state_lock(vault, batch.old.root).script_pubkey:
        raise TermsError("the old root is not that of an unspent STATE: ask for the newest one")
    if old.sats != batch.old.sats:
        raise TermsError(f"old: STATE holds {old.sats} sats, the batch says {batch.old.sats}")
    for deposit in batch.deposits:
        found = view.utxo(outpoint_of(deposit.outpoint))
        lock = deposit_lock(vault, deposit.owner)
        if found is None or (found.script, found.sats) != (lock.script_pubkey, deposit.sats):
            raise TermsError(f"deposits: none of {deposit.sats} sats by {deposit.owner.hex()}")
        if found.height is None:
            raise TermsError("deposits: wait until a block holds each")
        left = found.height + vault.deposit_window - max(view.height, kickoff_height)
        if left <= vault.late_window:
            raise TermsError(
                f"deposits: {left} blocks after KICKOFF its owner may take one back, a batch may"
                f" wait {vault.late_window}: leave it out"
            )
    if batch.image != judge.image:
        raise TermsError("image: this is not the pool's program")
    judge.require(vault, batch)


def newest_state(view: View, known: COutPoint) -> Iterator[tuple[COutPoint, bool]]:
    """Where STATE went from ``known``, and whether a block holds it there: each ADVANCE makes the
    next one as its first output. What else is locked like a STATE is none: anybody can make that,
    with any root."""
    while (seen := view.spender(known)) is not None:
        known = outpoint(txid(seen.tx), 0)
        yield known, seen.block is not None


def is_right(history: History, vault: VaultTerms) -> bool:
    """Whether the machine, run on the batch's input, halts: then all of the batch is right."""
    last = 4**vault.log4_steps - 1
    return history.block(last // BLOCK_RECORDS)[last % BLOCK_RECORDS].next_pc == HALT
