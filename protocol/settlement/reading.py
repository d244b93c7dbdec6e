"""What a transaction in a block is to a contract, and what its witness reveals."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from bitcoin.core import CTransaction

from protocol.bitcoin.tx import outpoint_key, txid, witness_stack
from protocol.crypto.winternitz import Label
from protocol.errors import SignatureError
from protocol.settlement.contract import CLOSE
from protocol.settlement.graph import Tree
from protocol.settlement.move import FUND, Move
from protocol.settlement.onetime import SignedMessage
from protocol.settlement.path import Lock, SpendPath

_ANNEX: Final = b"\x50"


@dataclass(frozen=True, slots=True)
class Seen:
    """A transaction of the contract that takes leaves."""

    move: str | None
    """Which pre-signed one it is; None for one that a party signed alone, and for CLOSE."""
    parent: str
    """What made the first of the contract's outputs that it spends."""
    way: SpendPath
    """How it spends that."""
    messages: Mapping[Label, SignedMessage]
    """That all its inputs show."""


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads blocks for one contract."""

    graph: Tree

    def read(self, tx: CTransaction) -> Seen | None:
        """What ``tx`` is; None if it spends nothing of the contract by a leaf.

        SignatureError if its witness is none that Script accepts.
        """
        found: Seen | None = None
        messages: dict[Label, SignedMessage] = {}
        for number, parent, lock in _spent(self.graph, tx):
            *items, code = _to_script(tx, number)
            if not code:
                continue
            way = lock.spent_by(code)
            if way is None:
                raise SignatureError(f"a spend of {parent} shows a leaf that is not the contract's")
            messages |= way.read(items)
            if found is None:
                found = Seen(self.graph.names.get(txid(tx)), parent, way, messages)
        return found


def name_of(graph: Tree, tx: CTransaction) -> str | None:
    """FUND, CLOSE, the name of a move, or of the way of what is signed fresh: ``holder:TIMEOUT``,
    ``holder:SWEEP_WRITER``, ``holder:ROM_0``; None for a transaction that is not the contract's."""
    known = txid(tx)
    if known == bytes(graph.fund.hash):
        return FUND
    if known in graph.names:
        return graph.names[known]
    for number, _, lock in _spent(graph, tx):
        way = lock.spent_by(_to_script(tx, number)[-1])
        return CLOSE if way is None else way.name
    return None


def read_messages(move: Move, tx: CTransaction) -> dict[Label, SignedMessage]:
    """The one-time messages in the witness of ``move`` as a block holds it.

    SignatureError if ``tx`` is another transaction, or its witness is none that Script accepts.
    """
    if txid(tx) != txid(move.tx):
        raise SignatureError(f"this transaction is not {move.name}")
    messages: dict[Label, SignedMessage] = {}
    for number, lock in enumerate(move.spent_locks):
        *items, code = _to_script(tx, number)
        way = lock.spent_by(code)
        if way is None or way not in move.inputs[number]:
            raise SignatureError(f"the witness of {move.name} shows another leaf")
        messages |= way.read(items)
    return messages


def _spent(graph: Tree, tx: CTransaction) -> list[tuple[int, str, Lock]]:
    """The inputs that spend the contract: their number, what made the output, what locks it."""
    spent = ((n, graph.locks.get(outpoint_key(i.prevout))) for n, i in enumerate(tx.vin))
    return [(number, *known) for number, known in spent if known is not None]


def _to_script(tx: CTransaction, number: int) -> tuple[bytes, ...]:
    """The witness of an input up to its leaf's script, without control block and annex (BIP341, in
    a block at its signer's will); one empty item for a spend by key path."""
    stack = witness_stack(tx, number)
    if len(stack) > 1 and stack[-1][:1] == _ANNEX:
        stack = stack[:-1]
    return stack[:-1] if len(stack) > 1 else (b"",)
