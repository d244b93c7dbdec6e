"""The one contract that all known answers are about, and its variations."""

from functools import lru_cache

from protocol.bitcoin.tx import outpoint
from protocol.settlement.claim import Claim
from protocol.settlement.contract import Contract
from protocol.settlement.graph import Graph
from protocol.settlement.terms import ContractTerms
from tests.builders.claims import claim_at
from tests.builders.contracts import contract_of, contract_terms
from tests.builders.terms import AMERICAN, claim_terms

PRICE_E8 = 70_000 * 10**8
SEEDS = {"holder": b"\x48" * 32, "writer": b"\x57" * 32}
"""Of the parties' keys: those of tests.builders.contracts."""
FUND = outpoint(b"\x07" * 32, 0)
BOND_SATS = 600_000


def terms(width: int = 20) -> ContractTerms:
    """A call on one bitcoin; fee rates of 2 and windows of a few blocks."""
    return contract_terms(claim_terms(), bond_sats=BOND_SATS, width=width)


def american() -> ContractTerms:
    return contract_terms(claim_terms(**AMERICAN), bond_sats=BOND_SATS)


def claim(about: ContractTerms) -> Claim:
    """The right one where the oracles certify ``PRICE_E8``."""
    settled = about.claim.first_round if about.claim.is_american else None
    return claim_at(about, PRICE_E8, exercise_round=settled)


@lru_cache(maxsize=2)
def graph(width: int = 20) -> Graph:
    return Graph.of(contract(width), FUND)


def contract(width: int = 20) -> Contract:
    return contract_of(terms(width))
