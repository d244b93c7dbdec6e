"""The settlement guest's input, what the contract pays, and the guest's checks in Python.

    CLAIM 194 + 65 q   units u32 | EXP 190 | q x (oracle index u8 | signature 64)

Everything is big-endian. The units come first: one aligned word at an address that no contract
changes. The terms are in the guest's image (protocol.settlement.terms).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from itertools import pairwise
from typing import Final, Self

from protocol.crypto import keys
from protocol.crypto.tagged import tagged_hash
from protocol.errors import EncodingError, TermsError
from protocol.options.payoff import payoff_sats, units_max, units_of
from protocol.oracle import expiry as exp
from protocol.oracle import signatures as sigs
from protocol.oracle.expiry import Expiry, ExpiryCertificate
from protocol.oracle.layout import EXPO, require_uint
from protocol.settlement.terms import ClaimTerms
from protocol.units import PriceE8

UNITS_SIZE: Final = 4


class Check(IntEnum):
    """The guest's checks in its order; the first that fails is its exit code, in a0 at the TRAP.

    Those of the terms page and PADDING fail on no image and no input that Python writes.
    """

    TERMS_MAGIC = 1
    ROSTER = 2
    KIND = 3
    TERMS_RANGE = 4
    UNIT = 5
    LENGTH = 6
    PADDING = 7
    EXPIRY_MAGIC = 8
    CONFIG = 9
    FEED = 10
    SUBJECT = 11
    START = 12
    TARGET = 13
    END = 14
    PRICE = 15
    ROUNDS = 16
    EXPO = 17
    RULE = 18
    WINDOW = 19
    SIGNER = 20
    SIGNATURE = 21
    UNITS_RANGE = 22
    PAYOUT = 23


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


def claim_size(quorum: int) -> int:
    """The bytes of a claim with ``quorum`` signatures."""
    return UNITS_SIZE + exp.SIZE + quorum * sigs.ENTRY


def claim_of(terms: ClaimTerms, certificate: ExpiryCertificate) -> Claim:
    """The claim that the guest accepts if the signatures verify; TermsError as ``payout_units``."""
    return Claim(certificate, payout_units(terms, certificate.expiry))


def payout_units(terms: ClaimTerms, expiry: Expiry) -> int:
    """What the writer owes the holder, in units. TermsError if this expiry settles another
    contract, came too late or rests on too few rounds."""
    if expiry.slot != terms.slot:
        raise TermsError("the expiry is of another slot (oracles, feed, subject, rounds or rule)")
    late = terms.slot.target_round + terms.grace_rounds
    if expiry.end_round > late:
        raise TermsError(f"the expiry ends in round {expiry.end_round}: {late} was the last to do")
    if expiry.rounds < terms.min_rounds:
        raise TermsError(
            f"the expiry rests on {expiry.rounds} rounds: the terms want {terms.min_rounds}"
        )
    return _units(terms, expiry.price_e8)


def failed_check(terms: ClaimTerms, data: bytes) -> Check | None:
    """The check that fails when the guest reads ``data``; None if it halts with 0."""
    return next((check for check, holds in _checks(terms, data) if not holds), None)


def _checks(terms: ClaimTerms, data: bytes) -> Iterator[tuple[Check, bool]]:
    """settle.c once more: each check and whether it holds, evaluated one by one."""
    slot = terms.slot
    yield Check.LENGTH, len(data) == claim_size(terms.quorum)
    units, message = int.from_bytes(data[:UNITS_SIZE]), data[UNITS_SIZE:][: exp.SIZE]
    magic, config, feed, subject, start, target, *rest = exp.LAYOUT.unpack(message)
    end, price, high, low, rounds, expo, rule, window, _ = rest
    yield Check.EXPIRY_MAGIC, magic == exp.MAGIC
    yield Check.CONFIG, config == slot.config_digest
    yield Check.FEED, feed == slot.feed_id
    yield Check.SUBJECT, subject == slot.subject
    yield Check.START, start == slot.start_round
    yield Check.TARGET, target == slot.target_round
    yield Check.END, target <= end <= target + terms.grace_rounds
    yield Check.PRICE, 0 < low <= price <= high
    yield Check.ROUNDS, terms.min_rounds <= rounds <= end - start + 1
    yield Check.EXPO, expo == EXPO
    yield Check.RULE, rule == slot.rule
    yield Check.WINDOW, window == slot.window
    _, signatures = sigs.split("claim", data[UNITS_SIZE:], exp.SIZE)
    signers = [index for index, _ in signatures]
    ascending = all(a < b for a, b in pairwise(signers))
    yield Check.SIGNER, ascending and signers[-1] < len(terms.roster)
    digest = tagged_hash(exp.TAG, message)
    yield Check.SIGNATURE, all(keys.verify(terms.roster[i], digest, s) for i, s in signatures)
    yield Check.UNITS_RANGE, units <= units_max(terms.payout_bits)
    yield Check.PAYOUT, units == _units(terms, price)


def _units(terms: ClaimTerms, price_e8: int) -> int:
    sats = payoff_sats(
        terms.kind, PriceE8(price_e8), terms.strike_e8, terms.quantity_sats, terms.collateral_sats
    )
    return units_of(sats, terms.unit_sats, terms.payout_bits)
