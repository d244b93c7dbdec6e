"""When rounds are due and whose turn it is, in numbers."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.errors import ConfigError
from protocol.oracle.messages import AGGREGATOR
from protocol.oracle.schedule import Schedule

SCHEDULE = Schedule(interval_ms=1_000)
A, B = b"a" * 32, b"b" * 32


@pytest.mark.parametrize(
    ("now_ms", "certified", "overdue"),
    [
        (59_999, 30, False),
        (60_000, 30, True),
        (60_000, 59, True),
        (60_000, 60, False),
        (61_500, 59, True),
        (89_999, 60, False),
        (0, -1, True),
    ],
)
def test_overdue_since_the_last_boundary(now_ms: int, certified: int, overdue: bool) -> None:
    assert SCHEDULE.is_overdue(now_ms, certified) is overdue


def test_boundaries() -> None:
    assert SCHEDULE.next_boundary_ms(0) == 30_000
    assert SCHEDULE.next_boundary_ms(29_999) == 30_000
    assert SCHEDULE.next_boundary_ms(30_000) == 60_000


@settings(max_examples=50)
@given(st.integers(1, 2**63), st.booleans())
def test_the_deviation_boundary_is_exact(reference: int, up: bool) -> None:
    """20 bps and not one unit less, whatever the price."""
    least = -(-20 * reference // 10_000)
    sign = 1 if up else -1
    assert SCHEDULE.deviates({A: reference + sign * least}, {A: reference})
    assert not SCHEDULE.deviates({A: reference + sign * (least - 1)}, {A: reference})


def test_any_feed_opens_a_round_and_unknown_ones_do_not() -> None:
    assert SCHEDULE.deviates({A: 1_000, B: 1_002}, {A: 1_000, B: 1_000})
    assert not SCHEDULE.deviates({A: 1_000, B: 9_999}, {A: 1_000})
    assert not SCHEDULE.deviates({}, {A: 1_000})
    assert SCHEDULE.deviates({A: 1}, {A: 0}), "a certified zero is left by anything"


@pytest.mark.parametrize("n", [1, 3, 4, 8])
@pytest.mark.parametrize("round_id", [0, 7, 8, 1_790_359_201])
def test_turns(n: int, round_id: int) -> None:
    ranks = [(round_id + k) % n for k in range(n)]
    usual = {p: SCHEDULE.turn_ms(p, round_id, n, burnt=False) for p in (AGGREGATOR, *range(n))}
    assert usual == {AGGREGATOR: 0} | {o: 500 * (k + 1) for k, o in enumerate(ranks)}
    burnt = {p: SCHEDULE.turn_ms(p, round_id, n, burnt=True) for p in (AGGREGATOR, *range(n))}
    assert burnt == {AGGREGATOR: 500 * n} | {o: 500 * k for k, o in enumerate(ranks)}


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"interval_ms": 0}, "interval_ms"),
        ({"schedule_ms": 0}, "schedule_ms"),
        ({"schedule_ms": 1_500}, "schedule_ms"),
        ({"deviation_bps": 0}, "deviation_bps"),
        ({"takeover_ms": 0}, "takeover_ms"),
        ({"collect_ms": -1}, "collect_ms"),
        ({"collect_ms": 500}, "collect_ms"),
    ],
)
def test_a_wrong_field_is_named(changes: dict[str, int], field: str) -> None:
    with pytest.raises(ConfigError, match=f"^{field}: "):
        Schedule(**({"interval_ms": 1_000} | changes))
