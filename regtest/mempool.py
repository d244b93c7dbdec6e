"""A small mempool over the index: what Bitcoin's consensus asks of the next block, then policy.

Entries stand in order of arrival, which is topological because orphans are refused. Scripts are
verified by libbitcoinkernel with every flag; the rest of consensus is checked here.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from bitcoin.core import CTransaction, CTxOut

from protocol.bitcoin.script import LOCKTIME_THRESHOLD
from protocol.bitcoin.tx import (
    MAX_MONEY_SATS,
    SEQUENCE_FINAL,
    WITNESS_SCALE,
    serialize,
    txid,
    vsize_of_weight,
    weight,
    without_witness,
)
from protocol.errors import ConsensusError, PolicyError
from regtest import policy
from regtest.blocks import MAX_BLOCK_WEIGHT
from regtest.chain import Utxo
from regtest.index import Index, spent_keys

_SEQUENCE_DISABLED = 1 << 31
_SEQUENCE_TIME = 1 << 22
_SEQUENCE_MASK = 0xFFFF
_SEQUENCE_TIME_UNIT_S = 512
_NULL_KEY = bytes(32) + b"\xff" * 4

VerifyInput = Callable[[CTransaction, int, Sequence[CTxOut]], bool]


@dataclass(frozen=True, slots=True)
class Entry:
    """A transaction waiting for a block."""

    txid: bytes
    tx: CTransaction
    spends: tuple[bytes, ...]
    spent: tuple[Utxo, ...]
    fee_sats: int
    weight: int

    @property
    def vsize(self) -> int:
        return vsize_of_weight(self.weight)

    @property
    def parents(self) -> frozenset[bytes]:
        """Txids of its inputs; only those in the mempool matter to it."""
        return frozenset(key[:32] for key in self.spends)

    @property
    def relative(self) -> policy.Relative:
        return policy.Relative(self.tx.nVersion, self.vsize, self.fee_sats)


class Mempool:
    """Transactions that are valid on top of the index's tip."""

    def __init__(self, index: Index, verify_input: VerifyInput, *, policy_model: bool) -> None:
        self._index = index
        self._verify_input = verify_input
        self._policy_model = policy_model
        self._entries: dict[bytes, Entry] = {}
        self._spenders: dict[bytes, bytes] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, wanted: bytes) -> bool:
        return wanted in self._entries

    @property
    def entries(self) -> tuple[Entry, ...]:
        return tuple(self._entries.values())

    def get(self, wanted: bytes) -> Entry | None:
        return self._entries.get(wanted)

    def position(self, wanted: bytes) -> int:
        return list(self._entries).index(wanted)

    def spender(self, key: bytes) -> Entry | None:
        spending = self._spenders.get(key)
        return None if spending is None else self._entries[spending]

    def output(self, key: bytes) -> Utxo | None:
        """The output at ``key`` if an entry creates it, spent or not."""
        entry = self._entries.get(key[:32])
        n = int.from_bytes(key[32:], "little")
        if entry is None or n >= len(entry.tx.vout):
            return None
        out = entry.tx.vout[n]
        return Utxo(key[:32], n, int(out.nValue), bytes(out.scriptPubKey), None, False)

    def examine(self, tx: CTransaction) -> Entry:
        """The entry that ``tx`` would be; ConsensusError if no next block could hold it."""
        _check_shape(tx)
        keys = spent_keys(tx)
        coins = tuple(self._coin(key) for key in keys)
        fee = _check_values(tx, coins)
        next_height, median_time = (
            self._index.tip.ref.height + 1,
            self._index.tip.header.median_time,
        )
        _check_locks(tx, coins, next_height, median_time, self._median_time_before)
        spent = [coin.coin.output for coin in coins]
        for n in range(len(keys)):
            if not self._verify_input(tx, n, spent):
                raise ConsensusError(f"block-script-verify-flag-failed, input {n}")
        return Entry(txid(tx), tx, keys, coins, fee, weight(tx))

    def check_policy(self, entry: Entry) -> tuple[Entry, ...]:
        """The entries it would replace; PolicyError if the model would not relay it."""
        direct = self._conflicts(entry)
        evicted = self._with_descendants(direct)
        if not self._policy_model:
            if direct:
                raise PolicyError("txn-mempool-conflict")
            return ()
        candidate = policy.Candidate(
            entry.tx, [coin.coin.output for coin in entry.spent], entry.fee_sats
        )
        policy.check_standard(candidate)
        policy.check_fee(candidate)
        gone = {old.txid for old in evicted}
        if gone & entry.parents:
            raise PolicyError("bad-txns-spends-conflicting-tx")
        ancestors = self._ancestors(entry.parents)
        family = {old.txid for old in ancestors}
        siblings = [e for e in self.entries if e.parents & family and e.txid not in gone | family]
        policy.check_family(candidate, [old.relative for old in ancestors], len(siblings))
        cluster = self._cluster(entry, gone)
        policy.check_cluster(1 + len(cluster), entry.vsize + sum(old.vsize for old in cluster))
        if direct:
            policy.check_replacement(
                candidate, [old.relative for old in direct], [old.relative for old in evicted]
            )
        return evicted

    def add(self, tx: CTransaction) -> Entry:
        """Examine ``tx``, ask policy, replace what it replaces."""
        entry = self.examine(tx)
        for old in self.check_policy(entry):
            self._forget(old)
        self._insert(entry)
        return entry

    def ancestors(self, tx: CTransaction) -> tuple[CTransaction, ...]:
        """The unconfirmed transactions that ``tx`` builds on, parents first."""
        parents = {key[:32] for key in spent_keys(tx)}
        return tuple(entry.tx for entry in reversed(self._ancestors(parents)))

    def evict(self, wanted: bytes) -> None:
        """Drop an entry and its descendants."""
        entry = self._entries.get(wanted)
        for old in self._with_descendants([entry] if entry else []):
            self._forget(old)

    def readmit(self, txs: Iterable[CTransaction]) -> None:
        """After the tip moved: start again with ``txs``, then what was here, keeping the valid.

        Policy is not asked again: these were accepted once, or a block held them.
        """
        waiting = [*txs, *(entry.tx for entry in self.entries)]
        self._entries.clear()
        self._spenders.clear()
        for tx in waiting:
            if txid(tx) in self._entries or self._index.tx(txid(tx)) is not None:
                continue
            try:
                entry = self.examine(tx)
            except ConsensusError:
                continue
            if not self._conflicts(entry):
                self._insert(entry)

    def remove_confirmed(self, txs: Sequence[CTransaction]) -> None:
        """After a block on the tip: drop what it holds and what conflicts with it."""
        for tx in txs:
            entry = self._entries.get(txid(tx))
            if entry is not None:
                self._forget(entry)
            for key in spent_keys(tx):
                conflicting = self._spenders.get(key)
                if conflicting is not None:
                    self.evict(conflicting)

    def _insert(self, entry: Entry) -> None:
        self._entries[entry.txid] = entry
        for key in entry.spends:
            self._spenders[key] = entry.txid

    def _forget(self, entry: Entry) -> None:
        self._entries.pop(entry.txid, None)
        for key in entry.spends:
            if self._spenders.get(key) == entry.txid:
                del self._spenders[key]

    def _coin(self, key: bytes) -> Utxo:
        coin = self.output(key) or self._index.utxo(key)
        if coin is None:
            raise ConsensusError("bad-txns-inputs-missingorspent")
        return coin

    def _median_time_before(self, height: int) -> int:
        """Median time past of the block before ``height``: where a relative time lock starts."""
        return self._index.blocks[max(height - 1, 0)].header.median_time

    def _conflicts(self, entry: Entry) -> list[Entry]:
        ids = {self._spenders[key]: None for key in entry.spends if key in self._spenders}
        return [self._entries[known] for known in ids if known != entry.txid]

    def _with_descendants(self, roots: Sequence[Entry]) -> tuple[Entry, ...]:
        gone = {root.txid for root in roots}
        for entry in self.entries:  # one pass: children stand after their parents
            if entry.parents & gone:
                gone.add(entry.txid)
        return tuple(entry for entry in self.entries if entry.txid in gone)

    def _ancestors(self, parents: Iterable[bytes]) -> list[Entry]:
        """Entries among ``parents`` and theirs, youngest first."""
        wanted, found = set(parents), []
        for old in reversed(self.entries):
            if old.txid in wanted:
                found.append(old)
                wanted |= old.parents
        return found

    def _cluster(self, entry: Entry, without: set[bytes]) -> list[Entry]:
        """Every entry connected with ``entry`` by spending, itself left out."""
        rest = [old for old in self.entries if old.txid not in without and old.txid != entry.txid]
        inside, edges = {entry.txid}, set(entry.parents)
        cluster: list[Entry] = []
        grew = True
        while grew:
            grew = False
            for old in rest:
                if old.txid not in inside and (old.txid in edges or old.parents & inside):
                    inside.add(old.txid)
                    edges |= old.parents
                    cluster.append(old)
                    grew = True
        return cluster


