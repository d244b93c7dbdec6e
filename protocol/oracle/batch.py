"""What one signature covers when a deployment prices several feeds: headers with a Merkle root.

    OBB1  86 bytes  what one oracle saw in one round, root over its ``OBS1`` rows
    BAT1 110 bytes  what the quorum signs in one round, root over the ``RPT1`` rows

Leaves are ``merkle.leaf`` of the whole encoding of a feed, feed ids strictly ascending. The header
alone is signed, so two of them with their signatures prove an equivocation however many feeds there
are. Both begin with their slot, ``magic | config_digest | round``: one key signs one header a slot.
"""

from dataclasses import dataclass
from struct import Struct
from typing import Final, Self

from protocol.crypto.tagged import tagged_hash
from protocol.errors import EncodingError
from protocol.oracle.layout import require_bytes, require_uint, unpack

OBSERVATION_MAGIC: Final = b"OBB1"
OBSERVATION_SIZE: Final = 86
REPORT_MAGIC: Final = b"BAT1"
REPORT_SIZE: Final = 110
SLOT_SIZE: Final = 4 + 32 + 8
"""Magic, config digest, round: equal for two headers of one slot."""
MAX_FEEDS: Final = 2**16 - 1

_OBSERVATION: Final = Struct(">4s32sQQH32s")
_REPORT: Final = Struct(">4s32sQH32s32s")


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchObservation:
    """The header of an oracle's observations of ``n`` feeds. EncodingError on a field out of range.
    ``seq`` grows with every signature of this oracle, over its whole life."""

    config_digest: bytes
    round: int
    seq: int
    n: int
    root: bytes

    def __post_init__(self) -> None:
        require_bytes("observation batch config_digest", self.config_digest, 32)
        require_uint("observation batch round", self.round, 64)
        require_uint("observation batch seq", self.seq, 64)
        _require_count("observation batch", self.n)
        require_bytes("observation batch root", self.root, 32)

    @property
    def message(self) -> bytes:
        """The 32 bytes that the oracle signs; proposals refer to the batch by them."""
        return tagged_hash("btcfi/oracle/observation-batch/v1", self.encode())

    def encode(self) -> bytes:
        """``"OBB1" | config_digest32 | round u64 | seq u64 | n u16 | root32``."""
        return _OBSERVATION.pack(
            OBSERVATION_MAGIC, self.config_digest, self.round, self.seq, self.n, self.root
        )

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """The header of exactly these bytes; EncodingError names the field that is wrong."""
        config_digest, round_id, seq, n, root = unpack(
            "observation batch", _OBSERVATION, OBSERVATION_MAGIC, data
        )
        return cls(config_digest=config_digest, round=round_id, seq=seq, n=n, root=root)


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchReport:
    """The header of the reports of ``n`` feeds. EncodingError on a field out of range.
    ``prev_batch_hash`` is the last certified header's ``hash``, 32 zero bytes in the first."""

    config_digest: bytes
    round: int
    n: int
    root: bytes
    prev_batch_hash: bytes

    def __post_init__(self) -> None:
        for name in ("config_digest", "root", "prev_batch_hash"):
            require_bytes(f"batch {name}", getattr(self, name), 32)
        require_uint("batch round", self.round, 64)
        _require_count("batch", self.n)

    @property
    def hash(self) -> bytes:
        """The 32 bytes that oracles sign; also the link of the next batch."""
        return tagged_hash("btcfi/oracle/batch/v1", self.encode())

    def encode(self) -> bytes:
        """``"BAT1" | config_digest32 | round u64 | n u16 | root32 | prev_batch_hash32``."""
        return _REPORT.pack(
            REPORT_MAGIC, self.config_digest, self.round, self.n, self.root, self.prev_batch_hash
        )

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """The header of exactly these bytes; EncodingError names the field that is wrong."""
        config_digest, round_id, n, root, prev = unpack("batch", _REPORT, REPORT_MAGIC, data)
        return cls(
            config_digest=config_digest, round=round_id, n=n, root=root, prev_batch_hash=prev
        )


def _require_count(name: str, n: int) -> None:
    require_uint(f"{name} n", n, 16)
    if n == 0:
        raise EncodingError(f"{name} n must be at least 1: an empty batch says nothing")
