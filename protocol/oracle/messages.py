"""What oracles and aggregator say to each other besides observations, votes and certificates, and
what a pure member wants done. The bytes on the wire are ``protocol.wire``'s.
"""

from dataclasses import dataclass
from typing import Any, Final

from protocol.errors import QuorumError
from protocol.oracle.evidence import Evidence
from protocol.oracle.expiry import Expiry, ExpirySlot
from protocol.oracle.proposal import Refusal

AGGREGATOR: Final = 255
"""The address of the dedicated aggregator; an oracle's address is its index."""

HISTORY_LIMIT: Final = 64
"""Certificates in one answer, at most."""


@dataclass(frozen=True, slots=True)
class Refused:
    """An oracle's answer to a proposal that it does not sign."""

    oracle: int
    round: int
    refusal: Refusal


@dataclass(frozen=True, slots=True)
class HistoryRequest:
    """Asks for the certificates after ``after_round``, oldest first (-1: from the beginning)."""

    after_round: int


@dataclass(frozen=True, slots=True)
class HistoryAnswer:
    """At most ``HISTORY_LIMIT`` consecutive certificates as bytes; each proves itself."""

    certificates: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class SeenRequest:
    """Asks an oracle for the newest observation of the asking one that it has verified."""


@dataclass(frozen=True, slots=True)
class SeenAnswer:
    """That signed observation as bytes, empty if there is none since the answering one's start."""

    observation: bytes


@dataclass(frozen=True, slots=True)
class ExpiryRequest:
    """Asks an oracle to compute and sign the expiry of a slot.

    ``contract`` is the preimage of the contract id if the slot's subject is not zero, so that of an
    American contract (``protocol.oracle.exercise``); empty otherwise.
    """

    slot: ExpirySlot
    grace_rounds: int
    contract: bytes = b""


@dataclass(frozen=True, slots=True)
class ExpiryAnswer:
    """An oracle's expiry and its BIP340 signature of ``expiry.hash``."""

    oracle: int
    expiry: Expiry
    signature: bytes


@dataclass(frozen=True, slots=True)
class ExpiryRefused:
    """Why an oracle does not sign the expiry of this slot."""

    oracle: int
    slot: ExpirySlot
    reason: str


@dataclass(frozen=True, slots=True)
class Send:
    """A message to put on the way: ``to`` are oracle indexes or ``AGGREGATOR``."""

    to: tuple[int, ...]
    message: object


@dataclass(frozen=True, slots=True)
class Store:
    """A new certificate (of the node's kind): on disk before the effects after this one."""

    certificate: Any

    @property
    def round(self) -> int:
        round_id: int = self.certificate.round
        return round_id


@dataclass(frozen=True, slots=True)
class Convict:
    """Evidence that excludes an oracle for the epoch: on disk before the effects after this one,
    and given to ``node.receive_evidence`` after a restart, before the member exists."""

    oracle: int
    evidence: Evidence


@dataclass(frozen=True, slots=True)
class GivenUp:
    """A round without a certificate after every rank had its turn; ``why`` names each oracle."""

    round: int
    why: QuorumError


Effect = Send | Store | Convict | GivenUp
"""What a member wants done, in this order."""
