"""The soak: its judgement (a leak that is planted is found), and a short one for real."""

import os
import subprocess
import sys
from dataclasses import replace
from random import Random

import pytest

from protocol.settlement.policy import Close
from protocol.settlement.terms import Role
from tests.soak import judge, report
from tests.soak.diary import Day, Story
from tests.soak.gauges import Sample, count, disk, family, rss_kb, sample
from tests.soak.plan import AMERICAN, EUROPEAN, End, draw
from tests.soak.trend import LEAST, Line, Verdict

HOURS = 24.0


def samples(seed=1, **leaks):
    """A day of a process that holds what its contracts take, and grows by ``leaks`` an hour."""
    random = Random(seed)
    found = []
    for number in range(1, 145):
        hour, alive = number / 6, random.randint(0, 9)
        found.append(
            Sample(
                hour=hour,
                rss_kb=int(400_000 + 4_000 * alive + random.gauss(0, 2_000))
                + int(leaks.get("rss_kb", 0) * hour),
                fds=100 + 13 * alive + int(leaks.get("fds", 0) * hour),
                threads=8 + 4 * alive + int(leaks.get("threads", 0) * hour),
                tasks=90 + 5 * alive + random.randint(0, 2) + int(leaks.get("tasks", 0) * hour),
                objects=300_000 + 20_000 * alive + int(leaks.get("objects", 0) * hour),
                alive=alive,
                disk={"histories": 1_000 * number, "chain": 5_000},
            )
        )
    return found


def leaking(found):
    return {verdict.name for verdict in judge.verdicts(found, HOURS) if verdict.leaks}


def test_contracts_that_come_and_go_are_no_leak():
    for seed in range(20):
        found = judge.verdicts(samples(seed), HOURS)
        assert {verdict.word for verdict in found} == {"flat"}


@pytest.mark.parametrize(
    ("field", "per_hour", "name"),
    [
        ("rss_kb", 5_000, "memory"),
        ("objects", 5_000, "Python objects"),
        ("fds", 0.5, "descriptors"),
        ("tasks", 0.5, "tasks"),
        ("threads", 0.5, "threads"),
    ],
)
def test_a_planted_leak_is_found(field, per_hour, name):
    assert leaking(samples(**{field: per_hour})) == {name}


def test_what_grows_in_the_warm_up_alone_is_no_leak():
    warm = [
        replace(one, rss_kb=one.rss_kb - max(0, int(50_000 * (judge.WARM * HOURS - one.hour))))
        for one in samples()
    ]
    assert leaking(warm) == set()


def test_a_line_knows_its_slope_and_its_error():
    hours = [number / 2 for number in range(40)]
    alive = [number % 3 for number in range(40)]
    values = [7 + 3 * hour + 5 * each for hour, each in zip(hours, alive, strict=True)]
    exact = Line.through(hours, values, alive)
    assert exact.slope == pytest.approx(3)
    assert exact.each == pytest.approx(5)
    assert exact.error == pytest.approx(0, abs=1e-9)
    assert Verdict("x", "", exact, 2.9).leaks
    assert Verdict("x", "", exact, 3.1).is_flat
    random = Random(5)
    noisy = Line.through(hours, [random.gauss(100, 10) for _ in hours], [0] * 40)
    assert abs(noisy.slope) < 3 * noisy.error
    assert not Verdict("x", "", noisy, noisy.error).leaks
    assert not Verdict("x", "", noisy, noisy.error).is_flat, "it shows nothing"
    assert noisy.each == 0


def test_too_few_samples_give_no_verdict():
    few = list(range(LEAST - 1))
    with pytest.raises(ValueError, match="run longer"):
        Line.through(few, few, few)
    with pytest.raises(ValueError, match="one time"):
        Line.through([1.0] * LEAST, [2.0] * LEAST, [0] * LEAST)


def test_the_plan_of_a_day():
    plans = draw(1, 86_400, 2_700, 24_000)
    assert plans == draw(1, 86_400, 2_700, 24_000)
    assert [plan.order_s for plan in plans] == sorted(plan.order_s for plan in plans)
    assert {plan.end for plan in plans if not plan.american} == set(EUROPEAN[:6])
    assert {plan.end for plan in plans if plan.american} == set(AMERICAN)
    assert all(plan.american for plan in plans if plan.order_s > 24_000)
    for plan in plans:
        liar = plan.end.liar
        assert (plan.lie is None) == (liar is None)
        assert {role for role in Role if plan.lie_of(role)} == ({liar} - {None})
        claiming = {role for role in Role if plan.closing(role).claim_after_s == 0}
        assert claiming == ({plan.end.claims} - {None})
        assert (plan.closing(Role.WRITER).cooperate is Close.NEVER) == (plan.end is not End.CLOSE)


