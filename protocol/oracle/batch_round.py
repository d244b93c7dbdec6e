"""A round of several feeds: the state machines of ``round`` with one signature an oracle and step.

    observe   BatchOracleNode.observe            -> SignedObservationBatch, to aggregator and peers
    propose   BatchAggregatorNode.propose        -> BatchProposal, to all oracles
    certify   BatchOracleNode.receive_proposal   -> Vote or Refusal, to the aggregator
    publish   BatchAggregatorNode.receive_vote   -> BatchCertificate, to everybody

The sign guard has one slot a round for each kind, with 32 zero bytes as feed id, and records the
header alone. A feed that cannot be certified now is left out and the others go on (``selection``,
``breaker``). A key is used for single feeds or for batches under one configuration, never for both.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import ClassVar

import numpy as np

from protocol.errors import ConfigError, GuardError, QuorumError
from protocol.oracle import batch
from protocol.oracle import report as rpt
from protocol.oracle.ballot import Ballot
from protocol.oracle.batch import BatchObservation
from protocol.oracle.batch_certificate import BatchCertificate
from protocol.oracle.batch_chain import BatchChain
from protocol.oracle.batch_inbox import BatchInbox
from protocol.oracle.batch_observation import SignedObservationBatch, check_rows, suspects
from protocol.oracle.batch_proposal import (
    MOST_EARLIER,
    BatchProposal,
    BatchView,
    check_batch_proposal,
    propose_batch,
)
from protocol.oracle.config import OracleConfig
from protocol.oracle.epochs import Epochs
from protocol.oracle.evidence import Evidence
from protocol.oracle.layout import ZERO32
from protocol.oracle.price import OraclePrice
from protocol.oracle.proposal import Reason, Refusal, Vote
from protocol.oracle.round import AnyAggregator, Guard, require_mode
from protocol.oracle.rows import Mask, ObservationRows
from protocol.oracle.selection import Promises, choose
from protocol.oracle.sheet import Sheet

_LACKING = (Reason.MISSING, Reason.CHAIN)

Looks = Mapping[bytes, tuple[OraclePrice, bytes]]
"""What an oracle sees: feed id -> (price, evidence_root)."""


class BatchOracleNode:
    """One oracle on several feeds. ``sign`` maps a 32-byte message to its BIP340 signature and is
    called only after ``guard.record`` has returned. ``last`` is the newest certificate on its disk,
    ``earlier`` those with the newest reports of feeds that are not in it; ``epochs`` lead to
    ``config``: earlier ones have certified what it links to."""

    observation: ClassVar = SignedObservationBatch
    proposal: ClassVar = BatchProposal
    certificate: ClassVar = BatchCertificate

    def __init__(
        self,
        config: OracleConfig,
        feeds: Sequence[bytes],
        index: int,
        sign: Callable[[bytes], bytes],
        guard: Guard,
        last: BatchCertificate | None = None,
        earlier: Sequence[BatchCertificate] = (),
        epochs: Epochs | None = None,
    ) -> None:
        """ConfigError for a feed that is listed twice; GuardError if this key has signed reports of
        single feeds under this configuration."""
        columns = _columns(feeds)
        self.config = config
        self.feeds = tuple(columns)
        self.index = index
        self.inbox = BatchInbox(config, columns)
        self.chain = BatchChain(config, columns, last, earlier, epochs)
        self._sign = sign
        self._guard = guard
        require_mode(guard, config, rpt.MAGIC, self.feeds)

    @property
    def last(self) -> BatchCertificate | None:
        """The newest certificate that this node knows."""
        return self.chain.last

    def last_prices(self) -> dict[bytes, int]:
        """The newest certified price of each feed that has one, 10^-8 USD, by feed id."""
        return self.chain.last_prices

    @property
    def awaits_confirmation(self) -> bool:
        """Whether a feed has jumped and a further FULL round is needed to certify it."""
        breaker = self.inbox.breaker
        return bool(breaker.jumps(self.config, self.chain, breaker.round + 1).any())

    def observe(self, round_id: int, looks: Looks, now_ms: int) -> SignedObservationBatch:
        """Signs what this oracle sees, once a round: a second call returns the first batch. A feed
        whose observation nobody would accept is left out.

        Nothing was signed on GuardError (the guard refuses, or the round was observed before a
        restart: then the peers have the batch) or QuorumError (nobody would accept any of it).
        """
        held = self.inbox.held(round_id).get(self.index)
        if held is not None:
            return held
        recorded = self._guard.recall(batch.OBSERVATION_MAGIC, self.config.digest, ZERO32)
        if recorded is not None and BatchObservation.decode(recorded).round == round_id:
            raise GuardError(f"round {round_id} was observed before a restart; take the next one")
        rows = self._valid(round_id, self._encode(round_id, looks, now_ms), now_ms)
        header = BatchObservation(
            config_digest=self.config.digest,
            round=round_id,
            seq=self._guard.next_seq(),
            n=len(rows),
            root=rows.root,
        )
        signature = self._commit(batch.OBSERVATION_MAGIC, round_id, header.encode(), header.message)
        signed = SignedObservationBatch(self.index, header, rows, signature)
        self.inbox.receive(signed, now_ms)
        return signed

    def receive_observation(self, signed: SignedObservationBatch, now_ms: int) -> Refusal | None:
        """A peer's observation batch, or its own that comes back after a restart."""
        return self.inbox.receive(signed, now_ms)

    def receive_proposal(self, proposal: BatchProposal, now_ms: int) -> Vote | Refusal:
        """Recomputes the batch from its observations; signs its header once, or says why not.
        MISSING or CHAIN make the proposer send what this oracle lacks."""
        self._learn(proposal, now_ms)
        held = self.inbox.held(proposal.round)
        if self.index in held:
            self.inbox.close(proposal.round)
        view = BatchView(
            own=self.index,
            held=held,
            fresh=self.inbox.fresh(proposal.round, now_ms),
            chain=self.chain,
            breaker=self.inbox.breaker,
            excluded=self.inbox.convicted,
        )
        refusal = check_batch_proposal(self.config, proposal, view, now_ms)
        if refusal is not None:
            return self.inbox.refuse(refusal)
        report = proposal.report
        try:
            signature = self._commit(batch.REPORT_MAGIC, report.round, report.encode(), report.hash)
        except GuardError as error:
            return self.inbox.refuse(Refusal(Reason.GUARD, str(error)))
        self.chain.remember(report.hash, proposal.reports)
        return Vote(self.index, report.round, report.hash, signature)

    def receive_certificate(self, certificate: BatchCertificate) -> Refusal | None:
        """Adopts a valid newer certificate. Two for one round convict whoever signed both."""
        refusal = self.chain.adopt(certificate, self.inbox)
        self.inbox.close(self.chain.round + 1)
        return refusal

    def receive_evidence(self, proof: Evidence) -> Refusal | None:
        """Excludes the oracle that the evidence convicts."""
        return self.inbox.convict(proof)

    def _learn(self, proposal: BatchProposal, now_ms: int) -> None:
        for certificate in (*proposal.earlier, proposal.previous):
            if certificate is not None:
                self.receive_certificate(certificate)
        for signed in proposal.observations:
            self.receive_observation(signed, now_ms)

    def _encode(self, round_id: int, looks: Looks, now_ms: int) -> ObservationRows:
        unknown = looks.keys() - self.chain.feeds.keys()
        if unknown:
            raise ConfigError(f"feeds: {min(unknown).hex()} is not one of this deployment")
        if not looks:
            raise QuorumError(f"round {round_id}: there is no feed to observe")
        seq = self._guard.next_seq()
        return ObservationRows.of(self.config.digest, round_id, seq, now_ms, looks)

    def _valid(self, round_id: int, rows: ObservationRows, now_ms: int) -> ObservationRows:
        """Those rows that the others will accept."""
        if self.index in self.inbox.convicted:
            raise QuorumError(f"this oracle, {self.index}, is excluded: it signed twice")
        bad = suspects(self.config, rows, round_id, now_ms)
        if not bad.any():
            return rows
        if bad.all():
            fault = check_rows(self.config, self.index, rows, round_id, now_ms)
            raise QuorumError(f"these observations would be refused: {fault}")
        return ObservationRows(b"".join(rows.parts[i] for i in np.flatnonzero(~bad)))

    def _commit(self, kind: bytes, round_id: int, encoded: bytes, message: bytes) -> bytes:
        self._guard.record(kind, self.config.digest, ZERO32, round_id, encoded)
        return self._sign(message)


