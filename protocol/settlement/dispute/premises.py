"""What a contract's dispute is about: the settlement program, its input, the trace's shape."""

from protocol.dispute.leaves.said import Said
from protocol.dispute.premises import InputLayout, Premises
from protocol.oracle import expiry as exp
from protocol.oracle.layout import EXPO, ZERO32
from protocol.settlement.direction import runs
from protocol.settlement.dispute.labels import said_of
from protocol.settlement.onetime import ROOT, claim_labels, payout_label
from protocol.settlement.terms import (
    UNITS_SIZE,
    ContractTerms,
    Role,
    claim_published_from,
    claim_size,
    settlement_image,
)
from riscv_vm.image import ProgramImage


def premises_of(terms: ContractTerms, prover: Role, image: ProgramImage | None = None) -> Premises:
    """The constants of every script of ``prover``'s dispute.

    ``image``: the program that judges the claim, the settlement guest unless given.
    """
    size, published = claim_size(terms.claim.quorum), claim_published_from(terms)
    units = payout_label(terms, prover).digits
    spans = ((2 * published, 2 * size), (2 * UNITS_SIZE - units, 2 * UNITS_SIZE))
    parts = (
        sum(label.digits for label in run if label.field != ROOT) for run in runs(terms, prover)
    )
    layout = InputLayout(_fixed(terms), spans, tuple(parts))
    judge = settlement_image(terms) if image is None else image
    return Premises(judge, layout, terms.chain.log4_steps, terms.chain.width)


def published_messages(terms: ContractTerms, prover: Role) -> tuple[Said, ...]:
    """The messages that publish the input's digits: the claim's bytes, then the units."""
    *inputs, _root, payout = claim_labels(terms, prover)
    return tuple(said_of(label, prover) for label in (*inputs, payout))


def _fixed(terms: ContractTerms) -> bytes:
    """A claim with zeros wherever the terms fix nothing (protocol.settlement.claim)."""
    slot = terms.claim.slot
    message = exp.LAYOUT.pack(
        exp.MAGIC,
        *(slot.config_digest, slot.feed_id, slot.subject, slot.start_round, slot.target_round),
        *(0, 0, 0, 0, 0, EXPO, slot.rule, slot.window, ZERO32),
    )
    size, published = claim_size(terms.claim.quorum), claim_published_from(terms)
    return (bytes(UNITS_SIZE) + message)[:published] + bytes(size - published)
