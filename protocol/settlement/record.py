"""What a party has kept: one record per fact, and the facts that a row of records adds up to.

    record   length of the kind u8 | kind | (length u32 | part) ...

A fact is never taken back. Where two records of a kind may exist the last one counts, but for
``seen`` and ``said``, of which all do.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from struct import Struct
from types import MappingProxyType
from typing import Any, Final, Self

from bitcoin.core import CTransaction

from protocol.bitcoin.tx import Coin, outpoint, parse_tx, serialize, txout
from protocol.errors import EncodingError
from protocol.oracle.expiry import ExpiryCertificate
from protocol.settlement.cursor import Cursor
from protocol.settlement.funding import Contribution
from protocol.settlement.lifecycle import Stage
from protocol.settlement.terms import ContractTerms, Role

_LENGTH: Final = Struct(">I")
_COIN: Final = Struct(">32sIQ")
_COUNT: Final = Struct(">H")


@dataclass(frozen=True, slots=True)
class Known:
    """The certificate that settles the contract, and since when this party knows it."""

    certificate: ExpiryCertificate
    anchor: bytes
    at_ms: int
    height: int


@dataclass(frozen=True, slots=True)
class Proof:
    """What this party claims: from the first revealed byte on there is no other."""

    data: bytes
    """The machine's whole input; that of a ``claim.Claim`` unless the party lies."""
    root: bytes


@dataclass(frozen=True, slots=True)
class Facts:
    """All that was kept, as far as it is there."""

    proposed: ContractTerms | None = None
    """The holder's proposal, with a vacant seat."""
    terms: ContractTerms | None = None
    accepted_ms: int = 0
    declined: str = ""
    bundle: bytes = b""
    """The other side's one-time public keys."""
    coins: Mapping[Role, Contribution] = field(default_factory=lambda: MappingProxyType({}))
    signatures: Mapping[Role, bytes] = field(default_factory=lambda: MappingProxyType({}))
    """64 bytes for each move, in the order of the graph."""
    witnessed: CTransaction | None = None
    """FUND with the holder's witnesses."""
    witnessed_ms: int = 0
    fund: CTransaction | None = None
    """FUND with all witnesses."""
    reclaim: CTransaction | None = None
    known: Known | None = None
    close: CTransaction | None = None
    proof: Proof | None = None
    seen: tuple[tuple[str, CTransaction], ...] = ()
    """The moves with which the other side revealed something, as blocks held them."""
    said: tuple[tuple[str, CTransaction], ...] = ()
    """What this party said in a dispute, in its order."""
    stage: Stage = Stage.DRAFT

    @classmethod
    def of(cls, records: Iterable[bytes]) -> Self:
        """The facts of these records, oldest first; EncodingError if one is no record."""
        facts = cls()
        for record in records:
            facts = facts.after(record)
        return facts

    def after(self, record: bytes) -> Self:
        """These facts and one more."""
        kind, parts = _split(record)
        if kind not in _READERS:
            raise EncodingError(f"record of kind {kind!r}: a newer program wrote it, use that one")
        reader, size = _READERS[kind]
        if len(parts) != size:
            raise EncodingError(f"record {kind}: {len(parts)} parts, it has {size}")
        return replace(self, **reader(self, *parts))

    def records(self) -> list[bytes]:
        """The fewest records that give these facts; oldest first."""
        found: list[bytes] = []
        if self.proposed is not None:
            found.append(proposed(self.proposed))
        if self.terms is not None:
            found.append(accepted(self.terms, self.accepted_ms))
        if self.declined:
            found.append(declined(self.declined))
        if self.bundle:
            found.append(bundle(self.bundle))
        found += [coins(role, self.coins[role]) for role in Role if role in self.coins]
        found += [signatures(r, self.signatures[r]) for r in Role if r in self.signatures]
        if self.witnessed is not None:
            found.append(witnessed(self.witnessed, self.witnessed_ms))
        for kind, tx in (("fund", self.fund), ("reclaim", self.reclaim), ("close", self.close)):
            if tx is not None:
                found.append(transaction_record(kind, tx))
        if self.known is not None:
            found.append(known(self.known))
        if self.proof is not None:
            found.append(proof(self.proof))
        found += [seen(name, tx) for name, tx in self.seen]
        found += [said(name, tx) for name, tx in self.said]
        found.append(stage(self.stage))
        return found


def proposed(terms: ContractTerms) -> bytes:
    """The holder proposed this."""
    return _join("proposed", terms.encode())


def accepted(terms: ContractTerms, now_ms: int) -> bytes:
    """Both sides agreed to this."""
    return _join("accepted", terms.encode(), _number(now_ms))


def declined(reason: str) -> bytes:
    """This party signs FUND no more."""
    return _join("declined", reason.encode())


def bundle(data: bytes) -> bytes:
    """The other side's one-time keys, checked."""
    return _join("bundle", data)


def coins(role: Role, contribution: Contribution) -> bytes:
    """What ``role`` brings to FUND."""
    return _join("coins", role.value.encode(), encode_contribution(contribution))


def signatures(role: Role, data: bytes) -> bytes:
    """``role``'s signatures of all moves, checked."""
    return _join("signatures", role.value.encode(), data)


def witnessed(tx: CTransaction, now_ms: int) -> bytes:
    """FUND with the holder's witnesses, checked."""
    return _join("witnessed", serialize(tx), _number(now_ms))


def transaction_record(kind: str, tx: CTransaction) -> bytes:
    """A finished ``fund``, ``reclaim`` or ``close``."""
    return _join(kind, serialize(tx))


