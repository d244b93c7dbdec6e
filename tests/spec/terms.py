"""Known answers of terms and claims: bytes, ids, the terms page, what a prover publishes."""

from typing import Any

from protocol.settlement.dispute.premises import premises_of
from protocol.settlement.onetime import claim_digits
from protocol.settlement.terms import (
    ContractTerms,
    Role,
    claim_published_from,
    claim_size,
    contract_id,
    settlement_image,
    steps_max,
    template_hash,
    terms_page,
)
from riscv_vm.prove import Execution, prove
from tests.spec import fixed


def answers() -> dict[str, Any]:
    return {
        "about": "docs/spec/terms.md",
        "template_hash": template_hash().hex(),
        "contracts": [
            _contract(name, terms)
            for name, terms in (
                ("european", fixed.terms()),
                ("european, wide hashes", fixed.terms(32)),
                ("american", fixed.american()),
            )
        ],
        "claims": [
            _claim("european", fixed.terms()),
            _claim("american", fixed.american()),
        ],
    }


def _contract(name: str, terms: ContractTerms) -> dict[str, Any]:
    chain = terms.chain
    return {
        "name": name,
        "terms": terms.encode().hex(),
        "contract_id": contract_id(terms).hex(),
        "page_bytes": len(terms_page(terms)),
        "image_hash": settlement_image(terms).hash.hex(),
        "claim_size": claim_size(terms.claim.quorum),
        "published_from": claim_published_from(terms),
        "steps_max": steps_max(terms.claim.quorum),
        "unit_sats": terms.claim.unit_sats,
        "windows": [chain.move_window, chain.challenge_window, chain.sweep_delay],
        "dust_sats": [terms.party(role).dust_sats for role in Role],
    }


def _claim(name: str, terms: ContractTerms) -> dict[str, Any]:
    """A right claim, its trace, and what its prover signs."""
    data = fixed.claim(terms).encode()
    chain = terms.chain
    trace = prove(
        Execution(settlement_image(terms), data, log4_steps=chain.log4_steps, width=chain.width)
    )
    premises = premises_of(terms, Role.HOLDER)
    digits = claim_digits(terms, Role.HOLDER, data, trace.root)
    return {
        "name": name,
        "claim": data.hex(),
        "fixed": premises.layout.fixed.hex(),
        "spans": premises.layout.spans,
        "parts": premises.layout.parts,
        "steps": trace.outcome.steps,
        "end": trace.outcome.end,
        "root": trace.root.hex(),
        "messages": [
            [label.field, label.round, "".join(f"{digit:x}" for digit in message)]
            for label, message in digits.items()
        ],
    }
