"""A real node: any bitcoind on regtest, as a process of its own, asked over RPC.

It judges blocks and transactions, and holds mempool and wallets. Blocks are built here and handed
over by ``submitblock``, so the same calls make the same chain as on the embedded kernel;
``generate`` lets the node build one itself. It survives SIGKILL: see ``datadir.py``.
"""

import tempfile
import weakref
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from bitcoin.core import CTransaction

from protocol.bitcoin.opcodes import Op
from protocol.bitcoin.script import script
from protocol.bitcoin.taproot import NUMS_KEY, TapLeaf, taproot_output
from protocol.bitcoin.tx import (
    hash_hex,
    parse_hash,
    parse_tx,
    serialize,
    transaction,
    txid,
    txin,
    txout,
    weight,
    with_witness,
)
from protocol.errors import ChainError, ConsensusError, EncodingError, PolicyError
from regtest.blocks import subsidy_sats
from regtest.chain import ANYONE, COINBASE_MATURITY, BlockRef, Caps
from regtest.index import IndexedBlock, spent_keys
from regtest.indexed import IndexedChain
from regtest.node_wallet import NodeWallet
from regtest.opened import OpenNode
from regtest.process import find_bitcoind
from regtest.rpc import DECODE_FAILED, VERIFY_FAILED, Rpc, RpcError, bitcoins_of
from regtest.rpc_engine import RpcEngine
from regtest.waiting import Entry, parents_first

# The limits of these calls guard a person's wallet; they are no policy.
_ANY_FEERATE = 0
_ANY_BURN = bitcoins_of(21 * 10**14)


