"""The median's promises for n = 3 to 15, over all of u64."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.errors import ConfigError, QuorumError
from protocol.oracle.quorum import (
    confidence,
    distance_ppm,
    grade,
    half_range,
    median,
    thresholds,
    within,
)
from protocol.oracle.report import Grade

U64_MAX = 2**64 - 1
u64 = st.one_of(st.sampled_from([0, 1, U64_MAX - 1, U64_MAX]), st.integers(0, U64_MAX))


@st.composite
def honest_and_liars(draw: st.DrawFn) -> tuple[list[int], list[int]]:
    n = draw(st.integers(3, 15))
    faults = draw(st.integers(0, (n - 1) // 2))
    honest = draw(st.lists(u64, min_size=n - faults, max_size=n - faults))
    return honest, draw(st.lists(u64, min_size=faults, max_size=faults))


@settings(max_examples=300)
@given(honest_and_liars(), st.randoms(use_true_random=False))
def test_liars_cannot_leave_the_honest_range(
    sides: tuple[list[int], list[int]], shuffle: object
) -> None:
    honest, liars = sides
    values = honest + liars
    expected = median(values)
    assert min(honest) <= expected <= max(honest)
    assert 0 <= expected <= U64_MAX
    shuffle.shuffle(values)  # type: ignore[attr-defined]
    assert median(values) == expected


@settings(max_examples=200)
@given(st.integers(0, 7), st.data())
def test_full_needs_only_2f_plus_1_of_the_observations(faults: int, data: st.DataObject) -> None:
    """Whichever observations an aggregator selects, with f liars among them."""
    honest = data.draw(st.lists(u64, min_size=faults + 1, max_size=faults + 1))
    liars = data.draw(st.lists(u64, min_size=faults, max_size=faults))
    assert grade(honest + liars, faults, 0) is Grade.FULL
    assert min(honest) <= median(honest + liars) <= max(honest)


@settings(max_examples=300)
@given(st.integers(1, U64_MAX), st.integers(0, 1_000_000), st.integers(-1_500_000, 1_500_000))
def test_degraded_errs_by_half_of_delta_at_most(honest: int, delta_ppm: int, lie_ppm: int) -> None:
    lie = min(max(0, honest + honest * lie_ppm // 1_000_000), U64_MAX)
    if within(honest, lie, delta_ppm):
        assert grade([honest, lie], 1, delta_ppm) is Grade.DEGRADED
        error = abs(median([honest, lie]) - honest)
        assert (2 * error - 1) * 1_000_000 <= delta_ppm * honest
    else:
        with pytest.raises(QuorumError):
            grade([honest, lie], 1, delta_ppm)


@settings(max_examples=200)
@given(u64, u64)
def test_the_distance_is_the_smallest_delta_that_two_prices_are_within(a: int, b: int) -> None:
    found = distance_ppm(a, b)
    assert found == distance_ppm(b, a) and (found == 0) == (a == b)
    if min(a, b):
        assert within(a, b, found) and (a == b or not within(a, b, found - 1))
    else:
        assert a == b or found == U64_MAX


@settings(max_examples=200)
@given(st.integers(0, U64_MAX // 2), st.integers(0, 1_000_000))
def test_delta_boundary_is_exact(low: int, delta_ppm: int) -> None:
    high = low + low * delta_ppm // 1_000_000
    assert within(low, high, delta_ppm)
    assert within(high, low, delta_ppm)
    assert not within(low, high + 1, delta_ppm)
    assert grade([low, high], 1, delta_ppm) is Grade.DEGRADED
    with pytest.raises(QuorumError, match="wait for a further one"):
        grade([high + 1, low], 1, delta_ppm)


def test_even_counts_take_the_floor_of_the_middle_mean() -> None:
    assert median([4, 1]) == 2
    assert median([1, 2, 4, 100]) == 3
    assert median([U64_MAX, U64_MAX]) == U64_MAX
    assert median([U64_MAX - 1, U64_MAX]) == U64_MAX - 1
    assert median([7]) == 7
    with pytest.raises(QuorumError, match="at least one"):
        median([])


def test_ties() -> None:
    assert median([5, 5, 9]) == 5
    assert median([5, 9, 9]) == 9
    assert confidence([5, 5, 5], [0, 0, 0]) == 0


def test_confidence_is_the_larger_of_spread_and_range() -> None:
    assert half_range([10, 13]) == 2
    assert confidence([10, 13], [1, 1]) == 2
    assert confidence([10, 11], [5, 8]) == 6
    assert confidence([0, U64_MAX], [0, 0]) == 2**63


def test_too_few_prices() -> None:
    with pytest.raises(QuorumError, match="at least 2 are needed"):
        grade([5], 1, 10**6)
    with pytest.raises(QuorumError, match="at least 3 are needed"):
        grade([5, 5], 2, 10**6)
    assert grade([5], 0, 0) is Grade.FULL


@pytest.mark.parametrize("n", range(3, 16))
def test_thresholds(n: int) -> None:
    """Each threshold is the least that has its property, checked by counting."""
    for f in range((n + 1) // 2):
        t = thresholds(n, f)
        assert t.median_observations == 2 * f + 1 <= n
        assert t.authenticity - f == 1
        shared = 2 * t.agreement - n
        assert shared > f, "two quorums share an honest oracle"
        assert 2 * (t.agreement - 1) - n <= f, "and no smaller quorum guarantees that"
        assert t.final == (n >= 3 * f + 1)
        assert t.live_quorum == n - f
    with pytest.raises(ConfigError, match="not fewer than half"):
        thresholds(n, (n + 1) // 2)


def test_two_of_three_is_accountable_and_not_final() -> None:
    assert thresholds(3, 1).agreement == 3
    assert not thresholds(3, 1).final
    assert thresholds(4, 1).final and thresholds(4, 1).agreement == 3
    assert thresholds(7, 2).final and thresholds(7, 2).agreement == 5


MEAN_ATTACKS = {"+7.69 %": 10_769, "+10.53 %": 11_053, "x 10": 100_000, "zero": 0}


@pytest.mark.parametrize("name", MEAN_ATTACKS)
def test_one_liar_does_not_move_the_answer_as_it_moves_a_mean(name: str) -> None:
    honest, lie = [10_000, 10_001], MEAN_ATTACKS[name]
    assert median([*honest, lie]) in honest


def test_one_liar_of_two_stops_the_price_and_does_not_move_it() -> None:
    with pytest.raises(QuorumError):
        grade([10_000, 11_053], 1, 5_000)
