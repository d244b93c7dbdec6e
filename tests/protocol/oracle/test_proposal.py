"""Every check that an oracle makes before it signs has a row here that only this check refuses."""

from collections.abc import Callable
from dataclasses import replace
from itertools import permutations

import pytest

from protocol.errors import QuorumError
from protocol.oracle.evidence import Evidence
from protocol.oracle.observation import SignedObservation
from protocol.oracle.proposal import (
    Proposal,
    Reason,
    Refusal,
    View,
    check_observation,
    check_proposal,
    propose,
)
from protocol.oracle.report import Grade, Report
from tests.builders.oracles import (
    CONFIG,
    FEED_ID,
    PRICE,
    ROUND,
    T0,
    certify,
    make_config,
    observation,
    observed,
    proposal_of,
    reason,
    view_of,
)

NOW = T0 + 60
A, B, C = observed(0), observed(1, PRICE + 2_000), observed(2, PRICE + 9_000)
HONEST = proposal_of(A, B, C)
VIEW = view_of(A, B, C)
BEFORE = certify(replace(HONEST.report, round=ROUND - 1))


def judge(proposal: Proposal, view: View = VIEW, now: int = NOW) -> Refusal | None:
    return check_proposal(CONFIG, FEED_ID, proposal, view, now)


def test_an_honest_full_proposal_is_signed() -> None:
    assert judge(HONEST) is None
    assert HONEST.report.grade is Grade.FULL


def test_an_honest_degraded_proposal_is_signed() -> None:
    degraded = proposal_of(A, B)
    assert degraded.report.grade is Grade.DEGRADED
    assert degraded.report.price_e8 == PRICE + 1_000
    assert judge(degraded, view_of(A, B)) is None


def test_an_honest_proposal_links_to_the_last_certificate() -> None:
    proposal = proposal_of(A, B, C, previous=BEFORE)
    assert judge(proposal, replace(VIEW, last=BEFORE.report)) is None


OBSERVATION_FAULTS: dict[str, tuple[Reason, Callable[[], SignedObservation], int]] = {
    "index-out-of-range": (Reason.SIGNER, lambda: replace(C, oracle=3), NOW),
    "another-network-or-epoch": (
        Reason.CONFIG,
        lambda: observed(2, config=make_config(epoch=2)),
        NOW,
    ),
    "another-feed": (Reason.FEED, lambda: observed(2, feed_id=bytes(32)), NOW),
    "another-round": (Reason.ROUND, lambda: observed(2, round=ROUND + 1), NOW),
    "from-the-future": (Reason.FUTURE, lambda: observed(2, obs_time=NOW + 1_001), NOW),
    "long-before-the-round": (Reason.STALE, lambda: observed(2, obs_time=T0 - 5_001), T0 - 4_000),
    "long-after-the-round": (Reason.STALE, lambda: observed(2, obs_time=T0 + 5_001), T0 + 5_001),
    "old-by-now": (Reason.STALE, lambda: observed(2, obs_time=T0), T0 + 5_001),
    "one-venue": (Reason.VENUES, lambda: observed(2, venues=4), NOW),
    "signed-by-another": (Reason.SIGNATURE, lambda: replace(A, oracle=2), NOW),
    "altered-after-signing": (
        Reason.SIGNATURE,
        lambda: replace(C, observation=observation(price=PRICE + 1)),
        NOW,
    ),
}


@pytest.mark.parametrize("name", OBSERVATION_FAULTS)
def test_invalid_observation(name: str) -> None:
    expected, make, now = OBSERVATION_FAULTS[name]
    assert reason(check_observation(CONFIG, FEED_ID, ROUND, make(), now)) is expected


@pytest.mark.parametrize("name", OBSERVATION_FAULTS)
def test_a_proposal_with_an_invalid_observation_is_refused(name: str) -> None:
    expected, make, now = OBSERVATION_FAULTS[name]
    bad = make()
    at_now = {"obs_time": min(now, T0 + 4_000)}
    first, second = observed(0, **at_now), observed(1, **at_now)
    report = replace(proposal_of(first, second).report, grade=Grade.FULL)
    proposal = Proposal(report, (first, second, bad), None)
    assert reason(judge(proposal, view_of(first, second), now)) is expected


@pytest.mark.parametrize(
    ("now", "obs_time"),
    [
        (T0 - 4_000, T0 - 5_000),
        (T0 + 5_000, T0 + 5_000),
        (T0 + 5_000, T0),
        (T0, T0 + 1_000),
    ],
)
def test_time_limits_are_inclusive(now: int, obs_time: int) -> None:
    signed = observed(2, obs_time=obs_time)
    assert check_observation(CONFIG, FEED_ID, ROUND, signed, now) is None


