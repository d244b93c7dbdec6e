"""Anchors on the chain: making one of a certificate history, and checking one against what it
should commit to."""

import secrets
from dataclasses import dataclass
from typing import Any

from actors.config import Chain, Wallet
from actors.history import AnyCertificate, History, decode_certificate
from actors.party_prover import prove_claim
from protocol.bitcoin.tx import hash_hex, txout
from protocol.errors import ChainError, EncodingError
from protocol.settlement.anchor import (
    Anchor,
    ClaimAnchor,
    HeadAnchor,
    anchor_in,
    anchor_script,
)
from protocol.settlement.claim import Claim
from protocol.settlement.terms import ContractTerms


@dataclass(frozen=True, slots=True)
class Anchored:
    """An anchor and where the chain holds it; ``height`` is None in the mempool."""

    anchor: Anchor
    txid: bytes
    height: int | None
    depth: int

    @property
    def place(self) -> dict[str, Any]:
        """Where it is, for JSON."""
        return {"txid": hash_hex(self.txid), "height": self.height, "depth": self.depth}


def find_anchor(chain: Chain, txid: bytes, least_depth: int = 1) -> Anchored:
    """The anchor of a transaction. ChainError if the chain does not hold it, ``least_depth`` blocks
    deep; EncodingError if it carries none."""
    found = chain.tx(txid)
    if found is None:
        raise ChainError(f"{hash_hex(txid)}: this chain has no such transaction")
    depth = 0 if found.block is None else chain.height - found.block.height + 1
    if depth < least_depth:
        raise ChainError(
            f"{hash_hex(txid)}: {depth} blocks deep, {least_depth} are asked for; wait, or lower"
            " --depth"
        )
    height = None if found.block is None else found.block.height
    return Anchored(anchor_in(found.tx), txid, height, depth)


def require_claim(found: Anchored, terms: ContractTerms, claim: Claim) -> bytes:
    """The root that the anchor commits to together with the claim's report, by running the
    program of the contract again. EncodingError if it commits to something else, TermsError if
    the program refuses the claim."""
    if not isinstance(found.anchor, ClaimAnchor):
        raise EncodingError("this anchor is a head of a certificate history: give --history")
    root = prove_claim(terms, claim)
    if found.anchor != ClaimAnchor.of(root, claim.certificate.expiry.report_hash):
        raise EncodingError(
            f"the anchor is not of this contract and claim, whose trace has root {root.hex()}"
        )
    return root


def require_head(found: Anchored, history: History) -> AnyCertificate:
    """The certificate that the anchor commits to, if this history holds it and its quorum signed
    it. EncodingError if another one is there, or none."""
    anchor = found.anchor
    if not isinstance(anchor, HeadAnchor):
        raise EncodingError("this anchor is of a claim: give the claim and its --contract")
    there = certificates_of(history, anchor.round)
    for certificate in there:
        if HeadAnchor.of(anchor.round, certificate.hash) == anchor:
            certificate.check(history.configs[certificate.report.config_digest])
            return certificate
    held = f"{len(there)} other certificates" if there else "no certificate"
    raise EncodingError(f"round {anchor.round}: the history holds {held}, not the anchored one")


def certificates_of(history: History, round_id: int) -> tuple[AnyCertificate, ...]:
    """Those of one round: one, unless somebody signed two."""
    after = map(decode_certificate, history.after(round_id - 1))
    return tuple(certificate for certificate in after if certificate.round == round_id)


def anchor_head(
    chain: Chain, wallet: Wallet, history: History, feerate_sat_vb: int
) -> tuple[HeadAnchor, bytes]:
    """Broadcast a payment that carries the newest certificate of the history; the anchor and the
    txid. EncodingError if there is none, ChainError if the wallet cannot pay or the node refuses.
    """
    newest = history.last()
    if newest is None:
        raise EncodingError(f"{history.path}: no certificate in it, nothing to anchor")
    anchor = HeadAnchor.of(newest.round, newest.hash)
    output = txout(0, anchor_script(anchor))
    tx = wallet.pay([output], secrets.token_bytes(32), feerate_sat_vb=feerate_sat_vb)
    return anchor, chain.broadcast(tx)
