"""When an actor is given up and started again, and what that means for its role."""

from dataclasses import replace

import pytest

from actors.restarts import BUDGET, FIRST_S, WINDOW_S
from actors.supervision import Patience, Phase, State, Watched, role_state, worst

PATIENCE = Patience(beat_s=1.0, misses=3, start_s=60.0)
RUNNING = Watched().started(0.0).answered(1.0)
STARTING = Watched().started(0.0)
OUT = RUNNING.ended(5.0, "the process died")
FAILED = replace(OUT, phase=Phase.FAILED)


def test_silence_is_its_end_only_once_it_is_long():
    watched = RUNNING
    for _ in range(PATIENCE.misses):
        assert not watched.is_hung(9.0, PATIENCE)
        watched = watched.silent()
    assert watched.is_hung(9.0, PATIENCE)
    assert not watched.answered(9.0).is_hung(9.0, PATIENCE)
    assert watched.answered(9.0).since_s == RUNNING.since_s


def test_one_that_starts_may_be_silent_until_its_start_is_late():
    watched = STARTING
    for _ in range(10 * PATIENCE.misses):
        watched = watched.silent()
    assert not watched.is_hung(PATIENCE.start_s, PATIENCE)
    assert watched.is_hung(PATIENCE.start_s + 0.1, PATIENCE)


def test_one_that_is_found_is_judged_by_what_it_was():
    known, starting = Watched(has_run=True).found(0.0), Watched().found(0.0)
    assert (known.phase, known.reason) == (Phase.STARTING, "found, does not answer yet")
    for _ in range(PATIENCE.misses):
        assert not known.is_hung(3.0, PATIENCE)
        known, starting = known.silent(), starting.silent()
    assert known.is_hung(3.0, PATIENCE)
    assert not starting.is_hung(3.0, PATIENCE)
    assert known.waiting("no head").has_run
    assert not known.ended(3.0, "no answer").started(4.0).has_run


def test_it_is_started_again_later_each_time_until_the_budget_is_spent():
    watched, now_s, delays = RUNNING, 100.0, []
    while (watched := watched.ended(now_s, "the process died")).phase is Phase.OUT:
        assert not watched.is_due(now_s)
        assert watched.is_due(watched.due_s)
        delays.append(watched.due_s - now_s)
        watched = watched.started(now_s).answered(now_s)
    assert delays[0] == FIRST_S
    assert delays == sorted(delays)
    assert len(delays) == BUDGET
    assert watched.phase is Phase.FAILED
    assert watched.reason == "the process died"
    assert not watched.is_due(now_s + WINDOW_S - 1)
    assert watched.is_due(now_s + WINDOW_S), "an orphan that held the lock may be gone by then"


def test_waiting_for_a_node_costs_nothing():
    waiting = Watched()
    for _ in range(10 * BUDGET):
        waiting = waiting.started(1.0).waiting("no node offers oracle")
    assert waiting.restarts.total == 0
    assert waiting.is_due(1.0)
    assert waiting.answered(2.0).reason == ""


@pytest.mark.parametrize(
    ("actors", "stands_in", "expected"),
    [
        ([RUNNING, RUNNING], False, (State.RUNNING, "")),
        ([STARTING], False, (State.STARTING, "")),
        ([Watched()], False, (State.STARTING, "")),
        ([RUNNING, STARTING], False, (State.STARTING, "")),
        ([RUNNING, OUT], False, (State.DEGRADED, "the process died")),
        ([RUNNING, FAILED], False, (State.DEGRADED, "the process died")),
        ([OUT], True, (State.DEGRADED, "the process died")),
        ([OUT], False, (State.HALTED, "the process died")),
        ([OUT.started(6.0)], False, (State.HALTED, "the process died")),
        ([FAILED, FAILED], True, (State.FAILED, "the process died")),
        ([Watched().waiting("no node")], True, (State.DEGRADED, "no node")),
    ],
)
def test_a_role_stands_where_its_actors_do(actors, stands_in, expected):
    assert role_state(actors, stands_in) == expected


def test_the_worst_state_counts():
    assert worst([State.RUNNING, State.HALTED, State.DEGRADED]) is State.HALTED
    assert worst([State.STARTING, State.RUNNING]) is State.STARTING
