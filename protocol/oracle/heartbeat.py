"""A sign of life from an oracle that has no observation to give (``HBT1``, 85 bytes).

    HBT  "HBT1" | config_digest 32 | feed_id 32 (zero: all feeds) | round u64 | status u8 | time u64
         msg = tagged("btcfi/oracle/heartbeat/v1", HBT)

It carries no price and never stands for one: a silent oracle counts as missing, with or without it.
That is also why it needs no sign guard: its tag makes the signature useless for anything else, and
two of them for one round contradict nothing that anybody relies on.
"""

from collections.abc import Collection
from dataclasses import dataclass
from enum import IntEnum
from struct import Struct
from typing import Final, Self

from protocol.crypto import keys
from protocol.crypto.tagged import tagged_hash
from protocol.errors import EncodingError
from protocol.oracle.config import OracleConfig
from protocol.oracle.layout import ZERO32, require_bytes, require_uint, unpack
from protocol.oracle.proposal import Reason, Refusal

MAGIC: Final = b"HBT1"
TAG: Final = "btcfi/oracle/heartbeat/v1"
ALL_FEEDS: Final = ZERO32
_LAYOUT: Final = Struct(">4s32s32sQBQ")
SIZE: Final = _LAYOUT.size


class Status(IntEnum):
    """Why an oracle observes nothing."""

    NO_DATA = 1
    """Too few venues show a fresh price."""
    HALTED = 2
    """The breaker is open: the price jumped and two FULL rounds have not confirmed it."""
    GUARD = 3
    """The sign guard refuses: the operator must repair its disk or rotate the key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeat:
    """``time`` is unix ms, ``round`` the one that it falls in. EncodingError on a field out of
    range."""

    config_digest: bytes
    feed_id: bytes = ALL_FEEDS
    round: int
    status: Status
    time: int

    def __post_init__(self) -> None:
        for name in ("config_digest", "feed_id"):
            require_bytes(f"heartbeat {name}", getattr(self, name), 32)
        for name in ("round", "time"):
            require_uint(f"heartbeat {name}", getattr(self, name), 64)
        if not isinstance(self.status, Status):
            raise EncodingError(f"heartbeat status {self.status!r} is unknown: {_STATUSES}")

    @property
    def message(self) -> bytes:
        """The 32 bytes that the oracle signs."""
        return tagged_hash(TAG, self.encode())

    def encode(self) -> bytes:
        """The 85 ``HBT1`` bytes."""
        return _LAYOUT.pack(
            MAGIC, self.config_digest, self.feed_id, self.round, self.status, self.time
        )

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """The heartbeat of exactly these bytes; EncodingError names the field that is wrong."""
        config_digest, feed_id, round_id, status, time = unpack("heartbeat", _LAYOUT, MAGIC, data)
        if status not in tuple(Status):
            raise EncodingError(f"heartbeat status {status} is unknown: {_STATUSES}")
        return cls(
            config_digest=config_digest,
            feed_id=feed_id,
            round=round_id,
            status=Status(status),
            time=time,
        )


_STATUSES: Final = ", ".join(f"{status.value} {status.name}" for status in Status)


@dataclass(frozen=True, slots=True)
class SignedHeartbeat:
    """A heartbeat, the index of its oracle in the configuration, and its BIP340 signature."""

    oracle: int
    heartbeat: Heartbeat
    signature: bytes

    def __post_init__(self) -> None:
        require_uint("signed heartbeat oracle", self.oracle, 8)
        require_bytes("signed heartbeat signature", self.signature, 64)

    def verify(self, public: bytes) -> bool:
        """Whether ``public`` (x-only, 32 bytes) signed this heartbeat."""
        return keys.verify(public, self.heartbeat.message, self.signature)

    def encode(self) -> bytes:
        """``oracle u8 | HBT | signature``, 150 bytes."""
        return bytes([self.oracle]) + self.heartbeat.encode() + self.signature

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """The reverse of ``encode``; EncodingError names the field that is wrong."""
        require_bytes("signed heartbeat", data, 1 + SIZE + 64)
        return cls(data[0], Heartbeat.decode(data[1 : 1 + SIZE]), data[1 + SIZE :])


def check_heartbeat(
    config: OracleConfig, feeds: Collection[bytes], signed: SignedHeartbeat, now_ms: int
) -> Refusal | None:
    """Why this says nothing about its oracle at ``now_ms``, or None. ``feeds`` are the ids of the
    feeds that the deployment prices."""
    beat, who = signed.heartbeat, f"oracle {signed.oracle}"
    if signed.oracle >= len(config.oracles):
        return Refusal(Reason.SIGNER, f"{who} is not one of {len(config.oracles)} oracles")
    if beat.config_digest != config.digest:
        return Refusal(Reason.CONFIG, f"{who} beats under another configuration")
    if beat.feed_id != ALL_FEEDS and beat.feed_id not in feeds:
        return Refusal(Reason.FEED, f"{who} beats for another feed")
    if beat.time > now_ms + config.future_ms:
        return Refusal(Reason.FUTURE, f"{who} is {beat.time - now_ms} ms ahead: check its clock")
    if now_ms - beat.time > config.max_age_ms:
        return Refusal(Reason.STALE, f"{who} beat {now_ms - beat.time} ms ago")
    if beat.round != config.round_at(beat.time):
        return Refusal(Reason.ROUND, f"{who} beats for round {beat.round}, its time is in another")
    if not signed.verify(config.oracles[signed.oracle]):
        return Refusal(Reason.SIGNATURE, f"{who}: the heartbeat's signature does not verify")
    return None