def test_samples_that_are_too_noisy_show_nothing():
    random = Random(3)
    noisy = [replace(one, tasks=one.tasks + random.randint(0, 40)) for one in samples()]
    words = {verdict.name: verdict.word for verdict in judge.verdicts(noisy, HOURS)}
    assert words.pop("tasks") == "NOT SHOWN"
    assert set(words.values()) == {"flat"}
    page, ok = report.page(finished(samples=noisy), "soak", "soak.svg")
    assert not ok
    assert "NOT SHOWN" in page


def test_a_run_that_is_too_short_says_so():
    page, ok = report.page(finished(hours=judge.SHORTEST_H - 1), "soak", "soak.svg")
    assert ok
    assert "does not show it" in page


def finished(**changes):
    """A day on which all went well."""
    stories = [Story(plan, number=n + 1, outcome="CLOSE") for n, plan in enumerate(PLANS)]
    day = Day(1, HOURS, 600, 0, stories, samples(), 2_880, rounds=3_000, blocks=300)
    return replace(day, **changes)


def test_the_page_of_a_day_that_went_well():
    page, ok = report.page(finished(), "soak", "soak.svg")
    assert ok
    assert "All of it holds" in page
    assert page.count("| flat |") == len(judge.BOUNDS)


PLANS = draw(1, 86_400, 2_700, 24_000)


def failed(day):
    return [check.name for check in judge.checks(day) if not check.ok]


def test_a_day_that_went_well_passes_and_everything_else_does_not():
    assert failed(finished()) == []
    assert "without a certificate" in failed(finished(missing_rounds=[7]))[0]
    assert "ended by themselves" in failed(finished(errors=["it ended"]))[0]
    unsettled = finished()
    unsettled.stories[3].outcome = ""
    assert failed(unsettled) == ["settlements missed"]
    unpaid = finished()
    next(s for s in unpaid.stories if s.plan.end.liar is None).problems.append("one sat less")
    assert len(failed(unpaid)) == 1
    assert "paid to the sat" in failed(unpaid)[0]
    assert failed(finished(stories=[])), "nothing that happened proves nothing"


def test_growth_on_disk_is_told_per_thing_that_is_stored():
    rows = {row.kind: row for row in judge.growth(finished())}
    assert rows["histories"].size == 144_000
    assert rows["histories"].per == "12 a certificate and node"


async def test_a_sample_is_of_this_process_and_its_children(tmp_path):
    (tmp_path / "history.sqlite-wal").write_bytes(b"1234")
    (tmp_path / "chain").mkdir()
    (tmp_path / "chain" / "block").write_bytes(b"12")
    assert disk(tmp_path) == {"histories": 4, "chain": 2}
    alone = sample(0.0, 0, tmp_path)
    assert alone.tasks >= 1
    assert family(os.getpid())[0] == os.getpid()
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        assert child.pid in family(os.getpid())
        assert rss_kb(child.pid) > 0
        assert count(child.pid, "fd") >= 3
        assert count(child.pid, "task") == 1
        child.communicate(b"\n")
    assert child.pid not in family(os.getpid())
    assert rss_kb(child.pid) == 0


VIRTUAL = """
from tests.soak import virtual
import asyncio, time, threading

async def main():
    began = time.monotonic(), time.time_ns()
    async def nap(seconds):
        await asyncio.sleep(seconds)
        return time.monotonic() - began[0]
    naps = await asyncio.gather(nap(3600), nap(60), nap(86400))
    assert [round(seconds) for seconds in naps] == [3600, 60, 86400]
    assert time.time_ns() - began[1] >= 86_400 * 10**9
    stood = time.monotonic()
    await asyncio.to_thread(threading.Event().wait, 0.05)
    assert time.monotonic() == stood, "time stands while a thread works"
    async def hear(reader, writer):
        writer.write(await reader.readline())
    server = await asyncio.start_server(hear, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    writer.write(b"over a real socket\\n")
    assert await asyncio.wait_for(reader.readline(), 5) == b"over a real socket\\n"
    server.close()
    writer.close()

real = virtual.real_s()
virtual.run(main, 1_000)
assert virtual.real_s() - real < 60
"""


def test_time_leaps_when_everything_rests():
    subprocess.run([sys.executable, "-c", VIRTUAL], check=True, timeout=100)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_quarter_of_an_hour(tmp_path):
    """Real programs, contracts and disputes; what is flat takes a longer run to say."""
    out = tmp_path / "soak.md"
    options = ["--hours", "0.2", "--block-s", "15", "--order-s", "70", "--sample-s", "20"]
    command = [sys.executable, "-m", "tests.soak", *options, "--out", str(out)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=1700)
    page = out.read_text() if out.exists() else run.stderr[-3000:]
    assert run.returncode == 0, page
    assert "| settlements missed | 0 of 10" in page, page
    assert "| 10 of 10 |" in page, page
    assert "| 4 of 4, in" in page, page
    assert "any of the four nodes | 0 of " in page, page
