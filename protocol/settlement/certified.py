"""Whether a certificate settles a contract."""

from protocol.crypto import keys
from protocol.errors import QuorumError, SignatureError
from protocol.oracle.expiry import ExpiryCertificate
from protocol.settlement.claim import payout_units
from protocol.settlement.terms import ContractTerms


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
