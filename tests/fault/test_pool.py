"""The prover pool with real processes: whatever its provers do costs time, never the root."""

import logging
import os
import signal
from contextlib import nullcontext

import pytest

from actors import placement, prover_pool, vm_pool
from actors.cluster_actors import ClusterProver
from actors.outcomes import Answered, eventually, fetch, value
from actors.prover import Prover
from actors.prover_pool import ProverPool
from actors.prover_schedule import HERE
from actors.vm_subject import Subject
from protocol.errors import ConfigError, ProtocolError
from protocol.settlement.terms import settlement_template
from riscv_vm.prove import prove
from tests.builders.provers import LIES, LyingProver, hash_image, hash_job

pytestmark = pytest.mark.timeout(600)

START_S = 120.0
TASK = 1 << 18
"""Some twenty tasks."""

pytestmark = [
    pytest.mark.ray,
    pytest.mark.xdist_group("prover pool"),
    pytest.mark.timeout(600),
]


@pytest.fixture(scope="module")
def image():
    return hash_image()


@pytest.fixture(scope="module")
def job():
    return hash_job(900)


@pytest.fixture(scope="module")
def root(image, job):
    alone = prove(job.execution(image))
    assert alone.outcome.end == "HALT"
    return alone.root


@pytest.fixture(scope="module")
def provers(cluster, image):
    classes = {"p0": Prover, "p1": Prover, "liar": LyingProver}
    actors = {
        name: placement.start(placement.PROVER, f"pool-{name}", actor, image)
        for name, actor in classes.items()
    }
    yield actors
    for actor in actors.values():
        placement.stop(actor)


@pytest.fixture
def pair(provers):
    return {name: provers[name] for name in ("p0", "p1")}


@pytest.fixture
def liar(provers):
    yield provers["liar"]
    value(provers["liar"].tell.remote(""), START_S)


def pid_of(actor):
    """Waits for an actor that is being started."""
    found = []

    def answers():
        outcome = fetch(actor.pid.remote(), START_S)
        found[:] = [outcome.value] if isinstance(outcome, Answered) else []
        return bool(found)

    eventually(answers, START_S)
    return found[0]


