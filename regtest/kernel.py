"""The default node: Bitcoin Core's consensus in process, on a datadir of its own.

One lock around everything. The kernel judges blocks; unspent outputs, mempool, clock and miner
are ours, beside this file. It survives SIGKILL: see ``datadir.py``.
"""

import logging
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import Literal, NoReturn, Self

from bitcoin.core import COutPoint, CTransaction

from protocol.bitcoin.tx import MAX_MONEY_SATS, hash_hex, outpoint_key, txid
from protocol.crypto.hashes import hash256
from protocol.errors import ChainError, ConsensusError, EncodingError
from regtest.blocks import (
    BLOCK_INTERVAL_S,
    coinbase,
    mined_block,
    subsidy_sats,
)
from regtest.chain import ANYONE, BlockRef, Caps, Chain, Header, TxRef, Utxo, Verdict
from regtest.index import (
    MEDIAN_TIME_SPAN,
    Index,
    IndexedBlock,
    parse_block,
    parse_header,
)
from regtest.libkernel import Kernel, failing_input
from regtest.mempool import Entry, Mempool
from regtest.miner import block_fees, fitting
from regtest.opened import OpenDatadir

LONG_CHAIN = 5_000
"""Blocks beyond which regtest's own index check makes every block slower (it walks them all)."""

MAX_FUTURE_S = 2 * 60 * 60
_POLL_S = 0.1

_logger = logging.getLogger(__name__)


