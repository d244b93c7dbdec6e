"""Equivocation: two signatures of one key over different messages for one slot. Portable proof.

A slot is (kind, configuration, feed, round), the first 76 bytes of an observation and of a report
alike. An honest oracle never fills one slot twice, its sign guard sees to that; so the pair
convicts the key's owner before anybody, without trust in who shows it. Two signatures over the
*same* bytes are no evidence: BIP340's auxiliary randomness makes them differ.
"""

from dataclasses import dataclass
from typing import Final, Self

from protocol.crypto import keys
from protocol.errors import EncodingError, SignatureError
from protocol.oracle import observation as obs
from protocol.oracle import report as rpt
from protocol.oracle.config import OracleConfig
from protocol.oracle.layout import require_bytes
from protocol.oracle.observation import Observation, SignedObservation
from protocol.oracle.report import Report

MAGIC: Final = b"EVI1"
SLOT_SIZE: Final = 4 + 32 + 32 + 8
"""Magic, config digest, feed id, round: equal for both messages."""

_HEAD: Final = len(MAGIC) + 32


@dataclass(frozen=True, slots=True)
class Evidence:
    """Two messages (both ``OBS1`` or both ``RPT1`` bytes) and their signatures by ``public``.
    EncodingError on a wrong length. It convicts nobody until ``check``."""

    public: bytes
    message_a: bytes
    signature_a: bytes
    message_b: bytes
    signature_b: bytes

    def __post_init__(self) -> None:
        require_bytes("evidence public key", self.public, 32)
        for name, message in (("a", self.message_a), ("b", self.message_b)):
            if len(message) not in (obs.SIZE, rpt.SIZE):
                raise EncodingError(f"evidence message {name} is no observation and no report")
        require_bytes("evidence message b", self.message_b, len(self.message_a))
        require_bytes("evidence signature a", self.signature_a, 64)
        require_bytes("evidence signature b", self.signature_b, 64)

    def encode(self) -> bytes:
        """``"EVI1" | pubkey32 | message a | signature a | message b | signature b``."""
        return b"".join(
            (
                MAGIC,
                self.public,
                self.message_a,
                self.signature_a,
                self.message_b,
                self.signature_b,
            )
        )

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """The evidence of exactly these bytes; EncodingError names the field that is wrong."""
        if data[: len(MAGIC)] != MAGIC:
            raise EncodingError(f"evidence version: magic {data[:4]!r} is unknown, expected EVI1")
        size, odd = divmod(len(data) - _HEAD, 2)
        if odd or size - 64 not in (obs.SIZE, rpt.SIZE):
            raise EncodingError(f"evidence length {len(data)} fits no observations and no reports")
        a, b = data[_HEAD : _HEAD + size], data[_HEAD + size :]
        return cls(data[len(MAGIC) : _HEAD], a[:-64], a[-64:], b[:-64], b[-64:])

    def check(self, config: OracleConfig) -> int:
        """The index of the oracle that this convicts under ``config``.

        EncodingError if a message is malformed, SignatureError if the pair is no equivocation: not
        a member's key, another configuration, other slots, the same bytes, or a bad signature.
        """
        if self.public not in config.oracles:
            raise SignatureError("evidence: the key is not one of this configuration's oracles")
        first, second = _digest(self.message_a), _digest(self.message_b)
        if self.message_a[:SLOT_SIZE] != self.message_b[:SLOT_SIZE]:
            raise SignatureError(
                "evidence: the messages differ in kind, configuration, feed or round"
            )
        if self.message_a[4:36] != config.digest:
            raise SignatureError("evidence: the messages are of another configuration")
        if self.message_a == self.message_b:
            raise SignatureError("evidence: the messages are the same; signing twice is no lie")
        if not keys.verify(self.public, first, self.signature_a):
            raise SignatureError("evidence: signature a does not verify")
        if not keys.verify(self.public, second, self.signature_b):
            raise SignatureError("evidence: signature b does not verify")
        return config.oracles.index(self.public)


def of_observations(public: bytes, a: SignedObservation, b: SignedObservation) -> Evidence:
    """The pair as evidence against ``public``; ``check`` decides whether it convicts."""
    return Evidence(
        public, a.observation.encode(), a.signature, b.observation.encode(), b.signature
    )


def of_reports(
    public: bytes, a: Report, signature_a: bytes, b: Report, signature_b: bytes
) -> Evidence:
    """The pair as evidence against ``public``; ``check`` decides whether it convicts."""
    return Evidence(public, a.encode(), signature_a, b.encode(), signature_b)


def _digest(message: bytes) -> bytes:
    if message[:4] == obs.MAGIC:
        return Observation.decode(message).message
    return Report.decode(message).hash
