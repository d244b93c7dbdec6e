"""What an oracle checks before it signs a batch: every known attack, and that the checks on whole
columns find exactly the feeds that the rules of a single feed refuse."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.oracle.batch_certificate import BatchCertificate
from protocol.oracle.batch_chain import BatchChain
from protocol.oracle.batch_observation import SignedObservationBatch
from protocol.oracle.batch_proposal import (
    BatchProposal,
    BatchView,
    check_batch_proposal,
    check_feed,
    propose_batch,
    suspects,
)
from protocol.oracle.breaker import Breaker
from protocol.oracle.config import OracleConfig
from protocol.oracle.evidence import Evidence
from protocol.oracle.proposal import Reason, Refusal
from protocol.oracle.report import Grade, Report
from protocol.oracle.rows import ObservationRows, ReportRows
from protocol.oracle.sheet import Sheet
from tests.builders.batches import (
    FEEDS,
    NOW,
    X,
    Y,
    Z,
    certify_batch,
    flat,
    observed_batch,
    sign_batch,
)
from tests.builders.oracles import CONFIG, KEYS, PRICE, ROUND, T0, make_config, reason

COLUMNS = {feed_id: i for i, feed_id in enumerate(FEEDS)}
A, B, C = (observed_batch(i, flat(PRICE + 1_000 * i)) for i in range(3))
BATCHES = {0: A, 1: B, 2: C}


def chain_of(*certificates: BatchCertificate, config: OracleConfig = CONFIG) -> BatchChain:
    *earlier, last = certificates or (None,)
    return BatchChain(config, COLUMNS, last, [c for c in earlier if c is not None])


def view_of(held: dict[int, SignedObservationBatch], own: int = 0, **changes: Any) -> BatchView:
    fields: dict[str, Any] = {
        "own": own,
        "held": held,
        "fresh": set(held),
        "chain": chain_of(),
        "breaker": Breaker(len(FEEDS)),
        "excluded": {},
    }
    return BatchView(**(fields | changes))


def proposal_of(
    used: dict[int, SignedObservationBatch],
    chain: BatchChain | None = None,
    config: OracleConfig = CONFIG,
    round_id: int = ROUND,
    time: int = T0 + 15,
) -> BatchProposal:
    """The honest proposal of these batches, with every feed that has a quorum."""
    chain = chain_of(config=config) if chain is None else chain
    sheet = Sheet.of(config, COLUMNS, used)
    at = np.flatnonzero(sheet.has_quorum)
    header, rows = propose_batch(config, round_id, sheet, chain, at, time)
    references = tuple((i, b.observation.message) for i, b in sorted(used.items()))
    return BatchProposal(header, rows, references)


def with_rows(proposal: BatchProposal, parts: list[bytes]) -> BatchProposal:
    """A well formed proposal with other rows."""
    rows = ReportRows(b"".join(parts))
    header = replace(proposal.report, n=len(rows), root=rows.root)
    return replace(proposal, report=header, reports=rows)


def forged(index: int, **changes: Any) -> BatchProposal:
    reports = list(HONEST.reports)
    reports[index] = replace(reports[index], **changes)
    return with_rows(HONEST, [report.encode() for report in reports])


def certified(reports: Iterable[Report], config: OracleConfig = CONFIG) -> BatchCertificate:
    """The certificate of these reports, moved to the round before."""
    moved = [replace(r, round=ROUND - 1, config_digest=config.digest) for r in reports]
    rows = ReportRows(b"".join(report.encode() for report in moved))
    header = replace(
        HONEST.report, n=len(rows), root=rows.root, round=ROUND - 1, config_digest=config.digest
    )
    return certify_batch(header, rows)


HONEST = proposal_of(BATCHES)
VIEW = view_of(BATCHES)
BEFORE = certified(HONEST.reports[i] for i in range(5))


def judge(proposal: BatchProposal, view: BatchView = VIEW, now: int = NOW) -> Refusal | None:
    return check_batch_proposal(CONFIG, proposal, view, now)


def test_an_honest_batch_is_signed() -> None:
    assert judge(HONEST) is None
    assert [r.grade for r in HONEST.reports] == [Grade.FULL] * 5
    assert HONEST.is_full
    for index in range(3):
        assert judge(HONEST, view_of(BATCHES, own=index)) is None


def test_so_is_one_that_leaves_feeds_out() -> None:
    """A feed without a quorum or with an open breaker does not stop the others."""
    for keep in ([0], [1, 3], [0, 1, 2, 3]):
        assert judge(with_rows(HONEST, [HONEST.reports.parts[i] for i in keep])) is None


ROW_ATTACKS: dict[str, tuple[Reason, Callable[[], BatchProposal]]] = {
    "forged-median": (Reason.MEDIAN, lambda: forged(2, price_e8=PRICE + 999)),
    "forged-conf": (Reason.CONF, lambda: forged(2, conf_e8=0)),
    "forged-grade": (Reason.GRADE, lambda: forged(2, grade=Grade.DEGRADED)),
    "forged-bitmap": (Reason.BITMAP, lambda: forged(2, observers=0b011, grade=Grade.DEGRADED)),
    "forged-observations-root": (Reason.ROOT, lambda: forged(2, observations_root=bytes(32))),
    "forged-link": (Reason.CHAIN, lambda: forged(2, prev_report_hash=b"\1" * 32)),
    "another-configuration": (Reason.CONFIG, lambda: forged(2, config_digest=bytes(32))),
    "another-round": (Reason.ROUND, lambda: forged(2, round=ROUND + 1)),
    "from-the-future": (Reason.TIME, lambda: forged(2, time=NOW + 1_001)),
    "older-than-its-content": (Reason.TIME, lambda: forged(2, time=T0 + 9)),
    "far-from-its-round": (Reason.TIME, lambda: forged(2, time=T0 - 5_001)),
}


@pytest.mark.parametrize("name", ROW_ATTACKS)
def test_one_forged_feed_spoils_the_batch_and_is_named(name: str) -> None:
    expected, make = ROW_ATTACKS[name]
    refusal = judge(make())
    assert reason(refusal) is expected
    assert refusal is not None and refusal.detail.startswith(f"feed {Z.hex()}: ")


def swapped() -> BatchProposal:
    """The reports of two feeds, each under the other's id."""
    first, second, *rest = HONEST.reports
    pair = [replace(second, feed_id=X), replace(first, feed_id=Y)]
    return with_rows(HONEST, [r.encode() for r in (*pair, *rest)])


