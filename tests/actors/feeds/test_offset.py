"""Clock offsets: what round trips and unasked times say, and clocks that are set meanwhile."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.feeds.offset import ALARM_MS, MAX_TRIP_MS, SAMPLES, WINDOW_MS, VenueClock

NOW = 1_790_358_506_900


def trip(clock, offset_ms, out_ms, back_ms, at_ms=NOW):
    """A question sent at ``at_ms``, answered by a clock that is ``offset_ms`` ahead."""
    clock.answered(at_ms, at_ms + out_ms + offset_ms, at_ms + out_ms + back_ms)


def unasked(clock, offset_ms, latency_ms, at_ms=NOW):
    clock.heard(at_ms - latency_ms + offset_ms, at_ms)


@given(
    st.integers(-60_000, 60_000),
    st.lists(st.tuples(st.integers(0, 400), st.integers(0, 400)), min_size=1, max_size=30),
)
def test_the_shortest_round_trip_bounds_the_error(offset_ms, trips):
    clock = VenueClock()
    for number, (out_ms, back_ms) in enumerate(trips):
        trip(clock, offset_ms, out_ms, back_ms, NOW + 1000 * number)
    shortest = min(out_ms + back_ms for out_ms, back_ms in trips)
    assert clock.known
    assert abs(clock.offset_ms - offset_ms) <= (shortest + 1) // 2 + 1


@given(
    st.integers(-60_000, 60_000), st.lists(st.integers(0, 900), min_size=1, max_size=2 * SAMPLES)
)
def test_unasked_times_miss_by_the_least_latency(offset_ms, latencies):
    clock = VenueClock()
    for number, latency_ms in enumerate(latencies):
        unasked(clock, offset_ms, latency_ms, NOW + 1000 * number)
    assert clock.offset_ms == offset_ms - min(latencies)


@pytest.mark.parametrize("offset_ms", [500, -500, 2_000, -2_000, 60_000, -60_000])
def test_half_a_second_two_seconds_a_minute(offset_ms):
    clock = VenueClock()
    assert not clock.alarm
    trip(clock, offset_ms, 20, 30)
    assert abs(clock.offset_ms - offset_ms) <= 25
    assert clock.alarm == (abs(offset_ms) > ALARM_MS)


def test_an_assumed_offset_is_no_alarm_until_it_is_known():
    clock = VenueClock(assumed_ms=3_244)
    assert (clock.offset_ms, clock.known, clock.alarm) == (3_244, False, False)


@pytest.mark.parametrize("step_ms", [5_000, -5_000])
def test_a_clock_that_is_set_is_noticed_by_the_next_round_trip(step_ms):
    clock = VenueClock()
    for second in range(5):
        trip(clock, 0, 10, 10, NOW + 1000 * second)
    # Our clock steps by step_ms: the venue's, seen from here, by the opposite.
    trip(clock, -step_ms, 10, 10, NOW + 6000 + step_ms)
    assert abs(clock.offset_ms + step_ms) <= 10


def test_a_slewed_clock_is_followed():
    clock = VenueClock()
    for second in range(2_000):
        trip(clock, second // 2, 10, 10, NOW + 1000 * second)
    assert abs(clock.offset_ms - 1000) <= 25


def test_a_slow_answer_and_one_from_the_future_tell_nothing():
    clock = VenueClock()
    trip(clock, 0, MAX_TRIP_MS, 1)
    clock.answered(NOW, NOW, NOW - 1)
    assert not clock.known


def test_a_stream_that_falls_behind_does_not_move_the_clock_with_it():
    clock = VenueClock()
    for second in range(60):
        unasked(clock, 0, 20, NOW + 1000 * second)
    for second in range(60, 300):
        unasked(clock, 0, 20 + 100 * (second - 60), NOW + 1000 * second)
    assert clock.offset_ms == -20


def test_samples_age_and_are_bounded():
    clock = VenueClock()
    unasked(clock, 0, 0)
    unasked(clock, 0, 500, NOW + WINDOW_MS + 1)
    assert clock.offset_ms == -500
    for second in range(10 * SAMPLES):
        trip(clock, 0, 10, 10, NOW + WINDOW_MS + 1000 * second)
    assert len(clock._samples) <= SAMPLES
