"""The one-time messages of a dispute: whose label each place in the game has, and both bundles.

A leaf's template names a message by its place (``Said``: party, round, field); a contract's key is
under a ``Label``. In the direction of prover P, what P and the challenger C may come to sign:

    P   node_0..3      rounds 1..R     head, slot_0..2, write   round R + 2
        record_0..3    round R + 1     (input, root, payout: protocol.settlement.onetime)
    C   digit          rounds 1..R + 1
        below          rounds t of an assertion      record, path_0..      round R + 3
"""

from collections.abc import Iterable, Mapping
from typing import NoReturn

from protocol.crypto.winternitz import (
    ELEMENT_BYTES,
    Digits,
    Label,
    OneTimeGuard,
    OneTimeKey,
    OneTimePublicKey,
    checksum_size,
)
from protocol.dispute.claim import Party
from protocol.dispute.leaves import said
from protocol.dispute.leaves.said import Said
from protocol.dispute.leaves.verdict_assert import path, shapes
from protocol.errors import EncodingError
from protocol.settlement.onetime import OneTimePublics, SignedMessage, labels_of
from protocol.settlement.terms import ContractTerms, Role, contract_id


def signer(prover: Role, party: Party) -> Role:
    """Who plays ``party`` where ``prover`` proves."""
    return prover if party is Party.PROVER else prover.other


def label_of(own: bytes, prover: Role, message: Said) -> Label:
    """The label of ``message`` in the contract ``own`` (its id), where ``prover`` proves."""
    role = signer(prover, message.party)
    return Label(own, prover.value, role.value, message.turn, message.field, message.digits)


def said_of(label: Label, prover: Role) -> Said:
    """The inverse of ``label_of``."""
    party = Party.PROVER if label.role == prover.value else Party.CHALLENGER
    return Said(party, label.round, label.field, label.digits)


def prover_messages(log4_steps: int, width: int) -> tuple[Said, ...]:
    """What the prover may come to sign after KICKOFF."""
    nodes = (node for turn in range(1, log4_steps) for node in said.nodes(turn, width))
    return (*nodes, *said.records(log4_steps), *said.fragment(log4_steps).values())


def challenger_messages(log4_steps: int, width: int) -> tuple[Said, ...]:
    """What the challenger may come to sign."""
    digits, deep = said.digits(log4_steps), tuple(shapes(log4_steps, width))
    if not deep:
        return digits
    below = (said.below(log4_steps, turn) for turn in sorted({shape.turn for shape in deep}))
    return (*digits, *below, said.record(log4_steps), *max(map(path, deep), key=len))


def dispute_labels(terms: ContractTerms, role: Role) -> tuple[Label, ...]:
    """Every label that ``role`` may come to sign in a dispute: as prover, then as challenger.

    They follow ``labels_of(terms, role)`` in a bundle and share none with it.
    """
    own, shape = contract_id(terms), (terms.chain.log4_steps, terms.chain.width)
    proving = (label_of(own, role, message) for message in prover_messages(*shape))
    answering = (label_of(own, role.other, message) for message in challenger_messages(*shape))
    return (*proving, *answering)


def decode_publics(terms: ContractTerms, role: Role, data: bytes) -> OneTimePublics:
    """The bundle for ``dispute_labels(terms, role)`` that ``OneTimePublics.encode`` wrote;
    EncodingError unless ``data`` has exactly its length."""
    keys: dict[Label, OneTimePublicKey] = {}
    at = 0
    for label in dispute_labels(terms, role):
        size = ELEMENT_BYTES * (label.digits + checksum_size(label.digits))
        keys[label] = OneTimePublicKey.decode(label.digits, data[at : at + size])
        at += size
    if at != len(data):
        raise EncodingError(f"a bundle for disputes here has {at} bytes, not {len(data)}")
    return OneTimePublics(keys)


def published_messages(terms: ContractTerms, prover: Role) -> tuple[Said, ...]:
    """The messages that publish the input's digits: the claim's bytes, then the units."""
    *inputs, _root, payout = labels_of(terms, prover)
    return tuple(said_of(label, prover) for label in (*inputs, payout))


class DisputeKeys:
    """The secret one-time keys of one party for its disputes. Never printed or pickled."""

    __slots__ = ("_keys", "public")

    def __init__(self, seed: bytes, terms: ContractTerms, role: Role) -> None:
        """Derive every key of ``dispute_labels(terms, role)`` from 32 secret bytes."""
        self._keys = {label: OneTimeKey(seed, label) for label in dispute_labels(terms, role)}
        self.public = OneTimePublics({label: key.public for label, key in self._keys.items()})

    def __repr__(self) -> str:
        return f"DisputeKeys({len(self._keys)} labels)"

    def __reduce__(self) -> NoReturn:
        raise EncodingError("one-time keys do not travel: derive them from their seed again")

    def sign(
        self, messages: Mapping[Label, Digits], guard: OneTimeGuard
    ) -> dict[Label, SignedMessage]:
        """Sign each message once and for ever; errors as ``OneTimeKeys.sign``."""
        strange = [label for label in messages if label not in self._keys]
        if strange:
            raise EncodingError(f"these keys do not sign {strange[0].field} of {strange[0].role}")
        return {
            label: SignedMessage(tuple(digits), self._keys[label].sign(digits, guard))
            for label, digits in messages.items()
        }


def keys_by_place(
    terms: ContractTerms, prover: Role, bundles: Iterable[OneTimePublics]
) -> dict[Said, OneTimePublicKey]:
    """Every public key of ``prover``'s direction by its place in the game."""
    own = contract_id(terms)
    return {
        said_of(label, prover): key
        for bundle in bundles
        for label, key in bundle.keys.items()
        if label.direction == prover.value and label.contract_id == own
    }
