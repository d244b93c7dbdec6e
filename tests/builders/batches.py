"""Observation batches, and a network of pure batch nodes, for tests of rounds of several feeds."""

from collections.abc import Mapping
from typing import Any

from protocol.oracle.batch import BatchObservation, BatchReport
from protocol.oracle.batch_certificate import BatchCertificate
from protocol.oracle.batch_observation import SignedObservationBatch
from protocol.oracle.batch_proposal import BatchProposal
from protocol.oracle.batch_round import BatchAggregatorNode, BatchOracleNode, Looks
from protocol.oracle.config import OracleConfig
from protocol.oracle.feed import Feed
from protocol.oracle.proposal import Refusal, Vote
from protocol.oracle.rows import ObservationRows, ReportRows
from tests.builders.oracles import (
    AUX,
    CONFIG,
    KEYS,
    PRICE,
    ROUND,
    T0,
    MemoryGuard,
    make_config,
    observation,
    price_of,
)

NOW = T0 + 100
Prices = Mapping[bytes, int]


def feed_ids(count: int) -> tuple[bytes, ...]:
    """Ids of ``count`` feeds, ascending."""
    return tuple(sorted(Feed(f"C{i:04}/USD").feed_id for i in range(count)))


FEEDS = feed_ids(5)
X, Y, Z, U, V = FEEDS


def flat(price: int = PRICE, feeds: tuple[bytes, ...] = FEEDS, **changes: int) -> dict[bytes, int]:
    """One price for every feed."""
    return dict.fromkeys(feeds, price)


def looks_of(prices: Prices, **changes: int) -> Looks:
    return {feed: (price_of(price, **changes), bytes(32)) for feed, price in prices.items()}


def observed_batch(
    oracle: int, prices: Prices | None = None, config: OracleConfig = CONFIG, **changes: Any
) -> SignedObservationBatch:
    """An oracle's signed batch; ``changes`` are of every row."""
    prices = flat() if prices is None else prices
    rows = ObservationRows(
        b"".join(
            observation(config, price, feed_id=feed, **changes).encode()
            for feed, price in sorted(prices.items())
        )
    )
    return sign_batch(oracle, rows, config, changes.get("round", ROUND), changes.get("seq", 1))


def sign_batch(
    oracle: int,
    rows: ObservationRows,
    config: OracleConfig = CONFIG,
    round_id: int = ROUND,
    seq: int = 1,
    **changes: Any,
) -> SignedObservationBatch:
    fields: dict[str, Any] = {
        "config_digest": config.digest,
        "round": round_id,
        "seq": seq,
        "n": len(rows),
        "root": rows.root,
    }
    header = BatchObservation(**(fields | changes))
    return SignedObservationBatch(oracle, header, rows, KEYS[oracle].sign(header.message, AUX))


def certify_batch(
    report: BatchReport, rows: ReportRows, signers: tuple[int, ...] = (0, 1), aux: bytes = AUX
) -> BatchCertificate:
    signatures = tuple((i, KEYS[i].sign(report.hash, aux)) for i in signers)
    return BatchCertificate(report, rows, signatures)


class BatchNetwork:
    """Batch nodes and an aggregator in one process; tests decide who hears what."""

    def __init__(self, n: int = 3, feeds: tuple[bytes, ...] = FEEDS, **changes: Any) -> None:
        self.config = make_config(n, **changes)
        self.feeds = feeds
        self.guards = [MemoryGuard() for _ in range(n)]
        self.nodes = [self.node(i) for i in range(n)]
        self.aggregator = BatchAggregatorNode(self.config, feeds)

    def node(self, index: int, last: BatchCertificate | None = None) -> BatchOracleNode:
        """A node on the oracle's own guard: a restart of it, if there was one before."""
        return BatchOracleNode(
            self.config,
            self.feeds,
            index,
            lambda message: KEYS[index].sign(message, AUX),
            self.guards[index],
            last,
        )

    def observe(
        self, prices: Mapping[int, Prices], round_id: int = ROUND, at_ms: int = 10
    ) -> list[SignedObservationBatch]:
        """These oracles observe; everybody hears everything."""
        now = self.config.starts_ms(round_id) + at_ms
        batches = [
            self.nodes[i].observe(round_id, looks_of(seen), now) for i, seen in prices.items()
        ]
        for signed in batches:
            self.tell(signed, now)
        return batches

    def tell(self, signed: SignedObservationBatch, now: int = NOW) -> None:
        for node in (self.aggregator, *self.nodes):
            node.receive_observation(signed, now)

    def run(self, prices: Mapping[int, Prices], round_id: int = ROUND) -> BatchCertificate | None:
        """One whole round in which these oracles are alive."""
        self.observe(prices, round_id)
        now = self.config.starts_ms(round_id) + 100
        proposal = self.aggregator.propose(round_id, now)
        return None if proposal is None else self.vote(proposal, prices, now)

    def _tell_evidence(self) -> None:
        """As the members of a network do: a conviction reaches everybody before what follows."""
        for proof in list(self.aggregator.inbox.convicted.values()):
            for node in self.nodes:
                node.receive_evidence(proof)

    def vote(self, proposal: BatchProposal, voters: Any, now: int = NOW) -> BatchCertificate | None:
        """These oracles judge the proposal, and whatever their refusals lead to."""
        certificate = None
        shown = [proposal]
        while shown:
            proposal = shown.pop(0)
            for index in voters:
                answer = self.nodes[index].receive_proposal(proposal, now)
                if isinstance(answer, Refusal):
                    better = self.aggregator.receive_refusal(index, proposal.round, answer, now)
                    shown += [] if better is None else [better]
                    self._tell_evidence()
                    continue
                result = self.aggregator.receive_vote(answer)
                certificate = result if isinstance(result, BatchCertificate) else certificate
        if certificate is not None:
            for node in self.nodes:
                node.receive_certificate(certificate)
        return certificate


def shown(network: BatchNetwork, now: int = NOW, round_id: int = ROUND) -> BatchProposal:
    proposal = network.aggregator.propose(round_id, now)
    assert proposal is not None
    return proposal


def signed_by(node: BatchOracleNode, proposal: BatchProposal, now: int = NOW) -> Vote:
    vote = node.receive_proposal(proposal, now)
    assert isinstance(vote, Vote), vote
    return vote
