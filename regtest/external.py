"""A bitcoind of the user's own, on signet or regtest, asked over RPC: it is never mined or moved.

A node tells who spent a confirmed output only if it keeps an index that few keep. So the blocks
from ``since_height`` on are read once and followed; a contract's FUND must lie above it.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NoReturn, Self
from urllib.parse import urlsplit

from bitcoin.core import COutPoint, CTransaction

from protocol.bitcoin.address import REGTEST, SIGNET, Network
from protocol.bitcoin.genesis import REGTEST_GENESIS, SIGNET_GENESIS
from protocol.bitcoin.tx import hash_hex, outpoint_key, parse_hash, parse_tx, serialize, txid
from protocol.errors import ChainError, ConfigError, ConsensusError, EncodingError, PolicyError
from regtest.bitcoind import policy_label
from regtest.blocks import coinbase, mined_block
from regtest.chain import ANYONE, BlockRef, Caps, Chain, Header, TxRef, Utxo, Verdict
from regtest.index import parse_block, parse_header, spent_keys
from regtest.rpc import NOT_FOUND, Rpc, RpcError, sats_of
from regtest.rpc_engine import RpcEngine
from regtest.waiting import parents_first

GENESIS: Final[Mapping[Network, bytes]] = {REGTEST: REGTEST_GENESIS, SIGNET: SIGNET_GENESIS}
POLL_S: Final = 0.2
SCAN_S: Final = 600.0
"""For a look through all unspent outputs."""
_ANY_FEERATE: Final = 0
_BITS: Final = slice(72, 76)


@dataclass(frozen=True, slots=True)
class _Read:
    """A block that was read: what it holds and what it spends."""

    ref: BlockRef
    txids: tuple[bytes, ...]
    spends: tuple[tuple[bytes, int], ...]
    """Outpoint keys, and the position of the transaction that spends each."""


class ExternalChain(Chain):
    """A :class:`regtest.chain.Chain` on a node that others run. For one thread at a time."""

    def __init__(self, url: str, cookie: Path, network: Network, *, since_height: int = 0) -> None:
        """``url`` is http://HOST:PORT. ConfigError if that is no URL or the node is of another
        network, ChainError if it does not answer."""
        parts = urlsplit(url)
        if parts.scheme != "http" or not parts.hostname or parts.username or parts.query:
            raise ConfigError(f"rpc_url {url!r}: write http://HOST:PORT; the cookie is a file")
        self.network = network
        self._rpc = Rpc(parts.port or 8332, cookie, parts.hostname)
        self._engine = RpcEngine(self._rpc, Path())
        self._since = since_height
        self._blocks: list[_Read] = []
        try:
            self._require_network(url)
        except BaseException:
            self.close()
            raise

    def _require_network(self, url: str) -> None:
        genesis = parse_hash(self._rpc.call("getblockhash", 0))
        if genesis != GENESIS[self.network]:
            found = self._rpc.call("getblockchaininfo")["chain"]
            raise ConfigError(
                f"rpc_url {url}: this node is on {found} (genesis {hash_hex(genesis)}), not on"
                f" {self.network.name}: name the node of your network"
            )

    @property
    def caps(self) -> Caps:
        engine = str(self._rpc.call("getnetworkinfo")["subversion"])
        return Caps(
            engine=engine,
            consensus="real",
            policy=policy_label(engine, takes_op_if="Knots" not in engine),
            wallet=False,
            package=True,
            clock=False,
            cheap_reorg=False,
            network=self.network.name,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        self._rpc.close()

    # Blocks

    @property
    def height(self) -> int:
        return int(self._rpc.call("getblockcount"))

    @property
    def tip(self) -> BlockRef:
        return self.header(parse_hash(self._rpc.call("getbestblockhash"))).ref

    def header(self, block: int | bytes) -> Header:
        told = self._found("getblockheader", hash_hex(self._hash(block)))
        if told is None:
            raise ChainError(f"no block {hash_hex(self._hash(block))}")
        ref = BlockRef(told["height"], parse_hash(told["hash"]), told["time"])
        return Header(
            ref=ref,
            parent=parse_hash(told.get("previousblockhash", "00" * 32)),
            merkle_root=parse_hash(told["merkleroot"]),
            version=told["version"],
            bits=int(told["bits"], 16),
            nonce=told["nonce"],
            median_time=told["mediantime"],
        )

    def block(self, block: int | bytes) -> tuple[CTransaction, ...]:
        return parse_block(self._engine.read_block(self._hash(block)))[1]

    def _hash(self, block: int | bytes) -> bytes:
        if isinstance(block, bytes) and len(block) == 32:
            return block
        found = self._engine.hash_at(block) if isinstance(block, int) else None
        if found is None:
            raise ChainError(f"no block {block!r}: name a height up to the tip, or a hash")
        return found

    # Transactions and outputs

    def utxo(self, point: COutPoint, *, mempool: bool = True) -> Utxo | None:
        name, n = bytes(point.hash), int(point.n)
        told = self._rpc.call("gettxout", hash_hex(name), n, mempool)
        if told is None:
            return None
        depth = told["confirmations"]
        tip = self.header(parse_hash(told["bestblock"])).ref.height
        script = bytes.fromhex(told["scriptPubKey"]["hex"])
        height = tip - depth + 1 if depth else None
        return Utxo(name, n, sats_of(told["value"]), script, height, told["coinbase"])

    def unspent(self, script: bytes) -> tuple[Utxo, ...]:
        told = self._rpc.call("scantxoutset", "start", [f"raw({script.hex()})"], timeout_s=SCAN_S)
        points = [COutPoint(parse_hash(one["txid"]), one["vout"]) for one in told["unspents"]]
        return tuple(utxo for point in points if (utxo := self.utxo(point)) is not None)

    def tx(self, wanted: bytes) -> TxRef | None:
        self._follow()
        for read in reversed(self._blocks):
            if wanted in read.txids:
                return self._mined(read, read.txids.index(wanted))
        told = self._found("getrawtransaction", hash_hex(wanted), 1)
        if told is None:
            return None
        tx = parse_tx(bytes.fromhex(told["hex"]))
        if "blockhash" not in told:
            return TxRef(wanted, tx, None, 0)
        ref = self.header(parse_hash(told["blockhash"])).ref
        return TxRef(wanted, tx, ref, [txid(one) for one in self.block(ref.hash)].index(wanted))

    def spender(self, point: COutPoint) -> TxRef | None:
        self._follow()
        key = outpoint_key(point)
        for read in reversed(self._blocks):
            for spent, position in read.spends:
                if spent == key:
                    return self._mined(read, position)
        asked = [{"txid": hash_hex(bytes(point.hash)), "vout": int(point.n)}]
        told = self._rpc.call("gettxspendingprevout", asked)[0].get("spendingtxid")
        return None if told is None else self.tx(parse_hash(told))

    def mempool(self) -> tuple[CTransaction, ...]:
        names = self._rpc.call("getrawmempool")
        told = self._rpc.batch([("getrawtransaction", [name]) for name in names])
        raw = [one for one in told if not isinstance(one, RpcError)]  # the others have just left
        found = {txid(tx): tx for tx in (parse_tx(bytes.fromhex(one)) for one in raw)}
        return tuple(tx for _, tx in parents_first(found))

    def check(self, tx: CTransaction) -> Verdict:
        by = self.caps.policy
        (told,) = self._rpc.call("testmempoolaccept", [serialize(tx).hex()], _ANY_FEERATE)
        reason = "" if told.get("allowed") else str(told.get("reject-details", "refused"))
        if not reason or told.get("reject-reason") == "txn-already-in-mempool":
            return Verdict(True, "", True, "", by)
        refusal = self._refusal([tx])
        if refusal is not None:
            return Verdict(False, refusal, None, "", by)
        return Verdict(True, "", False, reason, by)

    def broadcast(self, tx: CTransaction) -> bytes:
        known = txid(tx)
        if self.tx(known) is not None:
            return known
        try:
            self._rpc.call("sendrawtransaction", serialize(tx).hex(), _ANY_FEERATE)
        except RpcError as error:
            self._refuse([tx], error.message)
        return known

    def broadcast_package(self, txs: Sequence[CTransaction]) -> tuple[bytes, ...]:
        raw = [serialize(tx).hex() for tx in txs]
        told = self._rpc.call("submitpackage", raw, _ANY_FEERATE)
        errors = [one["error"] for one in told["tx-results"].values() if "error" in one]
        if errors:
            self._refuse(txs, "; ".join([str(told["package_msg"]), *errors]))
        return tuple(txid(tx) for tx in txs)

    def wait(self, ready: Callable[[], bool], timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        while not ready():
            left = deadline - time.monotonic()
            if left <= 0:
                raise ChainError(f"what was waited for did not happen in {timeout_s} s")
            time.sleep(min(POLL_S, left))

    def checkpoint(self) -> None:
        """Its owner's node keeps itself."""

    # What is not ours to do

    def submit_block(self, raw: bytes) -> BlockRef:
        self._not_ours("take a block")

    def mine(
        self, count: int = 1, *, to: bytes = ANYONE, txs: Sequence[CTransaction] | None = None
    ) -> tuple[BlockRef, ...]:
        self._not_ours("mine")

    def set_time(self, unix_seconds: int) -> None:
        self._not_ours("set the time")

    def reorg(self, depth: int, *, txs: Sequence[CTransaction] = ()) -> BlockRef:
        self._not_ours("reorganise")

    def _not_ours(self, what: str) -> NoReturn:
        raise ChainError(f"this node is its owner's: it does not {what} for us; use our regtest")

    # Inside

    def _follow(self) -> None:
        """Bring what was read to the node's active chain."""
        best = parse_hash(self._rpc.call("getbestblockhash"))
        if self._blocks and self._blocks[-1].ref.hash == best:
            return
        while self._blocks and (
            self._engine.hash_at(self._blocks[-1].ref.height) != self._blocks[-1].ref.hash
        ):
            self._blocks.pop()
        start = self._since + len(self._blocks)
        for height, raw in enumerate(self._engine.blocks_from(start), start):
            if self._blocks and raw[4:36] != self._blocks[-1].ref.hash:
                return  # the node moved meanwhile: the next look sees it
            self._blocks.append(_read(height, raw))

    def _mined(self, read: _Read, position: int) -> TxRef:
        tx = self.block(read.ref.hash)[position]
        return TxRef(read.txids[position], tx, read.ref, position)

    def _refuse(self, txs: Sequence[CTransaction], policy: str) -> NoReturn:
        refusal = self._refusal(txs)
        raise PolicyError(policy) if refusal is None else ConsensusError(refusal)

    def _refusal(self, txs: Sequence[CTransaction]) -> str | None:
        """Why the next block may not hold ``txs`` behind their unconfirmed parents: by proposing
        such a block, which claims nothing and has no proof of work."""
        tip = self.header(parse_hash(self._rpc.call("getbestblockhash")))
        behind = [*self._parents(txs), *txs]
        height, when = tip.ref.height + 1, max(tip.median_time + 1, int(time.time()))
        try:
            first = coinbase(height, ANYONE, 0, behind)
            raw, _ = mined_block(tip.ref.hash, height, when, behind, first)
        except EncodingError as error:
            return str(error)
        patched = raw[: _BITS.start] + tip.bits.to_bytes(4, "little") + raw[_BITS.stop :]
        return self._engine.refusal(patched)

    def _parents(self, txs: Sequence[CTransaction]) -> list[CTransaction]:
        """The waiting transactions that ``txs`` build on, parents first."""
        own = {txid(tx) for tx in txs}
        found: dict[bytes, CTransaction] = {}
        left = [key[:32] for tx in txs for key in spent_keys(tx)]
        while left:
            name = left.pop()
            if name in own or name in found:
                continue
            try:
                self._rpc.call("getmempoolentry", hash_hex(name))
            except RpcError:
                continue
            raw = self._rpc.call("getrawtransaction", hash_hex(name))
            found[name] = parse_tx(bytes.fromhex(raw))
            left += [key[:32] for key in spent_keys(found[name])]
        return [tx for _, tx in parents_first(found)]

    def _found(self, method: str, *params: Any) -> Any:
        try:
            return self._rpc.call(method, *params)
        except RpcError as error:
            if error.code != NOT_FOUND:
                raise
            return None


def _read(height: int, raw: bytes) -> _Read:
    head, txs = parse_block(raw)
    header = parse_header(head, height, ())
    spends = [(key, n) for n, tx in enumerate(txs) if n for key in spent_keys(tx)]
    return _Read(header.ref, tuple(txid(tx) for tx in txs), tuple(spends))
