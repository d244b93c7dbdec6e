"""The transactions of one contract on the chain, found by following its outputs."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from bitcoin.core import CTransaction

from actors.config import Chain
from protocol.bitcoin.tx import hash_hex, outpoint, txid, vsize
from protocol.settlement.graph import Graph
from protocol.settlement.reading import name_of


@dataclass(slots=True)
class TxRow:
    """A transaction: size in virtual bytes, fee in sats; in the mempool it has no height."""

    name: str
    txid: str
    vsize: int
    fee: int
    height: int | None


def contract_txs(graph: Graph, chain: Chain) -> list[TxRow]:
    """FUND and whatever follows from it, in the order of the chain; the mempool comes last."""
    rows: list[TxRow] = []
    waiting = [bytes(graph.fund.hash)]
    known = set(waiting)
    while waiting:
        seen = chain.tx(waiting.pop(0))
        if seen is None:
            continue
        height = None if seen.block is None else seen.block.height
        name = name_of(graph, seen.tx) or ""
        fee = fee_of(seen.tx, chain)
        rows.append(TxRow(name, hash_hex(seen.txid), vsize(seen.tx), fee, height))
        for index in _locked(graph, seen.tx):
            spender = chain.spender(outpoint(seen.txid, index))
            if spender is not None and spender.txid not in known:
                known.add(spender.txid)
                waiting.append(spender.txid)
    return sorted(rows, key=lambda row: math.inf if row.height is None else row.height)


def fee_of(tx: CTransaction, chain: Chain) -> int:
    """What a transaction that the node knows leaves to the miner, in sats."""
    spent = 0
    for point in (txin.prevout for txin in tx.vin):
        parent = chain.tx(bytes(point.hash))
        assert parent is not None  # the node has it: it has accepted its child
        spent += int(parent.tx.vout[point.n].nValue)
    return spent - sum(int(out.nValue) for out in tx.vout)


def _locked(graph: Graph, tx: CTransaction) -> Iterator[int]:
    """The outputs of ``tx`` that the contract locks."""
    if txid(tx) == bytes(graph.fund.hash):
        yield int(graph.fund.n)
        return
    name = graph.names.get(txid(tx))
    yield from range(0 if name is None else len(graph.moves[name].locks))
