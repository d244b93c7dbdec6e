"""The pool guest's input: a claim about one batch, and all that it follows from.

    input   JOURNAL 168 (batch.py)
            | bytes of the certificate, number of position buckets, of their siblings, of account
              buckets, of their siblings: u32 each
            | VaultDatum 256 | TokenState 136 of every token | TokenParams 64 of every token
            | BatchCertificate (protocol.oracle.batch_certificate)
            | opened positions tree | opened accounts tree
            | deposits u32 | deposits | operations u32 | operations, each with its signature
            | the result code of every operation, u8: 0 accepted, else a RejectCode
    tree    per bucket: index u16 | bytes u16 | the bucket, padded; then the siblings, 32 each

Little-endian; certificate, buckets and codes are padded with zeros to a word. The siblings are
those that the buckets' paths do not make themselves, level by level from the leaves, indices
ascending: the same ones lead to the old and to the new root.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from struct import Struct
from typing import Any, Final, Self

from protocol.errors import EncodingError
from protocol.oracle.batch_certificate import BatchCertificate
from protocol.pool.account import account_key
from protocol.pool.batch import Batch, BatchResult, Deposit, Journal, run_batch
from protocol.pool.draft import Rejected
from protocol.pool.layout import TOKENS_MAX
from protocol.pool.operation import (
    CancelOrder,
    CloseAtCap,
    CreateOrder,
    Decrease,
    FillOrder,
    Increase,
    Liquidate,
    Operation,
    SignedOperation,
    decode_at,
)
from protocol.pool.order import order_key
from protocol.pool.params import TOKEN_PARAMS_SIZE
from protocol.pool.pool import Pool
from protocol.pool.position import position_key
from protocol.pool.state import TOKEN_STATE_SIZE, VAULT_SIZE, VaultDatum
from protocol.pool.tree import BUCKET_MAX, DEPTH, BucketTree, bucket_of

BUCKETS_MAX: Final = 512
"""Of each tree in one batch."""
OWNERS_MAX: Final = 512
"""With deposits or operations in one batch of a backed pool."""

_COUNTS: Final = Struct("<5I")
_BUCKET: Final = Struct("<HH")
_U32: Final = Struct("<I")
_JOURNAL_SIZE: Final = 168
_DEPOSIT_SIZE: Final = 76
_BUCKET_BYTES_MAX: Final = BUCKET_MAX * 113

# What the guest takes at most. An operation may look at a full bucket of either tree, which costs a
# hash a datum; a node is hashed for the old root and for the new one.
_BASE_STEPS: Final = 3_000_000
_SIGNATURE_STEPS: Final = 1_800_000
_OPERATION_STEPS: Final = 550_000
_REPORT_STEPS: Final = 60_000
_DEPOSIT_STEPS: Final = 100_000
_NODE_STEPS: Final = 24_000
_BUCKET_STEPS: Final = 20_000
_BUCKET_BYTE_STEPS: Final = 250


@dataclass(frozen=True, slots=True)
class OpenedTree:
    """Some buckets of a tree, (index, bytes) with indices ascending, and the siblings beside their
    paths. EncodingError for buckets or siblings that cannot be."""

    buckets: tuple[tuple[int, bytes], ...]
    siblings: tuple[bytes, ...]

    def __post_init__(self) -> None:
        indices = [index for index, _ in self.buckets]
        if not 1 <= len(indices) <= BUCKETS_MAX:
            raise EncodingError(
                f"opened buckets: {len(indices)} of one tree, 1 to {BUCKETS_MAX} in one batch; make"
                " the batch smaller"
            )
        if any(a >= b for a, b in pairwise(indices)):
            raise EncodingError("opened buckets: their indices must strictly ascend")
        if any(len(bucket) > _BUCKET_BYTES_MAX for _, bucket in self.buckets):
            raise EncodingError(f"opened buckets: one has more than {_BUCKET_BYTES_MAX} bytes")
        expected = sum(1 for _ in sibling_places(indices))
        if len(self.siblings) != expected or any(len(node) != 32 for node in self.siblings):
            raise EncodingError(f"opened buckets: {expected} siblings of 32 bytes are needed")

    @classmethod
    def of(cls, tree: BucketTree[Any], keys: Iterator[bytes]) -> Self:
        """What ``keys`` open of a tree as it is now; of no key the first bucket."""
        indices = sorted({bucket_of(key) for key in keys} or {0})
        buckets = tuple((index, tree.bucket(index)) for index in indices)
        return cls(buckets, tuple(tree.node(*place) for place in sibling_places(indices)))

    def encode(self) -> bytes:
        """The bytes of the module's head."""
        buckets = (_BUCKET.pack(i, len(bucket)) + _padded(bucket) for i, bucket in self.buckets)
        return b"".join((*buckets, *self.siblings))


