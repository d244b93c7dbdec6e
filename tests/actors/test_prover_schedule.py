"""The pool's policy in simulated time: whatever provers do, the roots are the true ones."""

from dataclasses import replace
from random import Random

import pytest

from actors.prover import Proved
from actors.prover_pool import malformed
from actors.prover_schedule import IN_FLIGHT, LATE_MOST_S, LATE_S, LATE_TIMES, LOSSES, Schedule
from riscv_vm.checkpoint import Checkpoint
from riscv_vm.prove import ChunkTask, Hashed
from tests.bench._schedule import Costs, Simulation, honest

COSTS = Costs(prepass=0.005, submit=0.0005, hash=0.02, hear=0.0005, ray=0.0, hop=0.001)
PROOFS = 120
A, B = b"a" * 20, b"b" * 20


def schedule(*names: str, twice: float = 0.0) -> Schedule:
    return Schedule(names, twice, lambda: 0.5, {})


def add(plan: Schedule, number: int) -> None:
    plan.add(
        ChunkTask(number, 1, Checkpoint(number, 0, b"", {})), bytes([number]), bytes([number + 1])
    )


def said(number: int, root: bytes = A) -> Hashed:
    return Hashed((root,), bytes([number]), bytes([number + 1]))


def test_each_prover_has_two_tasks_at_most_and_the_least_busy_gets_the_next():
    plan = schedule("p", "q")
    for number in range(6):
        add(plan, number)
    given = [plan.give(0.0) for _ in range(2 * IN_FLIGHT)]
    assert [name for name, _ in given] == ["p", "q", "p", "q"]
    assert plan.give(0.0) is None and plan.waiting
    plan.answered(*given[1], said(1), 0.1, 1.0)
    assert plan.give(1.0)[0] == "q"


def test_a_task_of_a_lost_prover_comes_first_and_goes_to_another():
    plan = schedule("p", "q")
    for number in range(3):
        add(plan, number)
    for _ in range(3):
        plan.give(0.0)
    plan.lost("p", "the process died")
    name, work = plan.give(0.0)
    assert (name, plan.seats["p"].share.lost) == ("q", 2)
    assert work.first in (0, 2)
    assert plan.give(0.0) is None
    plan.back("p")
    assert plan.give(0.0)[0] == "p"


def test_a_prover_lost_again_and_again_is_left_out():
    plan = schedule("p")
    add(plan, 0)
    for _ in range(LOSSES):
        assert plan.give(0.0)[0] == "p"
        plan.lost("p", "the process died")
        plan.back("p")
    assert plan.give(0.0) is None
    assert plan.in_force == []
    assert "the process died" in plan.excluded["p"]


def test_a_late_prover_counts_as_lost_and_its_answer_still_counts():
    plan = schedule("p", "q")
    add(plan, 0)
    name, work = plan.give(0.0)
    assert plan.late(1.9) == []
    assert plan.late(2.1) == ["p"]
    plan.answered(name, work, said(0), 2.2, 2.2)
    assert plan.done and work.roots == (A,)
    add(plan, 1)
    plan.give(10.0)
    assert plan.late(18.0) == []
    assert plan.late(19.0) == ["q"], "four times the slowest answer"


def test_one_that_was_frozen_does_not_make_the_pool_wait_for_the_next():
    plan = schedule("p", "q")
    add(plan, 0)
    name, work = plan.give(0.0)
    assert plan.late(60.0) == ["p"]
    plan.answered(name, work, said(0), 60.0, 60.0)
    add(plan, 1)
    plan.give(60.0)
    assert plan.late(60.0 + LATE_TIMES * LATE_S) == []
    assert plan.late(60.1 + LATE_TIMES * LATE_S) == ["q"]


def test_a_prover_that_is_slower_each_time_does_not_make_the_pool_wait_for_ever():
    plan, now = schedule("flapping", "p"), 0.0
    plan.seats["p"].away = True
    for number, took_s in enumerate((1.9, 7.5, 29.9, 60.0)):
        add(plan, number)
        name, work = plan.give(now)
        assert name == "flapping"
        now += took_s
        plan.answered(name, work, said(number), took_s, now)
    add(plan, 4)
    plan.give(now)
    plan.back("p")
    assert plan.late(now + LATE_MOST_S) == []
    assert plan.late(now + LATE_MOST_S + 0.1) == ["flapping"]
    assert plan.give(now + 21)[0] == "p"