def test_reports_of_two_feeds_that_are_swapped() -> None:
    prices = flat() | {X: 7 * PRICE}
    held = {i: observed_batch(i, prices) for i in range(3)}
    honest = proposal_of(held)
    first, second, *rest = honest.reports
    pair = [replace(second, feed_id=X), replace(first, feed_id=Y)]
    bad = with_rows(honest, [r.encode() for r in (*pair, *rest)])
    assert judge(honest, view_of(held)) is None
    assert reason(judge(bad, view_of(held))) is Reason.MEDIAN
    assert reason(judge(swapped())) is Reason.ROOT, "even if their prices are equal"


def unknown_feed() -> BatchProposal:
    reports = list(HONEST.reports)
    reports[-1] = replace(reports[-1], feed_id=b"\xff" * 32)
    return with_rows(HONEST, [report.encode() for report in reports])


HEADER_ATTACKS: dict[str, tuple[Reason, Callable[[], BatchProposal]]] = {
    "another-epoch": (
        Reason.CONFIG,
        lambda: replace(HONEST, report=replace(HONEST.report, config_digest=bytes(32))),
    ),
    "a-root-of-other-reports": (
        Reason.ROOT,
        lambda: replace(HONEST, report=replace(HONEST.report, root=bytes(32))),
    ),
    "a-chain-of-its-own": (
        Reason.CHAIN,
        lambda: replace(HONEST, report=replace(HONEST.report, prev_batch_hash=b"\1" * 32)),
    ),
    "a-feed-nobody-knows": (Reason.FEED, unknown_feed),
    "a-round-of-other-observations": (
        Reason.ROUND,
        lambda: replace(HONEST, report=replace(HONEST.report, round=ROUND + 1)),
    ),
    "a-stranger's-observations": (
        Reason.SIGNER,
        lambda: replace(HONEST, references=(*HONEST.references, (3, bytes(32)))),
    ),
    "observations-that-nobody-has": (
        Reason.MISSING,
        lambda: replace(HONEST, references=(*HONEST.references[:2], (2, bytes(32)))),
    ),
    "no-observations": (Reason.QUORUM, lambda: replace(HONEST, references=())),
    "fewer-observations-than-reported": (
        Reason.BITMAP,
        lambda: replace(HONEST, references=HONEST.references[:2]),
    ),
}


@pytest.mark.parametrize("name", HEADER_ATTACKS)
def test_a_bad_header_is_refused(name: str) -> None:
    expected, make = HEADER_ATTACKS[name]
    assert reason(judge(make())) is expected


