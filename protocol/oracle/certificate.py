"""A report with the signatures of a quorum: the one thing that consumers of a price accept."""

from dataclasses import dataclass
from typing import Self

from protocol.errors import QuorumError
from protocol.oracle import report as rpt
from protocol.oracle import signatures as sigs
from protocol.oracle.config import OracleConfig
from protocol.oracle.report import Grade, Report
from protocol.oracle.signatures import Signatures


@dataclass(frozen=True, slots=True)
class Certificate:
    """``signatures`` are (oracle index, BIP340 signature of ``report.hash``), indexes strictly
    ascending, EncodingError otherwise. A decoded certificate proves nothing until ``check``."""

    report: Report
    signatures: Signatures

    def __post_init__(self) -> None:
        sigs.require_signatures("certificate", self.signatures)

    @property
    def round(self) -> int:
        return self.report.round

    @property
    def hash(self) -> bytes:
        """What the quorum signed, and what the next report links to."""
        return self.report.hash

    @property
    def previous_hash(self) -> bytes:
        """The hash of the certified report before this one; 32 zero bytes if there is none."""
        return self.report.prev_report_hash

    @property
    def prices(self) -> dict[bytes, int]:
        """The price of each feed in it, 10^-8 USD, by feed id."""
        return {self.report.feed_id: self.report.price_e8}

    @property
    def grades(self) -> tuple[Grade, ...]:
        """The grade of each feed in it."""
        return (self.report.grade,)

    @property
    def time(self) -> int:
        """When it was proposed, unix ms."""
        return self.report.time

    @property
    def signers(self) -> tuple[int, ...]:
        return tuple(index for index, _ in self.signatures)

    def encode(self) -> bytes:
        """``RPT | quorum x (oracle index u8 | signature 64)``."""
        return self.report.encode() + sigs.encode(self.signatures)

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """The certificate of exactly these bytes; EncodingError names the field that is wrong."""
        report, signatures = sigs.split("certificate", data, rpt.SIZE)
        return cls(Report.decode(report), signatures)

    def check(self, config: OracleConfig, feed_id: bytes | None = None) -> None:
        """Returns if exactly the configured quorum signed this report, under this configuration
        and, if given, this feed. QuorumError or SignatureError say what is wrong."""
        report = self.report
        if report.config_digest != config.digest:
            raise QuorumError("certificate is of another configuration (network, epoch or members)")
        if feed_id is not None and report.feed_id != feed_id:
            raise QuorumError(f"certificate is of another feed: {report.feed_id.hex()}")
        sigs.require_quorum("certificate", self.signatures, config, config.quorum)
        check_observers(config, report)
        sigs.verify("certificate", self.signatures, config, report.hash)


def check_observers(config: OracleConfig, report: Report) -> None:
    """QuorumError unless the report's observers are oracles of ``config``, enough for its grade."""
    n = len(config.oracles)
    if report.observers >> n:
        raise QuorumError(f"certificate obs_bitmap names an oracle that is not one of {n}")
    if (report.n_obs >= config.full_observations) != (report.grade is Grade.FULL):
        raise QuorumError(f"certificate grade {report.grade.name} with {report.n_obs} observations")
    if report.n_obs <= config.faults:
        raise QuorumError(f"certificate has {report.n_obs} observations, all may be lies")
