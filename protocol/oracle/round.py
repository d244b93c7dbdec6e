"""A round as two pure state machines: inbox -> outbox; time is an argument, disk and key injected.

    observe   OracleNode.observe               -> SignedObservation, to aggregator and peers
    propose   AggregatorNode.propose           -> Proposal, to all oracles
    certify   OracleNode.receive_proposal      -> Vote or Refusal, to the aggregator
    publish   AggregatorNode.receive_vote      -> Certificate, to everybody

An oracle signs one observation and one report a slot, for ever: what it is about to sign is on disk
before the key is used. A malicious aggregator can burn a round by showing two proposals; the next
round is the remedy, a second signature never is.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from protocol.errors import GuardError, QuorumError
from protocol.oracle import batch as bat
from protocol.oracle import observation as obs
from protocol.oracle import report as rpt
from protocol.oracle.ballot import Ballot, P
from protocol.oracle.certificate import Certificate
from protocol.oracle.chain import AnyChain, C, Chain
from protocol.oracle.config import OracleConfig
from protocol.oracle.epochs import Epochs
from protocol.oracle.evidence import Evidence
from protocol.oracle.inbox import AnyInbox, Inbox, S, forget, oldest_round
from protocol.oracle.layout import ZERO32
from protocol.oracle.observation import Observation, SignedObservation
from protocol.oracle.price import OraclePrice
from protocol.oracle.proposal import (
    Proposal,
    Reason,
    Refusal,
    View,
    Vote,
    check_fields,
    check_proposal,
    propose,
)
from protocol.oracle.quorum import within
from protocol.oracle.report import Grade, Report

B = TypeVar("B", bound=Ballot[Any])

_GENUINE = (Reason.BREAKER, Reason.DEVIATION, Reason.OWN)
"""Refusals of a report that is what its observations say: it shows where the price is."""


class Guard(Protocol):
    """What must survive a crash before a signature exists (``actors.journal.SignGuard``)."""

    def next_seq(self) -> int:
        """A number greater than every one recorded."""

    def record(
        self, kind: bytes, config_digest: bytes, feed_id: bytes, round_id: int, message: bytes
    ) -> None:
        """Returns once the message is on disk as the only one of its slot; GuardError otherwise."""

    def recall(self, kind: bytes, config_digest: bytes, feed_id: bytes) -> bytes | None:
        """The message of the newest recorded slot of this kind."""

    def record_once(self, kind: bytes, slot: bytes, message: bytes) -> None:
        """Returns once the message is on disk as the only one ever of this 32-byte slot of this
        kind; the same message again is allowed. GuardError otherwise."""

    def recall_once(self, kind: bytes, slot: bytes) -> bytes | None:
        """The message that was recorded for this slot, however long ago."""


def require_mode(guard: Guard, config: OracleConfig, kind: bytes, lanes: Sequence[bytes]) -> None:
    """GuardError if reports of this kind were signed under ``config``: a report of one feed and a
    batch with that feed would be two signatures for one round, and prove nothing."""
    for lane in lanes:
        if guard.recall(kind, config.digest, lane) is not None:
            raise GuardError(
                f"this key has signed {kind.decode()} reports under this configuration: to change"
                " between one feed and a batch of several, rotate to a new epoch"
            )


class OracleNode:
    """One oracle on one feed. ``sign`` maps a 32-byte message to its BIP340 signature and is called
    only after ``guard.record`` has returned. ``last`` is the newest certificate on its disk,
    ``epochs`` lead to ``config``: earlier ones have certified what it links to."""

    observation: ClassVar = SignedObservation
    proposal: ClassVar = Proposal
    certificate: ClassVar = Certificate

    def __init__(
        self,
        config: OracleConfig,
        feed_id: bytes,
        index: int,
        sign: Callable[[bytes], bytes],
        guard: Guard,
        last: Certificate | None = None,
        epochs: Epochs | None = None,
    ) -> None:
        self.config = config
        self.feed_id = feed_id
        self.feeds = (feed_id,)
        self.index = index
        self.inbox = Inbox(config, feed_id)
        self.chain = Chain(config, feed_id, last, epochs)
        self._sign = sign
        self._guard = guard
        self._jump: Report | None = None
        require_mode(guard, config, bat.REPORT_MAGIC, (ZERO32,))

    @property
    def last(self) -> Certificate | None:
        """The newest certificate that this node knows."""
        return self.chain.last

    @property
    def awaits_confirmation(self) -> bool:
        """Whether the price has jumped and a further FULL round is needed to certify it."""
        return self._jump is not None

    def observe(
        self, round_id: int, price: OraclePrice, evidence_root: bytes, now_ms: int
    ) -> SignedObservation:
        """Signs what this oracle sees, once a round: a second call, even after a crash, returns the
        first observation. Nothing was signed on GuardError (the guard refuses) or QuorumError (no
        oracle would accept it: the round is over or has not begun, or too few venues)."""
        held = self.inbox.held(round_id).get(self.index)
        if held is not None:
            return held
        observation = self._recall(round_id) or Observation(
            config_digest=self.config.digest,
            feed_id=self.feed_id,
            round=round_id,
            seq=self._guard.next_seq(),
            price_e8=price.price_e8,
            conf_e8=price.conf_e8,
            venues=price.venues,
            flags=price.flags,
            obs_time=now_ms,
            venue_time=price.venue_time,
            evidence_root=evidence_root,
        )
        unsigned = SignedObservation(self.index, observation, bytes(64))
        fault = check_fields(
            self.config, self.feed_id, round_id, unsigned, now_ms, self.inbox.convicted
        )
        if fault is not None:
            raise QuorumError(f"this observation would be refused: {fault}")
        return self._sign_observation(observation, now_ms)

    def receive_observation(self, signed: SignedObservation, now_ms: int) -> Refusal | None:
        """A peer's observation."""
        return self.inbox.receive(signed, now_ms)

    def receive_proposal(self, proposal: Proposal, now_ms: int) -> Vote | Refusal:
        """Recomputes the proposal from its observations; signs its report once, or says why not.
        After a restart it compares with what its guard says that it has observed."""
        if proposal.previous is not None and self.chain.is_news(proposal.previous):
            self.receive_certificate(proposal.previous)
        report = proposal.report
        recalled = self._recall(report.round)
        if recalled is not None and self.index not in self.inbox.held(report.round):
            self._sign_observation(recalled, now_ms)
        refusal = check_proposal(
            self.config, self.feed_id, proposal, self._view(report.round, now_ms), now_ms
        )
        if refusal is not None:
            return self._refuse(refusal, report)
        try:
            signature = self._commit(rpt.MAGIC, report.round, report.encode(), report.hash)
        except GuardError as error:
            return self.inbox.refuse(Refusal(Reason.GUARD, str(error)))
        self._jump = report if self._is_jump(report) else None
        return Vote(self.index, report.round, report.hash, signature)

    def receive_certificate(self, certificate: Certificate) -> Refusal | None:
        """Adopts a valid newer certificate. Two for one round convict whoever signed both."""
        refusal = self.chain.adopt(certificate, self.inbox)
        if self._jump is not None and self.chain.round >= self._jump.round:
            self._jump = None
        return refusal

    def receive_evidence(self, proof: Evidence) -> Refusal | None:
        """Excludes the oracle that the evidence convicts."""
        return self.inbox.convict(proof)

    def _sign_observation(self, observation: Observation, now_ms: int) -> SignedObservation:
        signature = self._commit(
            obs.MAGIC, observation.round, observation.encode(), observation.message
        )
        signed = SignedObservation(self.index, observation, signature)
        self.inbox.receive(signed, now_ms)
        return signed

    def _commit(self, kind: bytes, round_id: int, encoded: bytes, message: bytes) -> bytes:
        self._guard.record(kind, self.config.digest, self.feed_id, round_id, encoded)
        return self._sign(message)

    def _recall(self, round_id: int) -> Observation | None:
        recorded = self._guard.recall(obs.MAGIC, self.config.digest, self.feed_id)
        if recorded is None:
            return None
        observation = Observation.decode(recorded)
        return observation if observation.round == round_id else None

    def _view(self, round_id: int, now_ms: int) -> View:
        held = self.inbox.held(round_id)
        own = held.get(self.index)
        last = self.chain.last
        return View(
            own=None if own is None else own.observation,
            held=held,
            fresh=self.inbox.fresh(round_id, now_ms),
            last=None if last is None else last.report,
            jump=self._jump,
            excluded=self.inbox.convicted.keys(),
        )

    def _refuse(self, refusal: Refusal, report: Report) -> Refusal:
        # "Two rounds in a row": a second proposal of the same round confirms nothing.
        if refusal.reason in _GENUINE and not (
            self._jump is not None and report.round <= self._jump.round
        ):
            is_shown = report.grade is Grade.FULL and self._is_jump(report)
            self._jump = report if is_shown else None
        if isinstance(refusal.proof, Evidence):
            self.inbox.convict(refusal.proof)
        if refusal.reason in (Reason.CHAIN, Reason.ROUND) and self.chain.last is not None:
            refusal = Refusal(refusal.reason, refusal.detail, self.chain.last)
        return self.inbox.refuse(refusal)

    def _is_jump(self, report: Report) -> bool:
        last = self.chain.last
        return last is not None and not within(
            report.price_e8, last.report.price_e8, self.config.max_move_ppm
        )


