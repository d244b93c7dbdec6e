"""The settlement guest's input, what the contract pays, and the guest's checks in Python.

    CLAIM 194 + 65 q   units u32 | EXP 190 | q x (oracle index u8 | signature 64)

Everything is big-endian. The units come first: one aligned word at an address that no contract
changes. The terms are in the guest's image (protocol.settlement.terms).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from itertools import pairwise
from typing import Self

from protocol.crypto import keys
from protocol.crypto.tagged import tagged_hash
from protocol.errors import EncodingError, TermsError
from protocol.options.payoff import units_max
from protocol.oracle import expiry as exp
from protocol.oracle import signatures as sigs
from protocol.oracle.expiry import Expiry, ExpiryCertificate, exercise_subject
from protocol.oracle.layout import EXPO, ZERO32, require_uint
from protocol.settlement.terms import UNITS_SIZE, ContractTerms, claim_size, contract_id


class Check(IntEnum):
    """The guest's checks in its order; the first that fails is its exit code, in a0 at the TRAP.

    Those of the terms page and PADDING fail on no image and no input that Python writes.
    """

    TERMS_MAGIC = 1
    ROSTER = 2
    TERMS_SIZE = 3
    INSTRUMENT = 4
    TERMS_RANGE = 5
    UNIT = 6
    LENGTH = 7
    PADDING = 8
    EXPIRY_MAGIC = 9
    CONFIG = 10
    FEED = 11
    SUBJECT = 12
    START = 13
    TARGET = 14
    END = 15
    PRICE = 16
    ROUNDS = 17
    EXPO = 18
    RULE = 19
    WINDOW = 20
    SIGNER = 21
    SIGNATURE = 22
    UNITS_RANGE = 23
    PAYOUT = 24


@dataclass(frozen=True, slots=True)
class Claim:
    """A claimed payout and what it follows from. Only the form is checked: a claim may lie."""

    certificate: ExpiryCertificate
    units: int

    def __post_init__(self) -> None:
        require_uint("claim units", self.units, 8 * UNITS_SIZE)

    def encode(self) -> bytes:
        """The guest's input."""
        return self.units.to_bytes(UNITS_SIZE) + self.certificate.encode()

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """The inverse of ``encode``; EncodingError for any other bytes."""
        if len(data) < UNITS_SIZE:
            raise EncodingError(f"claim: {len(data)} bytes are too few")
        certificate = ExpiryCertificate.decode(data[UNITS_SIZE:])
        return cls(certificate, int.from_bytes(data[:UNITS_SIZE]))


def claim_of(terms: ContractTerms, certificate: ExpiryCertificate) -> Claim:
    """The claim that the guest accepts if the signatures verify; TermsError as ``payout_units``."""
    return Claim(certificate, payout_units(terms, certificate.expiry))


def payout_units(terms: ContractTerms, expiry: Expiry) -> int:
    """What the writer owes the holder, in units. TermsError if this expiry settles another
    contract, came too late or rests on too few rounds."""
    target = expiry.slot.target_round
    if expiry.slot != terms.expiry_slot(target if terms.claim.is_american else None):
        raise TermsError("the expiry is of another slot (oracles, feed, subject, rounds or rule)")
    late = target + terms.claim.grace_rounds
    if expiry.end_round > late:
        raise TermsError(f"the expiry ends in round {expiry.end_round}: {late} was the last to do")
    if expiry.rounds < terms.claim.min_rounds:
        raise TermsError(
            f"the expiry rests on {expiry.rounds} rounds: the terms want {terms.claim.min_rounds}"
        )
    return terms.claim.units(expiry)


def failed_check(terms: ContractTerms, data: bytes) -> Check | None:
    """The check that fails when the guest reads ``data``; None if it halts with 0."""
    return next((check for check, holds in _checks(terms, data) if not holds), None)


def _checks(terms: ContractTerms, data: bytes) -> Iterator[tuple[Check, bool]]:
    """settle.c once more: each check and whether it holds, evaluated one by one."""
    claim, slot = terms.claim, terms.claim.slot
    yield Check.LENGTH, len(data) == claim_size(claim.quorum)
    units, message = int.from_bytes(data[:UNITS_SIZE]), data[UNITS_SIZE:][: exp.SIZE]
    magic, config, feed, subject, start, target, *rest = exp.LAYOUT.unpack(message)
    end, price, high, low, rounds, expo, rule, window, _ = rest
    yield Check.EXPIRY_MAGIC, magic == exp.MAGIC
    yield Check.CONFIG, config == slot.config_digest
    yield Check.FEED, feed == slot.feed_id
    yield Check.SUBJECT, subject == _subject(terms, target)
    yield Check.START, start == slot.start_round
    earliest = claim.first_round if claim.is_american else slot.target_round
    yield Check.TARGET, earliest <= target <= slot.target_round
    yield Check.END, target <= end <= target + claim.grace_rounds
    yield Check.PRICE, 0 < low <= price <= high
    yield Check.ROUNDS, claim.min_rounds <= rounds <= end - start + 1
    yield Check.EXPO, expo == EXPO
    yield Check.RULE, rule == slot.rule
    yield Check.WINDOW, window == slot.window
    _, signatures = sigs.split("claim", data[UNITS_SIZE:], exp.SIZE)
    signers = [index for index, _ in signatures]
    ascending = all(a < b for a, b in pairwise(signers))
    yield Check.SIGNER, ascending and signers[-1] < len(claim.roster)
    digest = tagged_hash(exp.TAG, message)
    yield Check.SIGNATURE, all(keys.verify(claim.roster[i], digest, s) for i, s in signatures)
    yield Check.UNITS_RANGE, units <= units_max(claim.payout_bits)
    yield Check.PAYOUT, units == claim.units(Expiry.decode(message))


def _subject(terms: ContractTerms, target: int) -> bytes:
    if not terms.claim.is_american:
        return ZERO32
    return exercise_subject(contract_id(terms), target)
