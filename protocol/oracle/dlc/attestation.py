"""The signatures of an outcome, each with the nonce that was announced for it.

    55400 attestation   event_id text | public key 32 | nb u16 | nb x signature 64 | nb x text

A signature is BIP340 over the tagged hash of the bare text of its digit. It is no BIP340 signature
that anybody else could have made: its nonce is fixed, so two of them with one nonce reveal the key.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, Self

from protocol.crypto import keys
from protocol.crypto.keys import SecretKey
from protocol.crypto.tagged import tagged_hash
from protocol.errors import EncodingError, SignatureError
from protocol.oracle.dlc.announcement import Announcement
from protocol.oracle.dlc.nonce import nonce_keys
from protocol.oracle.dlc.tlv import Reader, require_text, text, tlv
from protocol.oracle.layout import require_bytes

ATTESTATION: Final = 55400
TAG: Final = "DLC/oracle/attestation/v0"


def outcome_digest(outcome: str) -> bytes:
    """The 32 bytes that are signed for one text of an outcome."""
    return tagged_hash(TAG, outcome.encode())


@dataclass(frozen=True, slots=True)
class Attestation:
    """One signature for each text of ``outcomes``; EncodingError otherwise. It proves nothing until
    ``check``."""

    event_id: str
    public: bytes
    signatures: tuple[bytes, ...]
    outcomes: tuple[str, ...]

    def __post_init__(self) -> None:
        require_text("attestation event_id", self.event_id)
        require_bytes("attestation public key", self.public, 32)
        if not self.signatures or len(self.signatures) != len(self.outcomes):
            raise EncodingError(
                f"attestation: {len(self.signatures)} signatures of {len(self.outcomes)} outcomes"
            )
        for place, signature in enumerate(self.signatures):
            require_bytes(f"attestation signature {place}", signature, 64)
        for outcome in self.outcomes:
            require_text("attestation outcome", outcome)

    def encode(self) -> bytes:
        """The TLV."""
        return tlv(
            ATTESTATION,
            text(self.event_id)
            + self.public
            + len(self.signatures).to_bytes(2)
            + b"".join(self.signatures)
            + b"".join(map(text, self.outcomes)),
        )

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """The attestation of exactly these bytes; EncodingError names the field that is wrong."""
        fields = Reader.of("attestation", ATTESTATION, data)
        event_id, public = fields.text("event_id"), fields.take("public key", 32)
        count = fields.uint("nb_sigs", 2)
        signatures = tuple(fields.take("signatures", 64) for _ in range(count))
        outcomes = tuple(fields.text("outcome") for _ in range(count))
        fields.end()
        return cls(event_id, public, signatures, outcomes)

    def check(self, announcement: Announcement, legacy: bool = False) -> None:
        """Returns if this attests a possible outcome of the announced event with the announced key
        and nonces. The announcement has been checked. EncodingError or SignatureError otherwise;
        ``legacy`` also takes signatures of SHA-256 of the text."""
        event = announcement.event
        if self.event_id != event.event_id:
            raise SignatureError(f"attestation: of event {self.event_id!r}, not {event.event_id!r}")
        if self.public != announcement.public:
            raise SignatureError("attestation: by another key than the announcement")
        event.descriptor.require(self.outcomes)
        for place, (nonce, signature) in enumerate(zip(event.nonces, self.signatures, strict=True)):
            if signature[:32] != nonce:
                raise SignatureError(f"attestation signature {place}: not with the announced nonce")
        self.check_signatures(legacy)

    def check_signatures(self, legacy: bool = False) -> None:
        """SignatureError unless each signature is the key's, of its text; with any nonce."""
        for place, (signature, outcome) in enumerate(
            zip(self.signatures, self.outcomes, strict=True)
        ):
            if keys.verify(self.public, outcome_digest(outcome), signature):
                continue
            digest = sha256(outcome.encode()).digest()
            if not (legacy and keys.verify(self.public, digest, signature)):
                raise SignatureError(f"attestation signature {place} does not verify")


def attest(
    key: SecretKey, seed: bytes, announcement: Announcement, outcomes: Sequence[str]
) -> Attestation:
    """The attestation of ``outcomes``, which the ledger holds as the event's only ones: the same
    bytes each time. SignatureError if the event was announced with another key or seed,
    EncodingError if it has no such outcome."""
    event = announcement.event
    if announcement.public != key.public:
        raise SignatureError(f"event {event.event_id}: announced with another key")
    event.descriptor.require(outcomes)
    nonces = nonce_keys(seed, event.event_id, len(outcomes))
    if tuple(nonce.public for nonce in nonces) != event.nonces:
        raise SignatureError(f"event {event.event_id}: announced with another nonce seed")
    signatures = tuple(
        key.sign_with(nonce, outcome_digest(outcome))
        for nonce, outcome in zip(nonces, outcomes, strict=True)
    )
    return Attestation(event.event_id, key.public, signatures, tuple(outcomes))
