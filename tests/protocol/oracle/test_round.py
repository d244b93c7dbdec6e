"""Whole rounds between pure nodes: honest ones, crashes, and the breaker."""

from dataclasses import replace

import pytest

from protocol.errors import GuardError, QuorumError
from protocol.oracle.proposal import Reason, Refusal
from protocol.oracle.quorum import within
from protocol.oracle.report import Grade
from protocol.oracle.round import OracleNode
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
    observed,
    price_of,
    proposal_of,
    proposed,
    reason,
    voted,
)

NOW = T0 + 100
ALIVE = {0: PRICE, 1: PRICE + 2_000, 2: PRICE + 9_000}

# The round as it should be


@pytest.mark.parametrize("n", range(1, 9))
def test_an_honest_round_of_n(n: int) -> None:
    network = Network(n)
    certificate = network.run({i: PRICE + i for i in range(n)})
    assert certificate is not None
    certificate.check(network.config, FEED_ID)
    assert certificate.report.grade is Grade.FULL
    assert network.aggregator.last == certificate
    assert {node.last for node in network.nodes} == {certificate}


def test_rounds_form_a_chain() -> None:
    network = Network()
    first = network.run(ALIVE)
    second = network.run(ALIVE, ROUND + 1)
    gap = network.run(ALIVE, ROUND + 30)
    assert first and second and gap
    assert first.report.prev_report_hash == bytes(32)
    assert second.report.prev_report_hash == first.report.hash
    assert gap.report.prev_report_hash == second.report.hash


def test_full_does_not_wait_and_degraded_waits_for_the_deadline() -> None:
    network = Network()
    network.observe({0: PRICE, 1: PRICE})
    assert network.aggregator.deadline_ms(ROUND) == T0 + 60
    assert network.aggregator.propose(ROUND, T0 + 59) is None
    assert proposed(network, T0 + 60).report.grade is Grade.DEGRADED
    full = Network()
    full.observe(ALIVE)
    assert proposed(full, T0 + 10).report.grade is Grade.FULL
    assert full.aggregator.propose(ROUND, T0 + 11) is None, "one proposal a round"


def test_the_round_is_recorded_before_it_is_signed() -> None:
    events: list[str] = []

    class Guard(MemoryGuard):
        def record(self, kind: bytes, *rest: object) -> None:
            super().record(kind, *rest)  # type: ignore[arg-type]
            events.append(f"recorded {kind.decode()}")

    def sign_logged(message: bytes) -> bytes:
        events.append("signed")
        return KEYS[0].sign(message, AUX)

    node = OracleNode(CONFIG, FEED_ID, 0, sign_logged, Guard())
    own = node.observe(ROUND, price_of(), bytes(32), T0)
    others = [observed(i) for i in (1, 2)]
    voted(node, proposal_of(own, *others))
    assert events == ["recorded OBS1", "signed", "recorded RPT1", "signed"]


def test_a_guard_that_refuses_means_no_signature() -> None:
    class Full(MemoryGuard):
        def record(self, *_: object) -> None:
            raise GuardError("disk full")

    def never(_: bytes) -> bytes:
        raise AssertionError("signed without a record")

    node = OracleNode(CONFIG, FEED_ID, 0, never, Full())
    with pytest.raises(GuardError, match="disk full"):
        node.observe(ROUND, price_of(), bytes(32), T0)
    node.receive_observation(observed(0), T0 + 20)  # its own, from before the restart
    answer = node.receive_proposal(proposal_of(*(observed(i) for i in range(3))), NOW)
    assert reason(answer) is Reason.GUARD
    assert node.inbox.refused == {Reason.GUARD: 1}


def test_one_report_a_round() -> None:
    network = Network()
    signed = network.observe(ALIVE)
    node = network.nodes[0]
    vote = voted(node, proposal_of(*signed, config=network.config))
    other = proposal_of(*signed, config=network.config, time=T0 + 90)
    assert reason(node.receive_proposal(other, NOW)) is Reason.GUARD
    assert voted(node, proposal_of(*signed, config=network.config)) == vote


