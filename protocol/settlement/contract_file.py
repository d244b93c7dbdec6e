"""One party's contract as one file: whoever lost the machine goes on with it.

    file   "CTF1" | parts, each behind its length u32: role | own one-time public keys
           | sealed seed | digits of each own label, each behind its length | record ...

The records are the party's facts: terms, the other side's one-time keys, FUND, all signatures, the
certificate. The digits are what its one-time keys have signed, none where they have not. The caller
seals the seed, with ``bound`` as associated data. A watcher's file has no seed and no signature:
what is left can only be looked at.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final, Self

from protocol.crypto.winternitz import TOP, Digits, Label, OneTimeGuard
from protocol.errors import EncodingError, GuardError, TermsError
from protocol.settlement import record
from protocol.settlement.certified import require_certificate
from protocol.settlement.contract import Contract
from protocol.settlement.funding import contract_outpoint, fund_tx
from protocol.settlement.graph import Graph
from protocol.settlement.keys import PartyKeys
from protocol.settlement.lifecycle import Position, Stage, position_of
from protocol.settlement.onetime import OneTimePublics, labels_of
from protocol.settlement.presign import decode_signatures, require_signatures
from protocol.settlement.reading import Reader
from protocol.settlement.terms import ContractTerms, Role
from protocol.settlement.view import View
from riscv_vm.image import ProgramImage

MAGIC: Final = b"CTF1"
_HEAD_PARTS: Final = 4


@dataclass(frozen=True, slots=True)
class ContractFile:
    """``revealed`` follows ``labels_of(terms, role)``, empty digits for what is unsigned;
    ``sealed`` is empty in a watcher's file. EncodingError or TermsError for facts that are not yet
    those of a contract."""

    role: Role
    bundle: bytes
    sealed: bytes
    revealed: tuple[Digits, ...]
    facts: record.Facts

    def __post_init__(self) -> None:
        if self.facts.terms is None or not self.facts.bundle or len(self.facts.coins) < len(Role):
            raise TermsError("a contract file is of agreed terms, both sides' keys and coins")
        if len(self.revealed) != len(self.labels):
            raise EncodingError(f"contract file: {len(self.labels)} labels, not these digits")
        for label, digits in zip(self.labels, self.revealed, strict=True):
            if len(digits) not in (0, label.digits) or any(digit > TOP for digit in digits):
                raise EncodingError(f"contract file: {label.field} {label.round} is malformed")

    @classmethod
    def of(
        cls,
        role: Role,
        keys: PartyKeys,
        facts: record.Facts,
        signed: Callable[[Label], Digits | None],
    ) -> Self:
        """The file of a party, its seed not sealed in yet. ``signed`` is the guard's memory, like
        ``dict.get``. TermsError before both sides have signed everything."""
        if facts.terms is None or len(facts.signatures) < len(Role):
            raise TermsError("nothing to export: the pre-signed transactions are not complete yet")
        labels = labels_of(facts.terms, role)
        bundle = keys.one_time(facts.terms, role).public.encode()
        return cls(role, bundle, b"", tuple(signed(label) or () for label in labels), facts)

    def seal(self, sealed: bytes) -> Self:
        """This file with the encrypted seed in it."""
        return replace(self, sealed=sealed)

    def public(self) -> Self:
        """What a watcher needs, and nothing that helps to sign."""
        facts = self.facts
        shown = record.Facts(
            terms=facts.terms,
            accepted_ms=facts.accepted_ms,
            bundle=facts.bundle,
            coins=facts.coins,
            known=facts.known,
            stage=facts.stage,
        )
        return replace(self, sealed=b"", revealed=((),) * len(self.revealed), facts=shown)

    @property
    def terms(self) -> ContractTerms:
        assert self.facts.terms is not None, "checked when it was made"
        return self.facts.terms

    @property
    def labels(self) -> tuple[Label, ...]:
        """Of the party's own one-time keys."""
        return labels_of(self.terms, self.role)

    @property
    def own_keys(self) -> OneTimePublics:
        """The party's own one-time public keys."""
        return OneTimePublics.decode(self.terms, self.role, self.bundle)

    @property
    def bound(self) -> bytes:
        """Everything but the sealed seed: what the seal must also vouch for."""
        return self.seal(b"").encode()

    def graph(self, judge: ProgramImage | None = None) -> Graph:
        """Every transaction of the contract, with ``judge`` as ``Contract`` takes it;
        SignatureError, TermsError or ScriptError if the parts do not fit together."""
        terms, other = self.terms, self.role.other
        publics = {
            self.role: self.own_keys,
            other: OneTimePublics.decode(terms, other, self.facts.bundle),
        }
        contract = Contract(terms, MappingProxyType({r: publics[r] for r in Role}), judge)
        fund = fund_tx(contract, self.facts.coins[Role.HOLDER], self.facts.coins[Role.WRITER])
        return Graph.of(contract, contract_outpoint(fund))

    def encode(self) -> bytes:
        """The bytes of the file."""
        revealed = record.pack_parts(bytes(digits) for digits in self.revealed)
        head = (self.role.value.encode(), self.bundle, self.sealed, revealed)
        return MAGIC + record.pack_parts((*head, *self.facts.records()))

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """The inverse of ``encode``; EncodingError or TermsError for any other bytes."""
        if data[: len(MAGIC)] != MAGIC:
            raise EncodingError(f"contract file: it begins with {data[:4]!r}, expected {MAGIC!r}")
        parts = record.unpack_parts("contract file", data[len(MAGIC) :])
        if len(parts) < _HEAD_PARTS:
            raise EncodingError("contract file: it is cut off")
        role, bundle, sealed, revealed = parts[:_HEAD_PARTS]
        found = cls(
            record.role_of(role),
            bundle,
            sealed,
            tuple(tuple(part) for part in record.unpack_parts("digits", revealed)),
            record.Facts.of(parts[_HEAD_PARTS:]),
        )
        if found.encode() != data:
            raise EncodingError("contract file: this is not how its contents are written")
        return found


