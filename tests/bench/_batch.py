"""The CPU time that a feed update costs in Merkle batches, in one process and without a network.

Every message is encoded and decoded as it would cross the wire, each receiver decodes its own copy,
so nothing that one node has computed helps another. Transport, disk and venues are not in it.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from time import thread_time_ns
from typing import TypeVar

from protocol.oracle.batch_certificate import BatchCertificate
from protocol.oracle.batch_observation import SignedObservationBatch
from protocol.oracle.batch_proposal import BatchProposal
from protocol.oracle.proposal import Vote
from tests.builders.batches import BatchNetwork, feed_ids, looks_of
from tests.builders.oracles import PRICE, ROUND

T = TypeVar("T")

AGGREGATOR = "aggregator"


@dataclass(frozen=True, slots=True)
class BatchCost:
    """CPU time of ``updates`` certified feed updates, by node."""

    feeds: int
    updates: int
    node_us: dict[str, float]
    """Microseconds of CPU a feed update, of each node."""

    @property
    def update_us(self) -> float:
        """Microseconds of CPU a feed update, all nodes together."""
        return sum(self.node_us.values())

    @property
    def updates_per_core_second(self) -> float:
        """What one core certifies in a second if it runs all nodes and nothing else."""
        return 1e6 / self.update_us


class _Meter:
    """Adds up the CPU time of calls, by node."""

    def __init__(self) -> None:
        self.spent_ns: Counter[str] = Counter()

    def run(self, node: str, step: Callable[[], T]) -> T:
        before = thread_time_ns()
        result = step()
        self.spent_ns[node] += thread_time_ns() - before
        return result


def batch_cost(feeds: int = 500, rounds: int = 20, n: int = 3) -> BatchCost:
    """The cost with ``n`` honest oracles; the first round is not counted."""
    network = BatchNetwork(n, feed_ids(feeds))
    meter = _Meter()
    for i in range(rounds + 1):
        if i == 1:
            meter = _Meter()
        certificate = _round(network, meter, ROUND + i, PRICE + i)
        if len(certificate.reports) != feeds:
            raise AssertionError(f"{len(certificate.reports)} feeds of {feeds} were certified")
    updates = feeds * rounds
    node_us = {node: spent / 1000 / updates for node, spent in sorted(meter.spent_ns.items())}
    return BatchCost(feeds, updates, node_us)


def _round(network: BatchNetwork, meter: _Meter, round_id: int, price: int) -> BatchCertificate:
    now = network.config.starts_ms(round_id) + 10
    names = [f"oracle {i}" for i in range(len(network.nodes))]
    looks = looks_of(dict.fromkeys(network.feeds, price))
    batches = [
        meter.run(name, lambda node=node: node.observe(round_id, looks, now).encode())
        for name, node in zip(names, network.nodes, strict=True)
    ]
    for sender, data in enumerate(batches):
        for name, node in zip(
            (*names, AGGREGATOR), (*network.nodes, network.aggregator), strict=True
        ):
            if name == names[sender]:
                continue
            refusal = meter.run(
                name,
                lambda node=node, data=data: node.receive_observation(
                    SignedObservationBatch.decode(data), now
                ),
            )
            _expect(refusal is None, refusal)
    proposal = meter.run(AGGREGATOR, lambda: _proposed(network, round_id, now))
    votes = [
        meter.run(
            name,
            lambda node=node: node.receive_proposal(BatchProposal.decode(proposal), now),
        )
        for name, node in zip(names, network.nodes, strict=True)
    ]
    certified = meter.run(AGGREGATOR, lambda: _certified(network, votes))
    for name, node in zip(names, network.nodes, strict=True):
        refusal = meter.run(
            name,
            lambda node=node: node.receive_certificate(BatchCertificate.decode(certified)),
        )
        _expect(refusal is None, refusal)
    return BatchCertificate.decode(certified)


def _proposed(network: BatchNetwork, round_id: int, now: int) -> bytes:
    proposal = network.aggregator.propose(round_id, now)
    _expect(proposal is not None, "no proposal")
    return b"" if proposal is None else proposal.encode()


def _certified(network: BatchNetwork, votes: list[object]) -> bytes:
    certificate = None
    for vote in votes:
        _expect(isinstance(vote, Vote), vote)
        if isinstance(vote, Vote):
            certificate = network.aggregator.receive_vote(vote) or certificate
    _expect(isinstance(certificate, BatchCertificate), certificate)
    return certificate.encode() if isinstance(certificate, BatchCertificate) else b""


def _expect(is_so: bool, what: object) -> None:
    if not is_so:
        raise AssertionError(f"the round failed: {what}")
