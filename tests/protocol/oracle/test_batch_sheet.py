"""The column arithmetic against its scalar twins, for every u64 and every set of observers."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from protocol.errors import QuorumError
from protocol.oracle import quorum, sheet
from protocol.oracle.batch_observation import SignedObservationBatch, check_rows, suspects, times
from protocol.oracle.config import OracleConfig
from protocol.oracle.observation import Observation, SignedObservation
from protocol.oracle.proposal import check_fields, propose
from protocol.oracle.report import Grade, Report
from protocol.oracle.rows import ObservationRows, digests
from protocol.oracle.sheet import Sheet
from tests.builders.batches import feed_ids, sign_batch
from tests.builders.oracles import PRICE, ROUND, T0, make_config, observation

MOST = 2**64 - 1
EDGES = (0, 1, 2, 999_999, 1_000_000, 1_000_001, 2**32, 2**63 - 1, 2**63, MOST - 1, MOST)
U64 = st.one_of(
    st.sampled_from(EDGES), st.integers(0, MOST), st.integers(PRICE, PRICE + PRICE // 50)
)
PPM = st.one_of(
    st.sampled_from([0, 1, 5_000, 999_999, 1_000_000, 1_000_001, 2_500_000, 2**32 - 1]),
    st.integers(0, 2**32 - 1),
)
FEEDS = feed_ids(6)
COLUMNS = {feed_id: i for i, feed_id in enumerate(FEEDS)}


def column(values: Sequence[int]) -> sheet.Column:
    return np.array(values, dtype=np.uint64)


@given(pairs=st.lists(st.tuples(U64, U64), min_size=1, max_size=20), ppm=PPM)
@settings(max_examples=50)
@example(pairs=[(MOST, MOST), (MOST, 0), (MOST, MOST // 2), (0, 0)], ppm=2**32 - 1)
@example(pairs=[(MOST, MOST - MOST // 2), (MOST // 2, MOST)], ppm=1_000_000)
def test_within(pairs: list[tuple[int, int]], ppm: int) -> None:
    found = sheet.within(column([a for a, _ in pairs]), column([b for _, b in pairs]), ppm)
    assert found.tolist() == [quorum.within(a, b, ppm) for a, b in pairs]


@given(base=U64, ppm=PPM, off=st.integers(-1, 1))
@settings(max_examples=50)
def test_within_at_its_limit(base: int, ppm: int, off: int) -> None:
    far = min(max(base + base * ppm // quorum.MILLION + off, 0), MOST)
    assert sheet.within(column([base]), column([far]), ppm)[0] == quorum.within(base, far, ppm)


@given(values=st.lists(st.lists(U64, min_size=1, max_size=8), min_size=1, max_size=5))
@settings(max_examples=50)
def test_median_and_half_range(values: list[list[int]]) -> None:
    matrix = np.full((8, len(values)), sheet.ABSENT)
    for i, some in enumerate(values):
        matrix[: len(some), i] = sorted(some)
    count = np.array([len(some) for some in values])
    assert sheet.median(matrix, count).tolist() == [quorum.median(some) for some in values]
    low, high = column([min(v) for v in values]), column([max(v) for v in values])
    assert sheet.half_range(low, high).tolist() == [quorum.half_range(v) for v in values]


@st.composite
def batches(draw: st.DrawFn) -> tuple[OracleConfig, dict[int, SignedObservationBatch]]:
    """Any prices, each oracle with its own set of feeds."""
    n = draw(st.integers(1, 8))
    config = make_config(n, delta_ppm=draw(PPM))
    found = {}
    for oracle in sorted(draw(st.sets(st.integers(0, n - 1), min_size=1))):
        feeds = sorted(draw(st.sets(st.sampled_from(FEEDS), min_size=1)))
        rows = [
            observation(
                config, draw(U64), feed_id=feed, conf_e8=draw(U64), obs_time=T0 + draw(OFFSET)
            )
            for feed in feeds
        ]
        encoded = ObservationRows(b"".join(row.encode() for row in rows))
        found[oracle] = sign_batch(oracle, encoded, config)
    return config, found


OFFSET = st.integers(-6_000, 6_000)


def scalar(
    config: OracleConfig, held: dict[int, SignedObservationBatch], feed_id: bytes, time: int
) -> Report | None:
    """The report of one feed, or None without a quorum."""
    signed = [s for b in held.values() if (s := b.of_feed(feed_id)) is not None]
    try:
        return propose(config, feed_id, ROUND, signed, feed_id[::-1], time)
    except QuorumError:
        return None


@given(drawn=batches())
@settings(max_examples=50, deadline=None)
def test_a_sheet_gives_the_reports_that_propose_gives(
    drawn: tuple[OracleConfig, dict[int, SignedObservationBatch]],
) -> None:
    config, held = drawn
    found = Sheet.of(config, COLUMNS, held)
    expected = [scalar(config, held, feed_id, T0 + i) for i, feed_id in enumerate(FEEDS)]
    assert found.has_quorum.tolist() == [report is not None for report in expected]
    at = np.flatnonzero(found.has_quorum)
    if not len(at):
        return
    before = digests([feed_id[::-1] for feed_id in FEEDS])
    rows = found.reports(config.digest, ROUND, at, digests(FEEDS), before, column(T0 + at))
    assert list(rows) == [report for report in expected if report is not None]
    assert found.is_full[at].tolist() == [row.grade is Grade.FULL for row in rows]


@given(drawn=batches())
@settings(max_examples=30, deadline=None)
def test_who_agrees_and_when_it_was_seen(
    drawn: tuple[OracleConfig, dict[int, SignedObservationBatch]],
) -> None:
    config, held = drawn
    found = Sheet.of(config, COLUMNS, held)
    agreeing = found.agreeing(config.delta_ppm)
    for i, feed_id in enumerate(FEEDS):
        report = scalar(config, held, feed_id, T0)
        seen = [s for o in found.oracles if (s := held[o].of_feed(feed_id)) is not None]
        if report is None:
            continue
        times_of = [s.observation.obs_time for s in seen]
        assert (found.oldest[i], found.newest[i]) == (min(times_of), max(times_of))
        for row, oracle in enumerate(found.oracles):
            own = held[oracle].of_feed(feed_id)
            assert agreeing[row, i] == (
                own is not None
                and quorum.within(report.price_e8, own.observation.price_e8, config.delta_ppm)
            )


@given(
    seen=st.lists(st.tuples(U64 | OFFSET.map(lambda o: T0 + o), st.integers(0, 7)), max_size=6),
    now=st.one_of(st.integers(T0 - 8_000, T0 + 8_000), st.sampled_from([0, MOST, 2 * MOST])),
    round_id=st.sampled_from([ROUND, 0, 1, 3, MOST // 1000, MOST]),
)
@settings(max_examples=50)
def test_the_limits_of_time_and_venues(
    seen: list[tuple[int, int]], now: int, round_id: int
) -> None:
    config = make_config()
    rows = [
        observation(feed_id=feed, obs_time=time, venues=venues, round=round_id)
        for feed, (time, venues) in zip(FEEDS, seen, strict=False)
    ]
    if not rows:
        return
    encoded = ObservationRows(b"".join(row.encode() for row in rows))
    expected = [_fault(config, row, round_id, now) for row in rows]
    assert suspects(config, encoded, round_id, now).tolist() == [f is not None for f in expected]
    refusal = check_rows(config, 0, encoded, round_id, now)
    first = next(((r, f) for r, f in zip(rows, expected, strict=True) if f is not None), None)
    if first is None:
        assert refusal is None
    else:
        row, fault = first
        assert refusal == replace(fault, detail=f"feed {row.feed_id.hex()}: {fault.detail}")


def _fault(config: OracleConfig, row: Observation, round_id: int, now: int):  # type: ignore[no-untyped-def]
    signed = SignedObservation(0, row, bytes(64))
    return check_fields(config, row.feed_id, round_id, signed, now, ())


def test_a_margin_narrows_the_limits_on_both_sides() -> None:
    config = make_config()
    assert times(config, ROUND, T0 + 1_000) == (T0 - 4_000, T0 + 2_000)
    assert times(config, ROUND, T0 + 1_000, 250) == (T0 - 3_750, T0 + 1_750)
