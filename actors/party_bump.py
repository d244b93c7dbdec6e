"""Paying more for a transaction of the contract: a child through its anchor, from the wallet."""

from typing import Final

from bitcoin.core import CTransaction

from actors.config import Chain
from actors.party_wallet import PartyWallet
from protocol.bitcoin.tx import Coin, outpoint, txid, vsize
from protocol.errors import ChainError
from protocol.settlement.move import Move
from protocol.settlement.spending import bump_tx

CHILD_VBYTES: Final = 160
"""Of a child but for the inputs from the wallet,"""
COIN_VBYTES: Final = 70
"""and of each of those."""
LEAST_CHANGE_SATS: Final = 1_000


def bump(
    chain: Chain, wallet: PartyWallet, move: Move, signed: CTransaction, feerate_sat_vb: int
) -> CTransaction:
    """Broadcasts ``signed``, which is ``move``, with a child with which both pay the rate; the
    child. What conflicts with them in the mempool and pays less is replaced, by a node that takes
    packages; an earlier child by every node, whose coins of this wallet pay again.

    ChainError if the wallet lacks the coins, a person has to sign, or the node refuses.
    """

    def needs(count: int) -> int:
        size = vsize(signed) + CHILD_VBYTES + COIN_VBYTES * count
        return feerate_sat_vb * size + LEAST_CHANGE_SATS

    earlier = _waiting_child(chain, signed, move)
    funds = wallet.contribution(needs, _confirmed(chain, earlier))
    made = bump_tx(move, signed, funds.coins, funds.change_script, feerate_sat_vb)
    if earlier is not None and txid(earlier) == txid(made.tx):
        return earlier
    child = wallet.sign(made.tx, made.spent)
    if child is None:
        raise ChainError(f"{move.name} waits for a higher fee: spend its anchor with your wallet")
    if chain.caps.package:
        chain.broadcast_package([signed, child])
        return child
    if chain.tx(txid(signed)) is None:
        chain.broadcast(signed)
    chain.broadcast(child)
    return child


def _waiting_child(chain: Chain, signed: CTransaction, move: Move) -> CTransaction | None:
    """What spends the anchor in the mempool, whosever it is."""
    spender = chain.spender(outpoint(txid(signed), move.anchor))
    return None if spender is None or spender.block is not None else spender.tx


def _confirmed(chain: Chain, child: CTransaction | None) -> tuple[Coin, ...]:
    """The coins in blocks that it spends."""
    if child is None:
        return ()
    found = (chain.utxo(spends.prevout, mempool=False) for spends in child.vin)
    return tuple(utxo.coin for utxo in found if utxo is not None)
