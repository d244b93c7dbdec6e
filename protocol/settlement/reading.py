"""What a transaction in a block is to a contract, and what its witness reveals."""

from typing import Final

from bitcoin.core import CTransaction

from protocol.bitcoin.tx import outpoint, outpoint_key, txid, witness_stack
from protocol.bitcoin.winternitz_script import read_message
from protocol.crypto.winternitz import Label
from protocol.errors import SignatureError
from protocol.settlement.contract import CLOSE
from protocol.settlement.graph import Graph
from protocol.settlement.move import FUND, Move
from protocol.settlement.onetime import SignedMessage
from protocol.settlement.path import Lock

_ANNEX: Final = b"\x50"


def move_of(graph: Graph, tx: CTransaction) -> Move | None:
    """The move that ``tx`` is, by txid."""
    found = txid(tx)
    return next((move for move in graph.moves.values() if txid(move.tx) == found), None)


def name_of(graph: Graph, tx: CTransaction) -> str | None:
    """FUND, CLOSE, the name of a move, or of what is signed fresh ``holder:TIMEOUT`` and
    ``holder:SWEEP_WRITER``; None for a transaction that is not the contract's."""
    if txid(tx) == bytes(graph.fund.hash):
        return FUND
    move = move_of(graph, tx)
    if move is not None:
        return move.name
    locked = _locked(graph)
    for number, spends in enumerate(tx.vin):
        lock = locked.get(outpoint_key(spends.prevout))
        if lock is not None:
            *_, code = _to_script(tx, number)
            names = [path.name for path in lock.paths if path.leaf.script == code]
            return names[0] if names else CLOSE
    return None


def read_messages(move: Move, tx: CTransaction) -> dict[Label, SignedMessage]:
    """The one-time messages in the witness of ``move`` as a block holds it.

    SignatureError if ``tx`` is another transaction, or its witness is none that Script accepts.
    """
    if txid(tx) != txid(move.tx):
        raise SignatureError(f"this transaction is not {move.name}")
    *items, code = _to_script(tx, 0)
    if code != move.leaf.script:
        raise SignatureError(f"the witness of {move.name} shows another leaf")
    shown: dict[Label, SignedMessage] = {}
    for label, key in move.messages.items():
        taken = 2 * len(key.ends)
        shown[label] = SignedMessage(*read_message(key, items[-taken:]))
        del items[-taken:]
    return shown


def _to_script(tx: CTransaction, number: int) -> tuple[bytes, ...]:
    """The witness of an input up to its leaf's script, without control block and annex (BIP341, in
    a block at its signer's will); one empty item for a spend by key path."""
    stack = witness_stack(tx, number)
    if len(stack) > 1 and stack[-1][:1] == _ANNEX:
        stack = stack[:-1]
    return stack[:-1] if len(stack) > 1 else (b"",)


def _locked(graph: Graph) -> dict[bytes, Lock]:
    """Every locked output of the graph, by its outpoint."""
    found = {outpoint_key(graph.fund): graph.contract.lock}
    for move in graph.moves.values():
        for index, lock in enumerate(move.locks):
            found[outpoint_key(outpoint(txid(move.tx), index))] = lock
    return found