class AnyAggregator(ABC, Generic[S, P, C, B]):
    """Collects observations, proposes a report, assembles the certificate. Trusted with nothing: it
    can only delay, and any oracle can take over.

    It proposes as soon as the median is safe (2f + 1 observations), or ``wait_ms`` after the first
    observation of the round with what it has.
    """

    def __init__(
        self, config: OracleConfig, inbox: AnyInbox[S], chain: AnyChain[C], wait_ms: int
    ) -> None:
        self.config = config
        self.inbox = inbox
        self.chain = chain
        self._wait_ms = wait_ms
        self._ballots: dict[int, B] = {}

    @property
    def last(self) -> C | None:
        """The newest certificate that this node knows."""
        return self.chain.last

    def receive_observation(self, signed: S, now_ms: int) -> Refusal | None:
        """An oracle's observation; the first valid one opens its round."""
        refusal = self.inbox.receive(signed, now_ms)
        round_id: int = signed.observation.round
        if refusal is None and round_id > self.chain.round and round_id not in self._ballots:
            self._ballots[round_id] = self._ballot(round_id, now_ms)
            forget(self._ballots, oldest_round(self.config, now_ms))
        return refusal

    def deadline_ms(self, round_id: int) -> int | None:
        """When ``propose`` stops waiting for a further observation; None before the first one."""
        ballot = self._ballots.get(round_id)
        return None if ballot is None else ballot.opened_ms + self._wait_ms

    def propose(self, round_id: int, now_ms: int) -> P | None:
        """The proposal to show to all oracles, or None: keep waiting, or the round has one already.
        QuorumError after the deadline if the observations give no report, or fewer than a quorum
        have observed: nobody signs without an observation of its own."""
        ballot = self._ballots.get(round_id)
        if ballot is None or ballot.proposals:
            return None
        count, needed = len(self.inbox.fresh(round_id, now_ms)), self.config.quorum
        waiting = now_ms < ballot.opened_ms + self._wait_ms
        if waiting and count < max(needed, self.config.full_observations):
            return None
        if count < needed:
            raise QuorumError(f"{count} observations: at least {needed} are needed")
        return self._show(ballot, now_ms)

    def receive_vote(self, vote: Vote) -> C | Refusal | None:
        """The certificate that this vote completes; None while votes are missing, or afterwards."""
        if vote.round <= self.chain.round:
            return None
        ballot = self._ballots.get(vote.round) or self._ballot(vote.round)
        refusal = ballot.receive(vote)
        if refusal is not None:
            if isinstance(refusal.proof, Evidence):
                self.inbox.convict(refusal.proof)
            return self.inbox.refuse(refusal)
        certificate: C | None = ballot.certificate(self._excluded)
        if certificate is not None:
            self.receive_certificate(certificate)
        return certificate

    @abstractmethod
    def receive_refusal(
        self, oracle: int, round_id: int, refusal: Refusal, now_ms: int
    ) -> P | None:
        """An oracle's refusal. Learns from its proof: evidence, a newer certificate, or an
        observation that did not arrive here; returns the better proposal that this one makes
        possible, if any."""

    def receive_certificate(self, certificate: C) -> Refusal | None:
        """Adopts a valid newer certificate and forgets the rounds up to it."""
        refusal = self.chain.adopt(certificate, self.inbox)
        forget(self._ballots, self.chain.round + 1)
        return refusal

    def receive_evidence(self, proof: Evidence) -> Refusal | None:
        """Excludes the oracle that the evidence convicts."""
        return self.inbox.convict(proof)

    def failure(self, round_id: int) -> QuorumError:
        """To raise or show when the round is given up: which oracle was missing or refused, why."""
        ballot = self._ballots.get(round_id) or self._ballot(round_id)
        return ballot.failure(frozenset(self.inbox.held(round_id)), self._excluded)

    @property
    def _excluded(self) -> frozenset[int]:
        return frozenset(self.inbox.convicted)

    @abstractmethod
    def _ballot(self, round_id: int, opened_ms: int = 0) -> B:
        """An empty one."""

    @abstractmethod
    def _show(self, ballot: B, now_ms: int) -> P:
        """Opens the vote on what the observations give; QuorumError if they give nothing."""


