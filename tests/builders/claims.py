"""Expiries and claims for the settlement guest, and the offsets of their fields.

Keys and price are ``native_kat`` of tests/vectors/oracle_dlc.json.
"""

from functools import lru_cache
from typing import Any

from protocol.crypto.keys import SecretKey
from protocol.crypto.tagged import tagged_hash
from protocol.oracle.expiry import Expiry, ExpiryCertificate
from protocol.settlement.claim import Claim, claim_of
from protocol.settlement.terms import ContractTerms
from protocol.units import PriceE8
from tests.builders.terms import KAT

KEYS = tuple(SecretKey(bytes.fromhex(secret)) for secret in KAT["seckeys"])
SPOT_E8 = PriceE8(KAT["report_full"]["price_e8"])
REPORT_HASH = bytes.fromhex(KAT["report_full"]["msg"])
AUX = bytes(32)

# Offsets in the terms page.
T_MAGIC, T_HOLDER, T_EXPIRY, T_SIZE = 0, 4, 36, 44
T_CONFIG, T_FEED, T_START, T_GRACE, T_RULE, T_WINDOW = 46, 78, 110, 118, 122, 123
T_MIN_ROUNDS, T_AMERICAN, T_KIND, T_BINARY, T_BARRIER = 127, 131, 132, 133, 134
T_LEVEL, T_STRIKE, T_QUANTITY, T_COLLATERAL, T_UNIT = 135, 143, 151, 159, 167
T_BITS, T_QUORUM, T_ORACLES, T_KEYS = 175, 176, 177, 178
# Offsets in a claim: the units, the expiry behind them, then the signatures.
C_UNITS = 0
E_MAGIC, E_CONFIG, E_FEED, E_SUBJECT, E_START, E_TARGET = 4, 8, 40, 72, 104, 112
E_END, E_PRICE, E_HIGH, E_LOW, E_ROUNDS = 120, 128, 136, 144, 152
E_EXPO, E_RULE, E_WINDOW, E_REPORT = 156, 157, 158, 162
C_SIGNATURES, ENTRY = 194, 65


def expiry_at(
    terms: ContractTerms,
    price_e8: int = SPOT_E8,
    *,
    exercise_round: int | None = None,
    **changes: Any,
) -> Expiry:
    """An expiry that the terms accept, of an American contract in ``exercise_round``."""
    slot = terms.expiry_slot(exercise_round)
    fields: dict[str, Any] = {
        "slot": slot,
        "end_round": slot.target_round,
        "price_e8": price_e8,
        "high_e8": price_e8,
        "low_e8": price_e8,
        "rounds": terms.claim.min_rounds,
        "report_hash": REPORT_HASH,
    }
    return Expiry(**(fields | changes))


@lru_cache(maxsize=512)
def sign(oracle: int, expiry: bytes) -> bytes:
    """The oracle's signature of any 190 bytes as an expiry."""
    return KEYS[oracle].sign(tagged_hash("btcfi/oracle/expiry/v1", expiry), AUX)


def certify(expiry: Expiry, signers: tuple[int, ...] = (0, 1)) -> ExpiryCertificate:
    return ExpiryCertificate(expiry, tuple((i, sign(i, expiry.encode())) for i in signers))


def claim_at(
    terms: ContractTerms,
    price_e8: int = SPOT_E8,
    signers: tuple[int, ...] | None = None,
    **changes: Any,
) -> Claim:
    """The right claim for these terms when the oracles certify ``price_e8``, by default as many as
    it takes."""
    signers = tuple(range(terms.claim.quorum)) if signers is None else signers
    return claim_of(terms, certify(expiry_at(terms, price_e8, **changes), signers))


def patched(data: bytes, offset: int, new: bytes) -> bytes:
    """``data`` with ``new`` written over it at ``offset``."""
    return data[:offset] + new + data[offset + len(new) :]


def signed_again(claim: bytes) -> bytes:
    """A claim whose signers, whatever it says now, signed it."""
    expiry = claim[E_MAGIC:C_SIGNATURES]
    entries = range(C_SIGNATURES, len(claim), ENTRY)
    return claim[:C_SIGNATURES] + b"".join(
        claim[i : i + 1] + sign(claim[i], expiry) for i in entries
    )
