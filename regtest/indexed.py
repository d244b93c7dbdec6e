"""What every backend shares: an index that follows an engine, a clock, a miner.

An engine judges and stores blocks (libbitcoinkernel in this process, or a bitcoind over RPC). All
else that a :class:`regtest.chain.Chain` answers comes from our own index of its active chain and
from a list of the transactions that wait. Blocks are built here, the same on every backend: the
same calls give the same hashes.
"""

import logging
import threading
import time
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import NoReturn, Protocol, Self

from bitcoin.core import COutPoint, CTransaction

from protocol.bitcoin.tx import hash_hex, outpoint_key, txid
from protocol.crypto.hashes import hash256
from protocol.errors import ChainError
from regtest.blocks import BLOCK_INTERVAL_S, coinbase, mined_block, subsidy_sats
from regtest.chain import ANYONE, BlockRef, Chain, Header, TxRef, Utxo, Verdict
from regtest.index import MEDIAN_TIME_SPAN, Index, IndexedBlock, parse_block, parse_header
from regtest.miner import block_fees, fitting
from regtest.waiting import Entry, Waiting

LONG_CHAIN = 5_000
"""Blocks beyond which regtest's own index check makes every block slower (it walks them all)."""

MAX_FUTURE_S = 2 * 60 * 60
_POLL_S = 0.1

_logger = logging.getLogger(__name__)


class Engine(Protocol):
    """What judges blocks and keeps them. Hashes are 32 bytes in wire order."""

    def hash_at(self, height: int) -> bytes | None:
        """The active chain's block hash at ``height``, None above the tip."""
        ...

    def blocks_from(self, height: int) -> Iterable[bytes]:
        """The active chain's serialized blocks from ``height`` to its tip."""
        ...

    def knows(self, block_hash: bytes) -> bool:
        """Whether it was seen: active, on a side branch, or marked invalid."""
        ...

    def height_of(self, block_hash: bytes) -> int | None:
        """Its height on whatever branch, None if unknown."""
        ...

    def read_block(self, block_hash: bytes) -> bytes:
        """The serialized block; ChainError if it is unknown."""
        ...

    def process_block(self, raw: bytes, block_hash: bytes) -> None:
        """Validate a block and connect it if it leads; ConsensusError with the reason if it, or
        what it builds on, is invalid."""
        ...