class AggregatorNode(AnyAggregator[SignedObservation, Proposal, Certificate, Ballot[Proposal]]):
    """The aggregator of one feed."""

    observation: ClassVar = SignedObservation
    proposal: ClassVar = Proposal
    certificate: ClassVar = Certificate

    def __init__(
        self,
        config: OracleConfig,
        feed_id: bytes,
        last: Certificate | None = None,
        wait_ms: int = 50,
        epochs: Epochs | None = None,
    ) -> None:
        chain = Chain(config, feed_id, last, epochs)
        super().__init__(config, Inbox(config, feed_id), chain, wait_ms)
        self.feed_id = feed_id
        self.feeds = (feed_id,)

    def receive_refusal(
        self, oracle: int, round_id: int, refusal: Refusal, now_ms: int
    ) -> Proposal | None:
        """Better is FULL: a withheld observation makes it possible."""
        if isinstance(refusal.proof, Evidence):
            self.inbox.convict(refusal.proof)
        elif isinstance(refusal.proof, Certificate):
            self.receive_certificate(refusal.proof)
        elif isinstance(refusal.proof, SignedObservation):
            self.receive_observation(refusal.proof, now_ms)
        ballot = self._ballots.get(round_id)
        if ballot is None or oracle >= len(self.config.oracles):
            return None
        ballot.refusals[oracle] = refusal
        full = len(self.inbox.fresh(round_id, now_ms)) >= self.config.full_observations
        if refusal.reason is not Reason.WITHHELD or ballot.is_full_shown or not full:
            return None
        return self._show(ballot, now_ms)

    def _ballot(self, round_id: int, opened_ms: int = 0) -> Ballot[Proposal]:
        return Ballot(self.config, round_id, opened_ms)

    def _show(self, ballot: Ballot[Proposal], now_ms: int) -> Proposal:
        observations = tuple(self.inbox.fresh(ballot.round, now_ms).values())
        time = max([now_ms, *(s.observation.obs_time for s in observations)])
        report = propose(
            self.config, self.feed_id, ballot.round, observations, self.chain.head_hash, time
        )
        return ballot.show(Proposal(report, observations, self.chain.last))
