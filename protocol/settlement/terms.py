"""What the settlement guest takes as constant: the terms page of its image.

    TRM 165 + 32 n   "TRM1" | config_digest 32 | feed_id 32 | subject 32 | start_round u64
                     | target_round u64 | grace_rounds u32 | rule u8 | window u32 | min_rounds u32
                     | kind u8 (1 call, 2 put) | strike u64 | quantity u64 | collateral u64
                     | unit_sats u64 | payout_bits u8 | q u8 | n u8 | n x x-only key 32
    page 4096        TRM | contract_id 32 | zeros

Everything is big-endian; the digit in the magic is the version. Both parties sign for the contract
id, so neither can prove a claim on an image with other terms.
"""

from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from struct import Struct
from typing import Final, Self

from protocol.crypto.tagged import tagged_hash
from protocol.errors import EncodingError, TermsError
from protocol.options.instrument import OptionKind
from protocol.options.payoff import PAYOUT_BITS, check_payoff_terms, unit_of
from protocol.oracle.config import MAX_ORACLES, OracleConfig
from protocol.oracle.expiry import ExpirySlot, Rule
from protocol.oracle.layout import require_bytes, require_uint
from protocol.units import U32_MAX, PriceE8, Sats
from riscv_vm.guest import guest_elf
from riscv_vm.image import ProgramImage, load_elf, with_terms

TERMS_MAGIC: Final = b"TRM1"
GRACE_MIN_MS: Final = 600_000
"""One burnt or missing round must not strand a contract."""

