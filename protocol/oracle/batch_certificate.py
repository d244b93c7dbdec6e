"""The reports of all feeds of a round under the signatures of one quorum, and one feed's part.

    batch certificate  BAT1 110 | n x RPT 168 (feed ids ascending) | quorum x (index u8 | sig 64)
    feed certificate   "FCT1" | RPT 168 | leaf index u16 | depth u8 | depth x sibling 32
                       | BAT1 110 | quorum x (index u8 | sig 64)

``n`` of the header and ``depth`` fix every length but that of the entries, which end the message,
so no bytes have two readings. A path has exactly the depth that (leaf index, n) asks for.
"""

from collections.abc import Container
from dataclasses import dataclass
from struct import Struct
from typing import Final, Self

import numpy as np

from protocol.errors import EncodingError, QuorumError, SignatureError
from protocol.oracle import batch, merkle
from protocol.oracle import report as rpt
from protocol.oracle import signatures as sigs
from protocol.oracle.batch import BatchReport
from protocol.oracle.certificate import check_observers
from protocol.oracle.config import OracleConfig
from protocol.oracle.layout import require_bytes, require_uint
from protocol.oracle.report import Grade, Report
from protocol.oracle.rows import Mask, ReportRows
from protocol.oracle.signatures import Signatures

FEED_MAGIC: Final = b"FCT1"
_GRADES: Final = {int(grade): grade for grade in Grade}
_HEAD: Final = Struct(f">4s{rpt.SIZE}sHB")


@dataclass(frozen=True, slots=True)
class FeedCertificate:
    """One feed's report, its place and ``path`` in the batch, the batch's header and the quorum's
    ``signatures`` of the header, as a ``Certificate`` has them. EncodingError on a malformed field.
    A decoded one proves nothing until ``check``."""

    report: Report
    index: int
    path: tuple[bytes, ...]
    batch: BatchReport
    signatures: Signatures

    def __post_init__(self) -> None:
        require_uint("feed certificate leaf index", self.index, 16)
        if len(self.path) > merkle.DEPTH:
            raise EncodingError(f"feed certificate path has more than {merkle.DEPTH} siblings")
        for sibling in self.path:
            require_bytes("feed certificate sibling", sibling, 32)
        sigs.require_signatures("feed certificate", self.signatures)

    def encode(self) -> bytes:
        """The bytes of the module's head."""
        return b"".join(
            (
                _HEAD.pack(FEED_MAGIC, self.report.encode(), self.index, len(self.path)),
                *self.path,
                self.batch.encode(),
                sigs.encode(self.signatures),
            )
        )

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """The certificate of exactly these bytes; EncodingError names the field that is wrong."""
        if len(data) < _HEAD.size:
            raise EncodingError(f"feed certificate: {len(data)} bytes are too few")
        magic, report, index, depth = _HEAD.unpack_from(data)
        if magic != FEED_MAGIC:
            raise EncodingError(f"feed certificate version: magic {magic!r}, expected FCT1")
        if depth > merkle.DEPTH:
            raise EncodingError(f"feed certificate path has more than {merkle.DEPTH} siblings")
        end = _HEAD.size + 32 * depth
        head, signatures = sigs.split("feed certificate", data, end + batch.REPORT_SIZE)
        path = tuple(head[i : i + 32] for i in range(_HEAD.size, end, 32))
        return cls(Report.decode(report), index, path, BatchReport.decode(head[end:]), signatures)

    def check(self, config: OracleConfig, feed_id: bytes | None = None) -> None:
        """Returns if exactly the configured quorum signed a batch with this report, under this
        configuration and, if given, of this feed. QuorumError or SignatureError otherwise."""
        report = self.report
        if {report.config_digest, self.batch.config_digest} != {config.digest}:
            raise QuorumError("certificate is of another configuration (network, epoch or members)")
        if feed_id is not None and report.feed_id != feed_id:
            raise QuorumError(f"certificate is of another feed: {report.feed_id.hex()}")
        if report.round != self.batch.round:
            raise QuorumError(f"report of round {report.round}, batch of round {self.batch.round}")
        sigs.require_quorum("feed certificate", self.signatures, config, config.quorum)
        check_observers(config, report)
        self._check_path()
        sigs.verify("feed certificate", self.signatures, config, self.batch.hash)

    def _check_path(self) -> None:
        leaf = merkle.leaf(self.report.encode())
        try:
            root = merkle.root_from_path(leaf, self.index, self.batch.n, self.path)
        except EncodingError as error:
            raise SignatureError(f"feed certificate {error}") from None
        if root != self.batch.root:
            raise SignatureError("feed certificate: the report is not in the signed batch")


