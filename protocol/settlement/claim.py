"""The settlement guest's input: what the contract fixes, what the oracles certified, the payout.

    TERMS 101  "TRM1" | config_digest 32 | feed_id 32 | round u64 | option u8 (1 call, 2 put)
               | strike u64 | quantity u64 | collateral u64
    CLAIM 309  TERMS | RPT 168 (oracle.md 4.2) | report_hash 32 | payout u64

Everything is big-endian. The report stays opaque here: the guest judges it.
"""

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, Self

from protocol.errors import EncodingError
from protocol.options.instrument import OptionKind
from protocol.options.payoff import check_payoff_terms, payoff_sats
from protocol.units import U64_MAX, PriceE8, Round, Sats

TERMS_MAGIC: Final = b"TRM1"
DIGEST_SIZE: Final = 32
REPORT_SIZE: Final = 168

_TERMS: Final = struct.Struct(">4s32s32sQBQQQ")
_CLAIM: Final = struct.Struct(f">{_TERMS.size}s{REPORT_SIZE}s{DIGEST_SIZE}sQ")
TERMS_SIZE: Final = _TERMS.size
CLAIM_SIZE: Final = _CLAIM.size


class Check(IntEnum):
    """The guest's checks in its order; the first that fails is its exit code, in a0 at the TRAP."""

    LENGTH = 1
    TERMS_MAGIC = 2
    OPTION = 3
    TERMS_RANGE = 4
    REPORT_MAGIC = 5
    CONFIG = 6
    FEED = 7
    ROUND = 8
    EXPO = 9
    GRADE = 10
    PRICE = 11
    REPORT_HASH = 12
    PAYOUT = 13


@dataclass(frozen=True, slots=True)
class ClaimTerms:
    """The part of a contract that decides a payout.

    EncodingError names a field that cannot be encoded, TermsError one that the payoff refuses.
    """

    config_digest: bytes
    feed_id: bytes
    round: Round
    kind: OptionKind
    strike_e8: PriceE8
    quantity_sats: Sats
    collateral_sats: Sats

    def __post_init__(self) -> None:
        _require_size("config_digest", self.config_digest, DIGEST_SIZE)
        _require_size("feed_id", self.feed_id, DIGEST_SIZE)
        for field in ("round", "strike_e8", "quantity_sats", "collateral_sats"):
            _require_u64(field, getattr(self, field))
        check_payoff_terms(self.kind, self.strike_e8, self.quantity_sats, self.collateral_sats)

    def encode(self) -> bytes:
        """101 bytes."""
        return _TERMS.pack(
            TERMS_MAGIC,
            self.config_digest,
            self.feed_id,
            self.round,
            self.kind,
            self.strike_e8,
            self.quantity_sats,
            self.collateral_sats,
        )

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """The inverse of ``encode``; EncodingError or TermsError for any other bytes."""
        _require_size("terms", data, TERMS_SIZE)
        magic, config_digest, feed_id, round_, option, *numbers = _TERMS.unpack(data)
        if magic != TERMS_MAGIC:
            raise EncodingError(f"terms begin with {magic!r}: expected {TERMS_MAGIC!r}")
        if option not in tuple(OptionKind):
            raise EncodingError(f"kind {option}: expected 1 for a call or 2 for a put")
        return cls(config_digest, feed_id, round_, OptionKind(option), *numbers)


@dataclass(frozen=True, slots=True)
class Claim:
    """A claimed payout with all it follows from. Only the form is checked: a claim may lie."""

    terms: ClaimTerms
    report: bytes
    report_hash: bytes
    payout_sats: Sats

    def __post_init__(self) -> None:
        _require_size("report", self.report, REPORT_SIZE)
        _require_size("report_hash", self.report_hash, DIGEST_SIZE)
        _require_u64("payout_sats", self.payout_sats)

    def encode(self) -> bytes:
        """The guest's input, 309 bytes."""
        return _CLAIM.pack(self.terms.encode(), self.report, self.report_hash, self.payout_sats)

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """The inverse of ``encode``; EncodingError or TermsError for any other bytes."""
        _require_size("claim", data, CLAIM_SIZE)
        terms, report, report_hash, payout = _CLAIM.unpack(data)
        return cls(ClaimTerms.decode(terms), report, report_hash, payout)


def payout_due(terms: ClaimTerms, spot_e8: PriceE8) -> Sats:
    """What the holder is due under ``terms`` at the certified price."""
    return payoff_sats(
        terms.kind, spot_e8, terms.strike_e8, terms.quantity_sats, terms.collateral_sats
    )


def _require_size(field: str, value: bytes, size: int) -> None:
    if len(value) != size:
        raise EncodingError(f"{field} has {len(value)} bytes: expected {size}")


def _require_u64(field: str, value: int) -> None:
    if not 0 <= value <= U64_MAX:
        raise EncodingError(f"{field} {value}: it must lie between 0 and 2^64 - 1")