def test_a_certified_round_is_not_certified_again() -> None:
    chain = chain_of(BEFORE)
    again = proposal_of(BATCHES, chain)
    assert judge(again, view_of(BATCHES, chain=chain)) is None
    late = chain_of(certify_batch(HONEST.report, HONEST.reports))
    refusal = judge(again, view_of(BATCHES, chain=late))
    assert reason(refusal) is Reason.ROUND
    assert refusal is not None and refusal.proof == late.last, "the proposer learns it"


def test_the_chain_of_one_feed_cannot_be_restarted() -> None:
    chain = chain_of(BEFORE)
    bad = proposal_of(BATCHES, chain)
    reports = [
        replace(r, prev_report_hash=bytes(32)) if i == 1 else r for i, r in enumerate(bad.reports)
    ]
    refusal = judge(with_rows(bad, [r.encode() for r in reports]), view_of(BATCHES, chain=chain))
    assert reason(refusal) is Reason.CHAIN
    assert refusal is not None and refusal.proof == BEFORE
    assert Y.hex() in refusal.detail


def test_no_own_observation_no_signature() -> None:
    two = {0: A, 1: B}
    assert reason(judge(proposal_of(two), view_of(two, own=2))) is Reason.OWN
    without_x = {**BATCHES, 0: observed_batch(0, {f: PRICE for f in FEEDS if f != X})}
    refusal = judge(proposal_of(without_x), view_of(without_x, own=0))
    assert reason(refusal) is Reason.OWN
    assert refusal is not None and X.hex() in refusal.detail
    assert judge(proposal_of(without_x), view_of(without_x, own=1)) is None


def test_a_price_far_from_the_own_one_is_not_signed() -> None:
    mine = observed_batch(0, flat() | {Z: PRICE * 2})
    held = {**BATCHES, 0: mine}
    refusal = judge(proposal_of(held), view_of(held))
    assert reason(refusal) is Reason.DEVIATION
    assert refusal is not None and Z.hex() in refusal.detail


def test_degraded_is_refused_for_the_one_feed_that_could_be_full() -> None:
    some = observed_batch(2, {Y: PRICE})
    used = {0: A, 1: B}
    refusal = judge(proposal_of(used), view_of({**used, 2: some}))
    assert reason(refusal) is Reason.WITHHELD
    assert refusal is not None and Y.hex() in refusal.detail
    assert refusal.proof == some, "the proposer gets the whole batch"
    without_y = [p for p, f in zip(proposal_of(used).reports.parts, FEEDS, strict=True) if f != Y]
    rest = with_rows(proposal_of(used), without_y)
    assert judge(rest, view_of({**used, 2: some})) is None, "the others are DEGRADED for good"


def test_a_batch_about_to_expire_cannot_be_demanded() -> None:
    used = {0: A, 1: B}
    stale = view_of({**used, 2: C}, fresh={0, 1})
    assert judge(proposal_of(used), stale) is None


def test_the_own_observation_cannot_be_left_out() -> None:
    used = {1: B, 2: C}
    assert reason(judge(proposal_of(used), view_of(BATCHES, fresh={1, 2}))) is Reason.WITHHELD


def test_the_batch_of_a_convict_is_not_counted() -> None:
    other = observed_batch(2, flat() | {X: 1})
    a, b = C.observation.encode(), other.observation.encode()
    proof = Evidence(KEYS[2].public, a, C.signature, b, other.signature)
    refusal = judge(HONEST, view_of({0: A, 1: B}, excluded={2: proof}))
    assert reason(refusal) is Reason.EXCLUDED
    assert refusal is not None and refusal.proof == proof


def test_another_batch_than_the_one_held_is_answered_with_it() -> None:
    other = observed_batch(2, flat() | {X: 1}, seq=2)
    refusal = judge(proposal_of({0: A, 1: B, 2: other}))
    assert reason(refusal) is Reason.MISSING
    assert refusal is not None and refusal.proof == C, "two batches convict their signer"


def test_an_old_proposal_is_not_signed() -> None:
    assert reason(judge(HONEST, VIEW, NOW + 60_000)) is Reason.STALE


def test_one_stale_row_is_enough() -> None:
    rows = list(C.observations)
    rows[3] = replace(rows[3], obs_time=T0 - 4_000)
    encoded = ObservationRows(b"".join(row.encode() for row in rows))
    held = {**BATCHES, 2: sign_batch(2, encoded)}
    refusal = judge(proposal_of(held), view_of(held), T0 + 1_001)
    assert reason(refusal) is Reason.STALE
    assert refusal is not None and FEEDS[3].hex() in refusal.detail


