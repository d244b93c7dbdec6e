"""A batch: operations in their order under one certificate, and the journal that the guest claims.

    deposit, 76 bytes   outpoint 36 | owner 32 | sats u64
    payment, 40 bytes   owner 32 | sats u64, owners ascending
    journal, 168 bytes  old_root | new_root | ops_root | prices_root | payments_root 32 each
                        | seq u64

``ops_root`` = TH("ops", number of deposits u32 | deposits | number of operations u32 |
operations, each with its signature);
``payments_root`` = TH("payments", payments). Only a backed pool has deposits and payments: what an
owner brings is paid for by deposits, what an owner gets leaves as sats, the difference of both once
a batch; the rest of a deposit goes back (docs/pool.md, "On Bitcoin").
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from struct import Struct
from typing import Final, Self

from protocol.pool.draft import Accepted, Rejected
from protocol.pool.layout import require, require_key, require_uint, th, unpack
from protocol.pool.muldiv import less, mul_div, mul_div_up
from protocol.pool.operation import SignedOperation
from protocol.pool.pool import Pool
from protocol.pool.prices import BatchPrices
from protocol.pool.state import VaultFlag
from protocol.pool.transition import apply_signed
from protocol.units import U64_MAX

SATS_MAX: Final = 21 * 10**14
_DEPOSIT: Final = Struct("<36s32sQ")
_PAYMENT: Final = Struct("<32sQ")
_JOURNAL: Final = Struct("<32s32s32s32s32sQ")


@dataclass(frozen=True, slots=True)
class Deposit:
    """Sats that an owner brings, by the outpoint (txid 32 | index u32 little-endian)."""

    outpoint: bytes
    owner: bytes
    sats: int

    def __post_init__(self) -> None:
        require(len(self.outpoint) == 36, "deposit outpoint", "is 36 bytes")
        require_key("deposit owner", self.owner)
        require_uint("deposit sats", self.sats, SATS_MAX)

    def encode(self) -> bytes:
        """The 76 bytes of the module's head."""
        return _DEPOSIT.pack(self.outpoint, self.owner, self.sats)

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """The deposit of exactly these bytes; EncodingError names what is wrong."""
        return cls(*unpack("deposit", _DEPOSIT, data))


@dataclass(frozen=True, slots=True)
class Payment:
    """Sats that leave to an owner."""

    owner: bytes
    sats: int

    def encode(self) -> bytes:
        """The 40 bytes of the module's head."""
        return _PAYMENT.pack(self.owner, self.sats)


@dataclass(frozen=True, slots=True)
class Batch:
    """Deposits come with outpoints ascending, each once; none in a pool that is not backed.
    EncodingError otherwise."""

    prices: BatchPrices
    operations: Sequence[SignedOperation]
    deposits: Sequence[Deposit] = ()

    def __post_init__(self) -> None:
        outpoints = [deposit.outpoint for deposit in self.deposits]
        is_ascending = all(a < b for a, b in pairwise(outpoints))
        require(is_ascending, "batch deposits", "must have strictly ascending outpoints")

    @property
    def ops_root(self) -> bytes:
        """What the journal says of operations and deposits."""
        deposits = [deposit.encode() for deposit in self.deposits]
        operations = [operation.encode() for operation in self.operations]
        return th("ops", _count(deposits), *deposits, _count(operations), *operations)


@dataclass(frozen=True, slots=True)
class Journal:
    """What the guest claims of a batch."""

    old_root: bytes
    new_root: bytes
    ops_root: bytes
    prices_root: bytes
    payments_root: bytes
    seq: int

    def encode(self) -> bytes:
        """The 168 bytes of the module's head."""
        return _JOURNAL.pack(
            self.old_root,
            self.new_root,
            self.ops_root,
            self.prices_root,
            self.payments_root,
            self.seq,
        )

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """The journal of exactly these bytes; EncodingError for another length."""
        return cls(*unpack("journal", _JOURNAL, data))


@dataclass(frozen=True, slots=True)
class BatchResult:
    """``results[i]`` is of ``operations[i]``."""

    journal: Journal
    results: tuple[Accepted | Rejected, ...]
    payments: tuple[Payment, ...]