HASHED = Hashed((bytes(20),), bytes(32), bytes(32))


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (Proved(HASHED, 0.5), ""),
        (None, "answered with NoneType"),
        (HASHED, "answered with Hashed"),
        (Proved(None, 0.5), "answered with Proved"),
        (Proved(HASHED, float("nan")), "took nan seconds"),
        (Proved(HASHED, "1"), "took '1' seconds"),
        (Proved(replace(HASHED, roots=[bytes(20)]), 0.5), "of other types"),
        (Proved(replace(HASHED, roots=None), 0.5), "of other types"),
        (Proved(replace(HASHED, end=bytearray(32)), 0.5), "of other types"),
        (Proved(replace(HASHED, roots=([0],)), 0.5), "not 20 bytes each"),
        (Proved(replace(HASHED, roots=(bytes(32),)), 0.5), "not 20 bytes each"),
    ],
)
def test_what_is_no_answer_has_a_reason(answer, reason):
    assert malformed(answer, 20).endswith(reason)
    assert bool(malformed(answer, 20)) == bool(reason)


def test_where_two_differ_the_driver_decides_and_the_liar_leaves_nothing():
    """Its first lie is not drawn, the second one is: with it the first one goes too."""
    draws = iter([0.9, 0.1])
    plan = Schedule(["liar", "p"], 0.5, lambda: next(draws), {})
    plan.seats["p"].away = True
    add(plan, 0)
    name, first = plan.give(0.0)
    plan.answered(name, first, said(0, B), 0.1, 0.1)
    assert name == "liar" and plan.done
    plan.back("p")
    add(plan, 1)
    asked = []
    for _ in range(2):
        name, second = plan.give(1.0)
        asked.append(name)
        plan.answered(name, second, said(1, B if name == "liar" else A), 0.1, 1.1)
    assert asked == ["p", "liar"]
    assert plan.own() is second and second.disputed
    plan.proved_here(second, (A,))
    assert list(plan.excluded) == ["liar"]
    assert second.roots == (A,) and second.checked
    assert not plan.done and plan.give(2.0) == ("p", first)


@pytest.mark.parametrize(
    ("false", "reason"),
    [
        (Hashed((A,), b"?", b"\1"), "began chunk 0 in a state"),
        (Hashed((A,), b"\0", b"?"), "left chunk 0 in a state"),
        (Hashed((), b"\0", b"\1"), "gave 0 roots for 1 chunks"),
    ],
)
def test_an_answer_that_cannot_be_right(false, reason):
    plan = schedule("p", "q")
    add(plan, 0)
    _, work = plan.give(0.0)
    plan.answered("p", work, false, 0.1, 0.1)
    assert reason in plan.excluded["p"]
    assert plan.give(0.2) == ("q", work)


@pytest.mark.parametrize("seed", range(30))
def test_whatever_provers_do_the_roots_are_true(seed):
    """Some lie at times in their own way, some fall silent, some are slow; one is well."""
    random = Random(seed)
    run = Simulation(random.randint(2, 7), 40, COSTS, twice=1.0, seed=seed)

    def lies(name, rate):
        return lambda work: (
            replace(honest(work), roots=(name.encode().ljust(20),))
            if random.random() < rate
            else honest(work)
        )

    for name, worker in list(run.workers.items())[1:]:
        kind = random.choice(("well", "lies", "silent", "slow"))
        if kind == "lies":
            worker.says = lies(name, random.choice((0.05, 0.5, 1.0)))
        elif kind == "silent":
            worker.says = lambda work: honest(work) if random.random() < 0.7 else None
        elif kind == "slow":
            worker.slowness = random.choice((3, 100))
    run.run()
    assert all(work.roots == honest(work).roots for work in run.schedule.works)
    assert "prover-0" not in run.schedule.excluded


def test_a_sample_finds_k_lies_with_the_probability_that_is_said():
    """At least 1 - (1 - twice)^k: a lie about a task that another answered first is always found.
    Two provers, one of which lies about 4 tasks; a lie that is not found is in the root."""
    found = 0
    for seed in range(PROOFS):
        run = Simulation(2, 24, COSTS, twice=0.25, seed=seed)
        told = []

        def lie(work, told=told):
            if len(told) < 4:
                told.append(work.first)
                return replace(honest(work), roots=(B,))
            return honest(work)

        run.workers["prover-1"].says = lie
        run.run()
        found += bool(run.schedule.excluded)
        wrong = any(work.roots != honest(work).roots for work in run.schedule.works)
        assert wrong == (not run.schedule.excluded)
    assert found / PROOFS > 1 - 0.75**4 - 0.05