def test_the_breaker_stops_one_feed() -> None:
    chain = chain_of(BEFORE)
    held = {i: observed_batch(i, flat() | {Y: PRICE * 2}) for i in range(3)}
    refusal = judge(proposal_of(held, chain), view_of(held, chain=chain))
    assert reason(refusal) is Reason.BREAKER
    assert refusal is not None and Y.hex() in refusal.detail


# The columns find what the rules of a single feed refuse


PRICES = st.one_of(
    st.sampled_from([0, 1, PRICE, PRICE * 2, PRICE // 2, 2**63, 2**64 - 1]),
    st.integers(PRICE - PRICE // 150, PRICE + PRICE // 150),
    st.integers(0, 2**64 - 1),
)
SOME_FEEDS = st.sets(st.sampled_from(FEEDS), min_size=1)


@st.composite
def batch_of(draw: st.DrawFn, oracle: int, config: OracleConfig) -> SignedObservationBatch:
    prices = {feed: draw(PRICES) for feed in draw(SOME_FEEDS)}
    return observed_batch(oracle, prices, config, obs_time=T0 + draw(st.integers(-1_100, 1_100)))


@st.composite
def situations(draw: st.DrawFn) -> tuple[OracleConfig, BatchProposal, BatchView, int]:
    """An oracle's view and a proposal of which some feeds are good and some are not."""
    n = draw(st.sampled_from([1, 3, 3, 3, 4]))
    config = make_config(n, delta_ppm=draw(st.sampled_from([0, 5_000, 10**6, 2**32 - 1])))
    held = {i: draw(batch_of(i, config)) for i in range(n) if draw(st.integers(0, 9))}
    used = {i: b for i, b in held.items() if draw(st.integers(0, 3))}
    chain = draw(chains(config))
    breaker = Breaker(len(FEEDS))
    breaker.rounds[:] = draw(st.sampled_from([ROUND - 2, ROUND - 1, ROUND]))
    breaker.prices[:] = [draw(PRICES) for _ in FEEDS]
    breaker.is_full[:] = [draw(st.booleans()) for _ in FEEDS]
    fresh = {i for i in held if draw(st.integers(0, 3))}
    view = view_of(
        held,
        own=draw(st.integers(0, n - 1)),
        chain=chain,
        breaker=breaker,
        fresh=fresh,
    )
    sheet = Sheet.of(config, COLUMNS, used)
    if not sheet.has_quorum.any():
        return config, replace(HONEST, references=()), view, NOW
    time = T0 + draw(st.sampled_from([-5_001, 0, 500, 1_100, 5_001]))
    proposal = draw(altered(proposal_of(used, chain, config, time=max(time, 0))))
    return config, proposal, view, T0 + draw(st.sampled_from([100, 1_000, 4_500]))


@st.composite
def chains(draw: st.DrawFn, config: OracleConfig) -> BatchChain:
    feeds = sorted(draw(st.sets(st.sampled_from(FEEDS))))
    if not feeds or config.oracles != CONFIG.oracles:
        return chain_of(config=config)
    reports = [replace(HONEST.reports[0], feed_id=feed, price_e8=draw(PRICES)) for feed in feeds]
    return chain_of(certified(reports, config), config=config)


CHANGES: tuple[dict[str, Any], ...] = (
    {"price_e8": 5},
    {"conf_e8": 5},
    {"grade": Grade.FULL},
    {"grade": Grade.DEGRADED},
    {"observers": 0b101},
    {"round": ROUND - 1},
    {"config_digest": bytes(32)},
    {"observations_root": bytes(32)},
    {"prev_report_hash": b"\2" * 32},
    {"time": T0 + 2_000},
    {"time": 0},
    {"time": 2**64 - 1},
)


@st.composite
def altered(draw: st.DrawFn, proposal: BatchProposal) -> BatchProposal:
    reports = [
        replace(report, **draw(st.sampled_from(CHANGES)))
        if draw(st.integers(0, 9)) == 0
        else report
        for report in proposal.reports
    ]
    return with_rows(proposal, [report.encode() for report in reports])


@given(situation=situations())
@settings(max_examples=150, deadline=None)
def test_columns_and_single_feeds_agree(
    situation: tuple[OracleConfig, BatchProposal, BatchView, int],
) -> None:
    config, proposal, view, now = situation
    expected = [
        check_feed(config, feed_id, proposal, view, now) is not None
        for feed_id in proposal.reports.feeds
    ]
    assert suspects(config, proposal, view, now).tolist() == expected