class IndexedChain(Chain):
    """A chain over ``_engine``. Thread-safe: one lock around everything."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._depth = 0
        self._next_time: int | None = None
        self._index = Index()
        self._mempool = Waiting()

    # What a backend adds

    @property
    @abstractmethod
    def _engine(self) -> Engine:
        """ChainError if it is closed or gone."""

    @abstractmethod
    def _follow(self) -> None:
        """Bring index and mempool to where the engine is; ChainError if it is closed or gone."""

    @abstractmethod
    def _refusal(self, txs: Sequence[CTransaction]) -> str | None:
        """Why the next block may not hold ``txs`` behind their unconfirmed parents; None if it
        may. Changes nothing that anybody sees."""

    @abstractmethod
    def _policy_of(self, tx: CTransaction) -> tuple[bool | None, str]:
        """The mempool's verdict and reason on a transaction that a block may hold."""

    @abstractmethod
    def _admit(self, tx: CTransaction) -> None:
        """Into the mempool; ConsensusError or PolicyError."""

    # A context, in one process

    def __reduce__(self) -> NoReturn:
        raise ChainError("an open chain does not travel between processes: send its datadir")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @contextmanager
    def _session(self) -> Iterator[None]:
        """The lock; on its outside, index and mempool where the engine is."""
        with self._lock:
            if self._depth == 0:
                self._follow()
            self._depth += 1
            try:
                yield
            finally:
                self._depth -= 1

    # What the node knows

    @property
    def height(self) -> int:
        return self.tip.height

    @property
    def tip(self) -> BlockRef:
        with self._session():
            return self._index.tip.ref

    def header(self, block: int | bytes) -> Header:
        with self._session():
            known = self._indexed(block)
            if known is not None:
                return known.header
            return self._side_header(_block_hash(block))

    def block(self, block: int | bytes) -> tuple[CTransaction, ...]:
        with self._session():
            known = self._indexed(block)
            if known is not None:
                return known.txs
            return parse_block(self._engine.read_block(_block_hash(block)))[1]

    def utxo(self, point: COutPoint, *, mempool: bool = True) -> Utxo | None:
        key = outpoint_key(point)
        with self._session():
            if mempool and self._mempool.spender(key) is not None:
                return None
            waiting = self._mempool.output(key) if mempool else None
            return waiting or self._index.utxo(key)

    def unspent(self, script: bytes) -> tuple[Utxo, ...]:
        with self._session():
            found = self._index.unspent(script)
            return tuple(utxo for key, utxo in found if self._mempool.spender(key) is None)

    def tx(self, wanted: bytes) -> TxRef | None:
        with self._session():
            entry = self._mempool.get(wanted)
            return self._waiting(entry) if entry else self._index.tx(wanted)

    def spender(self, point: COutPoint) -> TxRef | None:
        key = outpoint_key(point)
        with self._session():
            entry = self._mempool.spender(key)
            return self._waiting(entry) if entry else self._index.spender(key)

    def mempool(self) -> tuple[CTransaction, ...]:
        with self._session():
            return tuple(entry.tx for entry in self._mempool.entries)

    def wait(self, ready: Callable[[], bool], timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        with self._lock:
            while not ready():
                left = deadline - time.monotonic()
                if left <= 0:
                    raise ChainError(f"what was waited for did not happen in {timeout_s} s")
                self._changed.wait(min(left, _POLL_S))

    # Blocks

    def submit_block(self, raw: bytes) -> BlockRef:
        header, _ = parse_block(raw)
        block_hash = hash256(header)
        with self._session():
            try:
                self._engine.process_block(raw, block_hash)
            finally:
                self._follow()
            return self.header(block_hash).ref

    def mine(
        self, count: int = 1, *, to: bytes = ANYONE, txs: Sequence[CTransaction] | None = None
    ) -> tuple[BlockRef, ...]:
        mined = []
        with self._session():
            for n in range(count):
                chosen = (
                    fitting(self._mempool.entries) if txs is None else list(txs) if n == 0 else []
                )
                parent = self._index.tip.header
                claimed = subsidy_sats(parent.ref.height + 1) + block_fees(self._index, chosen)
                raw, _ = self._build(parent, self._time_after(parent), chosen, to, claimed)
                mined.append(self.submit_block(raw))
                self._next_time = None
        return tuple(mined)

    def set_time(self, unix_seconds: int) -> None:
        with self._session():
            earliest = self._index.tip.header.median_time + 1
            latest = int(time.time()) + MAX_FUTURE_S
            if not earliest <= unix_seconds <= latest:
                raise ChainError(
                    f"the next block's time lies between {earliest} (the median of the last 11"
                    f" blocks) and {latest} (two hours from now), not at {unix_seconds}"
                )
            self._next_time = unix_seconds

    def reorg(self, depth: int, *, txs: Sequence[CTransaction] = ()) -> BlockRef:
        with self._session():
            if not 1 <= depth <= self.height:
                raise ChainError(f"a chain of height {self.height} cannot drop {depth} blocks")
            fork = self.height - depth
            times = [block.ref.time for block in self._index.blocks[: fork + 1]]
            parent = self._index.blocks[fork].header
            for n in range(depth + 1):
                chosen = list(txs) if n == 0 else []
                claimed = subsidy_sats(parent.ref.height + 1)  # their fees are given up
                when = self._on_clock(parent)
                raw, _ = self._build(parent, when, chosen, ANYONE, claimed)
                self.submit_block(raw)
                parent = parse_header(raw[:80], parent.ref.height + 1, times[-10:])
                times.append(when)
            return self.tip

    # Transactions

    def check(self, tx: CTransaction) -> Verdict:
        with self._session():
            by = self.caps.policy
            refusal = self._refusal([tx])
            if refusal is not None:
                return Verdict(False, refusal, None, "", by)
            if txid(tx) in self._mempool:
                return Verdict(True, "", True, "", by)
            judged, reason = self._policy_of(tx)
            return Verdict(True, "", judged, reason, by)

    def broadcast(self, tx: CTransaction) -> bytes:
        wanted = txid(tx)
        with self._session():
            if wanted not in self._mempool and self._index.tx(wanted) is None:
                self._admit(tx)
                self._changed.notify_all()
        return wanted

    # Inside

    def _indexed(self, block: int | bytes) -> IndexedBlock | None:
        if isinstance(block, bytes):
            return self._index.by_hash(block)
        if not 0 <= block < len(self._index.blocks):
            raise ChainError(f"no block at height {block}: the tip is at {self.height}")
        return self._index.blocks[block]

    def _side_header(self, block_hash: bytes) -> Header:
        """Header of a block off the active chain, walking its parents for the median time."""
        engine = self._engine
        height = engine.height_of(block_hash)
        if height is None:
            raise ChainError(f"no block {hash_hex(block_hash)}")
        raw = engine.read_block(block_hash)[:80]
        times: list[int] = []
        parent = raw[4:36]
        for at in range(height - 1, max(height - MEDIAN_TIME_SPAN, -1), -1):
            above = parse_header(engine.read_block(parent)[:80], at, ())
            times.append(above.ref.time)
            parent = above.parent
        return parse_header(raw, height, times)

    def _waiting(self, entry: Entry) -> TxRef:
        return TxRef(entry.txid, entry.tx, None, self._mempool.position(entry.txid))

    def _follow_blocks(self) -> tuple[list[IndexedBlock], list[IndexedBlock]]:
        """Bring the index to the engine's active chain; the blocks that left it (from the top)
        and those that joined."""
        dropped: list[IndexedBlock] = []
        joined: list[IndexedBlock] = []
        engine = self._engine
        while self._index.blocks and (
            engine.hash_at(self._index.tip.ref.height) != self._index.tip.ref.hash
        ):
            dropped.append(self._index.disconnect())
        for raw in engine.blocks_from(len(self._index.blocks)):
            if self._index.blocks and raw[4:36] != self._index.tip.ref.hash:
                break  # the engine moved meanwhile: the next look sees it
            joined.append(self._connect(raw))
        return dropped, joined

    def _connect(self, raw: bytes) -> IndexedBlock:
        if len(self._index.blocks) == LONG_CHAIN:
            _logger.warning("a regtest chain this long is slow: start a new datadir")
        return self._index.connect(raw)

    def _time_after(self, parent: Header) -> int:
        if self._next_time is None:
            return self._on_clock(parent)
        return max(self._next_time, parent.median_time + 1)

    def _on_clock(self, parent: Header) -> int:
        """The chain's own clock; once it reaches the present it slows down to what is allowed."""
        regular = parent.ref.time + BLOCK_INTERVAL_S
        if regular <= time.time() + MAX_FUTURE_S:
            return regular
        return parent.median_time + 1

    def _build(
        self, parent: Header, when: int, txs: Sequence[CTransaction], to: bytes, sats: int
    ) -> tuple[bytes, bytes]:
        """A block that the engine has not seen yet, and its hash."""
        height, extra = parent.ref.height + 1, 0
        while True:
            first = coinbase(height, to, sats, txs, extra)
            raw, block_hash = mined_block(parent.ref.hash, height, when, txs, first)
            if not self._engine.knows(block_hash):
                return raw, block_hash
            extra += 1

    def _candidate(self, txs: Sequence[CTransaction], sats: int) -> tuple[bytes, bytes]:
        """The next block with ``txs`` behind their unconfirmed parents, claiming ``sats``."""
        known = {txid(tx) for tx in txs}
        parents = [tx for tx in self._mempool.ancestors(txs) if txid(tx) not in known]
        parent = self._index.tip.header
        return self._build(parent, self._time_after(parent), [*parents, *txs], ANYONE, sats)


def _block_hash(block: int | bytes) -> bytes:
    if isinstance(block, int) or len(block) != 32:
        raise ChainError("a block is named by its height or its 32-byte hash")
    return block
