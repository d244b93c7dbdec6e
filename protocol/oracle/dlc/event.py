"""What an oracle will attest: the question, when, and the nonces that it will sign with.

55330 event   nb_nonces u16 | nb x nonce 32 | maturity u32 | descriptor TLV | event_id text
"""

from dataclasses import dataclass
from typing import Final, Self

from protocol.crypto import keys
from protocol.errors import EncodingError
from protocol.oracle.dlc.descriptor import Descriptor, read_descriptor
from protocol.oracle.dlc.tlv import Reader, require_text, text, tlv
from protocol.oracle.layout import require_uint

EVENT: Final = 55330


@dataclass(frozen=True, slots=True)
class Event:
    """``nonces`` are x-only points, all different, one for each signature of the outcome;
    ``maturity_s`` is unix time in seconds; ``event_id`` is not empty. EncodingError otherwise."""

    nonces: tuple[bytes, ...]
    maturity_s: int
    descriptor: Descriptor
    event_id: str

    def __post_init__(self) -> None:
        require_uint("event maturity", self.maturity_s, 32)
        require_text("event event_id", self.event_id)
        if not self.event_id:
            raise EncodingError("event event_id: it is empty")
        needed = self.descriptor.signatures
        if len(self.nonces) != needed:
            raise EncodingError(f"event nonces: {len(self.nonces)}, the descriptor has {needed}")
        if len(set(self.nonces)) != needed:
            raise EncodingError("event nonces: two are equal, which would reveal the key")
        for place, nonce in enumerate(self.nonces):
            if not keys.is_public(nonce):
                raise EncodingError(f"event nonce {place}: no point of the curve")

    def encode(self) -> bytes:
        """The TLV: what an announcement signs, header included."""
        return tlv(
            EVENT,
            len(self.nonces).to_bytes(2)
            + b"".join(self.nonces)
            + self.maturity_s.to_bytes(4)
            + self.descriptor.encode()
            + text(self.event_id),
        )

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """The event of exactly these bytes; EncodingError names the field that is wrong."""
        fields = Reader.of("event", EVENT, data)
        nonces = tuple(fields.take("nonces", 32) for _ in range(fields.uint("nb_nonces", 2)))
        maturity_s = fields.uint("maturity", 4)
        descriptor = read_descriptor(*fields.tlv("descriptor"))
        event_id = fields.text("event_id")
        fields.end()
        return cls(nonces, maturity_s, descriptor, event_id)
