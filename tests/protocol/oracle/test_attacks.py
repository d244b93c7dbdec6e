"""Rounds under attack: liars, equivocators, replays and bad aggregators."""

import inspect
import re
from dataclasses import replace
from typing import Any

import pytest

from protocol.errors import EncodingError, QuorumError
from protocol.oracle import proposal as proposal_module
from protocol.oracle.certificate import Certificate
from protocol.oracle.evidence import Evidence
from protocol.oracle.expiry import ExpirySlot, Rule, expiry_of
from protocol.oracle.observation import SignedObservation
from protocol.oracle.proposal import Proposal, Reason, Refusal, Vote
from protocol.oracle.report import Grade
from protocol.oracle.round import AggregatorNode, OracleNode
from tests.builders.oracles import (
    AUX,
    CONFIG,
    FEED_ID,
    KEYS,
    PRICE,
    ROUND,
    T0,
    MemoryGuard,
    Network,
    certify,
    make_config,
    observed,
    price_of,
    proposal_of,
    proposed,
    reason,
    sign,
    voted,
)

NOW = T0 + 100
ALIVE = {0: PRICE, 1: PRICE + 2_000, 2: PRICE + 9_000}

# Liars


def test_one_liar_moves_nothing_beyond_the_honest_range() -> None:
    for lie in (0, 1, PRICE * 10, PRICE * 12 // 10, 2**64 - 1):
        certificate = Network().run({0: PRICE, 1: PRICE + 10, 2: lie})
        assert certificate is not None, "one outlier does not stop the price"
        assert PRICE <= certificate.report.price_e8 <= PRICE + 10
        assert certificate.signers == (0, 1)


def test_a_liar_and_a_crash_give_no_certificate() -> None:
    network = Network()
    network.observe({0: PRICE, 2: PRICE * 2})
    with pytest.raises(QuorumError, match="wait for a further one"):
        network.aggregator.propose(ROUND, NOW)


def test_a_drifting_liar_is_bounded_by_half_of_delta() -> None:
    """Always just inside delta, with one oracle dead; with all three alive it moves nothing."""
    most = PRICE + PRICE * 5_000 // 1_000_000
    degraded = Network().run({0: PRICE, 2: most})
    full = Network().run({0: PRICE, 1: PRICE, 2: most})
    assert degraded and full
    assert degraded.report.price_e8 - PRICE <= PRICE * 2_500 // 1_000_000
    assert full.report.price_e8 == PRICE


# Equivocation


def test_two_observations_to_two_peers() -> None:
    """F tells A one price and B another; who sees both convicts F, the evidence convinces all."""
    network = Network()
    network.observe({0: PRICE, 1: PRICE})
    a, b, _ = network.nodes
    one, two = (observed(2, p, network.config) for p in (PRICE, PRICE + 1))
    assert a.receive_observation(one, NOW) is None
    assert b.receive_observation(two, NOW) is None
    network.aggregator.receive_observation(one, NOW)
    answer = b.receive_proposal(proposed(network), NOW)
    assert reason(answer) is Reason.EQUIVOCATION
    assert isinstance(answer, Refusal) and isinstance(answer.proof, Evidence)
    assert answer.proof.check(network.config) == 2
    network.aggregator.receive_refusal(1, ROUND, answer, NOW)
    assert a.receive_evidence(answer.proof) is None
    for node in (a, b, network.aggregator):
        assert list(node.inbox.convicted) == [2]
        assert 2 not in node.inbox.held(ROUND)
    certificate = network.run({0: PRICE, 1: PRICE, 2: PRICE}, ROUND + 1)
    assert certificate is not None, "the others go on without the convicted oracle"
    assert (certificate.report.observers, certificate.signers) == (0b011, (0, 1))


def test_the_aggregator_sees_both_observations() -> None:
    aggregator = AggregatorNode(CONFIG, FEED_ID)
    assert aggregator.receive_observation(observed(2), NOW) is None
    refusal = aggregator.receive_observation(observed(2, PRICE + 1), NOW)
    assert reason(refusal) is Reason.EQUIVOCATION
    assert not aggregator.inbox.held(ROUND)
    assert reason(aggregator.receive_observation(observed(2, seq=9, round=ROUND + 1), NOW)) is (
        Reason.EXCLUDED
    )


def test_other_randomness_is_no_equivocation() -> None:
    aggregator = AggregatorNode(CONFIG, FEED_ID)
    signed = observed(2)
    again = replace(signed, signature=KEYS[2].sign(signed.observation.message, b"\1" * 32))
    assert aggregator.receive_observation(signed, NOW) is None
    assert aggregator.receive_observation(again, NOW) is None
    assert not aggregator.inbox.convicted


def test_a_double_vote_is_evidence_and_does_not_count() -> None:
    network = Network()
    signed = network.observe(ALIVE)
    network.aggregator.receive_observation(signed[0], NOW)
    first = proposed(network)
    second = network.aggregator._ballots[ROUND].show(
        proposal_of(*signed, config=network.config, time=T0 + 77)
    )
    votes = [
        Vote(2, ROUND, p.report.hash, KEYS[2].sign(p.report.hash, AUX)) for p in (first, second)
    ]
    assert network.aggregator.receive_vote(votes[0]) is None
    answer = network.aggregator.receive_vote(votes[1])
    assert reason(answer) is Reason.EQUIVOCATION
    assert network.aggregator.receive_vote(voted(network.nodes[0], first)) is None
    assert isinstance(network.aggregator.receive_vote(voted(network.nodes[1], first)), Certificate)
    assert network.aggregator.last is not None
    assert network.aggregator.last.signers == (0, 1)
    assert "oracle 2 is excluded" in str(network.aggregator.failure(ROUND))


def test_conflicting_certificates_convict_and_all_nodes_choose_the_same() -> None:
    """{A, F} certify one report, {B, F} another: only F has signed both."""
    seen = [observed(i, PRICE + i) for i in range(3)]
    full = certify(proposal_of(*seen).report, (0, 2))
    other = certify(proposal_of(*seen, time=T0 + 99).report, (1, 2))
    degraded = certify(proposal_of(*seen[1:]).report, (1, 2))
    for pair in ((full, other), (full, degraded)):
        heads = set()
        for order in (pair, pair[::-1]):
            node = OracleNode(CONFIG, FEED_ID, 0, lambda m: m + m, MemoryGuard())
            assert node.receive_certificate(order[0]) is None
            refusal = node.receive_certificate(order[1])
            assert reason(refusal) is Reason.EQUIVOCATION
            assert refusal is not None and isinstance(refusal.proof, Evidence)
            assert refusal.proof.check(CONFIG) == 2
            assert list(node.inbox.convicted) == [2]
            heads.add(node.last)
        assert len(heads) == 1
    assert heads == {full}, "FULL before DEGRADED"


def test_false_evidence_convicts_nobody() -> None:
    node = Network().nodes[0]
    a, b = observed(1), observed(1, round=ROUND + 1)
    false = Evidence(
        KEYS[1].public, a.observation.encode(), a.signature, b.observation.encode(), b.signature
    )
    assert reason(node.receive_evidence(false)) is Reason.SIGNATURE
    assert not node.inbox.convicted


# Late, replayed and rolled back


def test_a_late_but_valid_observation_is_kept() -> None:
    network = Network()
    network.observe({0: PRICE, 1: PRICE})
    proposed(network)
    late = observed(2, config=network.config)
    assert network.aggregator.receive_observation(late, NOW + 200) is None
    assert network.aggregator.inbox.held(ROUND)[2] == late


def test_replays_are_refused() -> None:
    aggregator = AggregatorNode(CONFIG, FEED_ID)
    yesterday = observed(0, round=ROUND - 86_400, obs_time=T0 - 86_400_000)
    assert reason(aggregator.receive_observation(yesterday, NOW)) is Reason.STALE
    moved = observed(0, round=ROUND, obs_time=T0 - 86_400_000)
    assert reason(aggregator.receive_observation(moved, NOW)) is Reason.STALE
    epoch = observed(0, config=make_config(epoch=0))
    assert reason(aggregator.receive_observation(epoch, NOW)) is Reason.CONFIG
    assert aggregator.inbox.refused == {Reason.STALE: 2, Reason.CONFIG: 1}


def test_withheld_and_released_after_the_proposal() -> None:
    """C shows itself to A only; A refuses DEGRADED and hands C's observation over: FULL."""
    network = Network()
    network.observe({0: PRICE, 1: PRICE + 2})
    degraded = proposed(network)
    late = network.nodes[2].observe(ROUND, price_of(PRICE + 9), bytes(32), T0 + 20)
    network.nodes[0].receive_observation(late, NOW)
    answer = network.nodes[0].receive_proposal(degraded, NOW)
    assert reason(answer) is Reason.WITHHELD
    assert isinstance(answer, Refusal)
    full = network.aggregator.receive_refusal(0, ROUND, answer, NOW)
    assert full is not None and full.report.grade is Grade.FULL
    assert network.aggregator.receive_refusal(0, ROUND, answer, NOW) is None, "shown already"
    network.nodes[2].receive_observation(network.aggregator.inbox.held(ROUND)[0], NOW)
    certificate = network.vote(full, (0, 2), NOW)
    assert certificate is not None and certificate.report.price_e8 == PRICE + 2


def test_a_rolled_back_seq_is_refused() -> None:
    node = Network().nodes[0]
    assert node.receive_observation(observed(1, seq=10), NOW) is None
    next_round = {"round": ROUND + 1, "obs_time": T0 + 1_000}
    rolled_back = observed(1, seq=10, **next_round)
    assert reason(node.receive_observation(rolled_back, T0 + 1_050)) is Reason.SEQUENCE
    assert node.receive_observation(observed(1, seq=11, **next_round), T0 + 1_050) is None
    before = observed(1, seq=3, round=ROUND - 1, obs_time=T0 - 900)
    assert node.receive_observation(before, NOW) is None, "late and reordered is no rollback"


def test_a_flood_stays_bounded() -> None:
    """Every round that the limits allow, every oracle, repeated; votes and refusals for others."""
    aggregator = AggregatorNode(CONFIG, FEED_ID)
    flood = [
        observed(1, round=ROUND + i, seq=1_000 + i, obs_time=T0 + 1_000 * i)
        for i in range(-20, 200, 4)
    ]
    for now in range(T0, T0 + 200_000, 10_000):
        for signed in flood:
            aggregator.receive_observation(signed, now)
        aggregator.receive_vote(Vote(1, now, bytes(32), bytes(64)))
        aggregator.receive_refusal(99, now, Refusal(Reason.OWN, ""), now)
    assert len(aggregator.inbox._rounds) <= 11
    assert len(aggregator._ballots) <= 11
    assert aggregator.inbox.refused.total() > 900


# Bad aggregators


def test_a_dropped_observation_is_noticed_by_its_oracle() -> None:
    network = Network()
    signed = network.observe(ALIVE)
    dropped = proposal_of(*signed[1:], config=network.config)
    assert reason(network.nodes[0].receive_proposal(dropped, NOW)) is Reason.WITHHELD


def test_two_dropped_observations_certify_nothing() -> None:
    network = Network()
    signed = network.observe(ALIVE)
    honest = proposal_of(*signed, config=network.config)
    alone = Proposal(replace(honest.report, observers=1, grade=Grade.DEGRADED), signed[:1], None)  # type: ignore[arg-type]
    for node in network.nodes:
        assert reason(node.receive_proposal(alone, NOW)) is Reason.QUORUM


def test_different_proposals_burn_one_round_and_no_more() -> None:
    network = Network()
    signed = network.observe(ALIVE)
    proposals = [proposal_of(*signed, config=network.config, time=T0 + 50 + i) for i in range(3)]
    votes = [voted(n, p) for n, p in zip(network.nodes, proposals, strict=True)]
    assert len({vote.report_hash for vote in votes}) == 3, "no two of them make a quorum"
    honest = proposed(network)
    for node in network.nodes:
        assert reason(node.receive_proposal(honest, NOW)) is Reason.GUARD
    assert network.run(ALIVE, ROUND + 1) is not None


def test_an_aggregator_that_dies_before_publishing_loses_one_round() -> None:
    network = Network()
    network.observe(ALIVE)
    proposal = proposed(network)
    for node in network.nodes:
        voted(node, proposal)
    network.aggregator = AggregatorNode(network.config, FEED_ID)
    certificate = network.run(ALIVE, ROUND + 1)
    assert certificate is not None
    assert certificate.report.prev_report_hash == bytes(32), "the lost round was never certified"


def test_an_aggregator_with_an_old_disk_is_brought_up_to_date() -> None:
    network = Network()
    certificate = network.run(ALIVE)
    network.aggregator = AggregatorNode(network.config, FEED_ID)
    assert network.run(ALIVE, ROUND + 1) is None
    assert network.aggregator.last == certificate, "learned from a refusal"
    assert network.run(ALIVE, ROUND + 2) is not None


def test_two_aggregators_at_once_never_certify_one_round_twice() -> None:
    network = Network()
    signed = network.observe(ALIVE)
    rival = AggregatorNode(network.config, FEED_ID)
    for one in signed:
        rival.receive_observation(one, NOW)
    first, second = proposed(network), rival.propose(ROUND, NOW + 1)
    assert second is not None and first.report != second.report
    certificates = []
    for node, order in zip(network.nodes, ((0, 1), (1, 0), (0, 1)), strict=True):
        for choice in order:
            answer = node.receive_proposal((first, second)[choice], NOW + 2)
            if isinstance(answer, Vote):
                certificates.append((network.aggregator, rival)[choice].receive_vote(answer))
    assert sum(isinstance(c, Certificate) for c in certificates) == 1


def test_votes_that_do_not_count() -> None:
    network = Network()
    network.observe(ALIVE)
    proposal = proposed(network)
    vote = voted(network.nodes[0], proposal)
    bad = {
        Reason.SIGNER: replace(vote, oracle=3),
        Reason.SIGNATURE: replace(vote, oracle=1),
        Reason.ROUND: replace(vote, report_hash=bytes(32)),
    }
    for expected, forged in bad.items():
        assert reason(network.aggregator.receive_vote(forged)) is expected
    assert network.aggregator.receive_vote(vote) is None
    assert network.aggregator.receive_vote(vote) is None, "one oracle is no quorum"
    assert isinstance(
        network.aggregator.receive_vote(voted(network.nodes[1], proposal)), Certificate
    )
    assert network.aggregator.receive_vote(voted(network.nodes[2], proposal)) is None, "too late"


def test_forged_certificates_are_not_adopted() -> None:
    node = Network().nodes[0]
    report = proposal_of(*(observed(i) for i in range(3))).report
    forged = certify(report)
    altered = Certificate(replace(report, price_e8=1), forged.signatures)
    assert reason(node.receive_certificate(altered)) is Reason.SIGNATURE
    assert reason(node.receive_certificate(certify(report, (0, 1, 2)))) is Reason.QUORUM
    assert node.last is None
    with pytest.raises(QuorumError):
        OracleNode(CONFIG, FEED_ID, 0, lambda m: m, MemoryGuard(), certify(report, (0,)))


def test_the_same_report_certified_by_others_is_no_conflict() -> None:
    network = Network()
    first = network.run(ALIVE)
    assert first is not None
    again = certify(first.report, (0, 2))
    for node in (network.nodes[0], network.aggregator):
        assert node.receive_certificate(again) is None
        assert node.last == first
        assert not node.inbox.convicted


def test_an_older_certificate_changes_nothing() -> None:
    network = Network()
    first, second = network.run(ALIVE), network.run(ALIVE, ROUND + 1)
    assert first and second
    assert network.nodes[0].receive_certificate(first) is None
    assert network.nodes[0].last == second


# Copies, uncertified prices, crash points


def test_a_copied_observation_moves_nothing_and_shows() -> None:
    """C repeats what A said, under its own key: legal, visible by its evidence, and no lever."""
    network = Network()
    first, *_ = network.observe({0: PRICE, 1: PRICE + 2_000})
    copy = sign(2, replace(first.observation, seq=7))
    assert network.aggregator.receive_observation(copy, NOW) is None
    assert copy.observation.evidence_root == first.observation.evidence_root
    report = proposed(network).report
    assert PRICE <= report.price_e8 <= PRICE + 2_000


def test_a_barrier_is_not_touched_by_an_uncertified_print() -> None:
    """All venues flash to a third for one round: the breaker stops it, the expiry never sees it."""
    network = Network(max_move_ppm=100_000)
    reports = []
    for step, price in enumerate((PRICE, PRICE // 3, PRICE, PRICE)):
        certificate = network.run(dict.fromkeys(range(3), price), ROUND + step)
        assert (certificate is None) == (step == 1)
        reports += [] if certificate is None else [certificate.report]
    slot = ExpirySlot(
        config_digest=network.config.digest,
        feed_id=FEED_ID,
        start_round=ROUND,
        target_round=ROUND + 3,
        rule=Rule.TWAP,
        window=4,
    )
    expiry = expiry_of(slot, 600, reports)
    assert (expiry.low_e8, expiry.high_e8, expiry.rounds) == (PRICE, PRICE, 3)
    assert expiry.price_e8 == PRICE, "the missing round is no zero and no third of the price"


@pytest.mark.parametrize("dies_at", range(5))
def test_a_crash_at_any_write_never_leads_to_a_second_signature(dies_at: int) -> None:
    """SIGKILL just after the n-th record of the guard, before or after the key was used; the venues
    move, the oracle restarts and does everything again."""

    class Killed(Exception):  # noqa: N818
        pass

    class Guard(MemoryGuard):
        armed = True

        def record(self, *slot: Any) -> None:
            super().record(*slot)
            if self.armed and len(self.log) > dies_at:
                self.armed = False
                raise Killed

    network = Network()
    network.guards[0] = Guard()
    network.nodes[0] = network.node(0)
    for step in range(4):
        prices = {i: PRICE + 1_000 * step + i for i in range(3)}
        for _ in range(2):
            try:
                network.run(prices, ROUND + step)
            except Killed:
                network.nodes[0] = network.node(0, network.aggregator.last)
                prices = {i: price + 17 for i, price in prices.items()}
    slots = [message[:76] for message in network.guards[0].log]
    assert len(slots) == len(set(slots)) > dies_at
    assert network.aggregator.last is not None
    assert network.aggregator.last.report.round == ROUND + 3


# Each check bites: without it the attack that it stops succeeds

CHECKS = {
    "_check_identity": lambda r: replace(r, prev_report_hash=b"\1" * 32),
    "_check_arithmetic": lambda r: replace(r, price_e8=r.price_e8 + 1_000_000),
    "_check_time": lambda r: replace(r, time=T0 + 6_000),
}


def attack_of(check: str, network: Network, signed: list[SignedObservation]) -> Proposal:
    """A proposal that nothing but ``check`` refuses."""
    config = network.config
    if check in CHECKS:
        honest = proposal_of(*signed, config=config)
        return replace(honest, report=CHECKS[check](honest.report))
    if check == "_check_observations":
        forged = replace(signed[2], signature=bytes(64))
        return proposal_of(*signed[:2], forged, config=config)
    if check == "_check_own":
        far = [sign(i, replace(signed[i].observation, price_e8=PRICE * 2)) for i in (1, 2)]
        network.nodes[0] = network.node(0)  # it has heard nobody else yet
        return proposal_of(signed[0], *far, config=config)
    if check == "_check_withheld":
        return proposal_of(*signed[:2], config=config)
    assert check == "_check_breaker"
    last = certify(replace(proposal_of(*signed, config=config).report, round=ROUND - 1, price_e8=9))
    network.nodes[0].receive_certificate(last)
    return proposal_of(*signed, config=config, previous=last)


@pytest.mark.parametrize(
    ("check", "expected"),
    [
        ("_check_identity", Reason.CHAIN),
        ("_check_observations", Reason.SIGNATURE),
        ("_check_arithmetic", Reason.MEDIAN),
        ("_check_time", Reason.TIME),
        ("_check_own", Reason.DEVIATION),
        ("_check_withheld", Reason.WITHHELD),
        ("_check_breaker", Reason.BREAKER),
    ],
)
def test_without_this_check_the_attack_succeeds(
    check: str, expected: Reason, monkeypatch: pytest.MonkeyPatch
) -> None:
    for removed in (False, True):
        network = Network()
        signed = network.observe(ALIVE)
        attack = attack_of(check, network, signed)
        if removed:
            monkeypatch.setattr(proposal_module, check, lambda *_: None)
        answer = network.nodes[0].receive_proposal(attack, NOW)
        if removed:
            assert isinstance(answer, Vote), f"something besides {check} refuses: {answer}"
        else:
            assert reason(answer) is expected


def test_every_check_of_a_proposal_is_tried_above() -> None:
    source = inspect.getsource(proposal_module.check_proposal)
    named = set(re.findall(r"_check_\w+", source))
    marks = test_without_this_check_the_attack_succeeds.pytestmark  # type: ignore[attr-defined]
    tried = {row[0] for row in marks[0].args[1]}
    assert named == tried


# The known bad aggregator: what an arithmetic mean over source names did, line by line


@pytest.mark.parametrize(("lie_bps", "mean_moved_bps"), [(769, 256)])
def test_known_bad_1_one_liar_moves_the_mean_of_three(lie_bps: int, mean_moved_bps: int) -> None:
    lie = PRICE + PRICE * lie_bps // 10_000
    mean = (PRICE + PRICE + lie) // 3
    assert (mean - PRICE) * 10_000 // PRICE == mean_moved_bps
    certificate = Network().run({0: PRICE, 1: PRICE, 2: lie})
    assert certificate is not None and certificate.report.price_e8 == PRICE


def test_known_bad_2_one_liar_of_two_moves_the_mean_by_half() -> None:
    lie = PRICE + PRICE * 1_053 // 10_000
    assert ((PRICE + lie) // 2 - PRICE) * 10_000 // PRICE == 526
    network = Network()
    network.observe({0: PRICE, 2: lie})
    with pytest.raises(QuorumError, match="wait for a further one"):
        network.aggregator.propose(ROUND, NOW)


@pytest.mark.parametrize("price", [float("nan"), float("inf"), -1, 2**64, "NaN", None, True])
def test_known_bad_3_nan_is_no_price(price: Any) -> None:
    with pytest.raises(EncodingError, match="observation price_e8"):
        observed(0, price)


def test_known_bad_4_two_invented_sources_are_no_consensus() -> None:
    """Two keys that the configuration does not list, under whatever index they claim."""
    aggregator = AggregatorNode(CONFIG, FEED_ID)
    for key, index in ((5, 0), (6, 1), (5, 5), (6, 6)):
        message = observed(0).observation
        invented = SignedObservation(index, message, KEYS[key].sign(message.message, AUX))
        refused = reason(aggregator.receive_observation(invented, NOW))
        assert refused is (Reason.SIGNATURE if index < 3 else Reason.SIGNER)
    assert aggregator.propose(ROUND, NOW + 1_000) is None


def test_known_bad_5_a_later_time_does_not_overwrite_an_honest_source() -> None:
    network = Network()
    honest = network.observe(ALIVE)[0]
    for time in (T0 + 11, T0 + 900):
        later = replace(honest.observation, obs_time=time, price_e8=PRICE * 2, seq=99)
        for key in (1, 5):
            forged = SignedObservation(0, later, KEYS[key].sign(later.message, AUX))
            assert reason(network.aggregator.receive_observation(forged, NOW)) is Reason.SIGNATURE
    assert network.aggregator.inbox.held(ROUND)[0] == honest
    assert proposed(network).report.price_e8 == PRICE + 2_000


def test_known_bad_6_one_outlier_stops_nobody() -> None:
    certificate = Network().run({0: PRICE, 1: PRICE + 10, 2: PRICE * 12 // 10})
    assert certificate is not None and certificate.report.price_e8 == PRICE + 10
    assert certificate.report.grade is Grade.FULL


def test_known_bad_7_one_timestamp_an_hour_ahead_stops_nobody() -> None:
    network = Network()
    network.observe({0: PRICE, 1: PRICE + 10})
    ahead = observed(2, config=network.config, obs_time=T0 + 3_600_000)
    for node in (*network.nodes, network.aggregator):
        assert reason(node.receive_observation(ahead, NOW)) is Reason.FUTURE
    certificate = network.vote(proposed(network), (0, 1), NOW)
    assert certificate is not None and certificate.report.price_e8 == PRICE + 5