def test_an_observation_nobody_would_accept_is_not_signed() -> None:
    node = Network().nodes[0]
    one_venue = replace(price_of(), venues=4)
    for price, now in ((one_venue, T0), (price_of(), T0 + 5_001), (price_of(), T0 - 5_001)):
        with pytest.raises(QuorumError, match="this observation would be refused"):
            node.observe(ROUND, price, bytes(32), now)
    assert node.observe(ROUND, price_of(), bytes(32), T0).observation.seq == 1


# Crashes


def test_an_observation_stamped_to_expire_on_the_way_stops_nobody() -> None:
    network = Network()
    network.observe({0: PRICE, 1: PRICE + 2_000})
    expiring = observed(2, config=network.config, obs_time=NOW - network.config.max_age_ms)
    for node in (*network.nodes, network.aggregator):
        assert node.receive_observation(expiring, NOW) is None  # valid, for this millisecond
    proposal = proposed(network, NOW)
    assert proposal.report.observers == 0b011
    certificate = network.vote(proposal, (0, 1), NOW + 3)
    assert certificate is not None
    assert certificate.report.grade is Grade.DEGRADED


def test_one_dead_oracle_degrades() -> None:
    certificate = Network().run({0: PRICE, 2: PRICE + 10})
    assert certificate is not None
    assert certificate.report.grade is Grade.DEGRADED
    assert (certificate.report.price_e8, certificate.signers) == (PRICE + 5, (0, 2))


def test_two_dead_oracles_stop_the_price_and_are_named() -> None:
    network = Network()
    network.observe({1: PRICE})
    with pytest.raises(QuorumError, match="1 observations: at least 2 are needed"):
        network.aggregator.propose(ROUND, NOW)
    assert str(network.aggregator.failure(ROUND)) == (
        f"round {ROUND}: no certificate, 2 signatures needed: oracle 0 sent no observation;"
        " oracle 1 observed; oracle 2 sent no observation"
    )


def test_a_failure_names_who_refused_and_why() -> None:
    network = Network()
    network.observe(ALIVE)
    proposal = proposed(network)
    network.aggregator.receive_vote(voted(network.nodes[2], proposal))
    refusal = Refusal(Reason.BREAKER, "too far")
    network.aggregator.receive_refusal(1, ROUND, refusal, NOW)
    assert str(network.aggregator.failure(ROUND)).endswith(
        "oracle 0 sent no signature; oracle 1 refused (breaker: too far); oracle 2 signed"
    )


def test_a_failure_names_who_was_never_heard() -> None:
    network = Network()
    network.observe({0: PRICE, 1: PRICE})
    proposed(network)
    assert str(network.aggregator.failure(ROUND)).endswith(
        "oracle 0 sent no signature; oracle 1 sent no signature; oracle 2 sent nothing"
    )


def test_the_next_round_may_open_before_this_one_is_certified() -> None:
    network = Network()
    network.observe(ALIVE)
    network.observe(ALIVE, ROUND + 1)
    first = network.vote(proposed(network), ALIVE, NOW)
    second = network.vote(proposed(network, NOW + 1_000, ROUND + 1), ALIVE, NOW + 1_000)
    assert first and second
    assert second.report.prev_report_hash == first.report.hash


def test_a_restart_in_the_round_repeats_the_observation() -> None:
    """SIGKILL after the observation was recorded; the venues have moved since."""
    network = Network()
    first = network.nodes[0].observe(ROUND, price_of(), bytes(32), T0)
    again = network.node(0).observe(ROUND, price_of(PRICE + 7), bytes(32), T0 + 50)
    assert again == first
    assert len(network.guards[0].log) == 1


def test_an_oracle_restarted_after_observing_compares_with_what_it_observed() -> None:
    """SIGKILL between the observation and the vote; the guard remembers, the process does not."""
    network = Network()
    signed = network.observe({0: PRICE, 1: PRICE + 9, 2: PRICE + 9})
    network.nodes[0] = network.node(0)
    dropped = proposal_of(*signed[1:], config=network.config)
    assert reason(network.nodes[0].receive_proposal(dropped, NOW)) is Reason.WITHHELD
    far = Network()
    far.observe({0: PRICE, 1: PRICE * 2, 2: PRICE * 2})
    far.nodes[0] = far.node(0)
    assert reason(far.nodes[0].receive_proposal(proposed(far), NOW)) is Reason.DEVIATION
    voted(network.nodes[0], proposed(network))
    assert len(network.guards[0].log) == 2


