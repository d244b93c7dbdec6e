"""What one party signs alone and at a fee of its own: VERDICT, TIMEOUT, REFUTE, sweeps."""

from collections.abc import Mapping, Sequence

from bitcoin.core import CTransaction

from protocol.bitcoin.tx import Coin, outpoint, txid
from protocol.crypto.winternitz import Label
from protocol.errors import ScriptError
from protocol.settlement.dispute.graph import DisputeGraph
from protocol.settlement.dispute.presign import shown_items
from protocol.settlement.dispute.spends import Spend
from protocol.settlement.keys import PartyKeys
from protocol.settlement.onetime import SignedMessage
from protocol.settlement.spending import Taken, fresh_tx
from protocol.settlement.terms import Role


def alone_tx(
    graph: DisputeGraph,
    role: Role,
    spends: Sequence[Spend],
    keys: PartyKeys,
    aux_rand: bytes,
    messages: Mapping[Label, SignedMessage] | None = None,
    *,
    feerate_sat_vb: int | None = None,
) -> CTransaction:
    """``role`` takes all these outputs to its script, at the contract's fee rate unless given.

    ``messages`` may hold more than the leaves show. SignatureError if one is missing or wrong,
    ScriptError if the outputs do not pay for it or a spend is of a pre-signed transaction.
    """
    taken = []
    for spend in spends:
        if spend.output is None:
            raise ScriptError(f"{spend.move} is signed by both: assemble it")
        move = graph.move(spend.move)
        lock = move.locks[spend.output]
        way = lock.path(spend.way)
        items = shown_items(way, messages or {}, spend.hints)
        coin = Coin(outpoint(txid(move.tx), spend.output), move.tx.vout[spend.output])
        taken.append(Taken(coin, lock, way, items))
    return fresh_tx(graph.plain, role, taken, keys, aux_rand, feerate_sat_vb)
