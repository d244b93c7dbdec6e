"""What counts as a check, when the next fault may begin, and what excuses whom."""

import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

from actors.chaos import kinds, proofs
from actors.chaos.cluster import PROOFS, SUPERVISOR
from actors.chaos.invariants import Certified, Injection, Invariant, Ledger
from actors.chaos.keeper import Keeper
from actors.chaos.pace import Pace
from actors.chaos.plan import Event, load_plan
from actors.chaos.processes import MARK, marked
from actors.chaos.turns import must_wait
from actors.chaos.verdict import Verdict
from protocol.errors import EncodingError
from protocol.oracle.report import Grade
from tests.builders.network import until


@pytest.fixture
def plan(tmp_path):
    """Three oracles, one of which may be faulty; a certificate may take 6.9 s."""
    path = tmp_path / "plan.toml"
    path.write_text("seconds = 60")
    return load_plan(path)


def injection(fault, victim, began_s, ended_s=None, back_s=None):
    """A fault as it was."""
    return Injection(Event(0, fault, victim, began_s), began_s, ended_s, 0, back_s)


FROZEN, KILLED, HEAD = kinds.Sigstop(for_s=3.0), kinds.Sigkill(), kinds.HeadLoss(for_s=0.0)
TWICE = kinds.LyingOracle(how="twice")

# Pace


def test_a_silence_that_nobody_could_judge_is_no_check_and_is_reported_at_the_end(plan):
    ledger = Ledger()
    down = [injection(KILLED, "alpha", 0.0), injection(FROZEN, "bravo", 0.0)]
    pace = Pace(plan, down, ledger)
    pace.waiting(20.0)
    pace.certified(41.0)
    assert not ledger.checked
    assert pace.judged_s == 0.0
    pace.require_judged(60.0)  # 19 s of 60 s
    assert ledger.violated[Invariant.GOES_ON] == 1
    assert "could be judged" in ledger.violations[0].detail


def test_a_silence_while_one_of_three_is_faulty_is_a_violation(plan):
    ledger = Ledger()
    pace = Pace(plan, [injection(KILLED, "alpha", 0.0)], ledger)
    pace.certified(6.0)
    assert not ledger.violated[Invariant.GOES_ON]
    pace.waiting(13.0)
    pace.certified(14.0)
    assert ledger.violated[Invariant.GOES_ON] == 1, "once for each silence"
    pace.require_judged(14.0)
    assert pace.judged_s == 14.0
    assert ledger.violated[Invariant.GOES_ON] == 1


# Turns


@pytest.mark.parametrize(
    ("before", "event", "waits"),
    [
        (injection(KILLED, "alpha", 1.0, 1.0), Event(1, FROZEN, "bravo", 5.0), True),
        (injection(KILLED, "alpha", 1.0, 1.0, 4.0), Event(1, FROZEN, "bravo", 5.0), False),
        (injection(KILLED, "alpha", 1.0, 1.0), Event(1, FROZEN, "alpha", 5.0), True),
        (injection(KILLED, "alpha", 1.0, 1.0), Event(1, kinds.Delay(), "all", 5.0), False),
        (injection(KILLED, "alpha", 1.0, 1.0), Event(1, FROZEN, "aggregator", 5.0), False),
        (injection(KILLED, "aggregator", 1.0, 1.0), Event(1, FROZEN, "bravo", 5.0), False),
        (injection(FROZEN, "alpha", 3.0), Event(1, FROZEN, "bravo", 5.0), False),  # as written
        (injection(TWICE, "alpha", 1.0, 3.0), Event(1, FROZEN, "bravo", 5.0), False),  # for good
        (injection(HEAD, "charlie", 1.0), Event(1, kinds.WorkerLoss(), "prover", 5.0), True),
        (injection(HEAD, "charlie", 1.0, 4.0), Event(1, kinds.WorkerLoss(), "prover", 5.0), False),
    ],
)
def test_a_fault_waits_for_victims_that_ought_to_be_back_by_the_plan(plan, before, event, waits):
    assert must_wait(event, [before], plan, 6.0) is waits


def test_nobody_is_waited_for_longer_than_it_may_take(plan):
    before = injection(KILLED, "alpha", 1.0, 1.0)
    assert not must_wait(Event(1, FROZEN, "bravo", 5.0), [before], plan, 32.0)


# Verdict