def test_an_oracle_that_observed_nothing_signs_nothing() -> None:
    network = Network()
    network.observe({1: PRICE, 2: PRICE})
    assert reason(network.nodes[0].receive_proposal(proposed(network), NOW)) is Reason.OWN


def test_an_oracle_that_missed_a_certificate_catches_up_from_the_proposal() -> None:
    network = Network()
    network.run(ALIVE)
    network.nodes[2] = network.node(2)
    assert network.nodes[2].last is None
    network.observe(ALIVE, ROUND + 1)
    proposal = proposed(network, NOW + 1_000, ROUND + 1)
    voted(network.nodes[2], proposal, NOW + 1_000)
    assert network.nodes[2].last == network.aggregator.last


# The breaker


def all_at(price: int) -> dict[int, int]:
    return dict.fromkeys(range(3), price)


def test_a_real_crash_of_the_market_is_confirmed_in_two_rounds() -> None:
    network = Network()
    assert network.run(all_at(PRICE))
    assert network.run(all_at(PRICE // 2), ROUND + 1) is None
    assert "more than 100000 ppm" in str(network.aggregator.failure(ROUND + 1))
    confirmed = network.run(all_at(PRICE // 2 + 5), ROUND + 2)
    assert confirmed is not None
    assert confirmed.report.price_e8 == PRICE // 2 + 5
    assert network.run(all_at(PRICE // 2), ROUND + 3) is not None, "closed again"


@pytest.mark.parametrize("price", [999_999_999_999, 50_000_000_000_001])
def test_prices_are_not_clipped_at_old_limits(price: int) -> None:
    """Below 10,000 and above 500,000 dollars."""
    certificate = Network().run(all_at(price))
    assert certificate is not None and certificate.report.price_e8 == price


def test_a_flash_crash_does_not_confirm_itself_later() -> None:
    network = Network()
    network.run(all_at(PRICE))
    assert network.run(all_at(PRICE // 2), ROUND + 1) is None
    assert network.run(all_at(PRICE), ROUND + 2) is not None
    assert network.run(all_at(PRICE // 2), ROUND + 3) is None, "not two rounds in a row"


def test_a_jump_is_not_confirmed_by_a_degraded_round() -> None:
    network = Network()
    network.run(all_at(PRICE))
    assert network.run(all_at(PRICE // 2), ROUND + 1) is None
    assert network.run({0: PRICE // 2, 1: PRICE // 2}, ROUND + 2) is None
    assert network.run(all_at(PRICE // 2), ROUND + 3) is None, "the degraded round broke the row"
    assert network.run(all_at(PRICE // 2), ROUND + 4) is not None


def test_an_uncertified_normal_round_breaks_the_row_too() -> None:
    network = Network()
    network.run(all_at(PRICE))
    assert network.run(all_at(PRICE // 2), ROUND + 1) is None
    network.observe(all_at(PRICE), ROUND + 2)
    voted(network.nodes[0], proposed(network, NOW + 2_000, ROUND + 2), NOW + 2_000)
    network.observe(all_at(PRICE // 2), ROUND + 3)
    jump = proposed(network, NOW + 3_000, ROUND + 3)
    assert reason(network.nodes[0].receive_proposal(jump, NOW + 3_000)) is Reason.BREAKER


def test_a_jump_shown_twice_in_one_round_is_not_confirmed() -> None:
    network = Network()
    network.run(all_at(PRICE))
    network.observe(all_at(PRICE // 2), ROUND + 1)
    proposal = proposed(network, NOW + 1_000, ROUND + 1)
    for _ in range(3):
        for node in network.nodes:
            assert reason(node.receive_proposal(proposal, NOW + 1_000)) is Reason.BREAKER
    again = network.run(all_at(PRICE // 2), ROUND + 2)
    assert again is not None
    assert within(again.report.price_e8, PRICE // 2, 0)
