"""The signatures that both parties exchange before FUND, and the finished transactions.

Each builds the graph by itself and signs what it built; nothing of the other side's is signed
unseen. FUND is signed when ``require_signatures`` has passed.
"""

from collections.abc import Mapping

from bitcoin.core import CTransaction

from protocol.bitcoin.sighash import LeafSpend, taproot_sighash
from protocol.bitcoin.tx import with_witness
from protocol.crypto.keys import verify
from protocol.crypto.winternitz import Label
from protocol.errors import SignatureError
from protocol.settlement.graph import Graph
from protocol.settlement.keys import PartyKeys
from protocol.settlement.move import Move
from protocol.settlement.onetime import SignedMessage
from protocol.settlement.terms import Role


def presign(graph: Graph, role: Role, keys: PartyKeys, aux_rand: bytes) -> dict[str, bytes]:
    """``role``'s signature (64 bytes) of every move, by name; ``aux_rand`` is 32 random bytes.

    SignatureError if ``keys`` are not those of the terms.
    """
    return {
        name: keys.signer(move.signers[role]).sign(_digest(move), aux_rand)
        for name, move in graph.moves.items()
    }


def require_signatures(graph: Graph, role: Role, signatures: Mapping[str, bytes]) -> None:
    """SignatureError naming the move unless ``role`` signed every move of ``graph``, no more."""
    strange = sorted(signatures.keys() - graph.moves.keys())
    if strange:
        raise SignatureError(f"the {role.value} signed {strange[0]}, which this contract has not")
    for name, move in graph.moves.items():
        if name not in signatures:
            raise SignatureError(f"the {role.value} has not signed {name}: do not fund")
        _require_signature(move, role, signatures[name])


def assemble(
    move: Move,
    signatures: Mapping[Role, bytes],
    messages: Mapping[Label, SignedMessage] | None = None,
) -> CTransaction:
    """The finished move; SignatureError naming a signature or a message that is missing or wrong.

    ``messages`` may hold more than this move reveals.
    """
    for role in move.signers:
        if role not in signatures:
            raise SignatureError(f"{move.name} lacks the signature of the {role.value}")
        _require_signature(move, role, signatures[role])
    for label, key in move.messages.items():
        shown = (messages or {}).get(label)
        if shown is None or not key.verify(shown.digits, shown.signature):
            raise SignatureError(
                f"{move.name} reveals {label.field} {label.round}: sign it with the one-time key"
            )
    items = move.path.items(messages or {})
    return with_witness(move.tx, [move.lock.stack(move.path, signatures, items)])


def _require_signature(move: Move, role: Role, signature: bytes) -> None:
    if not verify(move.signers[role], _digest(move), signature):
        raise SignatureError(f"the {role.value}'s signature does not fit {move.name}: do not fund")


def _digest(move: Move) -> bytes:
    return taproot_sighash(move.tx, 0, [move.spent], leaf=LeafSpend(move.leaf.hash))
