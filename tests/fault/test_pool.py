"""The prover pool with real processes: a prover that is killed costs time, never the root."""

import os
import signal
from hashlib import sha256

import pytest

from actors import placement
from actors.outcomes import Answered, eventually, fetch, value
from actors.prover import Job, Prover
from actors.prover_pool import ProverPool
from riscv_vm.guest import guest_elf
from riscv_vm.image import load_elf
from riscv_vm.prove import prove

pytestmark = pytest.mark.timeout(600)

START_S = 120.0


@pytest.fixture(scope="module")
def image():
    return load_elf(guest_elf("hash"))


@pytest.fixture(scope="module")
def job():
    """About 4.9 million steps: 300 rounds of SHA-256 over 64 bytes."""
    rounds, data = 300, bytes(64)
    return Job(hash_input(rounds, data), 12, 20, 6)


def hash_input(rounds: int, data: bytes) -> bytes:
    digest = data
    for _ in range(rounds):
        digest = sha256(digest).digest()
    return rounds.to_bytes(4) + digest + data


@pytest.fixture
def provers(cluster, image, request):
    actors = {
        f"p{i}": placement.start(placement.PROVER, f"{request.node.name}-{i}", Prover, image)
        for i in range(2)
    }
    pids = {name: value(actor.pid.remote(), START_S) for name, actor in actors.items()}
    yield actors, pids
    for actor in actors.values():
        placement.stop(actor)


@pytest.mark.ray
def test_the_root_is_that_of_one_process_and_all_provers_worked(provers, image, job):
    actors, _ = provers
    heard = []
    proof = ProverPool(image, actors).prove(job, 1 << 16, heard.append)
    alone = prove(job.execution(image))
    assert alone.outcome.end == "HALT"
    assert proof.trace.root == alone.root
    assert all(share.chunks for share in proof.shares.values())
    assert heard == sorted(heard)
    assert heard[-1] >= alone.steps


@pytest.mark.ray
def test_a_prover_killed_in_the_middle_changes_nothing_but_time(provers, image, job):
    actors, pids = provers
    killed = []

    def kill_once(_: int) -> None:
        if not killed:
            killed.append(pids["p0"])
            os.kill(pids["p0"], signal.SIGKILL)

    proof = ProverPool(image, actors).prove(job, 1 << 16, kill_once)
    assert killed
    assert proof.trace.root == prove(job.execution(image)).root
    eventually(lambda: fetch(actors["p0"].pid.remote(), START_S) != Answered(killed[0]), START_S)


@pytest.mark.ray
def test_a_prover_that_hangs_loses_its_tasks_to_the_others(provers, image, job):
    actors, pids = provers
    os.kill(pids["p1"], signal.SIGSTOP)
    try:
        proof = ProverPool(image, actors, deadline_s=1.0).prove(job, 1 << 18)
    finally:
        os.kill(pids["p1"], signal.SIGCONT)
    assert proof.shares["p1"].chunks == 0
    assert proof.trace.root == prove(job.execution(image)).root