@dataclass(frozen=True, slots=True)
class BatchCertificate:
    """The header, the reports behind it and the quorum's ``signatures`` of the header. A decoded
    one proves nothing until ``check``."""

    report: BatchReport
    reports: ReportRows
    signatures: Signatures

    def __post_init__(self) -> None:
        sigs.require_signatures("batch certificate", self.signatures)
        if self.report.n != len(self.reports):
            raise EncodingError(
                f"batch certificate n {self.report.n} disagrees with {len(self.reports)} reports"
            )

    @property
    def round(self) -> int:
        return self.report.round

    @property
    def hash(self) -> bytes:
        """What the quorum signed, and what the next batch links to."""
        return self.report.hash

    @property
    def previous_hash(self) -> bytes:
        """The hash of the certified batch before this one; 32 zero bytes if there is none."""
        return self.report.prev_batch_hash

    @property
    def prices(self) -> dict[bytes, int]:
        """The price of each feed in it, 10^-8 USD, by feed id."""
        prices = self.reports.column("price_e8").tolist()
        return dict(zip(self.reports.feeds, prices, strict=True))

    @property
    def grades(self) -> tuple[Grade, ...]:
        """The grade of each feed in it."""
        return tuple(map(_GRADES.__getitem__, self.reports.columns["grade"].tolist()))

    @property
    def time(self) -> int:
        """When the last of its reports was proposed, unix ms."""
        return int(self.reports.column("time").max())

    @property
    def signers(self) -> tuple[int, ...]:
        return tuple(index for index, _ in self.signatures)

    def feed_certificate(self, feed_id: bytes) -> FeedCertificate:
        """The certificate of one feed. QuorumError if it is not in this batch."""
        if feed_id not in self.reports.feeds:
            raise QuorumError(f"round {self.round}: the batch has no report of {feed_id.hex()}")
        index = self.reports.feeds.index(feed_id)
        path = merkle.path([leaf.tobytes() for leaf in self.reports.leaves], index)
        return FeedCertificate(self.reports[index], index, path, self.report, self.signatures)

    def encode(self) -> bytes:
        """The bytes of the module's head."""
        return self.report.encode() + self.reports.data + sigs.encode(self.signatures)

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """The certificate of exactly these bytes; EncodingError names the field that is wrong."""
        header = BatchReport.decode(data[: batch.REPORT_SIZE])
        size = batch.REPORT_SIZE + header.n * rpt.SIZE
        head, signatures = sigs.split("batch certificate", data, size)
        return cls(header, ReportRows(head[batch.REPORT_SIZE :]), signatures)

    def check(self, config: OracleConfig, feed_ids: Container[bytes] | None = None) -> None:
        """Returns if exactly the configured quorum signed these reports, under this configuration
        and, if given, only of these feeds. QuorumError or SignatureError say what is wrong."""
        if self.report.config_digest != config.digest:
            raise QuorumError("certificate is of another configuration (network, epoch or members)")
        for feed_id in self.reports.feeds:
            if feed_ids is not None and feed_id not in feed_ids:
                raise QuorumError(f"certificate is of an unknown feed: {feed_id.hex()}")
        if not self.reports.are_of(config.digest, self.round):
            raise QuorumError("certificate has a report of another configuration or round")
        sigs.require_quorum("batch certificate", self.signatures, config, config.quorum)
        for index in np.flatnonzero(_suspects(config, self.reports)).tolist():
            check_observers(config, self.reports[index])
        sigs.verify("batch certificate", self.signatures, config, self.report.hash)
        if self.reports.root != self.report.root:
            raise SignatureError("batch certificate: the reports are not those that were signed")


def _suspects(config: OracleConfig, reports: ReportRows) -> Mask:
    """The reports that ``certificate.check_observers`` refuses."""
    c = reports.columns
    is_full = c["n_obs"] >= config.full_observations
    bad: Mask = (
        (c["observers"].astype(np.uint16) >> len(config.oracles) != 0)
        | (is_full != (c["grade"] == Grade.FULL))
        | (c["n_obs"] <= config.faults)
    )
    return bad
