"""The signatures that both parties exchange before FUND, a dispute's included.

A signature commits to its leaf: there is one for each way of each input, by the way's name.
"""

from collections.abc import Iterator, Mapping, Sequence

from bitcoin.core import CTransaction

from protocol.bitcoin.sighash import LeafSpend, taproot_sighash
from protocol.bitcoin.tx import with_witness
from protocol.crypto.keys import verify
from protocol.crypto.winternitz import Label
from protocol.errors import ScriptError, SignatureError
from protocol.settlement.dispute.draft import Move
from protocol.settlement.dispute.graph import DisputeGraph
from protocol.settlement.dispute.leaf import LeafPath
from protocol.settlement.keys import PartyKeys
from protocol.settlement.onetime import SignedMessage
from protocol.settlement.path import SpendPath
from protocol.settlement.terms import Role


def presign(graph: DisputeGraph, role: Role, keys: PartyKeys, aux_rand: bytes) -> dict[str, bytes]:
    """``role``'s signature (64 bytes) of every way; ``aux_rand`` is 32 random bytes.

    SignatureError if ``keys`` are not those of the terms.
    """
    return {
        way.name: keys.signer(way.signers[role]).sign(digest, aux_rand)
        for way, digest in _digests(graph)
    }


def require_signatures(graph: DisputeGraph, role: Role, signatures: Mapping[str, bytes]) -> None:
    """SignatureError naming the way unless ``role`` signed every one, and nothing else."""
    left = dict(signatures)
    for way, digest in _digests(graph):
        if way.name not in left:
            raise SignatureError(f"the {role.value} has not signed {way.name}: do not fund")
        _require(way, role, digest, left.pop(way.name))
    if left:
        raise SignatureError(f"the {role.value} signed {min(left)}, which this contract has not")


def assemble(
    move: Move,
    signatures: Mapping[Role, Mapping[str, bytes]],
    messages: Mapping[Label, SignedMessage] | None = None,
    *,
    way: str | None = None,
    hints: Sequence[int] = (),
) -> CTransaction:
    """The finished move, by the way of that name where its input has several.

    ``signatures`` by party and way; ``messages`` may hold more than it shows. SignatureError naming
    a signature or a message that is missing or wrong, ScriptError if there is no such way.
    """
    stacks = []
    for number, ways in enumerate(move.inputs):
        taken = _chosen(move, ways, way)
        digest = _digest(move, number, taken)
        for role in taken.signers:
            _require(taken, role, digest, signatures.get(role, {}).get(taken.name, b""))
        items = shown_items(taken, messages or {}, hints)
        signed = {role: signatures[role][taken.name] for role in taken.signers}
        stacks.append(move.spent_locks[number].stack(taken, signed, items))
    return with_witness(move.tx, stacks)


def shown_items(
    way: SpendPath, messages: Mapping[Label, SignedMessage], hints: Sequence[int] = ()
) -> list[bytes]:
    """The witness items of ``way``; SignatureError if a message is missing or wrong."""
    for message in way.messages:
        shown = messages.get(message.label)
        if shown is None or not message.key.verify(shown.digits, shown.signature):
            raise SignatureError(
                f"{way.name} shows {message.label.field} {message.label.round}: sign it with the"
                " one-time key"
            )
    return way.shown(messages, hints) if isinstance(way, LeafPath) else way.items(messages)


def _chosen(move: Move, ways: Sequence[SpendPath], name: str | None) -> SpendPath:
    if len(ways) == 1:
        return ways[0]
    for way in ways:
        if way.name == name:
            return way
    raise ScriptError(f"{move.name} is not reached by {name}")


def _digests(graph: DisputeGraph) -> Iterator[tuple[SpendPath, bytes]]:
    for move in graph.moves.values():
        for number, way in move.ways:
            yield way, _digest(move, number, way)


def _digest(move: Move, number: int, way: SpendPath) -> bytes:
    return taproot_sighash(move.tx, number, move.spent, leaf=LeafSpend(way.leaf.hash))


def _require(way: SpendPath, role: Role, digest: bytes, signature: bytes) -> None:
    if not verify(way.signers[role], digest, signature):
        raise SignatureError(f"the {role.value}'s signature does not fit {way.name}: do not fund")
