"""Hysteresis of the REST fallback, and what a venue's refusals cost."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.feeds.events import Action, Error
from actors.feeds.fallback import Fallback
from actors.feeds.health import Health
from actors.feeds.restraint import BAN_S, LONGEST_S, MISCONFIGURED_S, Restraint

NOW_MS = 1_790_358_506_900


def test_starts_after_two_seconds_and_stops_after_three_healthy_ones():
    fallback = Fallback(["A"], 2.0, 3.0, 100.0)
    assert fallback.polled(101.9) == []
    assert fallback.next_s() == 102.0
    assert fallback.polled(102.0) == ["A"]
    for tenth in range(30):
        fallback.quoted("A", 110.0 + tenth / 10)
        assert fallback.polled(110.0 + tenth / 10) == ["A"]
        assert not fallback.is_silent("A", 110.0 + tenth / 10)
    fallback.quoted("A", 113.0)
    assert fallback.polled(113.0) == []
    assert fallback.polled(114.9) == []
    assert fallback.polled(115.0) == ["A"]


def test_a_stream_that_comes_and_goes_is_polled_throughout():
    fallback = Fallback(["A"], 2.0, 3.0, 0.0)
    for second in range(2, 100):
        if second % 5 < 3:
            fallback.quoted("A", float(second))
        assert fallback.polled(second + 0.5) == ["A"], second


def test_symbols_are_apart():
    fallback = Fallback(["A", "B"], 2.0, 3.0, 0.0)
    for half in range(20):
        fallback.quoted("A", half / 2)
    assert fallback.polled(9.5) == ["B"]


@given(st.lists(st.integers(1, 640).map(lambda n: n / 128), max_size=60))
def test_a_silent_symbol_is_always_polled_and_a_steady_one_never(gaps):
    fallback, now_s, steady_s = Fallback(["A"], 2.0, 3.0, 0.0), 0.0, 0.0
    for gap_s in gaps:
        now_s += gap_s
        steady_s = steady_s + gap_s if gap_s < 2.0 else 0.0
        if gap_s >= 2.0:
            assert fallback.polled(now_s) == ["A"]
        fallback.quoted("A", now_s)
        if steady_s >= 3.01:
            assert fallback.polled(now_s) == []


def restrained(*errors, asked=True, now_s=1000.0):
    health = Health("binance")
    restraint = Restraint(health)
    for error in errors:
        restraint.obey(error, NOW_MS, now_s, asked=asked)
    return restraint, health


@pytest.mark.parametrize(
    ("stated", "wait_s"),
    [
        ({"retry_after_s": 360}, 360.0),
        ({"until_unix": NOW_MS // 1000 + 100}, 99.1),
        ({"until_unix": 1}, 0.0),
        ({}, BAN_S),
        ({"retry_after_s": 10**8}, LONGEST_S),
    ],
)
def test_418_and_451_disable_the_venue_until_a_stated_time(stated, wait_s):
    restraint, health = restrained(Error("HTTP 418", Action.STOP_UNTIL, **stated))
    assert restraint.ask_from_s == pytest.approx(1000.0 + wait_s)
    assert restraint.connect_from_s == pytest.approx(1000.0 + wait_s)
    assert health.disabled_until_ms == pytest.approx(NOW_MS + wait_s * 1000, abs=1)


def test_429_backs_off_longer_each_time_and_honours_retry_after():
    error = Error("HTTP 429", Action.BACKOFF)
    waits = [restrained(*[error] * times)[0].ask_from_s - 1000.0 for times in (1, 2, 3, 4, 50)]
    assert waits == [0.25, 0.5, 1.0, 2.0, 30.0]
    restraint, health = restrained(Error("HTTP 429", Action.BACKOFF, retry_after_s=27))
    assert restraint.ask_from_s == 1027.0
    assert restraint.connect_from_s == 0.0
    assert health.disabled_until_ms is None
    restraint.answered()
    restraint.obey(error, NOW_MS, 2000.0, asked=True)
    assert restraint.ask_from_s == 2000.25


def test_a_question_that_the_venue_does_not_know_is_not_hammered():
    restraint, _ = restrained(Error("HTTP 400", Action.CONFIG_FAULT))
    assert restraint.ask_from_s == 1000.0 + MISCONFIGURED_S


def test_a_refused_connection_waits_with_connecting_only():
    restraint, _ = restrained(Error("HTTP 429", Action.BACKOFF, retry_after_s=9), asked=False)
    assert (restraint.connect_from_s, restraint.ask_from_s) == (1009.0, 0.0)
