"""Transactions that wait for a block: what they spend and create, who depends on whom.

It judges nothing. Our own mempool (``mempool.py``) adds the rules; beside a bitcoind it mirrors
what that node holds.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from bitcoin.core import CTransaction

from protocol.bitcoin.tx import vsize_of_weight
from regtest.chain import Utxo
from regtest.index import spent_keys


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


class Waiting:
    """Entries in an order in which parents stand before their children."""

    def __init__(self) -> None:
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

    def ancestors(self, txs: Sequence[CTransaction]) -> tuple[CTransaction, ...]:
        """The waiting transactions that ``txs`` build on, parents first."""
        parents = {key[:32] for tx in txs for key in spent_keys(tx)}
        return tuple(entry.tx for entry in reversed(self._ancestors(parents)))

    def insert(self, entry: Entry) -> None:
        """Behind everything that waits already; its parents must be there."""
        self._entries[entry.txid] = entry
        for key in entry.spends:
            self._spenders[key] = entry.txid

    def clear(self) -> None:
        self._entries.clear()
        self._spenders.clear()

    def _forget(self, entry: Entry) -> None:
        self._entries.pop(entry.txid, None)
        for key in entry.spends:
            if self._spenders.get(key) == entry.txid:
                del self._spenders[key]

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


def parents_first(txs: Mapping[bytes, CTransaction]) -> Iterator[tuple[bytes, CTransaction]]:
    """``txs`` by txid in their order, except that none stands before a parent among them."""
    placed: set[bytes] = set()
    for root in txs:
        stack = [root]
        while stack:
            wanted = stack[-1]
            missing = [
                key[:32]
                for key in spent_keys(txs[wanted])
                if key[:32] in txs and key[:32] not in placed
            ]
            if missing and wanted not in placed:
                stack += missing
                continue
            stack.pop()
            if wanted not in placed:
                placed.add(wanted)
                yield wanted, txs[wanted]