@pytest.mark.parametrize(
    ("fault", "victim", "program", "excused"),
    [
        (KILLED, "alpha", "alpha", True),
        (KILLED, "alpha", "bravo", False),
        (kinds.DiskFull(), "alpha", "alpha", True),
        (TWICE, "alpha", "alpha", True),
        (kinds.LyingOracle(), "alpha", "alpha", False),
        (kinds.Partition(), "alpha", "alpha", False),
        (kinds.CorruptFrame(), "alpha", "alpha", False),
        (HEAD, "charlie", SUPERVISOR, True),
        (kinds.WorkerLoss(), "prover", PROOFS, True),
        (kinds.Partition(), "charlie", SUPERVISOR, False),
    ],
)
def test_only_a_fault_that_ends_programs_excuses_an_end(plan, fault, victim, program, excused):
    ledger = Ledger()
    verdict = Verdict(plan, [injection(fault, victim, 1.0, 9.0)], ledger)
    verdict.check_ends({program: [(5.0, 1)]})
    assert ledger.checked[Invariant.RESTARTS] == 1
    assert ledger.violated[Invariant.RESTARTS] == (not excused)


def test_a_fault_elsewhere_excuses_nobody_from_coming_back(plan):
    ledger = Ledger()
    slow = injection(KILLED, "alpha", 1.0, 1.0, 40.0)
    other = injection(kinds.Partition(), "aggregator", 2.0, 4.0, 5.0)
    Verdict(plan, [slow, other], ledger).check_recovered(("alpha", "aggregator"), 60.0)
    assert ledger.checked[Invariant.RECOVER] == 2
    assert [v.detail for v in ledger.violations] == ["alpha is not back after sigkill: 39.0 s"]


def test_a_node_is_to_be_back_as_soon_as_its_own_fault_allows(plan):
    verdict = Verdict(plan, [injection(HEAD, "charlie", 1.0, 50.0)], Ledger())
    assert verdict.due_s("alpha", 60.0) == 90.0
    assert verdict.due_s("charlie", 60.0) == 170.0


# What was checked


def test_what_was_never_checked_is_a_violation(plan):
    ledger = Ledger()
    for invariant in {*Invariant} - {Invariant.LIAR_CONVICTED, Invariant.VALID}:
        ledger.require(invariant, True, 1.0, "")
    ledger.require_checked(plan, 60.0)
    assert ledger.violated == {Invariant.VALID: 1}, "nobody was to lie in this plan"


def test_a_price_is_compared_once_the_guards_are_read_and_missed_at_the_end(plan):
    ledger = Ledger()
    certified = Certified(plan, SimpleNamespace(delta_ppm=5_000), frozenset(), ledger)
    report = SimpleNamespace(round=7, observers=0b111, price_e8=101, grade=Grade.FULL, n_obs=3)
    certified._unasked.append(report)
    for name in ("alpha", "bravo"):
        certified.observed(name, 7, 100)
    certified.check_prices(1.0)
    assert not ledger.checked, "charlie's guard has not been read"
    certified.check_prices(2.0, is_last=True)
    assert "no guard of charlie has the observation" in ledger.violations[0].detail
    certified._unasked.append(report)
    certified.observed("charlie", 7, 102)
    certified.check_prices(3.0, is_last=True)
    assert (ledger.checked[Invariant.IN_RANGE], ledger.violated[Invariant.IN_RANGE]) == (2, 1)


def test_a_proof_made_alone_compares_nothing(monkeypatch, tmp_path):
    party = proofs.Proofs(tmp_path, Keeper())
    party._prove()  # nobody listens
    assert (party.tally.alone, party.tally.roots) == (1, [])

    async def answered():
        return SimpleNamespace(roots=())

    def false(*_):
        raise EncodingError("false")

    monkeypatch.setattr(party, "_ask", answered)
    monkeypatch.setattr(proofs, "checked_trace", false)
    party._prove()
    assert (party.tally.caught, party.tally.roots) == (1, [])


# Processes

SHELL = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"], env={sys.argv[1]:
    sys.argv[2].format(sid=__import__("os").getsid(0))})
print(child.pid, flush=True)
sys.stdin.read()
child.kill()
"""


@pytest.mark.parametrize("of_user", [True, False])
def test_the_session_of_the_user_is_not_the_runs(of_user):
    shell = subprocess.Popen(
        [sys.executable, "-c", SHELL, MARK, "mark-{sid}" if of_user else "mark-1"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        child = int(shell.stdout.readline())
        mark = f"mark-{os.getsid(shell.pid) if of_user else 1}"
        expected = {child} if of_user else {child, shell.pid}
        until(lambda: marked(mark) == expected, "the child's environment is there")
    finally:
        shell.communicate()
