"""What a party signs once and for ever: labels, public bundle, secret keys, signed messages.

Where ``role`` proves it reveals, in this order:

    input   the bytes of the claim that the terms do not fix, in messages of 32 bytes, the last one
            shorter; the round of the label counts them from 0
    root    of the machine's trace, as many bytes as the terms' hash width
    payout  the units of the claim, four bits a digit

What the claim holds before its published bytes follows from the terms, but for the units, which
are the payout. What it may come to sign in a dispute, of its own claim and of the other side's,
is in protocol.settlement.dispute.labels.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NoReturn, Self

from protocol.crypto.tagged import tagged_hash
from protocol.crypto.winternitz import (
    ELEMENT_BYTES,
    Digits,
    Label,
    OneTimeGuard,
    OneTimeKey,
    OneTimePublicKey,
    checksum_size,
    digits_number,
    digits_of,
    message_of,
    number_digits,
)
from protocol.errors import EncodingError, SignatureError
from protocol.settlement.dispute.labels import dispute_labels
from protocol.settlement.terms import (
    MESSAGE_BYTES,
    UNITS_SIZE,
    ContractTerms,
    Role,
    claim_published_from,
    claim_size,
    contract_id,
)

INPUT: Final = "input"
ROOT: Final = "root"
PAYOUT: Final = "payout"

_ANSWERS_TAG: Final = "btcfi/one-time/answers/v1"


@dataclass(frozen=True, slots=True)
class SignedMessage:
    """The digits of one label and their one-time signature."""

    digits: Digits
    signature: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Published:
    """A claim as its one-time messages tell it."""

    input: bytes
    """The claim's bytes from ``claim_published_from`` on."""
    root: bytes
    units: int


@lru_cache(maxsize=8)
def labels_of(terms: ContractTerms, role: Role) -> tuple[Label, ...]:
    """The label of every message that ``role`` may come to sign in this contract, in the order of
    its bundle: its claim, then its disputes."""
    return (*claim_labels(terms, role), *dispute_labels(terms, role))


