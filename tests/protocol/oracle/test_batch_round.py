"""Rounds of several feeds between pure nodes: honest ones, crashes, liars and the breaker."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from protocol.errors import ConfigError, GuardError, QuorumError, SignatureError
from protocol.oracle.batch_certificate import BatchCertificate
from protocol.oracle.batch_observation import SignedObservationBatch
from protocol.oracle.batch_proposal import BatchProposal
from protocol.oracle.batch_round import BatchAggregatorNode, BatchOracleNode
from protocol.oracle.certificate import Certificate
from protocol.oracle.evidence import Evidence
from protocol.oracle.proposal import Reason, Refusal, Vote
from protocol.oracle.report import Grade, Report
from protocol.oracle.round import OracleNode
from protocol.oracle.rows import ReportRows
from tests.builders.batches import (
    FEEDS,
    NOW,
    BatchNetwork,
    V,
    X,
    Y,
    Z,
    certify_batch,
    feed_ids,
    flat,
    looks_of,
    observed_batch,
    shown,
    sign_batch,
    signed_by,
)
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
    observation,
    price_of,
    reason,
    sign,
)

ALIVE = {i: flat(PRICE + 1_000 * i) for i in range(3)}


def without(*feeds: bytes, price: int = PRICE) -> dict[bytes, int]:
    return {feed: price for feed in FEEDS if feed not in feeds}


def certified(
    network: BatchNetwork, prices: dict[int, dict[bytes, int]], round_id: int = ROUND
) -> BatchCertificate:
    certificate = network.run(prices, round_id)
    assert certificate is not None, network.aggregator.failure(round_id)
    certificate.check(network.config, network.feeds)
    return certificate


# The round as it should be


@pytest.mark.parametrize("n", range(1, 9))
def test_an_honest_round_of_n(n: int) -> None:
    network = BatchNetwork(n)
    certificate = certified(network, {i: flat(PRICE + i) for i in range(n)})
    assert certificate.reports.feeds == FEEDS
    assert {r.grade for r in certificate.reports} == {Grade.FULL}
    assert {node.last for node in network.nodes} == {certificate, network.aggregator.last}
    assert network.nodes[0].last_prices() == certificate.prices == network.aggregator.last_prices()


def test_batches_and_reports_form_chains() -> None:
    network = BatchNetwork()
    first, second = certified(network, ALIVE), certified(network, ALIVE, ROUND + 1)
    gap = certified(network, ALIVE, ROUND + 30)
    assert first.previous_hash == bytes(32)
    assert (second.previous_hash, gap.previous_hash) == (first.hash, second.hash)
    for a, b in ((first, second), (second, gap)):
        assert [r.prev_report_hash for r in b.reports] == [r.hash for r in a.reports]


def test_one_signature_an_oracle_and_step() -> None:
    signed: list[bytes] = []
    network = BatchNetwork(1)
    node = BatchOracleNode(
        network.config,
        FEEDS,
        0,
        lambda m: signed.append(m) or KEYS[0].sign(m, AUX),  # type: ignore[func-returns-value]
        network.guards[0],
    )
    network.nodes = [node]
    certified(network, {0: flat()})
    assert len(signed) == 2
    assert [m[:4] for m in network.guards[0].log] == [b"OBB1", b"BAT1"]


def test_full_does_not_wait_and_degraded_waits_for_the_deadline() -> None:
    network = BatchNetwork()
    network.observe({0: flat(), 1: flat()})
    assert network.aggregator.deadline_ms(ROUND) == T0 + 60
    assert network.aggregator.propose(ROUND, T0 + 59) is None
    assert not shown(network, T0 + 60).is_full
    full = BatchNetwork()
    full.observe(ALIVE)
    assert shown(full, T0 + 10).is_full
    assert full.aggregator.propose(ROUND, T0 + 11) is None, "one proposal a round"


prices_of_a_feed = st.lists(
    st.one_of(
        st.none(),
        st.integers(PRICE - PRICE // 100, PRICE + PRICE // 100),
        st.sampled_from([PRICE, PRICE // 2, PRICE * 2, 0, 2**64 - 1]),
    ),
    min_size=3,
    max_size=3,
)


@given(rounds=st.lists(prices_of_a_feed, min_size=1, max_size=6))
@example(  # who deviates in the round that shows the jump has seen it too
    rounds=[
        [None, PRICE // 2, PRICE // 2],
        [PRICE, PRICE + PRICE // 200, PRICE // 2],
        [PRICE, PRICE + PRICE // 100, PRICE + PRICE // 10_000],
    ]
)
@settings(max_examples=40, deadline=None)
def test_a_batch_of_one_feed_is_the_single_feed(rounds: list[list[int | None]]) -> None:
    """Same certificates round by round, through liars, crashes and jumps of the market."""
    single, batched = Network(), BatchNetwork(feeds=(FEED_ID,))
    for i, prices in enumerate(rounds):
        alive = {o: p for o, p in enumerate(prices) if p is not None}
        of_feed = {o: {FEED_ID: p} for o, p in alive.items()}
        expected, found = _run(single, alive, ROUND + i), _run(batched, of_feed, ROUND + i)
        assert _price(found) == _price(expected)


def _run(network: Any, prices: Any, round_id: int) -> Any:
    try:
        return network.run(prices, round_id)
    except QuorumError:
        return None


def _price(certificate: Certificate | BatchCertificate | None) -> tuple[int, ...] | None:
    if certificate is None:
        return None
    report: Report = (
        certificate.report if isinstance(certificate, Certificate) else certificate.reports[0]
    )
    return (
        report.round,
        report.price_e8,
        report.conf_e8,
        report.grade,
        report.observers,
        report.time,
    )


# One feed, one oracle and one liar do not stop the others


def test_a_feed_without_quorum_is_left_out() -> None:
    network = BatchNetwork()
    first = certified(network, {0: flat(), 1: without(X), 2: without(X)})
    assert first.reports.feeds == FEEDS[1:]
    second = certified(network, ALIVE, ROUND + 1)
    by_feed = {report.feed_id: report for report in second.reports}
    assert by_feed[X].prev_report_hash == bytes(32), "it has no report yet"
    third = certified(network, {0: flat(), 1: without(X), 2: without(X)}, ROUND + 2)
    fourth = certified(network, ALIVE, ROUND + 3)
    assert X not in third.reports.feeds
    assert fourth.reports[0].prev_report_hash == by_feed[X].hash, "linked over the gap"


def test_every_oracle_misses_another_feed() -> None:
    """All feeds have two observers; no oracle can sign all of them, and nobody is stopped."""
    network = BatchNetwork()
    seen: set[bytes] = set()
    for i in range(4):
        certificate = certified(network, {0: without(X), 1: without(Y), 2: without(Z)}, ROUND + i)
        seen.update(certificate.reports.feeds)
        assert len(certificate.reports) == 3
    assert seen == set(FEEDS), "each has its turn"


def test_a_liar_on_one_feed_moves_nothing_and_stops_nothing() -> None:
    for lie in (0, 1, PRICE * 10, 2**64 - 1):
        network = BatchNetwork()
        certificate = certified(network, {0: flat(), 1: flat(PRICE + 10), 2: flat() | {X: lie}})
        assert certificate.reports.feeds == FEEDS
        assert PRICE <= certificate.prices[X] <= PRICE + 10
        assert certificate.signers == (0, 1)


def test_a_liar_and_a_crash_cost_one_feed() -> None:
    certificate = certified(BatchNetwork(), {0: flat(), 2: flat() | {X: PRICE * 2}})
    assert certificate.reports.feeds == FEEDS[1:]
    assert {r.grade for r in certificate.reports} == {Grade.DEGRADED}


def test_two_honest_ones_that_disagree_on_a_feed_cost_that_feed() -> None:
    certificate = certified(
        BatchNetwork(), {0: flat(), 1: flat() | {Y: PRICE * 2}, 2: flat() | {Y: PRICE * 3}}
    )
    assert certificate.reports.feeds == tuple(f for f in FEEDS if f != Y)


def test_one_that_promises_and_does_not_sign_burns_few_rounds() -> None:
    """Oracle 2 is needed for the feed that oracle 1 does not see, and never signs."""
    network = BatchNetwork()
    burnt = []
    for i in range(20):
        network.observe({0: flat(), 1: without(X), 2: flat()}, ROUND + i)
        now = network.config.starts_ms(ROUND + i) + 100
        if network.vote(shown(network, now, ROUND + i), (0, 1), now) is None:
            burnt.append(i)
    assert burnt == [0, 3, 8, 17], "trust for 2, 4, 8 rounds is gone each time"


def test_nothing_to_certify_is_explained() -> None:
    network = BatchNetwork()
    network.observe({0: flat(), 1: flat(PRICE * 2)})
    with pytest.raises(QuorumError, match="no feed of 5 can be certified: 5 have too few"):
        network.aggregator.propose(ROUND, NOW)
    assert str(network.aggregator.failure(ROUND)).endswith(
        "oracle 0 observed; oracle 1 observed; oracle 2 sent no observation"
    )


def test_observations_nobody_would_accept_are_left_out() -> None:
    node = BatchNetwork().nodes[0]
    looks = {**looks_of(flat()), X: (replace(price_of(), venues=4), bytes(32))}
    signed = node.observe(ROUND, looks, T0)
    assert signed.observations.feeds == FEEDS[1:]
    for now in (T0 + 5_001, T0 - 5_001):
        with pytest.raises(QuorumError, match="these observations would be refused: stale: feed"):
            BatchNetwork().nodes[0].observe(ROUND, looks_of(flat()), now)
    with pytest.raises(QuorumError, match="there is no feed to observe"):
        node.observe(ROUND + 1, {}, T0)
    with pytest.raises(ConfigError, match="not one of this deployment"):
        node.observe(ROUND + 1, looks_of({bytes(32): 1}), T0)


# The breaker


JUMP = flat() | {Y: PRICE // 2}


def test_a_jump_is_confirmed_in_two_rounds_and_stops_nobody_else() -> None:
    network = BatchNetwork()
    certified(network, ALIVE)
    halted = certified(network, dict.fromkeys(range(3), JUMP), ROUND + 1)
    assert halted.reports.feeds == tuple(f for f in FEEDS if f != Y)
    confirmed = certified(network, dict.fromkeys(range(3), JUMP), ROUND + 2)
    assert confirmed.prices[Y] == PRICE // 2
    assert Y in certified(network, dict.fromkeys(range(3), JUMP), ROUND + 3).prices, "closed again"


def test_a_jump_of_every_feed_is_confirmed_too() -> None:
    """There is nothing to propose in the round that first shows it."""
    network = BatchNetwork()
    certified(network, ALIVE)
    network.observe(dict.fromkeys(range(3), flat(PRICE // 2)), ROUND + 1)
    with pytest.raises(QuorumError, match="5 jumped"):
        network.aggregator.propose(ROUND + 1, NOW + 1_000)
    confirmed = certified(network, dict.fromkeys(range(3), flat(PRICE // 2)), ROUND + 2)
    assert set(confirmed.prices.values()) == {PRICE // 2}


@pytest.mark.parametrize(
    ("between", "is_confirmed"),
    [
        ({0: JUMP, 1: JUMP, 2: JUMP}, True),
        ({0: flat(), 1: flat(), 2: flat()}, False),
        ({0: JUMP, 1: JUMP}, False),
        ({0: without(Y), 1: without(Y), 2: without(Y)}, False),
    ],
    ids=["the jump", "back to normal", "degraded", "no data"],
)
def test_what_confirms_a_jump(between: dict[int, dict[bytes, int]], is_confirmed: bool) -> None:
    network = BatchNetwork()
    certified(network, ALIVE)
    certified(network, between, ROUND + 1)
    last = certified(network, dict.fromkeys(range(3), JUMP), ROUND + 2)
    assert (Y in last.prices) is is_confirmed


def test_a_round_without_data_does_not_break_the_row() -> None:
    network = BatchNetwork()
    certified(network, ALIVE)
    for i, seen in enumerate((JUMP, without(Y), JUMP)):
        last = certified(network, dict.fromkeys(range(3), seen), ROUND + 1 + i)
    assert Y in last.prices


def test_a_flash_crash_does_not_confirm_itself_later() -> None:
    network = BatchNetwork()
    certified(network, ALIVE)
    for i, seen in enumerate((JUMP, flat(), JUMP)):
        last = certified(network, dict.fromkeys(range(3), seen), ROUND + 1 + i)
    assert Y not in last.prices


def test_a_proposer_that_ignores_the_breaker_gets_no_signature() -> None:
    network = BatchNetwork()
    certified(network, ALIVE)
    network.observe(dict.fromkeys(range(3), JUMP), ROUND + 1)
    blind = BatchAggregatorNode(network.config, FEEDS)
    blind.chain = network.aggregator.chain
    for signed in network.aggregator.inbox.held(ROUND + 1).values():
        blind.receive_observation(signed, NOW + 1_000)
    blind.chain.prices[:] = PRICE // 2
    proposal = blind.propose(ROUND + 1, NOW + 1_000)
    assert proposal is not None and Y in proposal.reports.feeds
    for node in network.nodes:
        refusal = node.receive_proposal(proposal, NOW + 1_000)
        assert reason(refusal) is Reason.BREAKER
        assert Y.hex() in str(refusal)


def test_an_oracle_that_restarted_in_the_jump_costs_one_round() -> None:
    network = BatchNetwork()
    last = certified(network, ALIVE)
    certified(network, dict.fromkeys(range(3), JUMP), ROUND + 1)
    head = network.aggregator.last
    for i in (0, 1):
        network.nodes[i] = BatchOracleNode(
            network.config, FEEDS, i, network.nodes[i]._sign, network.guards[i], head, [last]
        )
    assert network.run(dict.fromkeys(range(3), JUMP), ROUND + 2) is None, "two forgot what they saw"
    assert Y in certified(network, dict.fromkeys(range(3), JUMP), ROUND + 3).prices


# Crashes, guards, catching up


def test_the_round_is_recorded_before_it_is_signed() -> None:
    events: list[str] = []

    class Guard(MemoryGuard):
        def record(self, kind: bytes, *rest: object) -> None:
            super().record(kind, *rest)  # type: ignore[arg-type]
            events.append(f"recorded {kind.decode()}")

    def sign_logged(message: bytes) -> bytes:
        events.append("signed")
        return KEYS[0].sign(message, AUX)

    network = BatchNetwork()
    network.nodes[0] = BatchOracleNode(network.config, FEEDS, 0, sign_logged, Guard())
    certified(network, ALIVE)
    assert events == ["recorded OBB1", "signed", "recorded BAT1", "signed"]


def test_a_guard_that_refuses_means_no_signature() -> None:
    class Full(MemoryGuard):
        def record(self, *_: object) -> None:
            raise GuardError("disk full")

    def never(_: bytes) -> bytes:
        raise AssertionError("signed without a record")

    network = BatchNetwork()
    node = BatchOracleNode(network.config, FEEDS, 0, never, Full())
    with pytest.raises(GuardError, match="disk full"):
        node.observe(ROUND, looks_of(flat()), T0)
    network.nodes[0] = node
    for i in range(3):
        network.tell(observed_batch(i, config=network.config))
    answer = node.receive_proposal(shown(network), NOW)
    assert reason(answer) is Reason.GUARD
    assert node.inbox.refused == {Reason.GUARD: 1}


def test_one_batch_a_round() -> None:
    network = BatchNetwork()
    network.observe(ALIVE)
    proposal = shown(network)
    vote = signed_by(network.nodes[0], proposal)
    rows = ReportRows(b"".join(proposal.reports.parts[:3]))
    other = replace(proposal, report=replace(proposal.report, n=3, root=rows.root), reports=rows)
    assert reason(network.nodes[0].receive_proposal(other, NOW)) is Reason.GUARD
    assert signed_by(network.nodes[0], proposal) == vote
    assert isinstance(network.nodes[1].receive_proposal(other, NOW), Vote)


def test_a_restart_in_the_round_signs_nothing_new_and_takes_back_its_own() -> None:
    """SIGKILL between the observation and the vote; the guard remembers, the process does not."""
    network = BatchNetwork()
    network.observe(ALIVE)
    network.nodes[0] = network.node(0)
    with pytest.raises(GuardError, match=f"round {ROUND} was observed before a restart"):
        network.nodes[0].observe(ROUND, looks_of(flat(PRICE * 2)), T0 + 50)
    proposal = shown(network)
    refusal = network.nodes[0].receive_proposal(proposal, NOW)
    assert reason(refusal) is Reason.MISSING and isinstance(refusal, Refusal)
    complete = network.aggregator.receive_refusal(0, ROUND, refusal, NOW)
    assert complete is not None and complete.report == proposal.report
    signed_by(network.nodes[0], BatchProposal.decode(complete.encode()))
    assert len(network.guards[0].log) == 2
    assert network.aggregator.receive_refusal(1, ROUND, refusal, NOW) is None, "sent once"


def test_a_second_observation_of_the_round_is_the_first() -> None:
    node = BatchNetwork().nodes[0]
    first = node.observe(ROUND, looks_of(flat()), T0)
    assert node.observe(ROUND, looks_of(flat(PRICE * 2)), T0 + 5) is first


def test_single_feeds_and_batches_need_different_epochs() -> None:
    network = BatchNetwork(feeds=(FEED_ID, *FEEDS))
    certified(network, {i: flat(feeds=(FEED_ID, *FEEDS)) for i in range(3)})
    with pytest.raises(GuardError, match="rotate to a new epoch"):
        OracleNode(network.config, FEED_ID, 0, lambda m: m, network.guards[0])
    single = Network()
    single.run(dict.fromkeys(range(3), PRICE))
    with pytest.raises(GuardError, match="rotate to a new epoch"):
        BatchOracleNode(single.config, (FEED_ID, X), 0, lambda m: m, single.guards[0])
    BatchOracleNode(single.config, FEEDS, 0, lambda m: m, single.guards[0])


def test_feeds_are_listed_once() -> None:
    with pytest.raises(ConfigError, match="different ones"):
        BatchAggregatorNode(CONFIG, (X, X))
    with pytest.raises(ConfigError, match="1 to 65535"):
        BatchAggregatorNode(CONFIG, ())
    assert BatchAggregatorNode(CONFIG, FEEDS[::-1]).feeds == FEEDS


def test_an_oracle_that_slept_gets_every_certificate_it_needs() -> None:
    """It missed two rounds, and a feed whose newest report is not in the last batch."""
    network = BatchNetwork()
    certified(network, ALIVE)
    sleeper = network.nodes.pop()
    certified(network, {0: flat(), 1: flat()}, ROUND + 1)
    certified(network, {0: without(X), 1: without(X)}, ROUND + 2)
    network.nodes.append(sleeper)
    assert sleeper.chain.round == ROUND
    network.observe({0: flat(), 2: flat()}, ROUND + 3)
    now = network.config.starts_ms(ROUND + 3) + 100
    proposal = shown(network, now, ROUND + 3)
    refusal = sleeper.receive_proposal(proposal, now)
    assert reason(refusal) is Reason.CHAIN and isinstance(refusal, Refusal)
    complete = network.aggregator.receive_refusal(2, ROUND + 3, refusal, now)
    assert complete is not None
    assert [c.round for c in complete.earlier] == [ROUND + 1]
    signed_by(sleeper, BatchProposal.decode(complete.encode()), now)
    assert sleeper.last_prices() == network.aggregator.last_prices()


def test_a_proposer_that_slept_learns_and_proposes_again() -> None:
    network = BatchNetwork()
    certified(network, ALIVE)
    sleeper, network.aggregator = network.aggregator, BatchAggregatorNode(CONFIG, FEEDS)
    network.aggregator.receive_certificate(sleeper.last)  # type: ignore[arg-type]
    certified(network, ALIVE, ROUND + 1)
    network.aggregator = sleeper
    later = certified(network, ALIVE, ROUND + 2)
    assert later.previous_hash != sleeper.chain.head_hash == later.hash


def test_a_restart_needs_the_certificates_that_cover_all_feeds() -> None:
    network = BatchNetwork()
    seen = (ALIVE, *[dict.fromkeys(range(3), without(X))] * 3)
    history = [certified(network, prices, ROUND + i) for i, prices in enumerate(seen)]
    for earlier in ([], [history[0]], history[::-1]):
        node = BatchOracleNode(
            network.config, FEEDS, 0, lambda m: m, MemoryGuard(), history[-1], earlier
        )
        assert node.last == history[-1]
        same = (node.chain.hashes == network.nodes[0].chain.hashes).all()
        assert bool(same) is bool(earlier), "else the chain of X would begin again"


def test_a_forged_history_is_refused() -> None:
    certificate = certified(BatchNetwork(), ALIVE)
    forged = replace(certificate, report=replace(certificate.report, prev_batch_hash=b"\1" * 32))
    for last, earlier in ((forged, ()), (certificate, (forged,))):
        with pytest.raises(SignatureError):
            BatchOracleNode(CONFIG, FEEDS, 0, lambda m: m, MemoryGuard(), last, earlier)


# Attacks


def test_an_equivocator_is_excluded_and_the_round_goes_on() -> None:
    """It shows the aggregator another batch than its peers."""
    network = BatchNetwork()
    network.observe({0: flat(), 1: flat()})
    a, b = (observed_batch(2, flat(price), network.config) for price in (PRICE, PRICE + 7))
    network.aggregator.receive_observation(a, NOW)
    for node in network.nodes[:2]:
        node.receive_observation(b, NOW)
    certificate = network.vote(shown(network), (0, 1))
    assert certificate is not None and certificate.signers == (0, 1)
    assert {r.observers for r in certificate.reports} == {0b011}
    for node in (network.aggregator, *network.nodes[:2]):
        proof = node.inbox.convicted[2]
        assert proof.check(CONFIG) == 2 and proof.message_a[:4] == b"OBB1"
    assert reason(network.nodes[0].receive_observation(observed_batch(2), NOW)) is Reason.EXCLUDED


def test_two_batches_of_one_round_convict_their_signers() -> None:
    network = BatchNetwork()
    first = certified(network, ALIVE)
    rows = ReportRows(b"".join(first.reports.parts[:2]))
    second = certify_batch(replace(first.report, n=2, root=rows.root), rows, (1, 2))
    refusal = network.nodes[0].receive_certificate(second)
    assert reason(refusal) is Reason.EQUIVOCATION
    assert refusal is not None and isinstance(refusal.proof, Evidence)
    assert refusal.proof.check(CONFIG) == 1
    assert set(network.nodes[0].inbox.convicted) == {1}
    assert network.nodes[0].last == first, "the one with more reports"


@pytest.mark.parametrize("swap", [False, True])
def test_a_fork_heals_the_same_way_everywhere(swap: bool) -> None:
    """Both batches of the fork count for the feeds that only one of them has."""
    base = certified(BatchNetwork(), ALIVE)
    left = _part(base, FEEDS[:3])
    right = _part(base, FEEDS[2:], price_e8=PRICE + 5)
    node = BatchNetwork().nodes[0]
    for certificate in (right, left) if swap else (left, right):
        node.receive_certificate(certificate)
    assert node.last_prices().keys() == set(FEEDS)
    best = min(left.reports[2], right.reports[0], key=lambda r: r.hash)
    assert node.chain.report(Z) == best
    winner = min((left, right), key=lambda c: c.hash)
    assert node.last == winner


def _part(base: BatchCertificate, feeds: Sequence[bytes], **changes: int) -> BatchCertificate:
    reports = [replace(r, **changes) for r in base.reports if r.feed_id in feeds]
    rows = ReportRows(b"".join(report.encode() for report in reports))
    return certify_batch(replace(base.report, n=len(rows), root=rows.root), rows)


def test_a_vote_for_two_batches_convicts() -> None:
    network = BatchNetwork()
    network.observe({0: flat(), 1: flat()})
    first = shown(network)
    late = observed_batch(2, config=network.config)
    refusal = Refusal(Reason.WITHHELD, "here is one more", late)
    second = network.aggregator.receive_refusal(0, ROUND, refusal, NOW)
    assert second is not None and second.is_full
    for proposal in (first, second):
        signature = KEYS[2].sign(proposal.report.hash, AUX)
        answer = network.aggregator.receive_vote(Vote(2, ROUND, proposal.report.hash, signature))
    assert reason(answer) is Reason.EQUIVOCATION
    assert 2 in network.aggregator.inbox.convicted


def test_a_withheld_batch_makes_the_round_full() -> None:
    network = BatchNetwork()
    network.observe({0: flat(), 1: flat()})
    proposal = shown(network)
    for node in network.nodes:
        node.receive_observation(observed_batch(2, config=network.config), NOW)
    certificate = network.vote(proposal, (0, 1))
    assert certificate is not None
    assert {r.grade for r in certificate.reports} == {Grade.FULL}


@pytest.mark.parametrize("time", [T0 - 4_700, T0 + 950])
def test_a_batch_stamped_to_expire_on_the_way_stops_nobody(time: int) -> None:
    """Valid when it arrives, stale or from the future when the others judge the proposal."""
    network = BatchNetwork()
    network.observe({0: flat(), 1: flat()})
    liar = observed_batch(2, config=network.config, obs_time=time)
    network.tell(liar, T0 + 60)
    assert len(network.nodes[0].inbox.held(ROUND)) == 3
    certificate = network.vote(shown(network, T0 + 60), (0, 1), T0 + 60)
    assert certificate is not None
    assert {r.observers for r in certificate.reports} == {0b011}


def test_invalid_observation_batches_are_refused() -> None:
    node = BatchNetwork().nodes[0]
    good = observed_batch(2)
    rows = good.observations
    mixed = replace(rows[1], seq=9).encode()
    other_seq = type(rows)(rows.parts[0] + mixed + b"".join(rows.parts[2:]))
    cases: list[tuple[Reason, SignedObservationBatch]] = [
        (Reason.SIGNER, replace(good, oracle=3)),
        (Reason.CONFIG, sign_batch(2, rows, config_digest=bytes(32))),
        (Reason.FEED, observed_batch(2, flat(feeds=feed_ids(6)))),
        (Reason.STALE, observed_batch(2, obs_time=T0 - 5_001)),
        (Reason.FUTURE, observed_batch(2, obs_time=NOW + 1_001)),
        (Reason.VENUES, observed_batch(2, venues=1)),
        (Reason.SIGNATURE, replace(good, signature=bytes(64))),
        (Reason.SIGNATURE, replace(good, oracle=1)),
        (Reason.ROOT, sign_batch(2, rows, root=bytes(32))),
        (Reason.ROUND, sign_batch(2, other_seq)),
        (Reason.ROUND, sign_batch(2, rows, seq=2)),
    ]
    for expected, bad in cases:
        assert reason(node.receive_observation(bad, NOW)) is expected, expected
        assert node.inbox.held(ROUND) == {}
    assert node.receive_observation(good, NOW) is None
    assert node.receive_observation(good, NOW) is None, "repeated is no news"


def test_a_seq_that_goes_back_is_refused() -> None:
    node = BatchNetwork().nodes[0]
    assert node.receive_observation(observed_batch(2, seq=5), NOW) is None
    old = observed_batch(2, seq=5, round=ROUND + 1, obs_time=T0 + 1_010)
    assert reason(node.receive_observation(old, NOW + 1_000)) is Reason.SEQUENCE


def test_a_single_observation_does_not_stand_in_for_a_batch() -> None:
    signed = observed_batch(2)
    single = sign(2, observation(feed_id=V))
    forged = replace(signed, signature=single.signature)
    assert reason(BatchNetwork().nodes[0].receive_observation(forged, NOW)) is Reason.SIGNATURE


def test_memory_is_bounded() -> None:
    network = BatchNetwork(interval_ms=1000)
    for i in range(40):
        certified(network, ALIVE, ROUND + i)
    for node in (network.aggregator, *network.nodes):
        assert len(node.inbox._rounds) <= 12
    assert len(network.aggregator._ballots) == 0