def test_two_provers_agree_on_every_root(pair, image, job, root):
    for actor in pair.values():
        pid_of(actor)
    heard = []
    proof = ProverPool(image, pair).prove(job, TASK, heard.append)
    assert proof.trace.root == root
    chunks = -(-proof.trace.steps // 4**job.log4_chunk)
    assert proof.checked == chunks
    assert sum(share.chunks for share in proof.shares.values()) >= 2 * chunks
    assert heard[-1] >= proof.trace.steps
    assert not proof.excluded


def test_unchecked_each_task_is_hashed_once(pair, image, job, root):
    proof = ProverPool(image, pair, twice=0).prove(job, TASK)
    assert proof.trace.root == root
    assert proof.checked == 0
    hashed = sum(share.chunks for share in proof.shares.values())
    assert hashed == -(-proof.trace.steps // 4**job.log4_chunk)


def test_this_process_checks_a_prover_that_has_no_other(pair, image, job, root):
    proof = ProverPool(image, {"p0": pair["p0"]}).prove(job, TASK)
    assert proof.trace.root == root
    assert proof.shares[HERE].chunks == proof.shares["p0"].chunks == proof.checked


def test_a_prover_that_is_killed_changes_nothing_and_is_used_again(pair, image, job, root):
    killed = []

    def kill_once(_):
        if not killed:
            killed.append(pid_of(pair["p0"]))
            os.kill(killed[0], signal.SIGKILL)

    pool = ProverPool(image, pair)
    proof = pool.prove(job, TASK, kill_once)
    assert killed
    assert proof.trace.root == root
    assert pid_of(pair["p0"]) != killed[0]
    eventually(lambda: pool.prove(job, TASK).shares["p0"].chunks > 0, START_S)
    assert not pool.excluded


def test_a_frozen_prover_loses_its_tasks_to_the_others(pair, image, job, root):
    frozen = pid_of(pair["p1"])
    os.kill(frozen, signal.SIGSTOP)
    try:
        proof = ProverPool(image, pair).prove(job, TASK)
    finally:
        os.kill(frozen, signal.SIGCONT)
    assert proof.trace.root == root
    assert proof.shares["p1"].chunks == 0
    assert 0 < proof.shares["p1"].lost <= proof.requeued


def test_a_prover_that_is_dead_for_good_is_replaced_by_one_of_its_name(pair, image, job, root):
    """As a supervisor does it. The pool waits for it while it has no other."""
    dead = placement.start(placement.PROVER, "pool-mortal", Prover, image)
    placement.stop(dead)
    asked = []

    def find(name):
        asked.append(name)
        return pair["p0"] if len(asked) > 1 else None

    proof = ProverPool(image, {"p": dead}, twice=0, find=find).prove(job, TASK)
    assert set(asked) == {"p"}
    assert proof.trace.root == root
    assert proof.shares["p"].lost and proof.shares["p"].chunks


class Thaw(logging.Handler):
    """Lets a process go on as soon as the pool says that it is late."""

    def __init__(self, pid: int) -> None:
        super().__init__()
        self._pid = pid

    def emit(self, record: logging.LogRecord) -> None:
        os.kill(self._pid, signal.SIGCONT)


def test_the_pool_waits_for_a_frozen_prover_if_it_has_no_other(pair, image, job, root):
    frozen = pid_of(pair["p1"])
    thaw = Thaw(frozen)
    prover_pool.log.addHandler(thaw)
    os.kill(frozen, signal.SIGSTOP)
    try:
        proof = ProverPool(image, {"p1": pair["p1"]}).prove(job, TASK)
    finally:
        os.kill(frozen, signal.SIGCONT)
        prover_pool.log.removeHandler(thaw)
    assert proof.trace.root == root
    assert proof.requeued > 0
    assert proof.shares["p1"].chunks == proof.shares[HERE].chunks > 0


@pytest.mark.parametrize("lie", LIES)
def test_a_lying_prover_is_named_and_nothing_of_it_is_left(pair, liar, image, job, root, lie):
    """Each task is for both of them, so it has to say something in the end."""
    value(liar.tell.remote(lie, 200), START_S)
    pool = ProverPool(image, {"p0": pair["p0"], "liar": liar})
    assert pool.prove(job, TASK).trace.root == root
    assert list(pool.excluded) == ["liar"]
    again = pool.prove(job, TASK)
    assert again.trace.root == root
    assert again.shares["liar"].chunks == 0
    assert again.shares["p0"].chunks == again.checked


def test_without_any_check_a_false_root_stays(liar, image, job, root):
    """What ``twice`` is for."""
    value(liar.tell.remote("root"), START_S)
    proof = ProverPool(image, {"liar": liar}, twice=0).prove(job, TASK)
    assert proof.trace.root != root


def test_a_prover_that_fails_again_and_again_is_left_out(pair, liar, image, job, root):
    value(liar.tell.remote("fail"), START_S)
    pool = ProverPool(image, {"liar": liar})
    with pytest.raises(ProtocolError, match="no prover is left: liar was lost 3 times"):
        pool.prove(job, TASK)


def test_vm_prove_takes_those_that_a_cluster_keeps_whatever_their_program(image, job, root):
    kept = placement.start(
        placement.PROVER, "700", ClusterProver, settlement_template(), supervised=True
    )
    try:
        value(kept.pid.remote(), START_S)
        names = [*placement.kept(placement.PROVER)]
        assert "prover/700" in names
        subject = Subject(image, job)
        proof = vm_pool.prove_by_pool(subject, len(names), nullcontext(), twice=1.0)
        assert proof.trace.root == root
        assert proof.shares["prover/700"].chunks > 0
        assert not proof.excluded
        with pytest.raises(ConfigError, match=f"keeps {len(names)} and has room for .* more"):
            vm_pool.prove_by_pool(subject, 1000, nullcontext(), twice=1.0)
    finally:
        placement.stop(kept)


def test_when_nobody_answers_it_says_so(pair, image, job):
    frozen = pid_of(pair["p1"])
    os.kill(frozen, signal.SIGSTOP)
    try:
        pool = ProverPool(image, {"p1": pair["p1"]}, deadline_s=6.0)
        with pytest.raises(TimeoutError, match=r"for 6 s \(away: p1\); see to their machines"):
            pool.prove(job, TASK)
    finally:
        os.kill(frozen, signal.SIGCONT)
