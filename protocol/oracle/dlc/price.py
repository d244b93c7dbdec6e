"""Events of certified prices: which there are, what they are called, what a certificate answers.

An event's maturity is a round; its outcome is the price of the first certified round from there
on. A certificate of that very round answers it, and so does a spot expiry with that target, which
is how rounds without a certificate are bridged. All oracles of a network attest the same certified
price, so the digits of two of them are equal, bit for bit.
"""

from dataclasses import dataclass
from typing import Final

from protocol.errors import EncodingError, QuorumError
from protocol.oracle.batch_certificate import FeedCertificate
from protocol.oracle.certificate import Certificate
from protocol.oracle.config import OracleConfig
from protocol.oracle.dlc.descriptor import DigitDescriptor
from protocol.oracle.expiry import ExpiryCertificate, Rule
from protocol.oracle.feed import Feed
from protocol.oracle.layout import ZERO32
from protocol.oracle.quorum import thresholds
from protocol.oracle.report import Grade

PriceCertificate = Certificate | FeedCertificate | ExpiryCertificate


@dataclass(frozen=True, slots=True)
class Scale:
    """How a price becomes an integer: price_e8 // ``e8``, in ``descriptor``. ``mark`` is in the
    ids of its events."""

    mark: str
    e8: int
    descriptor: DigitDescriptor

    def event_id(self, feed: Feed, maturity_s: int) -> str:
        """For example ``btcusd-1790359200``, ``btcusd-c-1790359200``."""
        return f"{feed.symbol.replace('/', '').lower()}{self.mark}-{maturity_s}"

    def outcomes(self, price_e8: int) -> tuple[str, ...]:
        """The digits of a price, rounded down; what does not fit is the greatest that does."""
        return self.descriptor.outcomes_of(price_e8 // self.e8)


SCALES: Final = {
    "usd": Scale("", 10**8, DigitDescriptor(20, unit="USD")),
    "cents": Scale("-c", 10**6, DigitDescriptor(27, unit="USD-cents")),
}
"""Base 2. 20 bits reach $1,048,575, 27 bits of cents $1,342,177.27; ``precision`` is a power of the
base, so that base 2 has no other way to say cents."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A certified price: of which feed, for events of which maturity."""

    feed_id: bytes
    maturity_s: int
    price_e8: int


def maturity_round(config: OracleConfig, maturity_s: int) -> int:
    """The round that an event of this maturity asks for; EncodingError if none begins then."""
    found, rest = divmod(1000 * maturity_s, config.interval_ms)
    if rest:
        raise EncodingError(
            f"maturity {maturity_s}: no round begins then, they are {config.interval_ms} ms apart"
        )
    return found


def asked(certificate: PriceCertificate) -> tuple[bytes, int]:
    """Feed and round of the events that it answers if it holds."""
    if isinstance(certificate, ExpiryCertificate):
        return certificate.expiry.slot.feed_id, certificate.expiry.slot.target_round
    return certificate.report.feed_id, certificate.report.round


def answer_of(config: OracleConfig, certificate: PriceCertificate) -> Answer:
    """What the certificate answers, checked under ``config``.

    QuorumError or SignatureError if it does not hold, or is none that an event may be settled by: a
    DEGRADED price where quorums are not final, an expiry that is a mean or of one contract.
    EncodingError for a round that does not begin on a second.
    """
    certificate.check(config)
    if isinstance(certificate, ExpiryCertificate):
        expiry = certificate.expiry
        if expiry.slot.rule is not Rule.SPOT or expiry.slot.subject != ZERO32:
            raise QuorumError("an event takes a spot expiry that is not of one contract")
        price_e8 = expiry.price_e8
    else:
        report = certificate.report
        needs = thresholds(len(config.oracles), config.faults)
        if report.grade is not Grade.FULL and config.quorum < needs.agreement:
            raise QuorumError(
                f"round {report.round} is {report.grade.name} and this network's quorum of"
                f" {config.quorum} is not final: have the oracles sign an expiry of it"
            )
        price_e8 = report.price_e8
    feed_id, round_id = asked(certificate)
    maturity_s, rest = divmod(round_id * config.interval_ms, 1000)
    if rest:
        raise EncodingError(f"round {round_id} does not begin on a second, no event matures then")
    return Answer(feed_id, maturity_s, price_e8)