def test_the_other_limits_are_inclusive() -> None:
    two_venues = observed(2, venues=6)
    assert check_observation(CONFIG, FEED_ID, ROUND, two_venues, NOW) is None
    ahead = proposal_of(A, B, C, time=NOW + 1_000)
    assert judge(ahead) is None


def test_a_refusal_says_by_how_much_a_time_is_wrong() -> None:
    ahead = check_observation(CONFIG, FEED_ID, ROUND, observed(2, obs_time=NOW + 1_500), NOW)
    old = check_observation(CONFIG, FEED_ID, ROUND, A, A.observation.obs_time + 7_000)
    assert str(ahead) == "future: oracle 2 is 1500 ms ahead: check its clock"
    assert str(old) == "stale: oracle 0 observed 7000 ms ago"
    report = judge(proposal_of(A, B, C, time=NOW + 1_234))
    assert str(report) == "time: the report is 1234 ms ahead of this clock"


def test_an_excluded_oracle_is_not_counted() -> None:
    assert reason(check_observation(CONFIG, FEED_ID, ROUND, C, NOW, {2})) is Reason.EXCLUDED
    assert reason(judge(HONEST, replace(VIEW, excluded={2}))) is Reason.EXCLUDED


def test_only_held_bytes_are_exempt_from_verification() -> None:
    forged = replace(C, signature=bytes(64))
    report = proposal_of(A, B, forged).report
    assert reason(judge(Proposal(report, (A, B, forged), None))) is Reason.SIGNATURE


