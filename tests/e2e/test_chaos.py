"""``oracle-vm chaos run`` as a person uses it: real processes break, and it says what held."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from actors.chaos import processes
from actors.chaos.invariants import Invariant
from tests.builders.network import until

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
PNG = b"\x89PNG\r\n\x1a\n"
PATIENCE_S = 900
MORNING = """
seconds = 9
[bounds]
busy = 8
[[fault]]
kind = "partition"
victim = "aggregator"
at_s = 0.5
[[fault]]
kind = "sigkill"
victim = "alpha"
at_s = 1
[[fault]]
kind = "corrupt-frame"
victim = "bravo"
peer = "aggregator"
at_s = 5
for_s = 0
"""
LIARS = """
[ground]
provers = 1
[[fault]]
kind = "lying-oracle"
victim = "charlie"
how = "twice"
at_s = 4
for_s = 0
"""


def chaos(plan, folder, *options):
    """A run to its end: its exit code, what it says in JSON, and its progress."""
    command = [sys.executable, "-m", "actors.cli", "chaos", "run", str(plan), "--json"]
    run = subprocess.run(
        [*command, "--report", str(folder / "report"), *options],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert run.stdout, run.stderr
    return run.returncode, json.loads(run.stdout), run.stderr


@pytest.fixture
def plan(tmp_path):
    def write(text):
        path = tmp_path / "plan.toml"
        path.write_text(text)
        return path

    return write


@pytest.mark.timeout(PATIENCE_S)
def test_a_network_bears_a_partition_a_kill_and_a_corrupted_frame(plan, tmp_path):
    code, said, progress = chaos(plan(MORNING), tmp_path)
    assert said["violated"] == []
    assert (code, said["violations"]) == (0, 0)
    assert said["faults_injected"] == 3
    assert [(f["kind"], f["victim"]) for f in said["faults"]] == [
        ("partition", "aggregator"),
        ("sigkill", "alpha"),
        ("corrupt-frame", "bravo"),
    ]
    assert all(fault["healed_s"] is not None for fault in said["faults"])
    checked = {name for name, counts in said["invariants"].items() if counts["checked"]}
    assert checked == {*Invariant} - {Invariant.LIAR_CONVICTED, Invariant.SAME_ROOT}
    assert said["judged_s"] > 0.9 * said["seconds"]
    assert said["corrupted"] == 1
    report = Path(said["report"])
    assert report.read_text().startswith("# plan, seed 1\n\nNo violation. 3 faults in ")
    assert (report.parent / "timeline.png").read_bytes().startswith(PNG)
    assert (report.parent / "logs" / "aggregator.log").read_text()
    assert "sigkill: alpha" in progress


@pytest.mark.timeout(PATIENCE_S)
def test_a_run_that_is_killed_leaves_nothing_behind(plan, tmp_path):
    command = [sys.executable, "-m", "actors.cli", "chaos", "run"]
    with (tmp_path / "progress").open("wb") as progress:
        run = subprocess.Popen(
            [*command, str(plan('seconds = 60\n[[fault]]\nkind = "sigstop"\nat_s = 0'))],
            stderr=progress,
            cwd=tmp_path,
        )
    try:
        until(lambda: b"sigstop" in (tmp_path / "progress").read_bytes(), "a frozen node", 300)
        nodes = processes.family(run.pid) - {run.pid}
        assert len(nodes) > 4
    finally:
        run.send_signal(signal.SIGKILL)
        run.wait()
    until(lambda: not any(processes.lives(pid) for pid in nodes), "every process is gone")


@pytest.mark.slow
@pytest.mark.timeout(PATIENCE_S)
@pytest.mark.parametrize("invariant", [*Invariant])
def test_what_is_broken_on_purpose_is_reported(plan, tmp_path, invariant):
    crash_loop = invariant is Invariant.RESTARTS
    text = f"seconds = {30 if crash_loop else 8}\n[bounds]\nbusy = 1\n{LIARS}"
    code, said, _ = chaos(plan(text), tmp_path, "--break", invariant.value)
    assert code == 1
    assert said["broken"] == invariant
    assert said["invariants"][invariant]["violations"] > 0
    assert said["violations"] >= said["invariants"][invariant]["violations"]
    assert invariant in {violated["invariant"] for violated in said["violated"]}
    assert str(invariant) in Path(said["report"]).read_text()


@pytest.mark.slow
@pytest.mark.timeout(2 * PATIENCE_S)
@pytest.mark.parametrize("name", ["chaos-hour", "chaos-day"])
def test_the_examples_hold(tmp_path, name):
    code, said, progress = chaos(EXAMPLES / f"{name}.toml", tmp_path)
    assert (code, said["violations"]) == (0, 0), f"{said['violated']}\n{progress}"
    assert said["proofs"]["proofs"] > 0
    assert said["proofs"]["lies_caught"] > 0