def _check_shape(tx: CTransaction) -> None:
    """What Core's CheckTransaction asks."""
    if not tx.vin:
        raise ConsensusError("bad-txns-vin-empty")
    if not tx.vout:
        raise ConsensusError("bad-txns-vout-empty")
    if len(serialize(without_witness(tx))) * WITNESS_SCALE > MAX_BLOCK_WEIGHT:
        raise ConsensusError("bad-txns-oversize")
    total = 0
    for out in tx.vout:
        if out.nValue < 0:
            raise ConsensusError("bad-txns-vout-negative")
        if out.nValue > MAX_MONEY_SATS:
            raise ConsensusError("bad-txns-vout-toolarge")
        total += out.nValue
    if total > MAX_MONEY_SATS:
        raise ConsensusError("bad-txns-txouttotal-toolarge")
    keys = spent_keys(tx)
    if len(set(keys)) != len(keys):
        raise ConsensusError("bad-txns-inputs-duplicate")
    if keys == (_NULL_KEY,):
        raise ConsensusError("coinbase")
    if _NULL_KEY in keys:
        raise ConsensusError("bad-txns-prevout-null")


def _check_values(tx: CTransaction, coins: Sequence[Utxo]) -> int:
    """The fee in sats."""
    fee = sum(coin.sats for coin in coins) - sum(int(out.nValue) for out in tx.vout)
    if fee < 0:
        raise ConsensusError("bad-txns-in-belowout")
    return fee


