"""The settlement guest with a claim, as a dispute about it begins."""

from dataclasses import replace
from functools import lru_cache

from protocol.dispute.premises import InputLayout, Premises
from protocol.settlement.terms import claim_published_from, settlement_image
from tests.builders.claims import claim_at
from tests.builders.terms import contract_terms

LOG4 = 12
TX_DIGITS = 2 * 160


@lru_cache(maxsize=2)
def guest_claim(units_too_many: int = 1) -> tuple[InputLayout, bytes]:
    """The layout of a claim and the claim itself; one of too many units ends in a trap."""
    terms = contract_terms()
    true = claim_at(terms)
    data = replace(true, units=true.units + units_too_many).encode()
    units = terms.claim.payout_bits // 4
    spans = ((2 * claim_published_from(terms), 2 * len(data)), (8 - units, 8))
    fixed = bytearray(data)
    for start, end in spans:
        fixed[start // 2 : end // 2] = bytes(end // 2 - start // 2)
    size = sum(end - start for start, end in spans)
    parts = (*(TX_DIGITS,) * (size // TX_DIGITS), size % TX_DIGITS)
    return InputLayout(bytes(fixed), spans, parts), data


@lru_cache(maxsize=4)
def guest_premises(width: int, log4_steps: int = LOG4) -> Premises:
    """The premises of a dispute about it."""
    return Premises(settlement_image(contract_terms()), guest_claim()[0], log4_steps, width)
