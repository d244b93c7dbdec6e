"""The sequencer of a pool: signed operations in, one batch a certificate out, all of it on disk.

    submit     an operation is on disk before it is acknowledged, once however often it comes
    advance    a certificate makes a batch: what is due, then what waits in the order in which it
               came; input, results and the state after it are on disk before anybody is told

It signs nothing and holds no key: owners sign operations, oracles sign prices, and the rules are
protocol.pool's alone. Made anew on its file it goes on, however it ended. One thread at a time.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import msgspec

from actors import pool_snapshot
from actors.pool_config import PoolTerms
from actors.pool_duties import duties
from actors.pool_store import Journaled, PoolStore, StoredBatch, StoredResult
from actors.pool_summary import Summary, fee_indices, summary_of
from protocol.errors import ConfigError, EncodingError, SignatureError, TermsError
from protocol.oracle.batch_certificate import BatchCertificate
from protocol.pool.batch import Batch, BatchResult, Deposit, run_batch
from protocol.pool.draft import Accepted
from protocol.pool.layout import th
from protocol.pool.operation import SignedOperation, decode, signing_message
from protocol.pool.pool import Pool
from protocol.pool.prices import BatchPrices

BATCH_MAX: Final = 200
"""Operations in a batch: the guest needs up to 4 million steps for one, and has 2^30. What is due
goes first, what finds no room waits for the next."""
NONCES_AHEAD: Final = 64
"""Operations of one owner that may wait."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """An operation that is on disk; ``place`` is its place in the order."""

    id: bytes
    signed: SignedOperation
    place: int


@dataclass(frozen=True, slots=True)
class Ran:
    """A batch that has run. ``before`` is a copy of the state that it found: to prove the batch
    uses it up."""

    before: Pool
    certificate: BatchCertificate
    batch: Batch
    result: BatchResult
    summary: Summary


class PoolSequencer:
    """``pool`` is the newest state; nobody but the sequencer changes it."""

    def __init__(self, terms: PoolTerms, store: PoolStore) -> None:
        """Loads the newest state, or begins. ConfigError if the file is another pool's, or its
        state is not the one that its last batch left."""
        self.terms = terms
        self.store = store
        self.pool = _load(terms, store)
        self.newest = _newest(store)
        """The summary of the newest batch; None before the first."""
        self.pending = store.pending_count()

    @classmethod
    def open(cls, path: Path, terms: PoolTerms) -> Self:
        """On the file in ``path``. GuardError and ConfigError as the store says, or as above."""
        store = PoolStore.open(path)
        try:
            return cls(terms, store)
        except BaseException:
            store.close()
            raise

    def close(self) -> None:
        """Gives the file back."""
        self.store.close()

    def submit(self, body: bytes, key: str | None = None) -> Receipt:
        """Keep a signed operation. EncodingError: it is none, or ``key`` named another one;
        SignatureError: not its owner's; TermsError: it can never be in a batch; GuardError: the
        disk refuses it, it is not acknowledged."""
        signed = decode(body)
        operation = signed.operation
        if not operation.is_signed:
            raise TermsError(f"operation: {operation.name} is done by the sequencer when it is due")
        id_ = signing_message(self.pool.pool_id, operation)
        is_new = self.store.operation(id_) is None
        if is_new:
            self._require_useful(signed)
        kept = self.store.submit(id_, key, operation.owner, body)
        self.pending += is_new
        return self.receipt(kept)

    def advance(
        self, certificate: BatchCertificate, deposits: Sequence[Deposit] = ()
    ) -> Ran | None:
        """Run a batch at the prices of a certificate whose signatures were checked; None if it is
        not later than the last batch. PriceError if it lacks a token; GuardError: the disk refuses
        it, and nothing has happened."""
        prices = BatchPrices.certified(certificate, self.terms.params)
        if prices.time <= self.pool.vault.time:
            return None
        due = duties(self.pool, prices)[:BATCH_MAX]
        waiting = self.store.pending(BATCH_MAX - len(due))
        operations = (*due, *(decode(kept.body) for kept in waiting))
        batch = Batch(prices, operations, tuple(deposits))
        before = pool_snapshot.copy(self.pool)
        try:
            result = run_batch(self.pool, batch)
            indices = fee_indices(before, batch, result, self.newest)
            summary = summary_of(
                self.pool, certificate, batch, result, before, self.newest, indices
            )
            stored = _stored(certificate, batch, result, summary)
            results = _results(batch, result, len(due), waiting, indices)
            taken = waiting[-1].seq if waiting else 0
            self.store.execute(stored, results, taken, pool_snapshot.encode(self.pool))
        except BaseException:
            self.pool = before
            raise
        self.newest = summary
        self.pending -= len(waiting)
        return Ran(before, certificate, batch, result, summary)

    def receipt(self, kept: Journaled) -> Receipt:
        """Of an operation that was kept."""
        return Receipt(kept.id, decode(kept.body), kept.seq)

    @property
    def fee_index(self) -> int:
        """What fees have brought one share so far (``pool_summary.fee_indices``)."""
        return 0 if self.newest is None else int(self.newest.fee_index)

    def _require_useful(self, signed: SignedOperation) -> None:
        operation: Any = signed.operation
        if not signed.is_authentic(self.pool.pool_id):
            raise SignatureError(
                f"signature: not its owner's for this pool, {self.pool.pool_id.hex()}: sign"
                " TH(op, pool_id | operation) with the owner's key"
            )
        following = self.pool.account(operation.owner).nonce
        if not following <= operation.nonce < following + NONCES_AHEAD:
            raise TermsError(
                f"nonce {operation.nonce}: the owner's next one is {following}, and at most"
                f" {NONCES_AHEAD} operations of an owner wait"
            )
        if operation.deadline < self.pool.vault.time:
            raise TermsError(f"deadline {operation.deadline}: it has passed; sign it anew")


def _load(terms: PoolTerms, store: PoolStore) -> Pool:
    data, newest = store.state(), store.newest()
    if data is None:
        pool = terms.genesis()
        store.begin(pool_snapshot.encode(pool))
        return pool
    try:
        pool = pool_snapshot.decode(data)
    except EncodingError as error:
        raise ConfigError(f"{store.path}: damaged: {error}; restore it from a copy") from None
    if (pool.params, pool.token_params) != (terms.params, terms.tokens):
        raise ConfigError(
            f"{store.path}: the state of a pool with other terms ({pool.pool_id.hex()}): name"
            " another folder, or give the pool's file back what it said"
        )
    root = pool.root()
    expected = root if newest is None else newest.journal[32:64]
    if root != expected:
        raise ConfigError(
            f"{store.path}: damaged: the state has root {root.hex()}, the last batch left"
            f" {expected.hex()}; restore the file from a copy"
        )
    if newest is not None:
        certificate = BatchCertificate.decode(newest.certificate)
        prices = BatchPrices.certified(certificate, terms.params)
        pool.quotes = prices.quotes(terms.tokens)
    return pool


def _newest(store: PoolStore) -> Summary | None:
    newest = store.newest()
    return None if newest is None else msgspec.json.decode(newest.summary, type=Summary)


def _stored(
    certificate: BatchCertificate, batch: Batch, result: BatchResult, summary: Summary
) -> StoredBatch:
    return StoredBatch(
        seq=result.journal.seq,
        certificate=certificate.encode(),
        operations=b"".join(signed.encode() for signed in batch.operations),
        deposits=b"".join(deposit.encode() for deposit in batch.deposits),
        payments=b"".join(payment.encode() for payment in result.payments),
        journal=result.journal.encode(),
        summary=msgspec.json.encode(summary),
    )


def _results(
    batch: Batch,
    result: BatchResult,
    due: int,
    waiting: Sequence[Journaled],
    indices: Sequence[int],
) -> list[StoredResult]:
    """A row for each operation; what was due has an id that this batch alone gives it."""
    seq = result.journal.seq
    ids = [
        th("duty", seq.to_bytes(8, "little"), signed.encode()) for signed in batch.operations[:due]
    ]
    ids += [kept.id for kept in waiting]
    rows = []
    for place, (id_, signed, became) in enumerate(
        zip(ids, batch.operations, result.results, strict=True)
    ):
        done = became if isinstance(became, Accepted) else Accepted()
        code = "" if isinstance(became, Accepted) else became.code.name
        rows.append(
            StoredResult(
                id=id_,
                batch=seq,
                place=place,
                owner=signed.operation.owner,
                kind=signed.operation.name,
                code=code,
                inflow=done.inflow,
                outflow=done.outflow,
                fee=done.fee,
                glp=done.glp,
                fee_index=str(indices[place + 1]),
            )
        )
    return rows
