"""Contracts, expiries and claims for the settlement guest, and the offsets of their fields.

Configuration, feed and keys are ``native_kat`` of tests/vectors/oracle_dlc.json.
"""

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

from protocol.crypto.keys import SecretKey
from protocol.crypto.tagged import tagged_hash
from protocol.options.instrument import OptionKind
from protocol.oracle.config import OracleConfig
from protocol.oracle.expiry import Expiry, ExpiryCertificate, ExpirySlot
from protocol.settlement.claim import Claim, claim_of
from protocol.settlement.terms import ClaimTerms
from protocol.units import E8, PriceE8, Sats

VECTORS = Path(__file__).parents[1] / "vectors"
_KAT = json.loads((VECTORS / "oracle_dlc.json").read_text())["native_kat"]

CONFIG = OracleConfig.decode(bytes.fromhex(_KAT["config_bytes"]))
KEYS = tuple(SecretKey(bytes.fromhex(secret)) for secret in _KAT["seckeys"])
FEED_ID = bytes.fromhex(_KAT["feed_id"])
ROUND = _KAT["round_id"]
SPOT_E8 = PriceE8(_KAT["report_full"]["price_e8"])
REPORT_HASH = bytes.fromhex(_KAT["report_full"]["msg"])
AUX = bytes(32)

# Offsets in the terms page.
T_MAGIC, T_CONFIG, T_FEED, T_SUBJECT, T_START, T_TARGET = 0, 4, 36, 68, 100, 108
T_GRACE, T_RULE, T_WINDOW, T_MIN_ROUNDS, T_KIND = 116, 120, 121, 125, 129
T_STRIKE, T_QUANTITY, T_COLLATERAL, T_UNIT = 130, 138, 146, 154
T_BITS, T_QUORUM, T_ORACLES, T_KEYS = 162, 163, 164, 165
# Offsets in a claim: the units, the expiry behind them, then the signatures.
C_UNITS = 0
E_MAGIC, E_CONFIG, E_FEED, E_SUBJECT, E_START, E_TARGET = 4, 8, 40, 72, 104, 112
E_END, E_PRICE, E_HIGH, E_LOW, E_ROUNDS = 120, 128, 136, 144, 152
E_EXPO, E_RULE, E_WINDOW, E_REPORT = 156, 157, 158, 162
C_SIGNATURES, ENTRY = 194, 65


def claim_terms(
    kind: OptionKind = OptionKind.CALL,
    strike_e8: int = 50_000 * E8,
    quantity_sats: int = E8,
    collateral_sats: int = E8,
    **changes: Any,
) -> ClaimTerms:
    """Terms on the published oracles, feed and round: ten rounds, of which four are enough."""
    fields: dict[str, Any] = {
        "slot": ExpirySlot(
            config_digest=CONFIG.digest,
            feed_id=FEED_ID,
            start_round=ROUND - 9,
            target_round=ROUND,
        ),
        "roster": CONFIG.oracles,
        "quorum": CONFIG.quorum,
        "grace_rounds": 20,
        "min_rounds": 4,
        "kind": kind,
        "strike_e8": PriceE8(strike_e8),
        "quantity_sats": Sats(quantity_sats),
        "collateral_sats": Sats(collateral_sats),
    }
    return ClaimTerms(**(fields | changes))


def expiry_at(terms: ClaimTerms, price_e8: int = SPOT_E8, **changes: Any) -> Expiry:
    """An expiry that the terms accept."""
    fields: dict[str, Any] = {
        "slot": terms.slot,
        "end_round": terms.slot.target_round,
        "price_e8": price_e8,
        "high_e8": price_e8,
        "low_e8": price_e8,
        "rounds": terms.min_rounds,
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
    terms: ClaimTerms, price_e8: int = SPOT_E8, signers: tuple[int, ...] = (0, 1), **changes: Any
) -> Claim:
    """The right claim for these terms when the oracles certify ``price_e8``."""
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
