"""The head of the chain of batches, and of each feed's chain of reports, as one node knows them.

A feed that had no quorum in a round, or whose breaker is open, is not in that round's batch: its
newest report is in an earlier one.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from protocol.crypto.tagged import prepare
from protocol.oracle.batch_certificate import BatchCertificate
from protocol.oracle.batch_observation import SignedObservationBatch
from protocol.oracle.chain import AnyChain
from protocol.oracle.config import OracleConfig
from protocol.oracle.epochs import Epochs
from protocol.oracle.inbox import AnyInbox
from protocol.oracle.proposal import Refusal
from protocol.oracle.quorum import distance_ppm
from protocol.oracle.report import Grade, Report
from protocol.oracle.rows import Column, Digests, Mask, Positions, ReportRows


class BatchChain(AnyChain[BatchCertificate]):
    """Of two batches for one round all nodes prefer the one with more FULL reports, then with more
    reports, then the smaller hash; of two reports for one feed and round FULL before DEGRADED, then
    the smaller hash.

    The arrays have a column a feed; where ``known`` is false the feed has no report yet and its
    hash is zero.
    """

    recent = 32

    def __init__(
        self,
        config: OracleConfig,
        feeds: Mapping[bytes, int],
        last: BatchCertificate | None,
        earlier: Sequence[BatchCertificate] = (),
        epochs: Epochs | None = None,
    ) -> None:
        """``feeds`` maps feed ids to columns, ascending; ``earlier`` are the certificates with the
        newest reports of feeds that ``last`` does not have, in any order: without them the chains
        of these feeds would begin again. QuorumError or SignatureError if one is no certificate of
        these feeds."""
        prepare(len(feeds))  # not in the first round
        self.feeds = feeds
        self.known: Mask = np.zeros(len(feeds), dtype=np.bool_)
        self.rounds: Column = np.zeros(len(feeds), dtype=np.uint64)
        self.prices: Column = np.zeros(len(feeds), dtype=np.uint64)
        self.hashes: Digests = np.zeros((len(feeds), 32), dtype=np.uint8)
        self._certificates: npt.NDArray[Any] = np.full(len(feeds), None, dtype=object)
        self._judged: tuple[bytes, ReportRows] | None = None
        super().__init__(config, last, epochs)
        for certificate in earlier:
            self.check(certificate)
        for certificate in (*earlier, *([] if last is None else [last])):
            self._take(certificate)

    def check(self, certificate: BatchCertificate) -> None:
        """QuorumError or SignatureError if it is no certificate of these feeds."""
        certificate.check(self.epochs.of_price(certificate), self.feeds)

    def rank(self, certificate: BatchCertificate) -> tuple[int, ...]:
        """The number of FULL reports counts 2^16 times as much as that of all."""
        rows = certificate.reports
        full = int((rows.columns["grade"] == Grade.FULL).sum())
        settles, count = self.epochs.settles(certificate), (full << 16) + len(rows)
        return certificate.round, settles, count, -int.from_bytes(certificate.hash)

    def distance_ppm(self, certificate: BatchCertificate, signed: SignedObservationBatch) -> int:
        at, rows = certificate.reports.places(self.feeds), signed.observations
        is_certified: Mask = np.zeros(len(self.feeds), dtype=np.bool_)
        is_certified[at] = True
        certified = np.zeros(len(self.feeds), dtype=np.uint64)
        certified[at] = certificate.reports.column("price_e8")
        places = rows.places(self.feeds)
        common = is_certified[places]
        mine, theirs = certified[places[common]], rows.column("price_e8")[common]
        if not len(mine):
            return 0
        low, high = np.minimum(mine, theirs), np.maximum(mine, theirs)
        furthest = ((high - low) / np.maximum(low, np.uint64(1))).argmax()
        return distance_ppm(int(low[furthest]), int(high[furthest]))

    def report(self, feed_id: bytes) -> Report | None:
        """The newest certified report of a feed."""
        certificate = self._certificates[self.feeds[feed_id]]
        return None if certificate is None else _report(certificate, feed_id)

    def certificate(self, feed_id: bytes) -> BatchCertificate | None:
        """The certificate that holds it."""
        found: BatchCertificate | None = self._certificates[self.feeds[feed_id]]
        return found

    def earlier(self, feed_ids: Iterable[bytes]) -> tuple[BatchCertificate, ...]:
        """Those that hold the newest reports of these feeds, the head left out, oldest first."""
        found = {c.hash: c for c in map(self.certificate, feed_ids) if c is not None}
        found.pop(self.head_hash, None)
        return tuple(sorted(found.values(), key=self.rank))

    @property
    def last_prices(self) -> dict[bytes, int]:
        """The newest certified price of each feed that has one, 10^-8 USD."""
        prices = self.prices.tolist()
        return {feed: prices[i] for feed, i in self.feeds.items() if self.known[i]}

    def remember(self, report_hash: bytes, rows: ReportRows) -> None:
        """These rows were judged; a certificate of them need not be hashed again."""
        self._judged = report_hash, rows

    def adopt(self, certificate: BatchCertificate, inbox: AnyInbox[Any]) -> Refusal | None:
        """As of one feed; moreover the head of every feed with a newer report in it moves."""
        if self._judged == (certificate.hash, certificate.reports):
            certificate = replace(certificate, reports=self._judged[1])
        return super().adopt(certificate, inbox)

    def _accept(self, certificate: BatchCertificate) -> None:
        super()._accept(certificate)
        self._take(certificate)

    def _is_forgotten(self, round_id: int) -> bool:
        is_old_news = bool((self.known & (self.rounds > round_id)).all())
        return is_old_news and super()._is_forgotten(round_id)

    def _take(self, certificate: BatchCertificate) -> None:
        rows = certificate.reports
        at = rows.places(self.feeds)
        newer: Mask = ~self.known[at] | (self.rounds[at] < certificate.round)
        for i in np.flatnonzero(self.known[at] & (self.rounds[at] == certificate.round)).tolist():
            held = self.report(rows.feeds[i])
            newer[i] = held is not None and self._rank(rows[i]) > self._rank(held)
        self._set(certificate, np.flatnonzero(newer), at[newer])

    def _rank(self, report: Report) -> tuple[bool, bool, int]:
        settles = report.config_digest == self.epochs.at(report.round).digest
        return settles, report.grade is Grade.FULL, -int.from_bytes(report.hash)

    def _set(self, certificate: BatchCertificate, of: Positions, at: Positions) -> None:
        rows = certificate.reports
        self.known[at] = True
        self.rounds[at] = certificate.round
        self.prices[at] = rows.column("price_e8")[of]
        self.hashes[at] = rows.hashes[of]
        self._certificates[at] = certificate


def _report(certificate: BatchCertificate, feed_id: bytes) -> Report:
    report: Report = certificate.reports[certificate.reports.feeds.index(feed_id)]
    return report