class KernelChain(Chain):
    """A :class:`regtest.chain.Chain` on libbitcoinkernel. Thread-safe; close it when done."""

    def __init__(
        self,
        datadir: Path | str,
        *,
        policy: Literal["model", "none"] = "model",
        reindex: bool = False,
    ) -> None:
        """Open or create ``datadir``; rebuild its databases if its last holder did not close.

        ChainError if another process holds it, or it cannot be opened.
        """
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._open = OpenDatadir(Path(datadir), reindex=reindex)
        self._finalizer = weakref.finalize(self, self._open.close)
        self._policy: Literal["model", "none"] = policy
        self._next_time: int | None = None
        self._index = Index()
        self._mempool = Mempool(self._index, failing_input, policy_model=policy == "model")
        genesis = self._open.kernel.hash_at(0)
        if genesis is None:
            raise ChainError(f"{datadir} holds no chain: remove the folder and start again")
        self._index.connect(self._open.kernel.read_block(genesis))
        with self._session():
            self._follow_kernel()

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
    def _session(self) -> Iterator[Kernel]:
        with self._lock:
            yield self._open.kernel

    # What the node is and knows

    @property
    def caps(self) -> Caps:
        engine = f"core-kernel (py-bitcoinkernel {version('py-bitcoinkernel')})"
        return Caps(
            engine=engine,
            consensus="real",
            policy=self._policy,
            wallet=False,
            package=False,
            clock=True,
            cheap_reorg=True,
        )

    @property
    def recovered(self) -> bool:
        """Whether the databases were rebuilt at opening."""
        return self._open.recovered

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
        with self._session() as kernel:
            known = self._indexed(block)
            if known is not None:
                return known.txs
            return parse_block(kernel.read_block(_block_hash(block)))[1]

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

    # Blocks

    def submit_block(self, raw: bytes) -> BlockRef:
        header, _ = parse_block(raw)
        block_hash = hash256(header)
        with self._session() as kernel:
            try:
                kernel.process_block(raw, block_hash)
            finally:
                self._follow_kernel()
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

    def checkpoint(self) -> None:
        with self._session():
            self._open.reopen()
            self._follow_kernel()

    def close(self) -> None:
        with self._lock:
            self._finalizer()
            self._changed.notify_all()

    # Transactions

    def check(self, tx: CTransaction) -> Verdict:
        with self._session():
            refusal = self._dry_run(tx)
            if refusal is not None:
                return Verdict(False, refusal, None, "", self._policy)
            if txid(tx) in self._mempool:
                return Verdict(True, "", True, "", self._policy)
            try:
                self._mempool.check_policy(self._mempool.examine(tx))
            except ChainError as error:
                return Verdict(True, "", False, str(error), self._policy)
            judged = True if self._policy == "model" else None
            return Verdict(True, "", judged, "", self._policy)

    def broadcast(self, tx: CTransaction) -> bytes:
        wanted = txid(tx)
        with self._session():
            if wanted in self._mempool or self._index.tx(wanted) is not None:
                return wanted
            try:
                self._mempool.add(tx)
            except ConsensusError as error:
                raise ConsensusError(self._dry_run(tx) or str(error)) from error
            self._changed.notify_all()
            return wanted

    def wait(self, ready: Callable[[], bool], timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        with self._session():
            while not ready():
                left = deadline - time.monotonic()
                if left <= 0:
                    raise ChainError(f"what was waited for did not happen in {timeout_s} s")
                self._changed.wait(min(left, _POLL_S))

    # Inside

    def _indexed(self, block: int | bytes) -> IndexedBlock | None:
        if isinstance(block, bytes):
            return self._index.by_hash(block)
        if not 0 <= block < len(self._index.blocks):
            raise ChainError(f"no block at height {block}: the tip is at {self.height}")
        return self._index.blocks[block]

    def _side_header(self, block_hash: bytes) -> Header:
        """Header of a block off the active chain, walking its parents for the median time."""
        kernel = self._open.kernel
        height = kernel.height_of(block_hash)
        if height is None:
            raise ChainError(f"no block {hash_hex(block_hash)}")
        raw = kernel.read_block(block_hash)[:80]
        times: list[int] = []
        parent = raw[4:36]
        for at in range(height - 1, max(height - MEDIAN_TIME_SPAN, -1), -1):
            above = parse_header(kernel.read_block(parent)[:80], at, ())
            times.append(above.ref.time)
            parent = above.parent
        return parse_header(raw, height, times)

    def _waiting(self, entry: Entry) -> TxRef:
        return TxRef(entry.txid, entry.tx, None, self._mempool.position(entry.txid))

    def _follow_kernel(self) -> None:
        """Bring index and mempool to the kernel's active chain."""
        kernel = self._open.kernel
        dropped: list[IndexedBlock] = []
        while kernel.hash_at(self._index.tip.ref.height) != self._index.tip.ref.hash:
            dropped.append(self._index.disconnect())
        connected = []
        for height in range(len(self._index.blocks), kernel.height + 1):
            block_hash = kernel.hash_at(height)
            assert block_hash is not None
            connected.append(self._index.connect(kernel.read_block(block_hash)))
            if height == LONG_CHAIN:
                _logger.warning("a regtest chain this long is slow: start a new datadir")
        if dropped:
            self._mempool.readmit(tx for block in reversed(dropped) for tx in block.txs[1:])
        for block in connected if not dropped else ():
            self._mempool.remove_confirmed(block.txs[1:])
        if dropped or connected:
            self._changed.notify_all()

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
        """A block that the kernel has not seen yet, and its hash."""
        height, extra = parent.ref.height + 1, 0
        while True:
            first = coinbase(height, to, sats, txs, extra)
            raw, block_hash = mined_block(parent.ref.hash, height, when, txs, first)
            if not self._open.kernel.knows(block_hash):
                return raw, block_hash
            extra += 1

    def _dry_run(self, tx: CTransaction) -> str | None:
        """The kernel's reason to refuse ``tx`` and its unconfirmed parents in the next block.

        None if it has none. The block's coinbase claims too much, which is checked last: it can
        never connect, and that refusal means that everything before it passed.
        """
        family = [*self._mempool.ancestors(tx), tx]
        parent = self._index.tip.header
        try:
            raw, block_hash = self._build(
                parent, self._time_after(parent), family, ANYONE, MAX_MONEY_SATS
            )
            self._open.kernel.process_block(raw, block_hash)
        except EncodingError as error:
            return str(error)
        except ConsensusError as error:
            return None if str(error).startswith("bad-cb-amount") else str(error)
        raise ChainError("the kernel connected a block that claims too much")


def _block_hash(block: int | bytes) -> bytes:
    if isinstance(block, int) or len(block) != 32:
        raise ChainError("a block is named by its height or its 32-byte hash")
    return block