def known(fact: Known) -> bytes:
    """The certificate, checked."""
    certificate = fact.certificate.encode()
    return _join("known", certificate, fact.anchor, _number(fact.at_ms), _number(fact.height))


def proof(fact: Proof) -> bytes:
    """This party is about to reveal this claim."""
    return _join("proof", fact.data, fact.root)


def seen(name: str, tx: CTransaction) -> bytes:
    """A move of the other side, from a block."""
    return _join("seen", name.encode(), serialize(tx))


def said(name: str, tx: CTransaction) -> bytes:
    """A transaction of this party's own, about to be broadcast."""
    return _join("said", name.encode(), serialize(tx))


def stage(reached: Stage) -> bytes:
    """Where the contract stands."""
    return _join("stage", reached.value.encode())


def encode_contribution(contribution: Contribution) -> bytes:
    """count u16 | count x (txid 32 | index u32 | sats u64 | length u16 | script) | change script,
    which is the rest."""
    data = _COUNT.pack(len(contribution.coins))
    for coin in contribution.coins:
        script = bytes(coin.output.scriptPubKey)
        data += _COIN.pack(bytes(coin.outpoint.hash), coin.outpoint.n, coin.sats)
        data += _COUNT.pack(len(script)) + script
    return data + _COUNT.pack(len(contribution.change_script)) + contribution.change_script


def decode_contribution(data: bytes) -> Contribution:
    """The inverse; EncodingError for other bytes, ScriptError or TermsError for other coins than a
    contract is funded from."""
    cursor = Cursor("coins", data)
    found = []
    for _ in range(*cursor.read(_COUNT)):
        txid, index, sats = cursor.read(_COIN)
        script = cursor.take(*cursor.read(_COUNT))
        found.append(Coin(outpoint(txid, index), txout(sats, script)))
    change = cursor.take(*cursor.read(_COUNT))
    cursor.end()
    return Contribution(tuple(found), change)


def pack_parts(parts: Iterable[bytes]) -> bytes:
    """Each part behind its length, u32."""
    return b"".join(_LENGTH.pack(len(part)) + part for part in parts)


def unpack_parts(name: str, data: bytes) -> list[bytes]:
    """The inverse; EncodingError if the last part is cut off."""
    parts = []
    while data:
        cursor = Cursor(name, data)
        (size,) = cursor.read(_LENGTH)
        parts.append(cursor.take(size))
        data = data[_LENGTH.size + size :]
    return parts


def _join(kind: str, *parts: bytes) -> bytes:
    return bytes([len(kind)]) + kind.encode() + pack_parts(parts)


def _split(record: bytes) -> tuple[str, list[bytes]]:
    size = record[0] if record else 0
    kind = _text(record[1 : 1 + size])
    return kind, unpack_parts(f"record {kind}", record[1 + size :])


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise EncodingError(f"a record with {data[:16]!r}, which is no text: damaged") from None


def _number(value: int) -> bytes:
    return value.to_bytes(8)


def role_of(data: bytes) -> Role:
    """The party of this name; EncodingError for another one."""
    for role in Role:
        if role.value.encode() == data:
            return role
    raise EncodingError(f"role {data!r}: expected holder or writer")


def _stage(data: bytes) -> Stage:
    for reached in Stage:
        if reached.value.encode() == data:
            return reached
    raise EncodingError(f"record of stage {data!r}: a newer program wrote it, use that one")


def _known(_: Facts, certificate: bytes, anchor: bytes, at: bytes, height: bytes) -> Any:
    found = ExpiryCertificate.decode(certificate)
    return {"known": Known(found, anchor, int.from_bytes(at), int.from_bytes(height))}


def _coins(facts: Facts, role: bytes, data: bytes) -> Any:
    return {"coins": {**facts.coins, role_of(role): decode_contribution(data)}}


def _signatures(facts: Facts, role: bytes, data: bytes) -> Any:
    return {"signatures": {**facts.signatures, role_of(role): data}}


def _accepted(_: Facts, terms: bytes, at: bytes) -> Any:
    return {"terms": ContractTerms.decode(terms), "accepted_ms": int.from_bytes(at)}


def _witnessed(_: Facts, tx: bytes, at: bytes) -> Any:
    return {"witnessed": parse_tx(tx), "witnessed_ms": int.from_bytes(at)}


def _seen(facts: Facts, name: bytes, tx: bytes) -> Any:
    return {"seen": (*facts.seen, (_text(name), parse_tx(tx)))}


def _said(facts: Facts, name: bytes, tx: bytes) -> Any:
    return {"said": (*facts.said, (_text(name), parse_tx(tx)))}


_READERS: Final[Mapping[str, tuple[Callable[..., Any], int]]] = {
    "proposed": (lambda _, terms: {"proposed": ContractTerms.decode(terms)}, 1),
    "accepted": (_accepted, 2),
    "declined": (lambda _, reason: {"declined": _text(reason)}, 1),
    "bundle": (lambda _, data: {"bundle": data}, 1),
    "coins": (_coins, 2),
    "signatures": (_signatures, 2),
    "witnessed": (_witnessed, 2),
    "fund": (lambda _, tx: {"fund": parse_tx(tx)}, 1),
    "reclaim": (lambda _, tx: {"reclaim": parse_tx(tx)}, 1),
    "close": (lambda _, tx: {"close": parse_tx(tx)}, 1),
    "known": (_known, 4),
    "proof": (lambda _, data, root: {"proof": Proof(data, root)}, 2),
    "seen": (_seen, 2),
    "said": (_said, 2),
    "stage": (lambda _, name: {"stage": _stage(name)}, 1),
}
"""Of each kind, what changes in the facts, and the number of its parts."""
