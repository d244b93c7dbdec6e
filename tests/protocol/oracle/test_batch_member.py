"""Batch nodes driven by members over a network in virtual time: lost messages and missing data."""

from typing import Any

from protocol.errors import PriceError
from protocol.oracle.batch_certificate import BatchCertificate
from protocol.oracle.batch_observation import SignedObservationBatch
from protocol.oracle.batch_proposal import BatchProposal
from protocol.oracle.batch_round import BatchAggregatorNode, BatchOracleNode
from protocol.oracle.member import AggregatorMember, OracleMember
from protocol.oracle.messages import AGGREGATOR, Refused
from protocol.oracle.proposal import Reason
from protocol.oracle.report import Grade
from tests.builders.batches import FEEDS, X, Y, flat, looks_of, observed_batch
from tests.builders.members import Members
from tests.builders.oracles import AUX, KEYS, PRICE, T0


class BatchMembers(Members):
    """``seen`` maps an oracle to its prices of each feed."""

    def __init__(self, **changes: Any) -> None:
        self.seen = {i: flat(PRICE + i) for i in range(3)}
        super().__init__(3, **changes)

    def start(self, address: int) -> None:
        kept: list[Any] = self.stored[address]
        last, earlier = (kept[-1], kept[:-1]) if kept else (None, [])
        proposing = BatchAggregatorNode(self.config, FEEDS, last, self.schedule.collect_ms, earlier)
        history = self._history(address)
        if address == AGGREGATOR:
            self.members[address] = AggregatorMember(proposing, self.schedule, history=history)
        else:
            node = BatchOracleNode(
                self.config,
                FEEDS,
                address,
                lambda message: KEYS[address].sign(message, AUX),
                self.guards[address],
                last,
                earlier,
            )
            self.members[address] = OracleMember(
                node,
                proposing,
                lambda round_id, now: self._observe_all(address, round_id, now),
                lambda _: self.seen[address],
                self.schedule,
                history=history,
            )
        self._at(self.now_ms, address, -1, None)

    def _observe_all(self, oracle: int, round_id: int, now_ms: int) -> SignedObservationBatch:
        if not self.seen[oracle]:
            raise PriceError("all venues are silent")
        signed: SignedObservationBatch = self.node(oracle).observe(
            round_id, looks_of(self.seen[oracle]), now_ms
        )
        return signed

    def certified(self, address: int = 0) -> list[BatchCertificate]:
        return list(self.stored[address])  # type: ignore[arg-type]

    def refusals(self) -> set[Reason]:
        return {m.refusal.reason for _, _, m in self.said if isinstance(m, Refused)}


def test_a_minute_of_honest_rounds() -> None:
    network = BatchMembers()
    network.run(65_000)
    assert network.rounds() == [0, 30, 60] or len(network.rounds()) == 3
    for address in (0, 1, 2, AGGREGATOR):
        assert network.certified(address) == network.certified()
    assert all(c.reports.feeds == FEEDS for c in network.certified())
    assert not network.refusals()


def test_every_batch_to_one_oracle_is_lost() -> None:
    """It asks, gets the complete proposal and signs."""
    network = BatchMembers()
    network.drop = lambda _, to, m: to == 1 and isinstance(m, SignedObservationBatch)
    network.dead = {2}
    network.run(2_000)
    (certificate,) = network.certified()[:1]
    assert certificate.signers == (0, 1)
    assert network.refusals() == {Reason.MISSING}
    assert any(isinstance(m, BatchProposal) and m.observations for _, _, m in network.said)


def test_a_batch_that_only_one_oracle_has_makes_the_round_full() -> None:
    """It was lost on the way to the aggregator and to the other oracle."""
    network = BatchMembers()
    network.drop = lambda a, to, m: (
        a == 2 and to in (AGGREGATOR, 1) and isinstance(m, SignedObservationBatch)
    )
    network.run(3_000)
    assert Reason.WITHHELD in network.refusals()
    grades = {r.grade for c in network.certified() for r in c.reports}
    assert grades == {Grade.FULL}


def test_without_the_aggregator_an_oracle_proposes() -> None:
    network = BatchMembers()
    network.dead = {AGGREGATOR}
    network.run(2_000)
    assert network.certified() and network.certified() == network.certified(2)


def test_a_feed_that_jumps_is_confirmed_within_seconds_and_stops_nobody() -> None:
    network = BatchMembers()
    network.run(5_000)
    for seen in network.seen.values():
        seen[Y] = PRICE // 2
    network.stir()
    network.run(5_000)
    halted, confirmed = network.certified()[1:3]
    assert halted.reports.feeds == tuple(f for f in FEEDS if f != Y)
    assert confirmed.prices[Y] == PRICE // 2
    assert confirmed.round <= halted.round + 2


def test_an_oracle_that_slept_signs_again() -> None:
    """While it slept a feed was certified that is not in the newest batch."""
    network = BatchMembers()
    network.run(2_000)
    network.dead = {2}
    network.run(30_000)
    for i in (0, 1):
        del network.seen[i][X]
    network.run(30_000)
    network.dead = {1}
    network.seen[0][X] = network.seen[0][Y] = PRICE
    network.members.pop(2)
    network.start(2)
    network.run(35_000)
    newest = network.certified(2)[-1]
    assert newest.signers == (0, 2) and newest.reports.feeds == FEEDS
    assert network.node(2).last_prices() == network.node(0).last_prices()


def test_a_restart_with_a_full_disk_of_certificates_goes_on() -> None:
    network = BatchMembers()
    network.run(2_000)
    for i in range(3):
        del network.seen[i][X]
    network.run(30_000)
    for address in (0, 1, 2, AGGREGATOR):
        network.start(address)
    for i in range(3):
        network.seen[i][X] = PRICE
    network.run(35_000)
    first, *_, last = network.certified()
    assert first.reports.feeds == last.reports.feeds == FEEDS
    assert last.reports[0].prev_report_hash == first.reports[0].hash, "the chain of X goes on"


def test_an_equivocator_is_excluded_everywhere() -> None:
    network = BatchMembers()
    network.dead = {2}
    a, b = (observed_batch(2, flat(PRICE + i), network.config, obs_time=T0) for i in (0, 1))
    network.tell(2, AGGREGATOR, a)
    network.tell(2, 0, b)
    network.run(3_000)
    assert network.certified() and all(2 not in c.signers for c in network.certified())
    for address in (0, 1, AGGREGATOR):
        assert network.node(address).inbox.convicted.keys() == {2}
