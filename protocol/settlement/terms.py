"""The terms of a contract between two parties, and the program that judges its claims.

    TRM    "TRM2" | holder's key 32 | expiry_round u64 | size of TRM u16
           | claim (claim_terms) | holder without key (party_terms) | writer (party_terms)
           | chain (chain_terms)
    page   TRM | contract_id 32 | zeros, 4096 bytes

Everything is big-endian; the digit in the magic is the version. An oracle reads the first two
fields (protocol.oracle.exercise), the settlement guest the claim and, for an American contract, the
contract id. Both parties sign for the contract id, so neither can prove a claim on an image with
other terms.
"""

from dataclasses import dataclass, replace
from functools import lru_cache
from hashlib import sha256
from struct import Struct
from typing import Final, Self

from protocol.bitcoin.tx import MAX_MONEY_SATS
from protocol.crypto.tagged import tagged_hash
from protocol.errors import EncodingError, TermsError
from protocol.oracle import expiry as exp
from protocol.oracle import signatures as sigs
from protocol.oracle.expiry import ExpirySlot, exercise_subject
from protocol.settlement.chain_terms import ChainTerms
from protocol.settlement.claim_terms import ClaimTerms, grace_rounds_min
from protocol.settlement.cursor import Cursor
from protocol.settlement.party_terms import PartyTerms, Role
from riscv_vm.guest import guest_elf
from riscv_vm.image import ProgramImage, load_elf, with_terms

__all__ = [
    "ChainTerms",
    "ClaimTerms",
    "ContractTerms",
    "PartyTerms",
    "Role",
    "claim_published_from",
    "claim_size",
    "contract_id",
    "grace_rounds_min",
    "settlement_image",
    "settlement_template",
    "steps_max",
    "template_hash",
    "terms_page",
]

TERMS_MAGIC: Final = b"TRM2"
SETTLEMENT_GUEST: Final = "settle"
"""The committed program that judges claims (riscv_vm.guest)."""
UNITS_SIZE: Final = 4
"""A claim begins with its units (protocol.settlement.claim)."""
MESSAGE_BYTES: Final = 32
"""A prover reveals its claim in messages of this size, the last one shorter."""
MESSAGES_PER_TX: Final = 5
"""At most, in one transaction."""

