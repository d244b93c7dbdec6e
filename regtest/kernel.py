"""The default node: Bitcoin Core's consensus in process, on a datadir of its own.

The kernel judges blocks; unspent outputs, mempool, clock and miner are ours, beside this file. It
survives SIGKILL: see ``datadir.py``.
"""

import weakref
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Final, Literal

from bitcoin.core import CTransaction

from protocol.bitcoin.tx import MAX_MONEY_SATS
from protocol.errors import ChainError, ConsensusError, EncodingError
from regtest.chain import Caps
from regtest.indexed import IndexedChain
from regtest.libkernel import Kernel, failing_input
from regtest.mempool import Mempool
from regtest.opened import OpenDatadir

ENGINE: Final = f"core-kernel (py-bitcoinkernel {version('py-bitcoinkernel')})"


class KernelChain(IndexedChain):
    """A :class:`regtest.chain.Chain` on libbitcoinkernel. Thread-safe; close it when done."""

    _mempool: Mempool

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
        super().__init__()
        self._open = OpenDatadir(Path(datadir), reindex=reindex)
        self._finalizer = weakref.finalize(self, self._open.close)
        self._policy: Literal["model", "none"] = policy
        self._mempool = Mempool(self._index, failing_input, policy_model=policy == "model")
        if self._engine.hash_at(0) is None:
            raise ChainError(f"{datadir} holds no chain: remove the folder and start again")
        self._follow_blocks()

    @property
    def caps(self) -> Caps:
        return Caps(
            engine=ENGINE,
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

    def broadcast_package(self, txs: Sequence[CTransaction]) -> tuple[bytes, ...]:
        raise ChainError("the embedded node relays no packages: raise the fee, or use a bitcoind")

    def checkpoint(self) -> None:
        with self._session():
            self._open.reopen()
            self._follow()

    def close(self) -> None:
        with self._lock:
            self._finalizer()
            self._changed.notify_all()

    # Inside

    @property
    def _engine(self) -> Kernel:
        return self._open.kernel

    def _follow(self) -> None:
        if self._engine.hash_at(self._engine.height) == self._index.tip.ref.hash:
            return
        dropped, joined = self._follow_blocks()
        if dropped:
            self._mempool.readmit(tx for block in reversed(dropped) for tx in block.txs[1:])
        for block in joined if not dropped else ():
            self._mempool.remove_confirmed(block.txs[1:])
        self._changed.notify_all()

    def _policy_of(self, tx: CTransaction) -> tuple[bool | None, str]:
        try:
            self._mempool.check_policy(self._mempool.examine(tx))
        except ChainError as error:
            return False, str(error)
        return (True if self._policy == "model" else None), ""

    def _admit(self, tx: CTransaction) -> None:
        try:
            self._mempool.add(tx)
        except ConsensusError as error:
            raise ConsensusError(self._refusal([tx]) or str(error)) from error

    def _refusal(self, txs: Sequence[CTransaction]) -> str | None:
        """By a block whose coinbase claims too much, which is checked last: it can never connect,
        and that refusal means that everything before it passed."""
        try:
            raw, block_hash = self._candidate(txs, MAX_MONEY_SATS)
            self._engine.process_block(raw, block_hash)
        except EncodingError as error:
            return str(error)
        except ConsensusError as error:
            return None if str(error).startswith("bad-cb-amount") else str(error)
        raise ChainError("the kernel connected a block that claims too much")
