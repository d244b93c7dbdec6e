"""What a certificate settles, and whether a claim on the chain is true."""

from collections.abc import Mapping

from protocol.crypto import keys
from protocol.crypto.winternitz import Label
from protocol.errors import ProtocolError, QuorumError, SignatureError
from protocol.oracle import expiry as exp
from protocol.oracle.expiry import ExpiryCertificate
from protocol.settlement.claim import failed_check, payout_units
from protocol.settlement.onetime import Published, SignedMessage, published_claim
from protocol.settlement.terms import UNITS_SIZE, ContractTerms, Role, claim_published_from


def require_certificate(terms: ContractTerms, certificate: ExpiryCertificate) -> None:
    """Returns if exactly a quorum of the terms' oracles signed an expiry of this contract.

    TermsError, QuorumError or SignatureError say what is wrong.
    """
    payout_units(terms, certificate.expiry)
    if len(certificate.signatures) != terms.claim.quorum:
        raise QuorumError(
            f"certificate: {len(certificate.signatures)} signatures, the terms want exactly"
            f" {terms.claim.quorum}"
        )
    roster, digest = terms.claim.roster, certificate.expiry.hash
    for index, signature in certificate.signatures:
        if index >= len(roster) or not keys.verify(roster[index], digest, signature):
            raise SignatureError(f"certificate: the signature of oracle {index} is wrong")


def claim_fault(terms: ContractTerms, prover: Role, messages: Mapping[Label, SignedMessage]) -> str:
    """Why the claim that ``prover`` revealed is false; empty if it is true.

    What the terms fix is put in front of what was revealed, so that this is the guest's whole
    input: who watches needs no certificate of its own.
    """
    digits = {label: message.digits for label, message in messages.items()}
    try:
        published = published_claim(terms, prover, digits)
        failed = failed_check(terms, _input(terms, published))
    except ProtocolError as error:  # no claim at all, whatever it was meant to be
        return f"the {prover.value}'s claim is malformed: {error}"
    return "" if failed is None else f"the {prover.value}'s claim fails {failed.name}"


def _input(terms: ContractTerms, published: Published) -> bytes:
    slot = terms.claim.slot
    fixed = exp.MAGIC + slot.config_digest + slot.feed_id + slot.subject
    fixed += slot.start_round.to_bytes(8) + slot.target_round.to_bytes(8)
    head = published.units.to_bytes(UNITS_SIZE)
    return (head + fixed)[: claim_published_from(terms)] + published.input