class BitcoindChain(IndexedChain):
    """A :class:`regtest.chain.Chain` on a bitcoind. Thread-safe; close it when done."""

    def __init__(
        self, datadir: Path | str, *, binary: Path | str | None = None, reindex: bool = False
    ) -> None:
        """Start ``binary`` (default: ``find_bitcoind``) on ``datadir``, creating it or rebuilding
        its databases if its last node was not stopped in order.

        ChainError if there is no bitcoind, the folder is taken, or the node does not start.
        """
        super().__init__()
        self._binary = Path(binary) if binary else find_bitcoind()
        self._open = OpenNode(Path(datadir), self._binary, reindex=reindex)
        self._finalizer = weakref.finalize(self, self._open.close)
        log = self._open.process.folder / "regtest" / "debug.log"
        self._rpc_engine = RpcEngine(self.rpc, log)
        self._caps: Caps | None = None
        with self._lock:
            self._follow()

    @property
    def caps(self) -> Caps:
        with self._lock:
            if self._caps is None:
                self._caps = Caps(
                    engine=self._subversion(),
                    consensus="real",
                    policy=policy_of(self._binary),
                    wallet=self._offers("createwallet"),
                    package=self._offers("submitpackage"),
                    clock=True,
                    cheap_reorg=True,
                )
            return self._caps

    @property
    def recovered(self) -> bool:
        """Whether the databases were rebuilt at opening."""
        return self._open.recovered

    @property
    def pid(self) -> int:
        """The node's process."""
        return self._open.process.pid

    @property
    def rpc(self) -> Rpc:
        """For every other question."""
        return self._open.process.rpc

    def wallet(self, name: str = "regtest") -> NodeWallet:
        """The node's own wallet of that name, created if there is none."""
        return NodeWallet.open(self.rpc, name)

    def generate(
        self, *, to: bytes = ANYONE, txs: Sequence[CTransaction] | None = None
    ) -> BlockRef:
        """A block that the node itself builds, at the present time: the mempool, or ``txs``."""
        with self._session():
            if txs is None:
                chosen = [hash_hex(entry.txid) for entry in self._mempool.entries]
            else:
                chosen = [serialize(tx).hex() for tx in txs]
            try:
                made = self.rpc.call("generateblock", f"raw({to.hex()})", chosen)
            except RpcError as error:
                if error.code != VERIFY_FAILED:
                    raise
                reason = error.message.removeprefix("TestBlockValidity failed: ")
                raise ConsensusError(reason) from error
            self._follow()
            return self.header(parse_hash(made["hash"])).ref

    def broadcast_package(self, txs: Sequence[CTransaction]) -> tuple[bytes, ...]:
        with self._session():
            raw = [serialize(tx).hex() for tx in txs]
            told = self.rpc.call("submitpackage", raw, _ANY_FEERATE, _ANY_BURN)
            self._follow()
            wanted = tuple(txid(tx) for tx in txs)
            if not all(one in self._mempool for one in wanted):
                refusal = self._refusal(txs)
                if refusal is not None:
                    raise ConsensusError(refusal)
                errors = [one["error"] for one in told["tx-results"].values() if "error" in one]
                raise PolicyError("; ".join([str(told["package_msg"]), *errors]))
            self._changed.notify_all()
            return wanted

    def checkpoint(self) -> None:
        with self._session():
            self.rpc.call("gettxoutsetinfo", "none")  # flushes the chainstate on its way
            self.rpc.call("savemempool")

    def close(self) -> None:
        with self._lock:
            self._finalizer()
            self._changed.notify_all()

    # Inside

    @property
    def _engine(self) -> RpcEngine:
        self._open.process.require_running()
        return self._rpc_engine

    def _subversion(self) -> str:
        return str(self.rpc.call("getnetworkinfo")["subversion"])

    def _offers(self, method: str) -> bool:
        return not str(self.rpc.call("help", method)).startswith("help: unknown command")

    def _follow(self) -> None:
        engine = self._engine
        best, waiting = engine.look()
        dropped: list[IndexedBlock] = []
        moved = False
        while not self._index.blocks or best != self._index.tip.ref.hash:
            moved = True
            known, raw = engine.accepted
            if best == known and raw[4:36] == self._index.tip.ref.hash:
                self._connect(raw)
            else:
                dropped += self._follow_blocks()[0]
                best, waiting = engine.look()
        if moved or {entry.txid for entry in self._mempool.entries} != set(waiting):
            self._mirror(waiting, dropped)
            self._changed.notify_all()

    def _mirror(self, waiting: Sequence[bytes], dropped: Sequence[IndexedBlock]) -> None:
        """Make our list of what waits the node's: what came back from ``dropped`` blocks first,
        then what was here, then what is new."""
        candidates = [tx for block in reversed(dropped) for tx in block.txs[1:]]
        candidates += [entry.tx for entry in self._mempool.entries]
        wanted = set(waiting)
        found = {known: tx for tx in candidates if (known := txid(tx)) in wanted}
        new = [one for one in waiting if one not in found]
        told = self.rpc.batch([("getrawtransaction", [hash_hex(one)]) for one in new])
        for one, raw in zip(new, told, strict=True):
            if not isinstance(raw, RpcError):  # else it has left the mempool by now
                found[one] = parse_tx(bytes.fromhex(raw))
        self._mempool.clear()
        for known, tx in parents_first(found):
            self._insert(known, tx)

    def _insert(self, known: bytes, tx: CTransaction) -> None:
        keys = spent_keys(tx)
        coins = [self._mempool.output(key) or self._index.utxo(key) for key in keys]
        spent = tuple(coin for coin in coins if coin is not None)
        if len(spent) == len(keys):  # else the node has moved on: the next look sees it
            fee = sum(coin.sats for coin in spent) - sum(int(out.nValue) for out in tx.vout)
            self._mempool.insert(Entry(known, tx, keys, spent, fee, weight(tx)))

    def _policy_of(self, tx: CTransaction) -> tuple[bool | None, str]:
        (answer,) = self.rpc.call("testmempoolaccept", [serialize(tx).hex()], _ANY_FEERATE)
        if answer.get("allowed"):
            return True, ""
        return False, str(answer.get("reject-details") or answer["reject-reason"])

    def _admit(self, tx: CTransaction) -> None:
        try:
            raw = serialize(tx).hex()
            self.rpc.call("sendrawtransaction", raw, _ANY_FEERATE, _ANY_BURN)
        except (RpcError, EncodingError) as error:
            refusal = self._refusal([tx])
            if refusal is not None:
                raise ConsensusError(refusal) from error
            if isinstance(error, RpcError) and error.code != DECODE_FAILED:
                raise PolicyError(error.message) from error
            raise
        self._follow()

    def _refusal(self, txs: Sequence[CTransaction]) -> str | None:
        try:
            raw, _ = self._candidate(txs, subsidy_sats(self._index.tip.ref.height + 1))
        except EncodingError as error:
            return str(error)
        return self._engine.refusal(raw)


@lru_cache(maxsize=8)
def policy_of(binary: Path) -> str:
    """Whose rules guard this node's mempool (``Caps.policy``), found out on a chain of its own:
    Core takes a spend that runs OP_IF; under RDTS it is refused, though a block may hold it."""
    leaf = TapLeaf(script(1, Op.IF, 1, Op.ENDIF))
    output = taproot_output(NUMS_KEY, leaf)
    with (
        tempfile.TemporaryDirectory(prefix="bitcoind-probe-") as folder,
        BitcoindChain(folder, binary=binary) as chain,
    ):
        chain.mine(to=output.script_pubkey)
        chain.mine(COINBASE_MATURITY)
        (coin,) = chain.unspent(output.script_pubkey)
        tx = transaction(
            [txin(coin.coin.outpoint)], [txout(coin.sats - 1_000, output.script_pubkey)]
        )
        tx = with_witness(tx, [[leaf.script, output.control_block(leaf)]])
        if chain._refusal([tx]) is not None:
            raise ChainError(f"{binary} refuses an OP_IF in a block: it is no Bitcoin node")
        taken, _ = chain._policy_of(tx)
        return policy_label(chain._subversion(), takes_op_if=bool(taken))


def policy_label(subversion: str, *, takes_op_if: bool) -> str:
    """``Caps.policy`` of a node: Core names nothing but itself (``/Satoshi:31.0.0/``)."""
    if not takes_op_if:
        return "knots-rdts"
    core = subversion.startswith("/Satoshi:") and subversion.count("/") == 2
    return "core" if core else "other"
