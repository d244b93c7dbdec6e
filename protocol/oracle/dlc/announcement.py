"""An event under the signature of an oracle.

    55332 announcement   signature 64 | public key 32 | event TLV

The signature is BIP340 over the tagged hash of the whole event TLV, its header included. That is
what nearly all oracles in the wild sign; some old test vectors sign SHA-256 of the TLV's value.
"""

from dataclasses import dataclass
from hashlib import sha256
from typing import Final, Self

from protocol.crypto import keys
from protocol.crypto.keys import SecretKey
from protocol.crypto.tagged import tagged_hash
from protocol.errors import EncodingError, SignatureError
from protocol.oracle.dlc.event import EVENT, Event
from protocol.oracle.dlc.tlv import MAX_BYTES, Reader, tlv
from protocol.oracle.layout import require_bytes

ANNOUNCEMENT: Final = 55332
TAG: Final = "DLC/oracle/announcement/v0"


@dataclass(frozen=True, slots=True)
class Announcement:
    """``public`` is the oracle's x-only key. It proves nothing until ``check``."""

    signature: bytes
    public: bytes
    event: Event

    def __post_init__(self) -> None:
        require_bytes("announcement signature", self.signature, 64)
        require_bytes("announcement public key", self.public, 32)

    @property
    def digest(self) -> bytes:
        """The 32 bytes that are signed."""
        return tagged_hash(TAG, self.event.encode())

    @classmethod
    def sign(cls, key: SecretKey, event: Event, aux_rand: bytes) -> Self:
        """The announcement of ``event``; ``aux_rand`` is 32 bytes of fresh randomness. A message
        too long for anybody to read is an EncodingError."""
        digest = tagged_hash(TAG, event.encode())
        made = cls(key.sign(digest, aux_rand), key.public, event)
        if len(made.encode()) > MAX_BYTES:
            raise EncodingError(f"announcement: more than {MAX_BYTES} bytes; take fewer outcomes")
        return made

    def encode(self) -> bytes:
        """The TLV."""
        return tlv(ANNOUNCEMENT, self.signature + self.public + self.event.encode())

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """The announcement of exactly these bytes; EncodingError names the field that is wrong."""
        fields = Reader.of("announcement", ANNOUNCEMENT, data)
        signature, public = fields.take("signature", 64), fields.take("public key", 32)
        return cls(signature, public, Event.decode(fields.rest_of("event")))

    def check(self, legacy: bool = False) -> None:
        """SignatureError unless the key signed the event. ``legacy`` also takes the signature of
        old test vectors; nothing that we make needs it."""
        if keys.verify(self.public, self.digest, self.signature):
            return
        if legacy and keys.verify(self.public, self._legacy_digest(), self.signature):
            return
        raise SignatureError("announcement: the signature does not verify")

    def _legacy_digest(self) -> bytes:
        _, value = Reader("event", self.event.encode()).tlv(str(EVENT))
        return sha256(value).digest()