def restore(
    file: ContractFile,
    keys: PartyKeys,
    guard: OneTimeGuard,
    view: View,
    judge: ProgramImage | None = None,
) -> tuple[bytes, ...]:
    """The records that a ``Party`` goes on from, after everything that the file or the chain shows
    as revealed is in ``guard``. ``judge`` as ``Contract`` takes it.

    TermsError or SignatureError if the file is not of ``keys`` or a signature in it is wrong,
    GuardError if file, chain and guard know different messages of one key.
    """
    facts, terms = file.facts, file.terms
    if file.bundle != keys.one_time(terms, file.role).public.encode():
        raise TermsError("contract file: the seed in it is not that of its one-time keys")
    graph = file.graph(judge)
    for role in Role:
        kept = graph.kept(role, file.role)
        signatures = decode_signatures(kept, facts.signatures.get(role, b""))
        require_signatures(kept, role, signatures)
    if facts.known is not None:
        require_certificate(terms, facts.known.certificate)
    known = {
        label: digits for label, digits in zip(file.labels, file.revealed, strict=True) if digits
    }
    for source in (revealed_on_chain(graph, file.role, view), known):
        for label, digits in source.items():
            if guard.setdefault(label, digits) != digits:
                raise GuardError(
                    f"{label.field} {label.round} was signed with two messages: this file or this"
                    " guard is of another history, use the machine that signed last"
                )
    # The chain says where it stands; Party finds out.
    return tuple(replace(facts, stage=Stage.DRAFT).records())


def revealed_on_chain(graph: Graph, role: Role, view: View) -> dict[Label, Digits]:
    """What ``role`` has signed with its one-time keys as far as ``view`` shows (revealed_in)."""
    return revealed_in(graph, role, position_of(graph, view))


def revealed_in(graph: Graph, role: Role, position: Position) -> dict[Label, Digits]:
    """The one-time messages of ``role``, who proves or answers, that blocks and mempool show,
    whatever machine has signed them. Of two under one key the first counts."""
    reader = Reader(graph)
    shown: dict[Label, Digits] = {}
    for placed in position.path[1:]:
        seen = reader.read(placed.tx)
        for label, message in ({} if seen is None else seen.messages).items():
            if label.role == role.value:
                shown.setdefault(label, message.digits)
    return shown
