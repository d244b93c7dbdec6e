"""A report with the signatures of a quorum: the one thing that consumers of a price accept."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Final, Self

from protocol.crypto import keys
from protocol.errors import EncodingError, QuorumError, SignatureError
from protocol.oracle import report as rpt
from protocol.oracle.config import OracleConfig
from protocol.oracle.layout import require_bytes, require_uint
from protocol.oracle.report import Grade, Report

_ENTRY: Final = 1 + 64


@dataclass(frozen=True, slots=True)
class Certificate:
    """``signatures`` are (oracle index, BIP340 signature of ``report.hash``), indexes strictly
    ascending, EncodingError otherwise. A decoded certificate proves nothing until ``check``."""

    report: Report
    signatures: tuple[tuple[int, bytes], ...]

    def __post_init__(self) -> None:
        if not self.signatures:
            raise EncodingError("certificate signatures: there is none")
        for index, signature in self.signatures:
            require_uint("certificate oracle index", index, 8)
            require_bytes(f"certificate signature of oracle {index}", signature, 64)
        indexes = self.signers
        if any(a >= b for a, b in pairwise(indexes)):
            raise EncodingError(f"certificate oracle indexes must strictly ascend, got {indexes}")

    @property
    def signers(self) -> tuple[int, ...]:
        return tuple(index for index, _ in self.signatures)

    def encode(self) -> bytes:
        """``RPT | quorum x (oracle index u8 | signature 64)``."""
        entries = (bytes([index]) + signature for index, signature in self.signatures)
        return self.report.encode() + b"".join(entries)

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """The certificate of exactly these bytes; EncodingError names the field that is wrong."""
        count, rest = divmod(len(data) - rpt.SIZE, _ENTRY)
        if count < 1 or rest:
            raise EncodingError(
                f"certificate length {len(data)} is not {rpt.SIZE} + k x {_ENTRY} bytes, k >= 1"
            )
        entries = range(rpt.SIZE, len(data), _ENTRY)
        return cls(
            Report.decode(data[: rpt.SIZE]),
            tuple((data[i], data[i + 1 : i + _ENTRY]) for i in entries),
        )

    def check(self, config: OracleConfig, feed_id: bytes | None = None) -> None:
        """Returns if exactly the configured quorum signed this report, under this configuration
        and, if given, this feed. QuorumError or SignatureError say what is wrong."""
        report, n = self.report, len(config.oracles)
        if report.config_digest != config.digest:
            raise QuorumError("certificate is of another configuration (network, epoch or members)")
        if feed_id is not None and report.feed_id != feed_id:
            raise QuorumError(f"certificate is of another feed: {report.feed_id.hex()}")
        if len(self.signatures) != config.quorum:
            raise QuorumError(
                f"certificate has {len(self.signatures)} signatures, needed are {config.quorum}"
            )
        if self.signers[-1] >= n:
            raise QuorumError(
                f"certificate oracle index {self.signers[-1]} is not one of {n} oracles"
            )
        if report.observers >> n:
            raise QuorumError(f"certificate obs_bitmap names an oracle that is not one of {n}")
        if (report.n_obs >= config.full_observations) != (report.grade is Grade.FULL):
            raise QuorumError(
                f"certificate grade {report.grade.name} with {report.n_obs} observations"
            )
        if report.n_obs <= config.faults:
            raise QuorumError(f"certificate has {report.n_obs} observations, all may be lies")
        message = report.hash
        for index, signature in self.signatures:
            if not keys.verify(config.oracles[index], message, signature):
                raise SignatureError(f"certificate signature of oracle {index} does not verify")