_SUBJECT_AT: Final = UNITS_SIZE + 4 + 32 + 32
_END_AT: Final = _SUBJECT_AT + 32 + 8 + 8
_HEAD: Final = Struct(">4s32sQH")
_GUEST_STEPS: Final = 50_000
_SIGNATURE_STEPS: Final = 1_800_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ContractTerms:
    """Everything that the parties agree on, once and in full. TermsError names what cannot be
    honoured: a key that is used twice, an amount that is too small or too large, a trace that is
    too short. Whether the bonds cover the transactions is asked of those (``Contract``)."""

    claim: ClaimTerms
    holder: PartyTerms
    writer: PartyTerms
    chain: ChainTerms

    def __post_init__(self) -> None:
        keys = (*self.holder.keys, *self.writer.keys, *self.claim.roster)
        if len(set(keys)) != len(keys):
            raise TermsError("key: one is used twice; each role of each party needs its own")
        self._require_money()
        steps = steps_max(self.claim.quorum)
        if 4**self.chain.log4_steps < steps:
            raise TermsError(
                f"log4_steps {self.chain.log4_steps}: the settlement program takes up to {steps}"
                f" steps with {self.claim.quorum} signatures"
            )

    def _require_money(self) -> None:
        chain = self.chain
        if self.claim.collateral_sats > MAX_MONEY_SATS // 2:
            raise TermsError(
                f"collateral_sats {self.claim.collateral_sats}: above half of all money"
            )
        if 0 < chain.premium_sats < self.writer.dust_sats:
            raise TermsError(
                f"premium_sats {chain.premium_sats}: write 0, or at least {self.writer.dust_sats},"
                " the dust limit"
            )

    def party(self, role: Role) -> PartyTerms:
        """What this side brings."""
        return self.holder if role is Role.HOLDER else self.writer

    @property
    def expiry_round(self) -> int:
        """The round that settles the contract; of an American one the last that can."""
        return self.claim.slot.target_round

    def expiry_slot(self, exercise_round: int | None = None) -> ExpirySlot:
        """What the oracles sign for this contract. An American one is settled in the round that it
        was exercised in, None for the expiry round; TermsError for a round that it cannot be."""
        slot = self.claim.slot
        settled = self.expiry_round if exercise_round is None else exercise_round
        if not self.claim.is_american:
            if settled != self.expiry_round:
                raise TermsError(f"exercise_round {settled}: a European option has none")
            return slot
        if not self.claim.first_round <= settled <= self.expiry_round:
            raise TermsError(
                f"exercise_round {settled}: it must lie between {self.claim.first_round} and the"
                f" expiry round {self.expiry_round}"
            )
        subject = exercise_subject(contract_id(self), settled)
        return replace(slot, target_round=settled, subject=subject)

    def encode(self) -> bytes:
        """The ``TRM2`` bytes: fewer than 1,000."""
        parts = self.claim.encode(), self.holder.encode()[32:], self.writer.encode()
        body = b"".join(parts) + self.chain.encode()
        size = _HEAD.size + len(body)
        return _HEAD.pack(TERMS_MAGIC, self.holder.key, self.expiry_round, size) + body

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """The inverse of ``encode``; EncodingError or TermsError for any other bytes."""
        cursor = Cursor("terms", data)
        magic, holder_key, expiry_round, size = cursor.read(_HEAD)
        if magic != TERMS_MAGIC:
            raise EncodingError(f"terms begin with {magic!r}: expected {TERMS_MAGIC!r}")
        if size != len(data):
            raise EncodingError(f"terms: {len(data)} bytes, they say that they have {size}")
        terms = cls(
            claim=ClaimTerms.read(cursor, expiry_round),
            holder=_read_party(cursor, Role.HOLDER, holder_key),
            writer=_read_party(cursor, Role.WRITER),
            chain=ChainTerms.read(cursor),
        )
        cursor.end()
        return terms


def claim_size(quorum: int) -> int:
    """The bytes of a claim with ``quorum`` signatures."""
    return UNITS_SIZE + exp.SIZE + quorum * sigs.ENTRY


def claim_published_from(terms: ContractTerms) -> int:
    """Where the bytes of a claim begin that the terms do not fix: its end round, or the subject of
    an American contract. Only what is behind it must be revealed; the units are the payout."""
    return _SUBJECT_AT if terms.claim.is_american else _END_AT


def steps_max(quorum: int) -> int:
    """The settlement program takes fewer steps than this on any claim."""
    return _GUEST_STEPS + quorum * _SIGNATURE_STEPS


@lru_cache(maxsize=1)
def template_hash() -> bytes:
    """SHA-256 of the settlement guest's ELF, whose terms page is zero."""
    return sha256(guest_elf(SETTLEMENT_GUEST)).digest()


@lru_cache(maxsize=16)
def contract_id(terms: ContractTerms) -> bytes:
    """What names the contract: its terms and the program that judges it, 32 bytes."""
    return tagged_hash("btcfi/contract/v1", terms.encode() + template_hash())


def terms_page(terms: ContractTerms) -> bytes:
    """The bytes that the terms page begins with (``--terms`` of the vm commands)."""
    return terms.encode() + contract_id(terms)


def settlement_image(terms: ContractTerms) -> ProgramImage:
    """The settlement guest of this contract."""
    return with_terms(settlement_template(), terms_page(terms))


@lru_cache(maxsize=1)
def settlement_template() -> ProgramImage:
    """The settlement guest before it has terms."""
    return load_elf(guest_elf(SETTLEMENT_GUEST))


def _read_party(cursor: Cursor, role: Role, key: bytes | None = None) -> PartyTerms:
    try:
        return PartyTerms.read(cursor, key)
    except TermsError as error:
        raise TermsError(f"{role.value} {error}") from None
