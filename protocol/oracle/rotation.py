"""The step from one configuration to the next (``ROT1``): new keys, members or limits.

    ROT   "ROT1" | old config_digest 32 | roster 32 | round u64 | new CONFIG
          msg = tagged("btcfi/keys/rotation/v1", ROT)
    certificate  ROT | q x (oracle index u8 | signature 64), signed by the old configuration

``roster`` is ``roster.roster_digest`` of the new network: names, identity keys, feeds, schedule.

From ``round`` on the new configuration settles; in ``round`` itself the old one may still certify.
"""

from dataclasses import dataclass
from typing import Final, Self

from protocol.crypto.tagged import tagged_hash
from protocol.errors import EncodingError, QuorumError
from protocol.oracle import signatures as sigs
from protocol.oracle.config import OracleConfig
from protocol.oracle.layout import require_bytes, require_uint
from protocol.oracle.signatures import Signatures

MAGIC: Final = b"ROT1"
TAG: Final = "btcfi/keys/rotation/v1"
_HEAD: Final = len(MAGIC) + 32 + 32 + 8


@dataclass(frozen=True, slots=True)
class Rotation:
    """``old_digest`` hands over to ``new``, with this ``roster``, in ``round``. EncodingError on a
    field out of range."""

    old_digest: bytes
    roster: bytes
    round: int
    new: OracleConfig

    def __post_init__(self) -> None:
        require_bytes("rotation old config digest", self.old_digest, 32)
        require_bytes("rotation roster", self.roster, 32)
        require_uint("rotation round", self.round, 64)

    @property
    def hash(self) -> bytes:
        """The 32 bytes that the old oracles sign."""
        return tagged_hash(TAG, self.encode())

    def encode(self) -> bytes:
        """The ``ROT1`` bytes."""
        head = MAGIC + self.old_digest + self.roster + self.round.to_bytes(8)
        return head + self.new.encode()

    @staticmethod
    def size_of(data: bytes) -> int:
        """How many bytes the rotation has that ``data`` begins with; EncodingError if they do not
        begin one."""
        if data[: len(MAGIC)] != MAGIC:
            raise EncodingError(f"rotation version: magic {data[:4]!r} is unknown, expected ROT1")
        return _HEAD + OracleConfig.size_of(data[_HEAD:])

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """The rotation of exactly these bytes; EncodingError names the field that is wrong."""
        require_bytes("rotation", data, cls.size_of(data))
        round_id = int.from_bytes(data[_HEAD - 8 : _HEAD])
        return cls(data[4:36], data[36:68], round_id, OracleConfig.decode(data[_HEAD:]))

    def require_successor(self, old: OracleConfig) -> None:
        """QuorumError unless the new configuration may follow ``old``: the next epoch of the same
        network with rounds of the same length, or a round would mean two times."""
        new = self.new
        if self.old_digest != old.digest:
            raise QuorumError(
                f"rotation of configuration {self.old_digest.hex()}: it does not follow epoch"
                f" {old.epoch}; fetch the rotations in between"
            )
        for name, found, needed in (
            ("epoch", new.epoch, old.epoch + 1),
            ("genesis_hash", new.genesis_hash.hex(), old.genesis_hash.hex()),
            ("interval_ms", new.interval_ms, old.interval_ms),
        ):
            if found != needed:
                raise QuorumError(f"rotation {name}: {found}, expected {needed}")


@dataclass(frozen=True, slots=True)
class RotationCertificate:
    """``signatures`` are (old oracle's index, BIP340 signature of ``rotation.hash``), indexes
    strictly ascending, EncodingError otherwise. A decoded one proves nothing until ``check``."""

    rotation: Rotation
    signatures: Signatures

    def __post_init__(self) -> None:
        sigs.require_signatures("rotation", self.signatures)

    def encode(self) -> bytes:
        """``ROT | quorum x (oracle index u8 | signature 64)``."""
        return self.rotation.encode() + sigs.encode(self.signatures)

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """The certificate of exactly these bytes; EncodingError names the field that is wrong."""
        rotation, signatures = sigs.split("rotation", data, Rotation.size_of(data))
        return cls(Rotation.decode(rotation), signatures)

    def check(self, old: OracleConfig) -> None:
        """Returns if exactly the quorum of ``old`` signed and the new configuration may follow it.
        QuorumError or SignatureError say what is wrong."""
        self.rotation.require_successor(old)
        sigs.require_quorum("rotation", self.signatures, old, old.quorum)
        sigs.verify("rotation", self.signatures, old, self.rotation.hash)
