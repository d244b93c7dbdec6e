"""Two signatures of different texts with one nonce: proof against the oracle, and its key.

    s = k + e d   =>   d = (s_a - s_b) / (e_a - e_b) mod n

Unlike the evidence of ``protocol.oracle.evidence`` this one needs no judge: from then on anybody
can sign as this oracle, so nobody may trust the key any more.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from protocol.crypto import keys
from protocol.crypto.keys import CURVE_ORDER, SecretKey, challenge
from protocol.errors import SignatureError
from protocol.oracle.dlc.attestation import Attestation, outcome_digest


@dataclass(frozen=True, slots=True)
class DoubleSignature:
    """Two texts of outcomes and the signatures by ``public``. It convicts nobody until
    ``check``."""

    public: bytes
    outcome_a: str
    signature_a: bytes
    outcome_b: str
    signature_b: bytes

    def check(self) -> None:
        """SignatureError unless both verify, with one nonce and over different texts."""
        if self.outcome_a == self.outcome_b:
            raise SignatureError("evidence: the same outcome twice; that is no lie")
        if self.signature_a[:32] != self.signature_b[:32]:
            raise SignatureError("evidence: the signatures have different nonces")
        for name, outcome, signature in (
            ("a", self.outcome_a, self.signature_a),
            ("b", self.outcome_b, self.signature_b),
        ):
            if not keys.verify(self.public, outcome_digest(outcome), signature):
                raise SignatureError(f"evidence: signature {name} does not verify")

    def secret_key(self) -> SecretKey:
        """The key of ``public``, which ``check`` says is here for everybody to compute."""
        self.check()
        nonce = self.signature_a[:32]
        e_a, e_b = (
            challenge(nonce, self.public, outcome_digest(outcome))
            for outcome in (self.outcome_a, self.outcome_b)
        )
        s_a, s_b = (int.from_bytes(s[32:]) for s in (self.signature_a, self.signature_b))
        secret = (s_a - s_b) * pow(e_a - e_b, -1, CURVE_ORDER) % CURVE_ORDER
        found = SecretKey(secret.to_bytes(32))
        if found.public != self.public:
            raise SignatureError("evidence: the signatures do not give the key")
        return found


def of_attestations(a: Attestation, b: Attestation) -> tuple[DoubleSignature, ...]:
    """Every pair of signatures in the two that reveals the key; none if they are honest. Of one
    event or of two: a nonce is used once in an oracle's life."""
    return tuple(_pairs(a, b)) if a.public == b.public else ()


def _pairs(a: Attestation, b: Attestation) -> Iterator[DoubleSignature]:
    theirs = {s[:32]: (o, s) for s, o in zip(b.signatures, b.outcomes, strict=True)}
    for signature, outcome in zip(a.signatures, a.outcomes, strict=True):
        other = theirs.get(signature[:32])
        if other is None or other[0] == outcome:
            continue
        pair = DoubleSignature(a.public, outcome, signature, *other)
        try:
            pair.check()
        except SignatureError:
            continue
        yield pair