def _check_locks(
    tx: CTransaction,
    coins: Sequence[Utxo],
    next_height: int,
    median_time: int,
    median_time_before: Callable[[int], int],
) -> None:
    """Coinbase maturity, lock time (BIP113) and relative locks (BIP68) in the next block."""
    if not all(coin.mature_at(next_height) for coin in coins):
        raise ConsensusError("bad-txns-premature-spend-of-coinbase")
    now = next_height if tx.nLockTime < LOCKTIME_THRESHOLD else median_time
    if tx.nLockTime >= now and any(txin.nSequence != SEQUENCE_FINAL for txin in tx.vin):
        raise ConsensusError("bad-txns-nonfinal")
    if tx.nVersion & 0xFFFFFFFF < 2:
        return
    for txin, coin in zip(tx.vin, coins, strict=True):
        if txin.nSequence & _SEQUENCE_DISABLED:
            continue
        since = next_height if coin.height is None else coin.height
        span = txin.nSequence & _SEQUENCE_MASK
        if txin.nSequence & _SEQUENCE_TIME:
            start = median_time_before(since)
            if start + span * _SEQUENCE_TIME_UNIT_S > median_time:
                raise ConsensusError("bad-txns-nonfinal, contains a non-BIP68-final transaction")
        elif since + span > next_height:
            raise ConsensusError("bad-txns-nonfinal, contains a non-BIP68-final transaction")
