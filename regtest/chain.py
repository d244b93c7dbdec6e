"""What a Bitcoin node is to this project: the ``Chain`` protocol and its value types.

Hashes are 32 bytes in wire order (``protocol.bitcoin.tx.hash_hex`` prints them); transactions are
python-bitcoinlib's immutable ``CTransaction``. Nothing here keeps a node's own object alive.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

from bitcoin.core import COutPoint, CTransaction

from protocol.bitcoin.tx import Coin, hash_hex, outpoint, txout

ANYONE = b"\x51"
"""OP_TRUE: where coinbases go that nobody asked for."""

COINBASE_MATURITY = 100

RELAY_JUDGES = frozenset({"core", "model"})
"""Policies that answer whether Bitcoin Core would relay a transaction."""


@dataclass(frozen=True, slots=True)
class Caps:
    """What a backend is and can do, honestly."""

    engine: str
    consensus: str
    """``real``: blocks are judged by a Bitcoin implementation."""
    policy: str
    """Who judges what enters the mempool: ``none``, ``model`` (ours, of Core's rules), ``core``,
    ``knots-rdts`` (Bitcoin Knots, which refuses more), ``other`` (a node with rules of its own)."""
    wallet: bool
    """The node holds keys of its own (``regtest.node_wallet``)."""
    package: bool
    """``broadcast_package`` works."""
    clock: bool
    """``set_time`` works."""
    cheap_reorg: bool
    network: str = "regtest"
    """Name of a network in ``protocol.bitcoin.address``."""


@dataclass(frozen=True, slots=True)
class BlockRef:
    """A block and its place."""

    height: int
    hash: bytes
    time: int
    """Unix seconds of its header."""

    def __str__(self) -> str:
        return f"{hash_hex(self.hash)} at height {self.height}"


@dataclass(frozen=True, slots=True)
class Header:
    """A block header, decoded."""

    ref: BlockRef
    parent: bytes
    merkle_root: bytes
    version: int
    bits: int
    nonce: int
    median_time: int
    """Median time past of this block: what time locks of the next block compare with."""


@dataclass(frozen=True, slots=True)
class TxRef:
    """A transaction the node knows, in a block or (``block`` is None) in the mempool."""

    txid: bytes
    tx: CTransaction
    block: BlockRef | None
    position: int
    """Index in its block, or in ``Chain.mempool()``."""


@dataclass(frozen=True, slots=True)
class Utxo:
    """An unspent output; ``height`` is None while its transaction is in the mempool."""

    txid: bytes
    index: int
    sats: int
    script: bytes
    height: int | None
    coinbase: bool

    @property
    def coin(self) -> Coin:
        return Coin(outpoint(self.txid, self.index), txout(self.sats, self.script))

    def mature_at(self, height: int) -> bool:
        """Whether a block of ``height`` may spend it."""
        if self.height is None:
            return True
        return not self.coinbase or height - self.height >= COINBASE_MATURITY


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the node thinks of a transaction: consensus and policy apart.

    A reason is the node's text, empty where the answer is yes. ``policy`` is None where nobody
    judged it: no policy in this backend, or consensus refused first. ``policy_by`` is the
    backend's ``Caps.policy``.
    """

    consensus: bool
    consensus_reason: str
    policy: bool | None
    policy_reason: str
    policy_by: str

    @property
    def accepted(self) -> bool:
        """Whether this node takes it."""
        return self.consensus and self.policy is not False

    @property
    def relayed(self) -> bool | None:
        """Whether Bitcoin Core would relay it, judged by Core or by the model of it; None where
        only a node with other rules spoke, or nobody."""
        if not self.consensus:
            return False
        return self.policy if self.policy_by in RELAY_JUDGES else None


def rule_broken(reason: str) -> str:
    """What nodes of different versions agree on in a reason: the script error that stands in
    parentheses, else the first word (``bad-cb-amount``)."""
    script_error = re.search(r"script-verify-flag-failed \((.*?)\)(?=,|$)", reason)
    return script_error[1] if script_error else re.split(r"[ ,]", reason, maxsplit=1)[0]


class Chain(Protocol):
    """A node on a regtest chain. Every error is a ChainError or one of its two kinds."""

    @property
    def caps(self) -> Caps: ...

    @property
    def height(self) -> int: ...

    @property
    def tip(self) -> BlockRef: ...

    def header(self, block: int | bytes) -> Header:
        """By height on the active chain, or by hash; ChainError if there is none."""
        ...

    def block(self, block: int | bytes) -> tuple[CTransaction, ...]:
        """Its transactions, coinbase first; ChainError if there is none."""
        ...

    def utxo(self, point: COutPoint, *, mempool: bool = True) -> Utxo | None:
        """The unspent output at ``point``; with ``mempool``, as the mempool would leave it."""
        ...

    def unspent(self, script: bytes) -> tuple[Utxo, ...]:
        """Confirmed outputs of ``script`` that neither a block nor the mempool spends."""
        ...

    def tx(self, txid: bytes) -> TxRef | None: ...

    def spender(self, point: COutPoint) -> TxRef | None:
        """The transaction that spends ``point``, in the active chain or the mempool."""
        ...

    def submit_block(self, raw: bytes) -> BlockRef:
        """Give the node a serialized block; ConsensusError with its reason if it is invalid.

        A valid block that does not lead stays on a side branch: compare with ``tip``.
        """
        ...

    def mine(
        self, count: int = 1, *, to: bytes = ANYONE, txs: Sequence[CTransaction] | None = None
    ) -> tuple[BlockRef, ...]:
        """``count`` blocks on the tip, paying script ``to``. The first holds the mempool, or
        exactly ``txs`` (in this order, no policy asked); ConsensusError if that is invalid."""
        ...

    def check(self, tx: CTransaction) -> Verdict:
        """Judge ``tx`` for the next block, changing nothing."""
        ...

    def broadcast(self, tx: CTransaction) -> bytes:
        """Into the mempool; the txid. Known transactions are fine.

        ConsensusError or PolicyError with the node's reason.
        """
        ...

    def broadcast_package(self, txs: Sequence[CTransaction]) -> tuple[bytes, ...]:
        """Parents and their one child together, the child paying for all; their txids.

        ChainError where ``caps.package`` is false; else as ``broadcast``.
        """
        ...

    def mempool(self) -> tuple[CTransaction, ...]:
        """Parents before children."""
        ...

    def set_time(self, unix_seconds: int) -> None:
        """The time of the next block; later ones follow at the chain's interval."""
        ...

    def reorg(self, depth: int, *, txs: Sequence[CTransaction] = ()) -> BlockRef:
        """Replace the last ``depth`` blocks by ``depth + 1`` of which the first holds ``txs``.

        What the dropped blocks held goes back to the mempool where it is still valid.
        """
        ...

    def wait(self, ready: Callable[[], bool], timeout_s: float) -> None:
        """Until ``ready()``, asked after every change; ChainError after ``timeout_s``."""
        ...

    def checkpoint(self) -> None:
        """Everything acknowledged so far is on disk when this returns."""
        ...

    def close(self) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...
