"""A small mempool over the index: what Bitcoin's consensus asks of the next block, then policy.

Entries stand in order of arrival, which is topological because orphans are refused. Scripts are
verified by libbitcoinkernel with every flag, the rest of consensus is in ``rules.py``.
"""

from collections.abc import Callable, Iterable, Sequence

from bitcoin.core import CTransaction, CTxOut

from protocol.bitcoin.tx import txid, weight
from protocol.errors import ConsensusError, PolicyError
from regtest import policy, rules
from regtest.chain import Utxo
from regtest.index import Index, spent_keys
from regtest.waiting import Entry, Waiting

FailingInput = Callable[[CTransaction, Sequence[CTxOut]], int | None]


class Mempool(Waiting):
    """Transactions that are valid on top of the index's tip."""

    def __init__(self, index: Index, failing_input: FailingInput, *, policy_model: bool) -> None:
        super().__init__()
        self._index = index
        self._failing_input = failing_input
        self._policy_model = policy_model

    def examine(self, tx: CTransaction) -> Entry:
        """The entry that ``tx`` would be; ConsensusError if no next block could hold it."""
        rules.check_shape(tx)
        keys = spent_keys(tx)
        coins = tuple(self._coin(key) for key in keys)
        fee = rules.fee_of(tx, coins)
        tip = self._index.tip.header
        now = tip.ref.height + 1, tip.median_time
        rules.check_final(tx, *now)
        rules.check_ripe(tx, coins, *now, self._median_time_before)
        bad = self._failing_input(tx, [coin.coin.output for coin in coins])
        if bad is not None:
            raise ConsensusError(f"block-script-verify-flag-failed, input {bad}")
        return Entry(txid(tx), tx, keys, coins, fee, weight(tx))

    def check_policy(self, entry: Entry) -> tuple[Entry, ...]:
        """The entries it would replace; PolicyError if the model would not relay it.

        ConsensusError if it spends what it would replace.
        """
        direct = self._conflicts(entry)
        evicted = self._with_descendants(direct)
        gone = {old.txid for old in evicted}
        if gone & entry.parents:
            raise ConsensusError("bad-txns-spends-conflicting-tx")
        if not self._policy_model:
            if direct:
                raise PolicyError("txn-mempool-conflict")
            return ()
        candidate = policy.Candidate(
            entry.tx, [coin.coin.output for coin in entry.spent], entry.fee_sats
        )
        policy.check_standard(candidate)
        policy.check_fee(candidate)
        ancestors = self._ancestors(entry.parents)
        family = {old.txid for old in ancestors}
        siblings = [e for e in self.entries if e.parents & family and e.txid not in gone | family]
        if policy.evicts_sibling(candidate, len(ancestors), len(siblings)):
            direct, siblings = [*direct, *siblings], []
            evicted = self._with_descendants(direct)
            gone = {old.txid for old in evicted}
        policy.check_family(candidate, [_relative(old) for old in ancestors], len(siblings))
        cluster = self._cluster(entry, gone)
        policy.check_cluster(1 + len(cluster), entry.vsize + sum(old.vsize for old in cluster))
        if direct:
            policy.check_replacement(
                candidate, [_relative(old) for old in direct], [_relative(old) for old in evicted]
            )
        return evicted

    def add(self, tx: CTransaction) -> Entry:
        """Examine ``tx``, ask policy, replace what it replaces."""
        entry = self.examine(tx)
        for old in self.check_policy(entry):
            self._forget(old)
        self.insert(entry)
        return entry

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
        self.clear()
        for tx in waiting:
            if txid(tx) in self._entries or self._index.tx(txid(tx)) is not None:
                continue
            try:
                entry = self.examine(tx)
            except ConsensusError:
                continue
            if not self._conflicts(entry):
                self.insert(entry)

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


def _relative(entry: Entry) -> policy.Relative:
    return policy.Relative(entry.tx.nVersion, entry.vsize, entry.fee_sats)
