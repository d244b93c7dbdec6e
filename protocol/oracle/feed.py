"""What is priced and how: symbol and rule. Its tagged hash is the ``feed_id`` of every message."""

from dataclasses import dataclass, field
from typing import Final, Self

from protocol.crypto.tagged import tagged_hash
from protocol.errors import EncodingError
from protocol.oracle.layout import EXPO, require_expo

MEDIAN_MID: Final = "median-mid"
"""The plain median of venue mids (``protocol.oracle.price``)."""


@dataclass(frozen=True, slots=True)
class Feed:
    """For example ``Feed("BTC/USD")``. Both texts are 1-255 printable ASCII, or EncodingError."""

    symbol: str
    rule: str = MEDIAN_MID
    feed_id: bytes = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name, text in (("symbol", self.symbol), ("rule", self.rule)):
            if not (text.isascii() and text.isprintable() and 0 < len(text) < 256):
                raise EncodingError(f"feed {name} must be 1 to 255 printable ASCII characters")
        object.__setattr__(self, "feed_id", tagged_hash("btcfi/feed/v1", self.encode()))

    def encode(self) -> bytes:
        """``u8 length | symbol | u8 length | rule | i8 expo``."""
        texts = (self.symbol.encode("ascii"), self.rule.encode("ascii"))
        return b"".join(bytes([len(t)]) + t for t in texts) + EXPO.to_bytes(1, signed=True)

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """The feed of these bytes; EncodingError names the field that is wrong."""
        texts = []
        rest = data
        for name in ("symbol", "rule"):
            if not rest or len(rest) < 1 + rest[0]:
                raise EncodingError(f"feed {name} is cut short")
            text, rest = rest[1 : 1 + rest[0]], rest[1 + rest[0] :]
            if not text.isascii():
                raise EncodingError(f"feed {name} must be ASCII")
            texts.append(text.decode("ascii"))
        if len(rest) != 1:
            raise EncodingError(f"feed expo must be the last byte, {len(rest)} bytes are left")
        require_expo("feed", int.from_bytes(rest, signed=True))
        return cls(texts[0], texts[1])
