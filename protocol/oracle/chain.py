"""The head of a feed's hash chain of certificates, as one node knows it."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from protocol.errors import ProtocolError, SignatureError
from protocol.oracle.certificate import Certificate
from protocol.oracle.config import OracleConfig
from protocol.oracle.epochs import Epochs
from protocol.oracle.evidence import Evidence
from protocol.oracle.inbox import AnyInbox
from protocol.oracle.layout import ZERO32
from protocol.oracle.observation import SignedObservation
from protocol.oracle.proposal import Reason, Refusal
from protocol.oracle.quorum import distance_ppm
from protocol.oracle.report import Grade
from protocol.oracle.signatures import Signatures


class Certified(Protocol):
    """A certificate of one feed or of many."""

    @property
    def report(self) -> Any: ...

    @property
    def signatures(self) -> Signatures: ...

    @property
    def round(self) -> int: ...

    @property
    def hash(self) -> bytes: ...


C = TypeVar("C", bound=Certified)


class AnyChain(ABC, Generic[C]):
    """The newest certificate, and those of the recent rounds. Of two for one round all nodes prefer
    the same one (``rank``), so a fork heals; who signed both is convicted."""

    recent: ClassVar[int] = 256
    """So many certified rounds are remembered: a conflicting certificate of one convicts."""

    def __init__(self, config: OracleConfig, last: C | None, epochs: Epochs | None) -> None:
        """``epochs`` are those that the chain has gone through, ``config`` alone if None.
        QuorumError or SignatureError if ``last`` is no certificate of this chain."""
        self.config = config
        self.epochs = epochs or Epochs(config)
        self.last = last
        self._recent: dict[int, C] = {}
        if last is not None:
            self.check(last)
            self._recent[last.round] = last

    @abstractmethod
    def check(self, certificate: C) -> None:
        """QuorumError or SignatureError if it is no certificate of this chain."""

    @abstractmethod
    def rank(self, certificate: C) -> tuple[int, ...]:
        """The round first, then the epoch that settles it; of one round the preferred certificate
        is the greatest."""

    @abstractmethod
    def distance_ppm(self, certificate: C, signed: Any) -> int:
        """How far a valid observation is from a certificate of this chain: of the feed on which
        they are furthest apart, ppm of the smaller price (``quorum.distance_ppm``)."""

    @property
    def head_hash(self) -> bytes:
        """What the next report links to."""
        return ZERO32 if self.last is None else self.last.hash

    @property
    def round(self) -> int:
        """The newest certified round, -1 before the first."""
        return -1 if self.last is None else self.last.round

    def is_news(self, certificate: C) -> bool:
        """Whether the certificate, if valid, would become the head."""
        return self.last is None or self.rank(certificate) > self.rank(self.last)

    def holds(self, certificate: C) -> bool:
        """Whether this report is the certified one of its recent round here."""
        held = self._recent.get(certificate.round)
        return held is not None and held.report == certificate.report

    def knows(self, report_hash: bytes) -> bool:
        """Whether this is the hash of a recent certified report, or what a first one links to."""
        return report_hash in (ZERO32, self.head_hash) or any(
            report_hash == held.hash for held in self._recent.values()
        )

    def adopt(self, certificate: C, inbox: AnyInbox[Any]) -> Refusal | None:
        """Checks the certificate and moves the head to it if it is news. EQUIVOCATION, with
        evidence, if it contradicts one of a recent round: ``inbox`` then excludes the double
        signers. One that is too old to matter is not looked at."""
        held = self._recent.get(certificate.round)
        if self.holds(certificate) or (held is None and self._is_forgotten(certificate.round)):
            return None
        try:
            self.check(certificate)
        except ProtocolError as error:
            forged = isinstance(error, SignatureError)
            return inbox.refuse(Refusal(Reason.SIGNATURE if forged else Reason.QUORUM, str(error)))
        conflict = None if held is None else self._convict(held, certificate, inbox)
        self._accept(certificate)
        return conflict

    def _is_forgotten(self, round_id: int) -> bool:
        return len(self._recent) == self.recent and round_id < min(self._recent)

    def _accept(self, certificate: C) -> None:
        """Keeps a checked certificate, as the head if it is news."""
        held = self._recent.get(certificate.round)
        if held is None or self.rank(certificate) > self.rank(held):
            self._recent[certificate.round] = certificate
        if len(self._recent) > self.recent:
            del self._recent[min(self._recent)]
        if self.is_news(certificate):
            self.last = certificate

    def _convict(self, held: C, certificate: C, inbox: AnyInbox[Any]) -> Refusal | None:
        if held.report.config_digest != certificate.report.config_digest:
            return None  # two epochs may certify the round of a rotation
        config = self.epochs.of(held.report.config_digest)
        mine, theirs = dict(held.signatures), dict(certificate.signatures)
        refusal = None
        for oracle in sorted(mine.keys() & theirs.keys()):
            proof = Evidence(
                config.oracles[oracle],
                held.report.encode(),
                mine[oracle],
                certificate.report.encode(),
                theirs[oracle],
            )
            inbox.convict(proof)
            detail = f"oracle {oracle} has signed two reports of round {held.round}"
            refusal = inbox.refuse(Refusal(Reason.EQUIVOCATION, detail, proof))
        return refusal


class Chain(AnyChain[Certificate]):
    """The chain of one feed: FULL before DEGRADED, then the smaller hash."""

    def __init__(
        self,
        config: OracleConfig,
        feed_id: bytes,
        last: Certificate | None,
        epochs: Epochs | None = None,
    ) -> None:
        self.feed_id = feed_id
        super().__init__(config, last, epochs)

    def check(self, certificate: Certificate) -> None:
        """QuorumError or SignatureError if it is no certificate of this feed."""
        certificate.check(self.epochs.of_price(certificate), self.feed_id)

    def rank(self, certificate: Certificate) -> tuple[int, ...]:
        report, settles = certificate.report, self.epochs.settles(certificate)
        return report.round, settles, report.grade is Grade.FULL, -int.from_bytes(report.hash)

    def distance_ppm(self, certificate: Certificate, signed: SignedObservation) -> int:
        return distance_ppm(certificate.report.price_e8, signed.observation.price_e8)

    @property
    def last_prices(self) -> dict[bytes, int]:
        """The newest certified price, 10^-8 USD, by feed id; empty before the first."""
        return {} if self.last is None else self.last.prices