def run_batch(pool: Pool, batch: Batch) -> BatchResult:
    """Advances the pool and applies every operation. PriceError or EncodingError, and no change,
    if the batch is none; an operation that the rules refuse is a Rejected in the results."""
    is_backed = pool.params.backed
    require(is_backed or not batch.deposits, "batch deposits", "need a pool that is backed")
    old_root = pool.root()
    pool.advance(batch.prices)
    if is_backed:
        results, payments = _run_backed(pool, batch)
    else:
        results, payments = tuple(apply_signed(pool, op) for op in batch.operations), ()
    journal = Journal(
        old_root,
        pool.root(),
        batch.ops_root,
        batch.prices.root,
        payments_root(payments),
        pool.vault.seq,
    )
    return BatchResult(journal, results, payments)


def payments_root(payments: Sequence[Payment]) -> bytes:
    """What the journal says of payments."""
    return th("payments", *[payment.encode() for payment in payments])


class _Flows:
    """What the owners brought in sats, and have brought and got in micro-USDC."""

    def __init__(self, pool: Pool, deposits: Sequence[Deposit]) -> None:
        self.pool = pool
        self.sats: defaultdict[bytes, int] = defaultdict(int)
        self.inflow: defaultdict[bytes, int] = defaultdict(int)
        self.outflow: defaultdict[bytes, int] = defaultdict(int)
        for deposit in deposits:
            self.sats[deposit.owner] += deposit.sats

    def funds(self, owner: bytes) -> int:
        """What an owner may still bring in this batch."""
        brought = value_of_sats(self.pool, self.sats[owner]) + self.outflow[owner]
        return less(min(brought, U64_MAX), self.inflow[owner])

    def note(self, owner: bytes, result: Accepted) -> None:
        """An operation that was accepted."""
        self.inflow[owner] += result.inflow
        self.outflow[owner] += result.outflow

    @property
    def owners(self) -> list[bytes]:
        """All of them, ascending."""
        return sorted({*self.sats, *self.outflow})

    def used(self, owner: bytes) -> int:
        """The sats of an owner's deposits that stay in the vault."""
        due = less(self.inflow[owner], self.outflow[owner])
        quote = self.pool.quotes[self.pool.params.btc_token]
        return mul_div_up(due, sats_unit(self.pool), quote.min_price)

    def due(self, owner: bytes) -> int:
        """What an owner gets, micro-USDC."""
        return less(self.outflow[owner], self.inflow[owner])


def _run_backed(
    pool: Pool, batch: Batch
) -> tuple[tuple[Accepted | Rejected, ...], tuple[Payment, ...]]:
    flows = _Flows(pool, batch.deposits)
    _watch(pool)
    results = []
    for signed in batch.operations:
        owner = signed.operation.owner
        result = apply_signed(pool, signed, flows.funds(owner))
        if isinstance(result, Accepted):
            flows.note(owner, result)
        results.append(result)
    payments = _pay(pool, flows)
    _watch(pool)
    return tuple(results), payments


def _pay(pool: Pool, flows: _Flows) -> tuple[Payment, ...]:
    """Takes the deposits in, and pays: in full, or as far as the assets go, everybody alike."""
    vault, owners = pool.vault, flows.owners
    used = {owner: flows.used(owner) for owner in owners}
    vault.vault_sats += sum(used.values())
    assets = value_of_sats(pool, vault.vault_sats)
    owed = vault.liabilities + sum(flows.due(owner) for owner in owners)
    unit, price = sats_unit(pool), pool.quotes[pool.params.btc_token].max_price
    payments = []
    for owner in owners:
        due = flows.due(owner)
        if assets < owed:
            due = mul_div(due, assets, owed)
        paid = mul_div(due, unit, price)
        vault.vault_sats -= paid
        sats = paid + flows.sats[owner] - used[owner]
        if sats:
            payments.append(Payment(owner, sats))
    return tuple(payments)


def _watch(pool: Pool) -> None:
    """Close-only while the assets are below what the pool owes."""
    vault = pool.vault
    vault.flags &= ~VaultFlag.CLOSE_ONLY
    if value_of_sats(pool, vault.vault_sats) < vault.liabilities:
        vault.flags |= VaultFlag.CLOSE_ONLY


def sats_unit(pool: Pool) -> int:
    """sats * price / this = micro-USD."""
    return int(10 ** (pool.token_params[pool.params.btc_token].price_exp + 2))


def value_of_sats(pool: Pool, sats: int) -> int:
    """What sats are worth at the lower BTC price, micro-USD; 2**64 - 1 stands for all above."""
    price = pool.quotes[pool.params.btc_token].min_price
    return min(sats * price // sats_unit(pool), U64_MAX)


def _count(parts: Sequence[bytes]) -> bytes:
    return len(parts).to_bytes(4, "little")
