"""The head of a feed's hash chain of certificates, as one node knows it."""

from protocol.errors import ProtocolError, SignatureError
from protocol.oracle import evidence
from protocol.oracle.certificate import Certificate
from protocol.oracle.config import OracleConfig
from protocol.oracle.inbox import Inbox
from protocol.oracle.layout import ZERO32
from protocol.oracle.proposal import Reason, Refusal
from protocol.oracle.report import Grade


class Chain:
    """The newest certificate. Of two for one round all nodes prefer the same one (FULL before
    DEGRADED, then the smaller hash), so a fork heals; who signed both is convicted."""

    def __init__(self, config: OracleConfig, feed_id: bytes, last: Certificate | None) -> None:
        """QuorumError or SignatureError if ``last`` is no certificate of this feed."""
        if last is not None:
            last.check(config, feed_id)
        self.config = config
        self.feed_id = feed_id
        self.last = last

    @property
    def head_hash(self) -> bytes:
        """What the next report links to."""
        return ZERO32 if self.last is None else self.last.report.hash

    @property
    def round(self) -> int:
        """The newest certified round, -1 before the first."""
        return -1 if self.last is None else self.last.report.round

    def is_news(self, certificate: Certificate) -> bool:
        """Whether the certificate, if valid, would become the head."""
        return self.last is None or _rank(certificate) > _rank(self.last)

    def adopt(self, certificate: Certificate, inbox: Inbox) -> Refusal | None:
        """Checks the certificate and moves the head to it if it is news. EQUIVOCATION, with
        evidence, if it contradicts the head: ``inbox`` then excludes the double signers."""
        if self.last is not None and certificate.report == self.last.report:
            return None
        try:
            certificate.check(self.config, self.feed_id)
        except ProtocolError as error:
            forged = isinstance(error, SignatureError)
            return inbox.refuse(Refusal(Reason.SIGNATURE if forged else Reason.QUORUM, str(error)))
        conflict = self._convict(certificate, inbox)
        if self.is_news(certificate):
            self.last = certificate
        return conflict

    def _convict(self, certificate: Certificate, inbox: Inbox) -> Refusal | None:
        if self.last is None or certificate.report.round != self.last.report.round:
            return None
        mine, theirs = dict(self.last.signatures), dict(certificate.signatures)
        refusal = None
        for oracle in sorted(mine.keys() & theirs.keys()):
            proof = evidence.of_reports(
                self.config.oracles[oracle],
                self.last.report,
                mine[oracle],
                certificate.report,
                theirs[oracle],
            )
            inbox.convict(proof)
            detail = f"oracle {oracle} has signed two reports of round {self.round}"
            refusal = inbox.refuse(Refusal(Reason.EQUIVOCATION, detail, proof))
        return refusal


def _rank(certificate: Certificate) -> tuple[int, bool, int]:
    report = certificate.report
    return report.round, report.grade is Grade.FULL, -int.from_bytes(report.hash)
