"""The spends that are signed fresh, at a fee of their own: sweeps, time-outs, fee bumps."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from bitcoin.core import CTransaction, CTxOut

from protocol.bitcoin.fees import dust_limit_sats
from protocol.bitcoin.sighash import LeafSpend, sign_input
from protocol.bitcoin.tx import (
    Coin,
    outpoint,
    transaction,
    txid,
    txin,
    txout,
    vsize,
    with_witness,
)
from protocol.crypto.winternitz import Label
from protocol.errors import ScriptError
from protocol.settlement.direction import timeout_name
from protocol.settlement.funding import widest_witness
from protocol.settlement.graph import Graph
from protocol.settlement.keys import PartyKeys
from protocol.settlement.move import TRUC, Move
from protocol.settlement.onetime import SignedMessage, payout_label
from protocol.settlement.path import Lock, SpendPath
from protocol.settlement.settle import sweep_name
from protocol.settlement.terms import Role

TRUC_CHILD_MAX_VSIZE: Final = 1_000
"""Of the child of an unconfirmed version 3 transaction (BIP431)."""


def sweep_tx(
    graph: Graph,
    prover: Role,
    role: Role,
    outputs: Sequence[int],
    keys: PartyKeys,
    aux_rand: bytes,
    *,
    payout: SignedMessage | None = None,
    feerate_sat_vb: int | None = None,
) -> CTransaction:
    """``role`` takes these outputs of ``prover``'s SETTLE in one transaction, to its script.

    The party that did not prove shows ``payout``, the prover's own message as KICKOFF revealed it,
    and may do so from the next block on; the prover waits ``sweep_delay``. ``outputs`` are those
    that ``payout_of`` gives it: Script refuses the others. ``feerate_sat_vb`` is the contract's
    unless given.

    SignatureError without the evidence, ScriptError if the outputs do not pay for the transaction.
    """
    settle = graph.settle(prover)
    shown = {} if payout is None else {payout_label(graph.contract.terms, prover): payout}
    name = sweep_name(prover, role)
    taken = [Taken.of(settle, index, name, shown) for index in outputs]
    return fresh_tx(graph, role, taken, keys, aux_rand, feerate_sat_vb)


def timeout_tx(
    graph: Graph,
    move: Move,
    keys: PartyKeys,
    aux_rand: bytes,
    *,
    feerate_sat_vb: int | None = None,
) -> CTransaction:
    """The other side takes what ``move`` left waiting for its prover, ``move_window`` blocks on.

    ScriptError if nothing waits for the prover there.
    """
    if move.prover is None or not move.locks:
        raise ScriptError(f"after {move.name} nobody is waited for")
    taken = Taken.of(move, 0, timeout_name(move.prover), {})
    return fresh_tx(graph, move.prover.other, [taken], keys, aux_rand, feerate_sat_vb)


@dataclass(frozen=True, slots=True)
class Taken:
    """An output that one party takes alone, and all but the signature that it takes."""

    coin: Coin
    lock: Lock
    path: SpendPath
    items: list[bytes]

    @classmethod
    def of(
        cls, move: Move, index: int, name: str, messages: Mapping[Label, SignedMessage]
    ) -> "Taken":
        """Output ``index`` of ``move`` by the way of that name; SignatureError if ``messages``
        lack one that it presents."""
        lock = move.locks[index]
        path = lock.path(name)
        coin = Coin(outpoint(txid(move.tx), index), move.tx.vout[index])
        return cls(coin, lock, path, path.items(messages))


def fresh_tx(
    graph: Graph,
    role: Role,
    taken: Sequence[Taken],
    keys: PartyKeys,
    aux_rand: bytes,
    feerate_sat_vb: int | None = None,
) -> CTransaction:
    """All of ``taken`` to ``role``'s script, signed; at the contract's fee rate unless given.

    ScriptError if nothing is taken or it does not pay for the transaction.
    """
    if not taken:
        raise ScriptError("no output to take: there is nothing to broadcast")
    terms = graph.contract.terms
    script = terms.party(role).script
    inputs = [txin(one.coin.outpoint, one.path.sequence) for one in taken]
    held = sum(one.coin.sats for one in taken)
    widest = [one.lock.widest_stack(one.path) for one in taken]
    rate = terms.chain.feerate_sat_vb if feerate_sat_vb is None else feerate_sat_vb
    fee = rate * vsize(with_witness(transaction(inputs, [txout(held, script)]), widest))
    if held - fee < dust_limit_sats(script):
        raise ScriptError(
            f"{taken[0].path.name}: a fee of {fee} sats leaves no output of {held}: lower the fee"
            " rate, or take more outputs at once"
        )
    tx = transaction(inputs, [txout(held - fee, script)])
    spent = [one.coin.output for one in taken]
    stacks = []
    for number, one in enumerate(taken):
        leaf = LeafSpend(one.path.leaf.hash)
        key = keys.signer(one.path.signers[role])
        signature = sign_input(tx, number, spent, key, aux_rand, leaf=leaf)
        stacks.append(one.lock.stack(one.path, {role: signature}, one.items))
    return with_witness(tx, stacks)


@dataclass(frozen=True, slots=True)
class Bump:
    """A child that pays for its parent; the wallet signs its inputs from number 1 on."""

    tx: CTransaction
    spent: tuple[CTxOut, ...]
    """What its inputs spend, in order."""


def bump_tx(
    move: Move,
    signed: CTransaction,
    coins: Sequence[Coin],
    change_script: bytes,
    feerate_sat_vb: int,
) -> Bump:
    """The child of ``signed``, which is ``move``, with which both pay ``feerate_sat_vb``: it spends
    the anchor and ``coins``, and pays the rest to ``change_script``.

    ScriptError if it exceeds what version 3 allows a child, or the coins do not pay for it.
    """
    anchor = Coin(outpoint(txid(signed), move.anchor), signed.vout[move.anchor])
    taken = [anchor, *coins]
    inputs = [txin(coin.outpoint) for coin in taken]
    held = sum(coin.sats for coin in taken)
    stacks = [[], *(widest_witness(coin) for coin in coins)]
    child = transaction(inputs, [txout(held, change_script)], version=TRUC)
    size = vsize(with_witness(child, stacks))
    if size > TRUC_CHILD_MAX_VSIZE:
        raise ScriptError(f"a child of {size} virtual bytes: give fewer coins")
    fee = max(feerate_sat_vb * (vsize(signed) + size) - move.fee_sats, size)
    if held - fee < dust_limit_sats(change_script):
        raise ScriptError(f"the coins hold {held} sats, a fee of {fee} leaves no output: add one")
    tx = transaction(inputs, [txout(held - fee, change_script)], version=TRUC)
    return Bump(tx, tuple(coin.output for coin in taken))
