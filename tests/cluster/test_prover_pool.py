"""The prover pool over several machines, one of which is lost in the middle of a long proof."""

import json
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from actors.raylets import multi_node
from riscv_vm.prove import prove
from tests.builders.network import until
from tests.builders.provers import hash_image, hash_job

pytestmark = [
    pytest.mark.slow,
    pytest.mark.ray,
    pytest.mark.xdist_group("cluster"),
    pytest.mark.timeout(900),
]
ROUNDS = 18_800
CHECKOUT = Path(__file__).parents[2]


@pytest.fixture
def raylets():
    """A head without provers, and two machines with one each; what is broken stays broken."""
    with multi_node([{}, {"prover": 1}, {"prover": 1}]) as raylets:
        yield raylets


@pytest.fixture(scope="module")
def alone():
    return prove(hash_job(ROUNDS, 8).execution(hash_image()))


class Driver:
    """The child process of tests/cluster/proving.py."""

    def __init__(self, raylets):
        command = [sys.executable, "-m", "tests.cluster.proving"]
        command += [raylets.address, str(raylets.token), str(ROUNDS)]
        self.process = subprocess.Popen(
            command,
            cwd=CHECKOUT,
            env=raylets.environment | {"PYTHONPATH": str(CHECKOUT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def hears(self):
        line = self.process.stdout.readline()
        assert line, "the driver ended early; its errors are on stderr"
        return json.loads(line)

    def goes_on(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()


@contextmanager
def driver(raylets):
    child = Driver(raylets)
    try:
        yield child
    finally:
        child.process.kill()
        child.process.communicate()


def node_of(raylets, pid):
    return next(node for node in raylets.nodes if pid in node.workers())


@pytest.mark.parametrize("breakage", ["power_off", "kill", "freeze"])
def test_a_machine_lost_during_a_long_proof_costs_time_only(raylets, alone, breakage, capsys):
    with driver(raylets) as proving:
        pids = proving.hears()["pids"]
        victim = node_of(raylets, pids["prover-1"])
        assert victim is not raylets.head
        assert proving.hears()["steps"] < alone.steps
        getattr(raylets, breakage)(victim)
        proving.goes_on()
        proof = proving.hears()
    with capsys.disabled():
        print(f"\n{breakage}: {proof}")
    assert alone.steps > 100_000_000
    assert proof["root"] == alone.root.hex()
    assert proof["excluded"] == {}
    assert proof["chunks"]["prover-0"] > 0


def test_a_driver_that_dies_leaves_no_prover_behind_and_can_start_over(raylets, alone):
    with driver(raylets) as proving:
        pids = proving.hears()["pids"]
        proving.hears()
    until(
        lambda: not any(pid in node.workers() for node in raylets.nodes for pid in pids.values()),
        "the provers of a dead driver end",
    )
    with driver(raylets) as proving:
        proving.hears()
        proving.hears()
        proving.goes_on()
        assert proving.hears()["root"] == alone.root.hex()
