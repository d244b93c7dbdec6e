"""What the input of the pool's program says about a batch (protocol.pool.witness)."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from protocol.errors import TermsError
from protocol.pool.batch import Payment, payments_root
from protocol.pool.params import POOL_PARAMS_SIZE, PoolParams
from protocol.pool.state import VaultDatum
from protocol.pool.witness import Witness
from protocol.settlement.pool.batch import Batch, State
from protocol.settlement.pool.terms import VaultTerms
from riscv_vm.image import ProgramImage, terms_of


@dataclass(frozen=True, slots=True)
class PoolJudge:
    """The pool's program, ``image``, with the terms of the pool in it."""

    image: ProgramImage = field(repr=False)

    def require(self, vault: VaultTerms, batch: Batch) -> None:
        """TermsError unless the pool's ``domain`` is ``vault``'s digest and the claim in
        ``batch.data`` is of this batch; EncodingError if it is no claim. New and old vault follow
        from the roots, if the claim is right, and from these sums if everything else here is."""
        if self.domain != vault.digest:
            raise TermsError(
                f"domain {self.domain.hex()}: the pool's terms name another vault than this one,"
                f" whose digest is {vault.digest.hex()}"
            )
        witness = Witness.decode(batch.data)
        if witness.steps_max > 4**vault.log4_steps:
            raise TermsError(
                f"data: the program may take {witness.steps_max} steps, above 4^{vault.log4_steps}:"
                " a true batch could be disproved; make it smaller"
            )
        journal = witness.journal
        for field_, claimed, found in (
            ("old root", journal.old_root, batch.old.root),
            ("old vault_sats", VaultDatum.decode(witness.vault).vault_sats, batch.old.vault_sats),
            ("new_root", journal.new_root, batch.new_root),
            ("payments", journal.payments_root, payments_root(batch.payments)),
            ("deposits", witness.deposits, tuple(batch.deposits)),
        ):
            if claimed != found:
                raise TermsError(f"{field_}: the batch says another one than its own input claims")

    @property
    def domain(self) -> bytes:
        """Which vault the pool's terms name; EncodingError if ``image`` has no such terms."""
        return PoolParams.decode(terms_of(self.image)[:POOL_PARAMS_SIZE]).domain


def pool_batch(
    vault: VaultTerms, old: State, image: ProgramImage, data: bytes, payments: Sequence[Payment]
) -> Batch:
    """The batch that the input ``data`` of the pool's program is about; ``payments`` are those of
    its result. TermsError or EncodingError where they do not fit together."""
    witness = Witness.decode(data)
    came, paid = sum(d.sats for d in witness.deposits), sum(p.sats for p in payments)
    batch = Batch(
        old=old,
        new_root=witness.journal.new_root,
        new_vault_sats=old.vault_sats + came - paid,
        deposits=witness.deposits,
        payments=tuple(payments),
        image=image,
        data=data,
    )
    PoolJudge(image).require(vault, batch)
    return batch