_GUEST: Final = "settle"
_HEAD: Final = Struct(">4s32s32s32sQQIBIIBQQQQBBB")
TERMS_HEAD_SIZE: Final = _HEAD.size


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimTerms:
    """The part of a contract that decides a payout.

    ``roster`` holds the x-only keys of the configuration's oracles in its order, ``quorum`` is how
    many sign an expiry. ``grace_rounds`` behind the slot's target the end round must have come, and
    ``min_rounds`` of the rounds from start to end must be certified. EncodingError names a field
    that cannot be encoded, TermsError one that cannot be honoured.
    """

    slot: ExpirySlot
    roster: tuple[bytes, ...]
    quorum: int
    grace_rounds: int
    min_rounds: int = 1
    kind: OptionKind
    strike_e8: PriceE8
    quantity_sats: Sats
    collateral_sats: Sats
    payout_bits: int = PAYOUT_BITS

    def __post_init__(self) -> None:
        require_uint("grace_rounds", self.grace_rounds, 32)
        require_uint("min_rounds", self.min_rounds, 32)
        for field in ("strike_e8", "quantity_sats", "collateral_sats"):
            require_uint(field, getattr(self, field), 64)
        self._require_roster()
        most = self.slot.target_round - self.slot.start_round + 1
        if not 1 <= self.min_rounds <= most:
            raise TermsError(
                f"min_rounds {self.min_rounds}: it must lie between 1 and the {most} rounds from"
                " start to target"
            )
        check_payoff_terms(self.kind, self.strike_e8, self.quantity_sats, self.collateral_sats)
        unit_of(self.collateral_sats, self.payout_bits)

    def _require_roster(self) -> None:
        n = len(self.roster)
        for index, key in enumerate(self.roster):
            require_bytes(f"roster[{index}]", key, 32)
        if not 1 <= n <= MAX_ORACLES or len(set(self.roster)) != n:
            raise TermsError(f"roster: 1 to {MAX_ORACLES} different keys are needed")
        if not 1 <= self.quorum <= n:
            raise TermsError(f"quorum {self.quorum}: it must lie between 1 and the {n} oracles")

    @property
    def unit_sats(self) -> Sats:
        """The sats of one payout unit."""
        return unit_of(self.collateral_sats, self.payout_bits)

    def payout_sats(self, units: int) -> Sats:
        """The sats in ``units`` units."""
        return Sats(units * self.unit_sats)

    def encode(self) -> bytes:
        """165 bytes and 32 for each oracle."""
        slot = self.slot
        head = _HEAD.pack(
            TERMS_MAGIC,
            slot.config_digest,
            slot.feed_id,
            slot.subject,
            slot.start_round,
            slot.target_round,
            self.grace_rounds,
            slot.rule,
            slot.window,
            self.min_rounds,
            self.kind,
            self.strike_e8,
            self.quantity_sats,
            self.collateral_sats,
            self.unit_sats,
            self.payout_bits,
            self.quorum,
            len(self.roster),
        )
        return head + b"".join(self.roster)

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """The inverse of ``encode``; EncodingError or TermsError for any other bytes."""
        if len(data) < _HEAD.size:
            raise EncodingError(f"terms: {len(data)} bytes are too few")
        magic, config_digest, feed_id, subject, start, target, grace, rule, window, *rest = (
            _HEAD.unpack_from(data)
        )
        min_rounds, kind, strike, quantity, collateral, unit, bits, quorum, n = rest
        if magic != TERMS_MAGIC:
            raise EncodingError(f"terms begin with {magic!r}: expected {TERMS_MAGIC!r}")
        require_bytes(f"terms of {n} oracles", data, _HEAD.size + 32 * n)
        if rule not in tuple(Rule):
            raise EncodingError(f"rule {rule}: expected 1 for a spot or 2 for a TWAP")
        if kind not in tuple(OptionKind):
            raise EncodingError(f"kind {kind}: expected 1 for a call or 2 for a put")
        slot = ExpirySlot(
            config_digest=config_digest,
            feed_id=feed_id,
            subject=subject,
            start_round=start,
            target_round=target,
            rule=Rule(rule),
            window=window,
        )
        terms = cls(
            slot=slot,
            roster=_keys(data[_HEAD.size :]),
            quorum=quorum,
            grace_rounds=grace,
            min_rounds=min_rounds,
            kind=OptionKind(kind),
            strike_e8=strike,
            quantity_sats=quantity,
            collateral_sats=collateral,
            payout_bits=bits,
        )
        if unit != terms.unit_sats:
            raise EncodingError(
                f"unit_sats {unit}: the collateral in {bits} bits gives {terms.unit_sats}"
            )
        return terms

    def require_config(self, config: OracleConfig) -> None:
        """TermsError unless roster and digest are those of ``config``, the quorum outnumbers its
        faults and the grace lasts at least ten minutes of its rounds."""
        if self.slot.config_digest != config.digest or self.roster != config.oracles:
            raise TermsError("the terms name other oracles than this configuration")
        if self.quorum <= config.faults:
            raise TermsError(
                f"quorum {self.quorum}: with {config.faults} liars it takes {config.faults + 1}"
            )
        if self.grace_rounds < grace_rounds_min(config):
            raise TermsError(
                f"grace_rounds {self.grace_rounds}: give at least {grace_rounds_min(config)},"
                " ten minutes"
            )


def grace_rounds_min(config: OracleConfig) -> int:
    """The fewest rounds of this configuration that last ten minutes, at most 2^32 - 1."""
    return min(-(-GRACE_MIN_MS // config.interval_ms), U32_MAX)


def template_hash() -> bytes:
    """SHA-256 of the settlement guest's ELF, whose terms page is zero."""
    return sha256(guest_elf(_GUEST)).digest()


def contract_id(terms: ClaimTerms) -> bytes:
    """What names the contract: its terms and the program that judges it, 32 bytes."""
    return tagged_hash("btcfi/contract/v1", terms.encode() + template_hash())


def terms_page(terms: ClaimTerms) -> bytes:
    """The bytes that the terms page begins with (``--terms`` of the vm commands)."""
    return terms.encode() + contract_id(terms)


def settlement_image(terms: ClaimTerms) -> ProgramImage:
    """The settlement guest of this contract."""
    return with_terms(_template(), terms_page(terms))


@lru_cache(maxsize=1)
def _template() -> ProgramImage:
    return load_elf(guest_elf(_GUEST))


def _keys(data: bytes) -> tuple[bytes, ...]:
    return tuple(data[i : i + 32] for i in range(0, len(data), 32))