def claim_labels(terms: ContractTerms, prover: Role) -> tuple[Label, ...]:
    """The label of every message that ``prover`` reveals to claim: input, root, payout."""
    own = contract_id(terms)

    def label(field: str, digits: int, number: int = 0) -> Label:
        return Label(own, prover.value, prover.value, number, field, digits)

    size = published_size(terms)
    sizes = [min(MESSAGE_BYTES, size - at) for at in range(0, size, MESSAGE_BYTES)]
    inputs = [label(INPUT, 2 * taken, number) for number, taken in enumerate(sizes)]
    root = label(ROOT, 2 * terms.chain.width)
    return (*inputs, root, label(PAYOUT, -(-terms.claim.payout_bits // 4)))


def payout_label(terms: ContractTerms, prover: Role) -> Label:
    """The label of the units that ``prover`` claims."""
    return claim_labels(terms, prover)[-1]


def published_size(terms: ContractTerms) -> int:
    """The bytes of a claim that its prover publishes besides the units."""
    return claim_size(terms.claim.quorum) - claim_published_from(terms)


def claim_digits(
    terms: ContractTerms, prover: Role, claim: bytes, root: bytes
) -> dict[Label, Digits]:
    """What ``prover`` signs to claim: ``claim`` is the guest's whole input, ``root`` its trace's.

    EncodingError if either has another length than the terms say, or the units do not fit.
    """
    if len(claim) != claim_size(terms.claim.quorum) or len(root) != terms.chain.width:
        raise EncodingError(
            f"a claim of {len(claim)} bytes and a root of {len(root)}: these terms want"
            f" {claim_size(terms.claim.quorum)} and {terms.chain.width}"
        )
    *inputs, last, payout = claim_labels(terms, prover)
    published = digits_of(claim[claim_published_from(terms) :])
    units = int.from_bytes(claim[:UNITS_SIZE])
    step = 2 * MESSAGE_BYTES
    messages = {label: published[step * n :][: label.digits] for n, label in enumerate(inputs)}
    return {**messages, last: digits_of(root), payout: number_digits(units, payout.digits)}


def published_claim(
    terms: ContractTerms, prover: Role, messages: Mapping[Label, Digits]
) -> Published:
    """The inverse of ``claim_digits``; EncodingError if a message is missing."""
    labels = claim_labels(terms, prover)
    missing = [label for label in labels if label not in messages]
    if missing:
        raise EncodingError(
            f"the {prover.value} has not revealed {missing[0].field} {missing[0].round} yet"
        )
    *inputs, root, payout = labels
    data = b"".join(message_of(messages[label]) for label in inputs)
    return Published(data, message_of(messages[root]), digits_number(messages[payout]))


@dataclass(frozen=True, slots=True)
class OneTimePublics:
    """All one-time public keys of one party: what it sends before anything is signed."""

    keys: Mapping[Label, OneTimePublicKey]

    def encode(self) -> bytes:
        """The ends of every chain, in the order of ``labels_of``."""
        return b"".join(key.encode() for key in self.keys.values())

    @classmethod
    def decode(cls, terms: ContractTerms, role: Role, data: bytes) -> Self:
        """The inverse of ``encode``; EncodingError unless ``data`` has exactly its length."""
        return cls.over(labels_of(terms, role), data)

    @classmethod
    def over(cls, labels: Sequence[Label], data: bytes) -> Self:
        """The keys of ``labels``, in their order, from their ends; EncodingError as ``decode``."""
        keys: dict[Label, OneTimePublicKey] = {}
        at = 0
        for label in labels:
            size = ELEMENT_BYTES * (label.digits + checksum_size(label.digits))
            keys[label] = OneTimePublicKey.decode(label.digits, data[at : at + size])
            at += size
        if at != len(data):
            raise EncodingError(f"a bundle of one-time keys here has {at} bytes, not {len(data)}")
        return cls(keys)


def answers_seed(seed: bytes) -> bytes:
    """Where the keys come from with which a party answers the other side's claim, from the seed of
    its one-time keys. It tells nothing of that seed, so another machine may hold it."""
    return tagged_hash(_ANSWERS_TAG, seed)


class OneTimeKeys:
    """The secret one-time keys of one party in one contract. Never printed or pickled."""

    __slots__ = ("_keys", "public")

    def __init__(self, seed: bytes, terms: ContractTerms, role: Role) -> None:
        """Derive every key of ``labels_of(terms, role)`` from 32 secret bytes."""
        seeds = {role.value: seed, role.other.value: answers_seed(seed)}
        labels = labels_of(terms, role)
        self._keys = {label: OneTimeKey(seeds[label.direction], label) for label in labels}
        self.public = OneTimePublics({label: key.public for label, key in self._keys.items()})

    @classmethod
    def answering(cls, seed: bytes, role: Role, public: OneTimePublics) -> Self:
        """Those keys of ``role`` that follow from ``answers_seed``: they sign no claim. ``public``
        is the bundle of all; SignatureError if its answers are of another seed."""
        keys = cls.__new__(cls)
        answers = [label for label in public.keys if label.direction == role.other.value]
        keys._keys = {label: OneTimeKey(seed, label) for label in answers}
        if any(key.public != public.keys[label] for label, key in keys._keys.items()):
            raise SignatureError("the seed is not that of these one-time keys")
        keys.public = public
        return keys

    @classmethod
    def over(cls, seed: bytes, labels: Iterable[Label]) -> Self:
        """The keys of ``labels``, from 32 secret bytes."""
        keys = cls.__new__(cls)
        keys._keys = {label: OneTimeKey(seed, label) for label in labels}
        keys.public = OneTimePublics({label: key.public for label, key in keys._keys.items()})
        return keys

    def __repr__(self) -> str:
        return f"OneTimeKeys({len(self._keys)} labels)"

    def __reduce__(self) -> NoReturn:
        raise EncodingError("one-time keys do not travel: derive them from their seed again")

    def sign(
        self, messages: Mapping[Label, Digits], guard: OneTimeGuard
    ) -> dict[Label, SignedMessage]:
        """Sign each message once and for ever.

        GuardError if a label has signed another message; EncodingError for a label of another
        party or contract.
        """
        strange = [label for label in messages if label not in self._keys]
        if strange:
            raise EncodingError(f"these keys do not sign {strange[0].field} of {strange[0].role}")
        return {
            label: SignedMessage(tuple(digits), self._keys[label].sign(digits, guard))
            for label, digits in messages.items()
        }
