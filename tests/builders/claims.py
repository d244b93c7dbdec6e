"""Claims for the settlement guest: an honest one over the published report, and its offsets.

The report is ``native_kat`` of tests/vectors/oracle_dlc.json (known answers of oracle.md 4.2).
"""

import json
import struct
from pathlib import Path

from protocol.crypto.tagged import tagged_hash
from protocol.options.instrument import OptionKind
from protocol.options.payoff import payoff_sats
from protocol.settlement.claim import TERMS_SIZE, Claim, ClaimTerms
from protocol.units import E8, PriceE8, Round, Sats

VECTORS = Path(__file__).parents[1] / "vectors"
_KAT = json.loads((VECTORS / "oracle_dlc.json").read_text())["native_kat"]

REPORT = bytes.fromhex(_KAT["report_full"]["bytes"])
REPORT_HASH = bytes.fromhex(_KAT["report_full"]["msg"])
CONFIG_DIGEST = bytes.fromhex(_KAT["config_digest"])
FEED_ID = bytes.fromhex(_KAT["feed_id"])
ROUND = Round(_KAT["round_id"])
SPOT_E8 = PriceE8(_KAT["report_full"]["price_e8"])

# Offsets of the fields in a claim: the terms, the report behind them, hash and payout.
T_MAGIC, T_CONFIG, T_FEED, T_ROUND, T_OPTION = 0, 4, 36, 68, 76
T_STRIKE, T_QUANTITY, T_COLLATERAL = 77, 85, 93
R_MAGIC = TERMS_SIZE
R_CONFIG, R_FEED, R_ROUND = R_MAGIC + 4, R_MAGIC + 36, R_MAGIC + 68
R_PRICE, R_CONF, R_EXPO, R_GRADE, R_TIME = (R_MAGIC + offset for offset in (76, 84, 92, 93, 96))
C_HASH, C_PAYOUT = 269, 301


def claim_terms(
    kind: OptionKind = OptionKind.CALL,
    strike_e8: int = 50_000 * E8,
    quantity_sats: int = E8,
    collateral_sats: int = E8,
) -> ClaimTerms:
    """Terms on the published report's oracles, feed and round."""
    return ClaimTerms(
        config_digest=CONFIG_DIGEST,
        feed_id=FEED_ID,
        round=ROUND,
        kind=kind,
        strike_e8=PriceE8(strike_e8),
        quantity_sats=Sats(quantity_sats),
        collateral_sats=Sats(collateral_sats),
    )


def report_at(spot_e8: int) -> bytes:
    """The published report with another price."""
    return REPORT[:76] + struct.pack(">Q", spot_e8) + REPORT[84:]


def honest_claim(terms: ClaimTerms, spot_e8: int = SPOT_E8) -> Claim:
    """The right claim for these terms when the oracles certify ``spot_e8``."""
    report = report_at(spot_e8)
    payout = payoff_sats(
        terms.kind, PriceE8(spot_e8), terms.strike_e8, terms.quantity_sats, terms.collateral_sats
    )
    return Claim(terms, report, tagged_hash("btcfi/oracle/report/v1", report), payout)


def patched(data: bytes, offset: int, new: bytes) -> bytes:
    """``data`` with ``new`` written over it at ``offset``."""
    return data[:offset] + new + data[offset + len(new) :]


def rehashed(claim: bytes) -> bytes:
    """A claim whose report hash was made to fit its report again."""
    report = claim[R_MAGIC:C_HASH]
    return patched(claim, C_HASH, tagged_hash("btcfi/oracle/report/v1", report))