def sibling_places(indices: Sequence[int]) -> Iterator[tuple[int, int]]:
    """(height, index) of every node beside the paths of these leaves, ascending, that is on none of
    them: the order of the siblings."""
    level = list(indices)
    for height in range(DEPTH):
        opened = set(level)
        yield from ((height, index ^ 1) for index in level if index ^ 1 not in opened)
        level = sorted({index >> 1 for index in level})


@dataclass(frozen=True, slots=True)
class Witness:
    """All that the guest reads about one batch. Only its form is checked: a claim may lie.

    ``tokens`` and ``token_params`` are the whole tables, encoded; ``codes`` one a operation.
    """

    journal: Journal
    vault: bytes
    tokens: bytes
    token_params: bytes
    certificate: BatchCertificate
    positions: OpenedTree
    accounts: OpenedTree
    deposits: tuple[Deposit, ...]
    operations: tuple[SignedOperation, ...]
    codes: bytes

    def __post_init__(self) -> None:
        if len(self.codes) != len(self.operations):
            raise EncodingError("witness codes: one for every operation")
        owners = {d.owner for d in self.deposits} | {o.operation.owner for o in self.operations}
        if len(owners) > OWNERS_MAX:
            raise EncodingError(
                f"witness: {len(owners)} owners, {OWNERS_MAX} in one batch; make it smaller"
            )

    @property
    def steps_max(self) -> int:
        """The guest takes fewer steps than this, whatever the claim."""
        signed = sum(each.operation.is_signed for each in self.operations)
        trees = (self.positions, self.accounts)
        buckets = [bucket for tree in trees for _, bucket in tree.buckets]
        nodes = len(buckets) + sum(len(tree.siblings) for tree in trees)
        return (
            _BASE_STEPS
            + _SIGNATURE_STEPS * (len(self.certificate.signatures) + signed)
            + _OPERATION_STEPS * len(self.operations)
            + _REPORT_STEPS * len(self.certificate.reports)
            + _DEPOSIT_STEPS * len(self.deposits)
            + _NODE_STEPS * nodes
            + _BUCKET_STEPS * len(buckets)
            + _BUCKET_BYTE_STEPS * sum(map(len, buckets))
        )

    def encode(self) -> bytes:
        """The guest's input."""
        certificate = self.certificate.encode()
        counts = _COUNTS.pack(
            len(certificate),
            len(self.positions.buckets),
            len(self.positions.siblings),
            len(self.accounts.buckets),
            len(self.accounts.siblings),
        )
        parts = (
            self.journal.encode() + counts + self.vault + self.tokens + self.token_params,
            _padded(certificate),
            self.positions.encode(),
            self.accounts.encode(),
            _padded(self._batch()),
        )
        return b"".join(parts)

    def _batch(self) -> bytes:
        deposits = b"".join(deposit.encode() for deposit in self.deposits)
        operations = b"".join(operation.encode() for operation in self.operations)
        return b"".join(
            (
                _U32.pack(len(self.deposits)) + deposits,
                _U32.pack(len(self.operations)) + operations,
                self.codes,
            )
        )

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """The inverse of ``encode``; EncodingError for any other bytes."""
        reader = _Reader(data)
        journal = Journal.decode(reader.take(_JOURNAL_SIZE))
        size, *counts = reader.unpack(_COUNTS)
        vault = reader.take(VAULT_SIZE)
        n_tokens = VaultDatum.decode(vault).n_tokens
        if n_tokens > TOKENS_MAX:
            raise EncodingError(f"witness: {n_tokens} tokens, at most {TOKENS_MAX}")
        witness = cls(
            journal=journal,
            vault=vault,
            tokens=reader.take(n_tokens * TOKEN_STATE_SIZE),
            token_params=reader.take(n_tokens * TOKEN_PARAMS_SIZE),
            certificate=BatchCertificate.decode(reader.take_padded(size)),
            positions=reader.tree(counts[0], counts[1]),
            accounts=reader.tree(counts[2], counts[3]),
            deposits=tuple(reader.deposits()),
            operations=(operations := tuple(reader.operations())),
            codes=reader.take_padded(len(operations)),
        )
        if witness.encode() != data:
            raise EncodingError("witness: there are bytes that belong to nothing")
        return witness


