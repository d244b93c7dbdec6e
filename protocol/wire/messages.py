"""Every message that travels between operators, by kind. A new kind is one line in ``_KINDS``.

A decoded message is well formed, no more: who signed it and whether it is true is judged by those
who receive it.
"""

from typing import Any, Final

from protocol.crypto.musig2 import NONCE_BYTES, PARTIAL_BYTES
from protocol.errors import EncodingError, ProtocolError
from protocol.oracle.batch_certificate import BatchCertificate
from protocol.oracle.batch_observation import SignedObservationBatch
from protocol.oracle.batch_proposal import BatchProposal
from protocol.oracle.certificate import Certificate
from protocol.oracle.config import MAX_ORACLES
from protocol.oracle.evidence import Evidence
from protocol.oracle.exercise import PREIMAGE_MAX, ExerciseNotice
from protocol.oracle.expiry import Expiry, ExpiryCertificate, ExpirySlot, Rule
from protocol.oracle.heartbeat import SignedHeartbeat
from protocol.oracle.messages import (
    HISTORY_LIMIT,
    ExpiryAnswer,
    ExpiryRefused,
    ExpiryRequest,
    HistoryAnswer,
    HistoryRequest,
    Refused,
    SeenAnswer,
    SeenRequest,
)
from protocol.oracle.observation import SignedObservation
from protocol.oracle.proposal import Proposal, Reason, Refusal, Vote
from protocol.oracle.report import Report
from protocol.settlement import messages as party
from protocol.settlement.contract import ANCHOR_BYTES
from protocol.settlement.terms import ContractTerms
from protocol.units import U64_MAX
from protocol.wire.fields import (
    Coded,
    Integer,
    Many,
    Member,
    OneOf,
    Optional,
    Raw,
    Record,
    Text,
    raw,
    uint,
)
from protocol.wire.frame import MAX_SIZE

_ORACLE: Final = uint(8)
_HASH: Final = raw(32)
_SIGNATURE: Final = raw(64)
_DEAL: Final = raw(party.DEAL_BYTES)
_SESSION: Final = raw(party.SESSION_BYTES)
_OBSERVATION: Final = Coded(SignedObservation)
_CERTIFICATE: Final = Coded(Certificate)
_OBSERVATIONS: Final = Coded(SignedObservationBatch)
_CERTIFICATES: Final = Coded(BatchCertificate)
_EVIDENCE: Final = Coded(Evidence)
_PROOF: Final = OneOf(
    observation=_OBSERVATION,
    observation_batch=_OBSERVATIONS,
    certificate=_CERTIFICATE,
    batch_certificate=_CERTIFICATES,
    evidence=_EVIDENCE,
)
_REFUSAL: Final = Record(Refusal, reason=Member(Reason), detail=Text(), proof=Optional(_PROOF))
_SLOT: Final = Record(
    ExpirySlot,
    config_digest=_HASH,
    feed_id=_HASH,
    start_round=uint(64),
    target_round=uint(64),
    subject=_HASH,
    rule=Member(Rule),
    window=uint(32),
)

_KINDS: Final[dict[str, Coded | Record]] = {
    "observation": _OBSERVATION,
    "observation-batch": _OBSERVATIONS,
    "proposal": Record(
        Proposal,
        report=Coded(Report),
        observations=Many(_OBSERVATION, MAX_ORACLES),
        previous=Optional(_CERTIFICATE),
    ),
    "batch-proposal": Coded(BatchProposal),
    "vote": Record(Vote, oracle=_ORACLE, round=uint(64), report_hash=_HASH, signature=_SIGNATURE),
    "refused": Record(Refused, oracle=_ORACLE, round=uint(64), refusal=_REFUSAL),
    "certificate": _CERTIFICATE,
    "batch-certificate": _CERTIFICATES,
    "evidence": _EVIDENCE,
    "heartbeat": Coded(SignedHeartbeat),
    "exercise-notice": Coded(ExerciseNotice),
    "history-request": Record(HistoryRequest, after_round=Integer(-1, U64_MAX)),
    "history-answer": Record(HistoryAnswer, certificates=Many(Raw(0, MAX_SIZE), HISTORY_LIMIT)),
    "seen-request": Record(SeenRequest),
    "seen-answer": Record(SeenAnswer, observation=Raw(0, MAX_SIZE)),
    "expiry-request": Record(
        ExpiryRequest, slot=_SLOT, grace_rounds=uint(32), contract=Raw(0, PREIMAGE_MAX)
    ),
    "expiry-answer": Record(
        ExpiryAnswer, oracle=_ORACLE, expiry=Coded(Expiry), signature=_SIGNATURE
    ),
    "expiry-refused": Record(ExpiryRefused, oracle=_ORACLE, slot=_SLOT, reason=Text()),
    "propose": Record(party.Propose, deal=_DEAL, terms=Coded(ContractTerms)),
    "accept": Record(party.Accept, deal=_DEAL, terms=Coded(ContractTerms)),
    "decline": Record(party.Decline, deal=_DEAL, reason=Text()),
    "piece": Record(
        party.Piece,
        deal=_DEAL,
        step=Member(party.Step),
        index=uint(16),
        count=uint(16),
        data=Raw(0, party.PIECE_BYTES),
    ),
    "ask": Record(party.Ask, deal=_DEAL, step=Member(party.Step)),
    "close-offer": Record(
        party.CloseOffer,
        deal=_DEAL,
        session=_SESSION,
        certificate=Coded(ExpiryCertificate),
        anchor=Raw(0, ANCHOR_BYTES),
        nonce=raw(NONCE_BYTES),
    ),
    "close-answer": Record(
        party.CloseAnswer,
        deal=_DEAL,
        session=_SESSION,
        nonce=raw(NONCE_BYTES),
        partial=raw(PARTIAL_BYTES),
    ),
    "close-refusal": Record(party.CloseRefusal, deal=_DEAL, session=_SESSION, reason=Text()),
}
_KIND_OF: Final = {codec.kind: kind for kind, codec in _KINDS.items()}

KINDS: Final = tuple(_KINDS)


def encode(message: Any) -> tuple[str, bytes]:
    """The kind of a message and its bytes; EncodingError if messages of its type do not travel."""
    kind = _KIND_OF.get(type(message))
    if kind is None:
        raise EncodingError(f"{type(message).__name__} is no message of the network: {KINDS}")
    return kind, _KINDS[kind].encode(message)


def decode(kind: str, body: bytes) -> Any:
    """The message of these bytes; EncodingError if the kind or a field is unknown or wrong."""
    codec = _KINDS.get(kind)
    if codec is None:
        raise EncodingError(f"message kind {kind[:32]!r} is unknown; upgrade the older side")
    try:
        return codec.decode(body)
    except EncodingError:
        raise
    except ProtocolError as error:  # a field that is well formed and makes no sense
        raise EncodingError(f"{kind}: {error}") from None
