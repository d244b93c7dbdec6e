"""What goes into the next block, and what it earns."""

from collections.abc import Sequence

from bitcoin.core import CTransaction

from protocol.bitcoin.tx import txid
from regtest.blocks import (
    COINBASE_RESERVE_WEIGHT,
    MAX_BLOCK_SIGOPS_COST,
    MAX_BLOCK_WEIGHT,
    sigops_cost,
)
from regtest.index import Index, spent_keys
from regtest.waiting import Entry


def fitting(entries: Sequence[Entry]) -> list[CTransaction]:
    """``entries`` in their order, up to the limits of a block; no child without its parents."""
    chosen: list[CTransaction] = []
    left_out: set[bytes] = set()
    room, sigops = MAX_BLOCK_WEIGHT - COINBASE_RESERVE_WEIGHT, MAX_BLOCK_SIGOPS_COST
    for entry in entries:
        cost = sigops_cost(entry.tx, [coin.coin.output for coin in entry.spent])
        if entry.parents & left_out or entry.weight > room or cost > sigops:
            left_out.add(entry.txid)
            continue
        room, sigops = room - entry.weight, sigops - cost
        chosen.append(entry.tx)
    return chosen


def block_fees(index: Index, txs: Sequence[CTransaction]) -> int:
    """The sats that a block of ``txs`` on the index's tip earns beside the subsidy.

    A transaction with unknown inputs counts nothing: the kernel will refuse it anyway.
    """
    created: dict[bytes, int] = {}
    fees = 0
    for tx in txs:
        values: list[int | None] = []
        for key in spent_keys(tx):
            utxo = index.utxo(key)
            values.append(created.get(key) if utxo is None else utxo.sats)
        tx_id = txid(tx)
        for n, out in enumerate(tx.vout):
            created[tx_id + n.to_bytes(4, "little")] = int(out.nValue)
        known = [value for value in values if value is not None]
        if len(known) == len(values):
            fees += sum(known) - sum(int(out.nValue) for out in tx.vout)
    return max(fees, 0)
