"""What one oracle saw in one round (``OBS1``, 152 bytes) and its signature."""

from dataclasses import dataclass
from enum import IntFlag
from struct import Struct
from typing import Final, Self

from protocol.crypto import keys
from protocol.crypto.tagged import tagged_hash
from protocol.errors import EncodingError
from protocol.oracle import merkle
from protocol.oracle.layout import EXPO, require_bytes, require_expo, require_uint, unpack

MAGIC: Final = b"OBS1"
SIZE: Final = 152
_LAYOUT: Final = Struct(">4s32s32sQQQQbBBBQQ32s")


class Venue(IntFlag):
    """The venue bitmap of an observation."""

    BINANCE = 1
    COINBASE = 2
    KRAKEN = 4


class Flag(IntFlag):
    """The flag bits of an observation."""

    LAST = 1
    """At least one venue gave no usable book; its last trade stood in."""


ALL_VENUES: Final = Venue.BINANCE | Venue.COINBASE | Venue.KRAKEN
_ALL_FLAGS: Final = Flag.LAST


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """Prices in 10^-8 USD, times in unix ms. EncodingError on a field out of range.

    ``seq`` grows with every signature of this oracle, over its whole life. ``venue_time`` is the
    oldest venue time used. ``evidence_root`` commits to the raw venue frames.
    """

    config_digest: bytes
    feed_id: bytes
    round: int
    seq: int
    price_e8: int
    conf_e8: int
    venues: int
    flags: int
    obs_time: int
    venue_time: int
    evidence_root: bytes

    def __post_init__(self) -> None:
        for name in ("config_digest", "feed_id", "evidence_root"):
            require_bytes(f"observation {name}", getattr(self, name), 32)
        for name in ("round", "seq", "price_e8", "conf_e8", "obs_time", "venue_time"):
            require_uint(f"observation {name}", getattr(self, name), 64)
        if not 0 <= self.venues <= ALL_VENUES:
            raise EncodingError(f"observation venue_bitmap has unknown bits: {self.venues:#x}")
        if not 0 <= self.flags <= _ALL_FLAGS:
            raise EncodingError(f"observation flags has unknown bits: {self.flags:#x}")

    @property
    def n_venues(self) -> int:
        return self.venues.bit_count()

    @property
    def message(self) -> bytes:
        """The 32 bytes that the oracle signs."""
        return tagged_hash("btcfi/oracle/observation/v1", self.encode())

    def encode(self) -> bytes:
        """The 152 ``OBS1`` bytes."""
        return _LAYOUT.pack(
            MAGIC,
            self.config_digest,
            self.feed_id,
            self.round,
            self.seq,
            self.price_e8,
            self.conf_e8,
            EXPO,
            self.n_venues,
            self.venues,
            self.flags,
            self.obs_time,
            self.venue_time,
            self.evidence_root,
        )

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """The observation of exactly these bytes; EncodingError names the field that is wrong."""
        (
            config_digest,
            feed_id,
            round_id,
            seq,
            price_e8,
            conf_e8,
            expo,
            n_venues,
            venues,
            flags,
            obs_time,
            venue_time,
            evidence_root,
        ) = unpack("observation", _LAYOUT, MAGIC, data)
        require_expo("observation", expo)
        observation = cls(
            config_digest=config_digest,
            feed_id=feed_id,
            round=round_id,
            seq=seq,
            price_e8=price_e8,
            conf_e8=conf_e8,
            venues=venues,
            flags=flags,
            obs_time=obs_time,
            venue_time=venue_time,
            evidence_root=evidence_root,
        )
        if n_venues != observation.n_venues:
            raise EncodingError(f"observation n_venues {n_venues} disagrees with its venue_bitmap")
        return observation


@dataclass(frozen=True, slots=True)
class SignedObservation:
    """An observation, the index of its oracle in the configuration, and its BIP340 signature."""

    oracle: int
    observation: Observation
    signature: bytes

    def __post_init__(self) -> None:
        require_uint("signed observation oracle", self.oracle, 8)
        require_bytes("signed observation signature", self.signature, 64)

    @property
    def round(self) -> int:
        return self.observation.round

    @property
    def prices(self) -> dict[bytes, int]:
        """The price of each feed in it, 10^-8 USD, by feed id."""
        return {self.observation.feed_id: self.observation.price_e8}

    def verify(self, public: bytes) -> bool:
        """Whether ``public`` (x-only, 32 bytes) signed this observation."""
        return keys.verify(public, self.observation.message, self.signature)

    @property
    def leaf(self) -> bytes:
        """The leaf of the report's ``observations_root``: over ``OBS || signature``."""
        return merkle.leaf(self.observation.encode() + self.signature)

    def encode(self) -> bytes:
        """``oracle u8 | OBS | signature``, 217 bytes."""
        return bytes([self.oracle]) + self.observation.encode() + self.signature

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """The reverse of ``encode``; EncodingError names the field that is wrong."""
        require_bytes("signed observation", data, 1 + SIZE + 64)
        return cls(data[0], Observation.decode(data[1 : 1 + SIZE]), data[1 + SIZE :])