class _Reader:
    """A place in the bytes of a witness; EncodingError where they end too early."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def take(self, size: int) -> bytes:
        part = self.data[self.at : self.at + size]
        if len(part) < size:
            raise EncodingError(f"witness: cut off, {size} bytes expected at {self.at}")
        self.at += size
        return part

    def take_padded(self, size: int) -> bytes:
        part = self.take(size)
        self.at += -self.at % 4
        return part

    def unpack(self, layout: Struct) -> tuple[int, ...]:
        return layout.unpack(self.take(layout.size))

    def tree(self, buckets: int, siblings: int) -> OpenedTree:
        opened = []
        for _ in range(buckets):
            index, size = self.unpack(_BUCKET)
            opened.append((index, self.take_padded(size)))
        return OpenedTree(tuple(opened), tuple(self.take(32) for _ in range(siblings)))

    def deposits(self) -> Iterator[Deposit]:
        (count,) = self.unpack(_U32)
        for _ in range(count):
            yield Deposit.decode(self.take(_DEPOSIT_SIZE))

    def operations(self) -> Iterator[SignedOperation]:
        (count,) = self.unpack(_U32)
        for _ in range(count):
            operation, self.at = decode_at(self.data, self.at)
            yield operation


def witnessed_batch(
    pool: Pool, batch: Batch, certificate: BatchCertificate
) -> tuple[BatchResult, Witness]:
    """``run_batch``, and the witness of what it did. The prices of the batch are those of the
    certificate (``BatchPrices.certified``), or the guest refuses them."""
    pool.root()
    operations = [signed.operation for signed in batch.operations]
    vault = pool.vault.encode()
    tokens = b"".join(token.encode() for token in pool.tokens.values())
    token_params = b"".join(params.encode() for params in pool.token_params.values())
    positions = OpenedTree.of(pool.positions, _position_keys(pool, operations))
    accounts = OpenedTree.of(
        pool.accounts, (account_key(op.owner) for op in operations if op.is_signed)
    )
    result = run_batch(pool, batch)
    witness = Witness(
        journal=result.journal,
        vault=vault,
        tokens=tokens,
        token_params=token_params,
        certificate=certificate,
        positions=positions,
        accounts=accounts,
        deposits=tuple(batch.deposits),
        operations=tuple(batch.operations),
        codes=bytes(r.code if isinstance(r, Rejected) else 0 for r in result.results),
    )
    return result, witness


def guest_input(pool: Pool, batch: Batch, certificate: BatchCertificate) -> bytes:
    """The guest's input for a batch; the pool has then run it. As ``witnessed_batch``."""
    return witnessed_batch(pool, batch, certificate)[1].encode()


def _position_keys(pool: Pool, operations: Sequence[Operation]) -> Iterator[bytes]:
    """Every key of the positions tree that the guest may look up. An order that its own batch
    created fills in none of its operations."""
    for each in operations:
        match each:
            case Increase() | Decrease() | Liquidate() | CloseAtCap():
                yield position_key(each.owner, each.token, each.side)
            case CreateOrder():
                yield order_key(each.owner, each.nonce)
            case CancelOrder():
                yield order_key(each.owner, each.order_nonce)
            case FillOrder():
                yield order_key(each.owner, each.order_nonce)
                if (order := pool.order(each.owner, each.order_nonce)) is not None:
                    yield position_key(order.owner, order.token, order.side)
            case _:
                pass


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)
