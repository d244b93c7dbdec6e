"""The reconnect policy."""

import itertools

from actors.feeds.backoff import BUDGET, BUDGET_S, CAP_S, Backoff


def upper(low, high):
    return high


def lower(low, high):
    return low


def test_the_first_attempt_is_immediate():
    assert Backoff(upper).delay_s(100.0) == 0.0


def delays(uniform, spans):
    backoff, now_s, seen = Backoff(uniform), 0.0, []
    for healthy_s in spans:
        delay_s = backoff.delay_s(now_s)
        seen.append(delay_s)
        now_s += delay_s + healthy_s
        backoff.ended(healthy_s)
    return seen


def test_doubles_to_the_cap_above_one_a_second():
    assert delays(upper, [0.0] * 11) == [0, 1, 1, 1, 2, 4, 8, 16, CAP_S, CAP_S, CAP_S]
    assert delays(lower, [0.0] * 11) == [0, 1, 1, 1, 1, 2, 4, 8, 16 - 1, 15, 15]


def test_only_a_minute_of_health_resets():
    assert delays(upper, [0.0] * 8 + [59.9] + [60.0] + [0.0] * 2)[8:] == [30, 30, 0.25, 1]


def test_twenty_attempts_a_minute():
    backoff, now_s, attempts = Backoff(lower), 0.0, []
    for _ in range(3 * BUDGET):
        now_s += backoff.delay_s(now_s)
        attempts.append(now_s)
        backoff.ended(60.0 if len(attempts) % 2 else 0.0)
    for first, later in zip(attempts, attempts[BUDGET:], strict=False):
        assert later - first >= BUDGET_S
    assert all(b - a >= 1.0 for a, b in itertools.pairwise(attempts))


def test_many_failures_do_not_overflow():
    backoff, now_s = Backoff(upper), 0.0
    for _ in range(5000):
        now_s += backoff.delay_s(now_s)
        backoff.ended(0.0)
    assert backoff.delay_s(now_s) == CAP_S


def test_a_healthy_connection_is_renewed_at_once():
    backoff = Backoff(upper)
    for now_s in (0.0, 100.0, 200.0):
        backoff.delay_s(now_s)
        backoff.ended(0.0)
    backoff.renewing(60.0)
    assert backoff.delay_s(300.0) == 0.0


def test_a_venue_that_always_asks_for_a_new_connection_is_slowed_down():
    backoff, now_s, seen = Backoff(upper), 0.0, []
    for _ in range(10):
        delay_s = backoff.delay_s(now_s)
        now_s += delay_s
        seen.append(delay_s)
        backoff.renewing(0.5)
    assert seen[-1] == CAP_S
