"""The signatures that both parties exchange before FUND, and the finished transactions.

Each builds the graph by itself and signs what it built; nothing of the other side's is signed
unseen. FUND is signed when ``require_signatures`` has passed. A signature commits to its leaf:
there is one for each way of each input, by the way's name.
"""

from collections.abc import Iterator, Mapping, Sequence

from bitcoin.core import CTransaction

from protocol.bitcoin.sighash import LeafSpend, taproot_sighash
from protocol.bitcoin.tx import with_witness
from protocol.crypto.keys import verify
from protocol.crypto.winternitz import Label
from protocol.errors import EncodingError, SignatureError
from protocol.settlement.graph import Tree
from protocol.settlement.keys import PartyKeys
from protocol.settlement.move import Move
from protocol.settlement.onetime import SignedMessage
from protocol.settlement.path import SIGNATURE_BYTES, SpendPath
from protocol.settlement.terms import Role

Signatures = Mapping[str, bytes]
"""64 bytes each, by the name of the way."""


def presign(graph: Tree, role: Role, keys: PartyKeys, aux_rand: bytes) -> dict[str, bytes]:
    """``role``'s signature (64 bytes) of every way; ``aux_rand`` is 32 random bytes.

    SignatureError if ``keys`` are not those of the terms.
    """
    return {
        way.name: keys.signer(way.signers[role]).sign(digest, aux_rand)
        for way, digest in _digests(graph)
    }


def require_signatures(graph: Tree, role: Role, signatures: Signatures) -> None:
    """SignatureError naming the way unless ``role`` signed every one of ``graph``, no more."""
    left = dict(signatures)
    for way, digest in _digests(graph):
        if way.name not in left:
            raise SignatureError(f"the {role.value} has not signed {way.name}: do not fund")
        _require(way, role, digest, left.pop(way.name))
    if left:
        raise SignatureError(f"the {role.value} signed {min(left)}, which this contract has not")


def encode_signatures(graph: Tree, signatures: Signatures) -> bytes:
    """64 bytes each, in the order of ``graph.ways()``."""
    return b"".join(signatures[way.name] for _, _, way in graph.ways())


def decode_signatures(graph: Tree, data: bytes) -> dict[str, bytes]:
    """The inverse; EncodingError for another length."""
    names = [way.name for _, _, way in graph.ways()]
    if len(data) != SIGNATURE_BYTES * len(names):
        raise EncodingError(
            f"signatures: {len(data)} bytes, {len(names)} ways take {SIGNATURE_BYTES} each"
        )
    starts = range(0, len(data), SIGNATURE_BYTES)
    return {name: data[at : at + SIGNATURE_BYTES] for name, at in zip(names, starts, strict=True)}


def assemble(
    move: Move,
    signatures: Mapping[Role, Signatures],
    messages: Mapping[Label, SignedMessage] | None = None,
    *,
    way: str | None = None,
    hints: Sequence[int] = (),
) -> CTransaction:
    """The finished move, by the way of that name where an input has several.

    ``signatures`` of both parties, ``messages`` and ``hints`` as its witness shows them; both
    mappings may hold more. SignatureError naming a signature or a message that is missing or
    wrong, ScriptError if there is no such way.
    """
    stacks = []
    for number, ways in enumerate(move.inputs):
        taken = ways[0] if len(ways) == 1 else move.way(way)[1]
        digest = _digest(move, number, taken)
        signed = {role: signatures.get(role, {}).get(taken.name, b"") for role in taken.signers}
        for role in taken.signers:
            _require(taken, role, digest, signed[role])
        items = taken.items(messages or {}, hints)
        stacks.append(move.spent_locks[number].stack(taken, signed, items))
    return with_witness(move.tx, stacks)


def _digests(graph: Tree) -> Iterator[tuple[SpendPath, bytes]]:
    for move, number, way in graph.ways():
        yield way, _digest(move, number, way)


def _digest(move: Move, number: int, way: SpendPath) -> bytes:
    return taproot_sighash(move.tx, number, move.spent, leaf=LeafSpend(way.leaf.hash))


def _require(way: SpendPath, role: Role, digest: bytes, signature: bytes) -> None:
    if not signature:
        raise SignatureError(f"{way.name} lacks the signature of the {role.value}")
    if not verify(way.signers[role], digest, signature):
        raise SignatureError(f"the {role.value}'s signature does not fit {way.name}: do not fund")