class BatchBallot(Ballot[BatchProposal]):
    """What an aggregator knows of a proposal besides the votes."""

    def __init__(self, config: OracleConfig, round_id: int, opened_ms: int = 0) -> None:
        super().__init__(config, round_id, opened_ms)
        self.able: set[int] = set()
        """Oracles that agree with every report of a proposal."""
        self.used: frozenset[int] = frozenset()
        """The oracles whose batches the newest proposal is made of."""
        self.links = b"", b""
        """What it links to."""
        self.batches: dict[bytes, tuple[SignedObservationBatch, ...]] = {}
        """The batches behind a proposal, by its hash, until it was shown with them."""
        self.is_settled = False


class BatchAggregatorNode(
    AnyAggregator[SignedObservationBatch, BatchProposal, BatchCertificate, BatchBallot]
):
    """The aggregator of several feeds."""

    observation: ClassVar = SignedObservationBatch
    proposal: ClassVar = BatchProposal
    certificate: ClassVar = BatchCertificate

    inbox: BatchInbox
    chain: BatchChain

    def __init__(
        self,
        config: OracleConfig,
        feeds: Sequence[bytes],
        last: BatchCertificate | None = None,
        wait_ms: int = 50,
        earlier: Sequence[BatchCertificate] = (),
        epochs: Epochs | None = None,
    ) -> None:
        """``last``, ``earlier`` and ``epochs`` as of ``BatchOracleNode``."""
        columns = _columns(feeds)
        chain = BatchChain(config, columns, last, earlier, epochs)
        super().__init__(config, BatchInbox(config, columns), chain, wait_ms)
        self.feeds = tuple(columns)
        self._promises = Promises()

    def last_prices(self) -> dict[bytes, int]:
        """The newest certified price of each feed that has one, 10^-8 USD, by feed id."""
        return self.chain.last_prices

    def receive_refusal(
        self, oracle: int, round_id: int, refusal: Refusal, now_ms: int
    ) -> BatchProposal | None:
        """Better is one without what the proof has overtaken, or the same with what an oracle
        lacks."""
        if isinstance(refusal.proof, Evidence):
            self.inbox.convict(refusal.proof)
        elif isinstance(refusal.proof, BatchCertificate):
            self.receive_certificate(refusal.proof)
        elif isinstance(refusal.proof, SignedObservationBatch):
            self.receive_observation(refusal.proof, now_ms)
        ballot = self._ballots.get(round_id)
        if ballot is None or not ballot.proposals or oracle >= len(self.config.oracles):
            return None
        ballot.refusals[oracle] = refusal
        if self._is_overtaken(ballot, refusal.reason, now_ms):
            try:
                return self._show(ballot, now_ms, margin_ms=0)
            except QuorumError:
                return None
        return self._complete(ballot) if refusal.reason in _LACKING else None

    def _ballot(self, round_id: int, opened_ms: int = 0) -> BatchBallot:
        return BatchBallot(self.config, round_id, opened_ms)

    def _is_overtaken(self, ballot: BatchBallot, reason: Reason, now_ms: int) -> bool:
        """Whether the newest proposal is not the best any more, for the reason of a refusal."""
        if reason is Reason.WITHHELD:
            return not ballot.used >= self.inbox.fresh(ballot.round, now_ms, 0).keys()
        if reason in (Reason.MISSING, Reason.EXCLUDED):
            return not ballot.used.isdisjoint(self.inbox.convicted)
        return reason is Reason.CHAIN and ballot.links != self._links()

    def _links(self) -> tuple[bytes, bytes]:
        return self.chain.head_hash, self.chain.hashes.tobytes()

    def _show(
        self, ballot: BatchBallot, now_ms: int, margin_ms: int | None = None
    ) -> BatchProposal:
        round_id = ballot.round
        used = self.inbox.fresh(round_id, now_ms, margin_ms)
        sheet = Sheet.of(self.config, self.chain.feeds, used)
        agreeing = self._agreeing(round_id, sheet)
        at = np.flatnonzero(self._choose(round_id, sheet, agreeing))
        if not len(at):
            raise self._no_feed(round_id, sheet)
        time = max(now_ms, int(sheet.newest[at].max()))
        header, rows = propose_batch(self.config, round_id, sheet, self.chain, at, time)
        references = tuple((b.oracle, b.observation.message) for b in sheet.batches)
        self.chain.remember(header.hash, rows)
        ballot.able |= {o for o, row in zip(sheet.oracles, agreeing, strict=True) if row[at].all()}
        ballot.used, ballot.links = frozenset(sheet.oracles), self._links()
        ballot.batches[header.hash] = sheet.batches
        return ballot.show(BatchProposal(header, rows, references))

    def _agreeing(self, round_id: int, sheet: Sheet) -> Mask:
        """The feeds that each oracle of the sheet could sign."""
        chain = self.chain
        self.inbox.close(round_id)
        is_over = chain.known & (chain.rounds >= round_id)
        is_open = self.inbox.breaker.is_open(self.config, chain, round_id, sheet)
        certifiable = sheet.has_quorum & ~is_over & ~is_open
        return sheet.agreeing(self.config.delta_ppm) & certifiable

    def _choose(self, round_id: int, sheet: Sheet, agreeing: Mask) -> Mask:
        for other in self._ballots.values():
            if other.round < round_id and not other.is_settled and other.proposals:
                other.is_settled = True
                self._promises.settle(other.round, other.able, other.voters)
        trusted = self._promises.kept(sheet.oracles, round_id)
        waited = np.minimum(np.uint64(round_id) - self.chain.rounds, np.uint64(2**16))
        return choose(agreeing, sheet.oracles, self.config.quorum, waited, trusted)

    def _no_feed(self, round_id: int, sheet: Sheet) -> QuorumError:
        is_open = self.inbox.breaker.is_open(self.config, self.chain, round_id, sheet)
        return QuorumError(
            f"round {round_id}: no feed of {len(self.feeds)} can be certified:"
            f" {int((~sheet.has_quorum).sum())} have too few observations or such that lie too far"
            f" apart, {int((is_open & sheet.has_quorum).sum())} jumped, on the others fewer than"
            f" {self.config.quorum} oracles agree"
        )

    def _complete(self, ballot: BatchBallot) -> BatchProposal | None:
        """The newest proposal with all that an oracle may lack; once."""
        proposal = list(ballot.proposals.values())[-1]
        batches = ballot.batches.pop(proposal.report.hash, None)
        if batches is None:
            return None
        earlier = self.chain.earlier(proposal.reports.feeds)[:MOST_EARLIER]
        return replace(proposal, observations=batches, previous=self.chain.last, earlier=earlier)


def _columns(feeds: Sequence[bytes]) -> dict[bytes, int]:
    ordered = sorted(feeds)
    columns = {feed_id: column for column, feed_id in enumerate(ordered)}
    if len(columns) != len(feeds) or not 1 <= len(feeds) <= batch.MAX_FEEDS:
        raise ConfigError(f"feeds: 1 to {batch.MAX_FEEDS} different ones, got {len(feeds)}")
    return columns