REPORT_FAULTS: dict[str, tuple[Reason, Callable[[Report], Report]]] = {
    "another-configuration": (Reason.CONFIG, lambda r: replace(r, config_digest=bytes(32))),
    "another-feed": (Reason.FEED, lambda r: replace(r, feed_id=bytes(32))),
    "forged-median": (Reason.MEDIAN, lambda r: replace(r, price_e8=r.price_e8 + 1)),
    "arithmetic-mean": (Reason.MEDIAN, lambda r: replace(r, price_e8=PRICE + 11_000 // 3)),
    "forged-conf": (Reason.CONF, lambda r: replace(r, conf_e8=r.conf_e8 - 1)),
    "forged-grade": (Reason.GRADE, lambda r: replace(r, grade=Grade.DEGRADED)),
    "forged-bitmap": (Reason.BITMAP, lambda r: replace(r, observers=3)),
    "forged-root": (Reason.ROOT, lambda r: replace(r, observations_root=bytes(32))),
    "forged-prev-hash": (Reason.CHAIN, lambda r: replace(r, prev_report_hash=b"\1" * 32)),
    "report-from-the-future": (Reason.TIME, lambda r: replace(r, time=NOW + 1_001)),
    "report-older-than-its-content": (Reason.TIME, lambda r: replace(r, time=T0 + 9)),
}


@pytest.mark.parametrize("name", REPORT_FAULTS)
def test_forged_report(name: str) -> None:
    expected, forge = REPORT_FAULTS[name]
    assert reason(judge(replace(HONEST, report=forge(HONEST.report)))) is expected


def test_a_report_far_from_its_round_is_refused() -> None:
    late = [observed(i, obs_time=T0 + 4_999) for i in range(3)]
    proposal = proposal_of(*late, time=T0 + 5_001)
    assert reason(judge(proposal, view_of(*late), T0 + 5_001)) is Reason.TIME
    on_time = proposal_of(*late, time=T0 + 5_000)
    assert judge(on_time, view_of(*late), T0 + 5_001) is None


def test_a_certified_round_is_not_certified_again() -> None:
    again = replace(VIEW, last=replace(BEFORE.report, round=ROUND))
    proposal = Proposal(
        replace(HONEST.report, prev_report_hash=again.last.hash if again.last else b""),
        HONEST.observations,
        None,
    )
    assert reason(judge(proposal, again)) is Reason.ROUND


def test_the_chain_cannot_be_restarted() -> None:
    assert reason(judge(HONEST, replace(VIEW, last=BEFORE.report))) is Reason.CHAIN


def test_one_observation_counted_twice() -> None:
    doubled = Proposal(HONEST.report, (A, B, B), None)
    assert reason(judge(doubled)) is Reason.DUPLICATE
    with pytest.raises(QuorumError, match="oracle 1 is counted twice"):
        propose(CONFIG, FEED_ID, ROUND, (A, B, B), bytes(32), NOW)


def test_a_second_observation_of_one_oracle_convicts_it() -> None:
    other = observed(2, PRICE + 8_000, seq=2)
    refusal = judge(proposal_of(A, B, other))
    assert reason(refusal) is Reason.EQUIVOCATION
    assert refusal is not None and isinstance(refusal.proof, Evidence)
    assert refusal.proof.check(CONFIG) == 2


def test_no_own_observation_no_signature() -> None:
    assert reason(judge(HONEST, replace(VIEW, own=None))) is Reason.OWN


def test_price_too_far_from_the_own_one() -> None:
    """delta = 5000 ppm of the smaller price, exactly."""
    median = 1_005_000
    proposal = proposal_of(observed(1, median), observed(2, median))
    for own, expected in ((1_000_000, None), (999_999, Reason.DEVIATION)):
        full = proposal_of(observed(0, own), *proposal.observations)
        assert full.report.price_e8 == median
        assert reason(judge(full, view_of(observed(0, own)))) is expected


def test_degraded_boundary_is_exact() -> None:
    low = 1_000_000
    at, above = observed(1, low + 5_000), observed(1, low + 5_001)
    own = observed(0, low)
    assert judge(proposal_of(own, at), view_of(own, at)) is None
    with pytest.raises(QuorumError, match="wait for a further one"):
        proposal_of(own, above)
    forged = replace(proposal_of(own, at).report, price_e8=low + 2_500)
    assert reason(judge(Proposal(forged, (own, above), None), view_of(own))) is Reason.QUORUM


def test_one_observation_is_no_report() -> None:
    alone = Proposal(replace(HONEST.report, observers=1, grade=Grade.DEGRADED), (A,), None)
    assert reason(judge(alone)) is Reason.QUORUM
    empty = Proposal(HONEST.report, (), None)
    assert reason(judge(empty)) is Reason.QUORUM


def test_degraded_is_refused_while_a_third_observation_is_held() -> None:
    refusal = judge(proposal_of(A, B))
    assert reason(refusal) is Reason.WITHHELD
    assert refusal is not None and refusal.proof == C


def test_the_own_observation_counts_as_the_third() -> None:
    """The aggregator drops this oracle's observation."""
    assert reason(judge(proposal_of(B, C), view_of(A, B, C))) is Reason.WITHHELD


def test_a_convicted_third_observation_does_not_block() -> None:
    assert judge(proposal_of(A, B), replace(VIEW, excluded={2})) is None


LAST = certify(replace(HONEST.report, round=ROUND - 3, price_e8=10_000_000))


def jumped(price: int, round_id: int = ROUND, count: int = 3) -> tuple[Proposal, View]:
    seen = [observed(i, price, round=round_id) for i in range(count)]
    return proposal_of(*seen, previous=LAST), view_of(*seen, last=LAST.report)


@pytest.mark.parametrize(
    ("price", "expected"),
    [
        (11_000_000, None),
        (11_000_001, Reason.BREAKER),
        (9_090_910, None),
        (9_090_909, Reason.BREAKER),
        (5_000_000, Reason.BREAKER),
        (2**64 - 1, Reason.BREAKER),
    ],
)
def test_the_breaker_opens_just_above_max_move(price: int, expected: Reason | None) -> None:
    proposal, view = jumped(price)
    assert reason(judge(proposal, view)) is expected
    assert proposal.report.price_e8 == price, "nothing is ever clamped"


def test_a_jump_is_confirmed_by_the_next_full_round() -> None:
    first, _ = jumped(5_000_000, ROUND - 1)
    proposal, view = jumped(4_800_000)
    assert reason(judge(proposal, view)) is Reason.BREAKER
    assert judge(proposal, replace(view, jump=first.report)) is None


def test_what_does_not_confirm_a_jump() -> None:
    first, _ = jumped(5_000_000, ROUND - 1)
    again, view = jumped(5_000_000)
    assert reason(judge(again, replace(view, jump=again.report))) is Reason.BREAKER, "same round"
    back, view = jumped(20_000_000)
    assert reason(judge(back, replace(view, jump=first.report))) is Reason.BREAKER, "elsewhere"
    degraded, view = jumped(5_000_000, count=2)
    assert reason(judge(degraded, replace(view, jump=first.report))) is Reason.BREAKER, "degraded"


def test_the_order_of_observations_does_not_matter() -> None:
    reports = {proposal_of(*order).report for order in permutations((A, B, C))}
    assert reports == {HONEST.report}
    for order in permutations((A, B, C)):
        assert judge(Proposal(HONEST.report, order, None)) is None


def test_a_refusal_reads_as_one_line() -> None:
    refusal = judge(replace(HONEST, report=replace(HONEST.report, price_e8=7)))
    assert str(refusal) == f"median: the report says 7, its observations give {PRICE + 2_000}"


def test_yesterdays_round_is_not_signed_today() -> None:
    """A replay of a round this oracle slept through: every observation in it is too old by now."""
    assert reason(judge(HONEST, VIEW, NOW + 86_400_000)) is Reason.STALE


def test_a_stopped_oracle_that_continues_does_not_sign_the_old_round() -> None:
    """SIGSTOP for a minute, then the proposal is still in the queue."""
    assert reason(judge(HONEST, VIEW, NOW + 60_000)) is Reason.STALE
