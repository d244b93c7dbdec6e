"""One valid message of every kind that travels, with known keys."""

from dataclasses import replace
from hashlib import sha256
from typing import Any

from protocol.oracle import evidence
from protocol.oracle.exercise import ExerciseNotice
from protocol.oracle.expiry import Expiry, ExpirySlot, Rule
from protocol.oracle.heartbeat import Heartbeat, SignedHeartbeat, Status
from protocol.oracle.messages import (
    ExpiryAnswer,
    ExpiryRefused,
    ExpiryRequest,
    HistoryAnswer,
    HistoryRequest,
    Refused,
    SeenAnswer,
    SeenRequest,
)
from protocol.oracle.proposal import Reason, Refusal, Vote
from protocol.settlement import messages as party
from tests.builders.batches import BatchNetwork, certify_batch, flat, shown
from tests.builders.claims import certify as certified
from tests.builders.claims import expiry_at
from tests.builders.oracles import (
    AUX,
    CONFIG,
    FEED_ID,
    KEYS,
    PRICE,
    ROUND,
    T0,
    certify,
    observed,
    proposal_of,
)
from tests.builders.terms import contract_terms

FIRST = proposal_of(*(observed(i, round=ROUND - 1, obs_time=T0 - 990) for i in range(3)))
CERTIFICATE = certify(FIRST.report)
PROPOSAL = proposal_of(*map(observed, range(3)), previous=CERTIFICATE)
EVIDENCE = evidence.of_observations(KEYS[1].public, observed(1), observed(1, PRICE + 1))
VOTE = Vote(2, ROUND, PROPOSAL.report.hash, KEYS[2].sign(PROPOSAL.report.hash, AUX))
SLOT = ExpirySlot(
    config_digest=CONFIG.digest,
    feed_id=FEED_ID,
    start_round=ROUND - 10,
    target_round=ROUND,
    rule=Rule.TWAP,
    window=5,
)
EXPIRY = Expiry(
    slot=SLOT,
    end_round=ROUND,
    price_e8=PRICE,
    high_e8=PRICE + 5,
    low_e8=PRICE - 5,
    rounds=11,
    report_hash=sha256(b"report").digest(),
)
HEARTBEAT = Heartbeat(config_digest=CONFIG.digest, round=ROUND, status=Status.NO_DATA, time=T0)
_BATCH_NETWORK = BatchNetwork()
BATCHES = _BATCH_NETWORK.observe({i: flat() for i in range(3)})
BATCH_PROPOSAL = shown(_BATCH_NETWORK)
BATCH_CERTIFICATE = certify_batch(BATCH_PROPOSAL.report, BATCH_PROPOSAL.reports)
TERMS = contract_terms()
DEAL = TERMS.holder.nonce
CERTIFIED = certified(expiry_at(TERMS))


def refused(proof: Any = None, detail: str = "the third observation is withheld") -> Refused:
    return Refused(1, ROUND, Refusal(Reason.WITHHELD, detail, proof))


MESSAGES: tuple[Any, ...] = (
    observed(0),
    PROPOSAL,
    replace(PROPOSAL, previous=None),
    VOTE,
    refused(),
    refused(CERTIFICATE),
    refused(observed(2)),
    refused(EVIDENCE),
    refused(BATCHES[1]),
    refused(BATCH_CERTIFICATE),
    BATCHES[0],
    BATCH_PROPOSAL,
    replace(BATCH_PROPOSAL, observations=tuple(BATCHES), earlier=(BATCH_CERTIFICATE,)),
    BATCH_CERTIFICATE,
    CERTIFICATE,
    EVIDENCE,
    SignedHeartbeat(0, HEARTBEAT, KEYS[0].sign(HEARTBEAT.message, AUX)),
    ExerciseNotice(bytes(range(60)), ROUND, bytes(64)),
    HistoryRequest(-1),
    HistoryRequest(ROUND),
    HistoryAnswer(()),
    HistoryAnswer((CERTIFICATE.encode(), b"")),
    SeenRequest(),
    SeenAnswer(b""),
    SeenAnswer(observed(0).encode()),
    ExpiryRequest(SLOT, 10),
    ExpiryRequest(SLOT, 0, bytes(200)),
    ExpiryAnswer(1, EXPIRY, KEYS[1].sign(EXPIRY.hash, AUX)),
    party.Propose(DEAL, TERMS),
    party.Accept(DEAL, TERMS),
    party.Decline(DEAL, "premium_sats 1: this party agrees to 2 to 3"),
    *(party.Piece(DEAL, step, 0, 2, b"half") for step in party.Step),
    party.Piece(DEAL, party.Step.KEYS, 1, 2, bytes(party.PIECE_BYTES)),
    party.Ask(DEAL, party.Step.COINS),
    party.CloseOffer(DEAL, DEAL, CERTIFIED, b"", bytes(66)),
    party.CloseOffer(DEAL, DEAL, CERTIFIED, bytes(32), bytes(66)),
    party.CloseAnswer(DEAL, DEAL, bytes(66), bytes(32)),
    party.CloseRefusal(DEAL, DEAL, "this party does not close together"),
    ExpiryRefused(2, SLOT, "wait for round 7"),
)
