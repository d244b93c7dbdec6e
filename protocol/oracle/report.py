"""What the quorum signs (``RPT1``, 168 bytes): the median of the round's observations."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from struct import Struct
from typing import Final, Self

from protocol.crypto.tagged import tagged_hash, tagged_hashes
from protocol.errors import EncodingError
from protocol.oracle.layout import EXPO, require_bytes, require_expo, require_uint, unpack

MAGIC: Final = b"RPT1"
SIZE: Final = 168
TAG: Final = "btcfi/oracle/report/v1"
_LAYOUT: Final = Struct(">4s32s32sQQQbBBBQ32s32s")


class Grade(IntEnum):
    """FULL: at least 2f + 1 observations, the median lies in the honest range whatever f liars say.
    DEGRADED: fewer, but all within delta of each other."""

    FULL = 1
    DEGRADED = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Prices in 10^-8 USD, ``time`` in unix ms, bit i of ``observers`` = oracle i. EncodingError on
    a field out of range. ``prev_report_hash`` is 32 zero bytes in a feed's first report."""

    config_digest: bytes
    feed_id: bytes
    round: int
    price_e8: int
    conf_e8: int
    grade: Grade
    observers: int
    time: int
    observations_root: bytes
    prev_report_hash: bytes

    def __post_init__(self) -> None:
        for name in ("config_digest", "feed_id", "observations_root", "prev_report_hash"):
            require_bytes(f"report {name}", getattr(self, name), 32)
        for name in ("round", "price_e8", "conf_e8", "time"):
            require_uint(f"report {name}", getattr(self, name), 64)
        require_uint("report obs_bitmap", self.observers, 8)
        if not isinstance(self.grade, Grade):
            raise EncodingError(f"report grade {self.grade!r} is unknown: 1 FULL, 2 DEGRADED")

    @property
    def n_obs(self) -> int:
        return self.observers.bit_count()

    @property
    def hash(self) -> bytes:
        """The 32 bytes that oracles sign; also the link of the next report."""
        return tagged_hash(TAG, self.encode())

    def encode(self) -> bytes:
        """The 168 ``RPT1`` bytes."""
        return _LAYOUT.pack(
            MAGIC,
            self.config_digest,
            self.feed_id,
            self.round,
            self.price_e8,
            self.conf_e8,
            EXPO,
            self.grade,
            self.n_obs,
            self.observers,
            self.time,
            self.observations_root,
            self.prev_report_hash,
        )

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """The report of exactly these bytes; EncodingError names the field that is wrong."""
        (
            config_digest,
            feed_id,
            round_id,
            price_e8,
            conf_e8,
            expo,
            grade,
            n_obs,
            observers,
            time,
            observations_root,
            prev_report_hash,
        ) = unpack("report", _LAYOUT, MAGIC, data)
        require_expo("report", expo)
        if grade not in (Grade.FULL, Grade.DEGRADED):
            raise EncodingError(f"report grade {grade} is unknown: 1 FULL, 2 DEGRADED")
        if n_obs != observers.bit_count():
            raise EncodingError(f"report n_obs {n_obs} disagrees with its obs_bitmap")
        return cls(
            config_digest=config_digest,
            feed_id=feed_id,
            round=round_id,
            price_e8=price_e8,
            conf_e8=conf_e8,
            grade=Grade(grade),
            observers=observers,
            time=time,
            observations_root=observations_root,
            prev_report_hash=prev_report_hash,
        )


def hashes(encoded: Iterable[bytes]) -> list[bytes]:
    """``Report.hash`` of each of these 168-byte encodings."""
    return tagged_hashes(TAG, encoded)
