"""What one party signs alone and at its own fee: sweeps, TIMEOUT, VERDICT, REFUTE, fee bumps."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from bitcoin.core import CTransaction, CTxOut

from protocol.bitcoin.fees import dust_limit_sats
from protocol.bitcoin.sighash import LeafSpend, sign_input
from protocol.bitcoin.tx import (
    Coin,
    outpoint,
    outpoint_key,
    transaction,
    txid,
    txin,
    txout,
    vsize,
    vsize_with,
    with_witness,
    witness_stack,
)
from protocol.crypto.winternitz import Label
from protocol.errors import ScriptError
from protocol.settlement.direction import timeout_name
from protocol.settlement.dispute.course import DisputeTerms
from protocol.settlement.dispute.spends import Spend
from protocol.settlement.funding import widest_witness
from protocol.settlement.graph import Graph
from protocol.settlement.keys import PartyKeys
from protocol.settlement.move import TRUC, Move
from protocol.settlement.onetime import SignedMessage, payout_label
from protocol.settlement.path import Lock, SpendPath, widest_vsize
from protocol.settlement.settle import sweep_name
from protocol.settlement.terms import Role

TRUC_CHILD_MAX_VSIZE: Final = 1_000
"""Of the child of an unconfirmed version 3 transaction (BIP431)."""


def sweep_tx(
    graph: Graph,
    settle: Move,
    role: Role,
    outputs: Sequence[int],
    keys: PartyKeys,
    aux_rand: bytes,
    *,
    payout: SignedMessage | None = None,
    feerate_sat_vb: int | None = None,
) -> CTransaction:
    """``role`` takes these outputs of ``settle``, a SETTLE of any stage, in one transaction.

    The party that did not prove shows ``payout``, the prover's own message as KICKOFF revealed it,
    and may do so from the next block on; the prover waits ``sweep_delay``. ``outputs`` are those
    that ``payout_of`` gives it: Script refuses the others. ``feerate_sat_vb`` is the contract's
    unless given.

    SignatureError without the evidence, ScriptError if the outputs do not pay for the transaction.
    """
    terms, prover = graph.contract.terms, settle.prover
    if prover is None:
        raise ScriptError(f"{settle.name} is no SETTLE")
    shown = {} if payout is None else {payout_label(terms, prover): payout}
    name = sweep_name(prover, role)
    taken = [Taken.of(settle, index, name, shown) for index in outputs]
    return fresh_tx(terms, role, taken, keys, aux_rand, feerate_sat_vb)


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
    other = move.prover.other
    return fresh_tx(graph.contract.terms, other, [taken], keys, aux_rand, feerate_sat_vb)


def alone_tx(
    graph: Graph,
    role: Role,
    spends: Sequence[Spend],
    keys: PartyKeys,
    aux_rand: bytes,
    messages: Mapping[Label, SignedMessage] | None = None,
    *,
    feerate_sat_vb: int | None = None,
) -> CTransaction:
    """``role`` takes all these outputs to its script, at the contract's fee rate unless given:
    VERDICT, REFUTE, or a TIMEOUT.

    ``messages`` may hold more than the leaves show. SignatureError if one is missing or wrong,
    ScriptError if the outputs do not pay for it or a spend is of a pre-signed transaction.
    """
    taken = []
    for spend in spends:
        if spend.output is None:
            raise ScriptError(f"{spend.move} is signed by both: assemble it")
        move = graph.move(spend.move)
        taken.append(Taken.of(move, spend.output, spend.way, messages or {}, spend.hints))
    return fresh_tx(graph.contract.terms, role, taken, keys, aux_rand, feerate_sat_vb)


@dataclass(frozen=True, slots=True)
class Taken:
    """An output that one party takes alone, and all but the signature that it takes."""

    coin: Coin
    lock: Lock
    path: SpendPath
    items: list[bytes]

    @classmethod
    def of(
        cls,
        move: Move,
        index: int,
        name: str,
        messages: Mapping[Label, SignedMessage],
        hints: Sequence[int] = (),
    ) -> "Taken":
        """Output ``index`` of ``move`` by the way of that name; SignatureError if ``messages``
        lack one that it presents."""
        lock = move.locks[index]
        path = lock.path(name)
        coin = Coin(outpoint(txid(move.tx), index), move.tx.vout[index])
        return cls(coin, lock, path, path.items(messages, hints))

    @classmethod
    def again(cls, graph: Graph, tx: CTransaction) -> "Taken":
        """What ``tx`` takes, which one party has signed alone, to be signed at another fee."""
        point = tx.vin[0].prevout
        name, lock = graph.locks[outpoint_key(point)]
        _signature, *items, code, _control = witness_stack(tx, 0)
        path = next(path for path in lock.paths if path.leaf.script == code)
        return cls(Coin(point, graph.move(name).tx.vout[point.n]), lock, path, items)

    def most_sat_vb(self, script: bytes) -> int:
        """The highest fee rate at which it pays for its transaction to ``script``."""
        alone = transaction([txin(self.coin.outpoint)], [txout(0, script)])
        size = widest_vsize(alone, [self.lock], [[self.path]])
        return (self.coin.sats - dust_limit_sats(script)) // size


def fresh_tx(
    terms: DisputeTerms,
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
    script = terms.party(role).script
    inputs = [txin(one.coin.outpoint, one.path.sequence) for one in taken]
    held = sum(one.coin.sats for one in taken)
    widest = [one.lock.widest_witness(one.path) for one in taken]
    rate = terms.chain.feerate_sat_vb if feerate_sat_vb is None else feerate_sat_vb
    fee = rate * vsize_with(transaction(inputs, [txout(held, script)]), widest)
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
