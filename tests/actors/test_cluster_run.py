"""``cluster run`` without a cluster: its file, its state, what refuses, what an actor may begin."""

import json
import os
import socket
import subprocess
import sys
import time
from dataclasses import replace

import msgspec
import pytest
from typer.testing import CliRunner

from actors import placement
from actors.cluster_actors import (
    HISTORY,
    RAN_ON,
    ClusterCoordinator,
    ClusterProver,
    has_run_here,
    own_node,
)
from actors.cluster_commands import cluster
from actors.cluster_config import load_cluster_config
from actors.cluster_meters import ClusterMeters
from actors.cluster_run import Supervisor, supervise
from actors.cluster_state import ActorState, ClusterState, RoleState
from actors.files import open_locked
from actors.network_files import NAMES, Layout, write_network
from actors.ports import free_ports
from actors.runtime import (
    OTHER_VERSION,
    WRONG_TOKEN,
    _refusal,
    joined_cluster,
    show_token,
    try_cluster,
)
from actors.supervision import Patience, Phase, State
from protocol.errors import ConfigError, GuardError
from protocol.settlement.terms import settlement_template
from riscv_vm.prove import PrePass, prove_task
from tests.builders.provers import hash_image, hash_job

FILE = """
[cluster]
address = "127.0.0.1:6379"
token = "token"
folder = "kept"
[roles]
oracle = "/etc/oracle-vm/oracle.toml"
provers = 2
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "cluster.toml"
    path.write_text(FILE)
    return path


@pytest.fixture
def token(tmp_path, monkeypatch):
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.setenv(name, "")  # and back to what it was after the test
    path = tmp_path / "token"
    path.touch(mode=0o600)
    path.write_text("ab" * 32)
    return path


def test_the_file_says_what_runs_where(file, tmp_path):
    config = load_cluster_config(file)
    assert (config.token, config.folder) == (tmp_path / "token", tmp_path / "kept")
    assert [str(path) for path in config.files.values()] == ["/etc/oracle-vm/oracle.toml"]
    assert (config.provers, config.patience) == (2, Patience())


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        ("127.0.0.1:6379", "head", "address: 'head': write HOST:PORT"),
        ("provers = 2", "provers = -1", "provers"),
        ("provers", "prover", "unknown field"),
        ('oracle = "/etc/oracle-vm/oracle.toml"\nprovers = 2', "", "[roles] is empty"),
        ("[roles]", "[supervision]\nmisses = 0\n[roles]", "misses"),
    ],
)
def test_a_wrong_file_is_refused(file, before, after, reason):
    file.write_text(FILE.replace(before, after))
    with pytest.raises(ConfigError) as error:
        load_cluster_config(file)
    assert reason in str(error.value)
    assert str(file) in str(error.value)


def test_a_token_is_a_file_that_only_its_owner_reads(token):
    show_token(token)
    assert os.environ["RAY_AUTH_TOKEN_PATH"] == str(token)
    assert "RAY_AUTH_TOKEN" not in os.environ
    token.chmod(0o640)
    with pytest.raises(ConfigError, match="chmod 600"):
        show_token(token)
    token.chmod(0o600)
    token.write_text("\n")
    with pytest.raises(ConfigError, match="empty"):
        show_token(token)
    token.write_bytes(b"\xff")
    with pytest.raises(ConfigError, match="no text"):
        show_token(token)
    token.unlink()
    with pytest.raises(ConfigError, match="cannot be read"):
        show_token(token)


def test_no_head_is_said_at_once(token):
    [port] = free_ports(1)
    with (
        pytest.raises(ConfigError, match="no Ray head listens there"),
        joined_cluster(f"127.0.0.1:{port}", token),
    ):
        pass


def test_who_listens_but_is_no_head_is_given_up_at_the_deadline(token):
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        address = f"127.0.0.1:{deaf.getsockname()[1]}"
        with (
            pytest.raises(ConfigError, match=f"{address}: no cluster within 1 s"),
            joined_cluster(address, token, 1.0),
        ):
            pass


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (f"W 1] gcs_client.cc: Unauthenticated: {WRONG_TOKEN}: ...", "has another token"),
        (
            f"Traceback\nRuntimeError: {OTHER_VERSION}: The cluster was started with:\n  Ray: 2",
            "every node runs the same Ray and Python. Version mismatch: The cluster was started",
        ),
        ("Failed to connect to GCS", "no cluster within 5 s. Failed to connect to GCS"),
        ("", "Ray says nothing"),
    ],
)
def test_what_ray_says_becomes_a_sentence(said, reason):
    assert reason in _refusal(said, 5.0)


def standing(phase: Phase = Phase.RUNNING, state: State = State.RUNNING) -> ClusterState:
    actor = ActorState(phase, 7, "head", 3, 0, "" if phase is Phase.RUNNING else "no node")
    roles = {"oracle": RoleState(state, actor.reason, {"oracle/0": actor})}
    return ClusterState(state, "", 1, 9102, 5, roles)


def test_status_is_the_supervisors_word(file):
    run, config = CliRunner(), load_cluster_config(file)
    assert "nothing has run here" in str(run.invoke(cluster, ["status", str(file)]).exception)
    config.folder.mkdir()
    standing().write(config.state)
    assert ClusterState.read(config.state) == standing()
    gone = run.invoke(cluster, ["status", str(file)])
    assert gone.exit_code == 1
    assert "no supervisor runs" in gone.output
    lock = open_locked(config.lock)
    try:
        up = run.invoke(cluster, ["status", str(file), "--json"])
        assert up.exit_code == 0
        assert json.loads(up.output)["roles"]["oracle"]["actors"]["oracle/0"]["restarts"] == 3
        msgspec.structs.replace(standing(), fault="the head does not answer").write(config.state)
        headless = run.invoke(cluster, ["status", str(file)])
        assert (headless.exit_code, "the head does not answer" in headless.output) == (1, True)
        standing(Phase.FAILED, State.FAILED).write(config.state)
        failed = run.invoke(cluster, ["status", str(file)])
        assert failed.exit_code == 1
        assert "oracle: failed, no node" in failed.output
    finally:
        os.close(lock)


async def test_without_a_head_nothing_is_well_and_ends_are_remembered(file):
    config = load_cluster_config(file)
    config.folder.mkdir()
    supervisor = Supervisor(config)
    async with supervisor.metrics:
        supervisor.say()
        assert supervisor.fault() is None
        supervisor.wait("no Ray head listens there")
        assert supervisor.fault() == "no Ray head listens there"
        oracle = supervisor.actors[0]
        oracle.watched = oracle.watched.ended(time.monotonic(), "died").answered(0.0)
        supervisor.say(lost="")
    known = Supervisor(config).actors[0].watched
    assert (known.phase, known.has_run) == (Phase.OUT, True)
    assert known.restarts == oracle.watched.restarts
    assert len(known.restarts.at_s) == 1


async def test_a_full_disk_leaves_no_actor_alone(file, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    config = load_cluster_config(file)
    config.folder.mkdir()
    supervisor = Supervisor(config)
    async with supervisor.metrics:
        monkeypatch.setattr(ClusterState, "write", full)
        supervisor.say(lost="no head")
        assert supervisor.fault() == "no head"
        assert not config.state.exists()
        monkeypatch.undo()
        supervisor.say(lost="")
    assert ClusterState.read(config.state) is not None


async def test_told_to_end_it_ends_what_a_supervisor_before_it_has_started(file, monkeypatch):
    """Also before it has found any of it, and what it is about to find or start."""
    alive, ended = {"oracle/0": "alpha", "prover/0": "p0"}, []
    monkeypatch.setattr(placement, "found", lambda kind, name: alive.get(kind.full_name(name)))
    monkeypatch.setattr(placement, "stop", ended.append)
    config = load_cluster_config(file)
    config.folder.mkdir()
    supervisor = Supervisor(config)

    def start():
        time.sleep(0.2)
        alive["prover/1"] = "p1"

    async with supervisor.metrics:
        supervisor._aside(start)
        supervisor.end()
    assert ended == ["alpha", "p0", "p1"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"address": "a..b:6379"}, "no Ray head listens"),
        ({"token": "~nobody-of-this-name/token"}, "no such user"),
        ({"folder": "cluster.toml"}, "folder: .*cluster.toml: File exists"),
    ],
)
async def test_what_cannot_be_there_is_said(file, token, change, reason):
    (name, value), text = next(iter(change.items())), file.read_text()
    old = next(line for line in text.splitlines() if line.startswith(name))
    file.write_text(text.replace(old, f'{name} = "{value}"'))
    with pytest.raises(ConfigError, match=reason):
        config = load_cluster_config(file)
        if name == "folder":
            await supervise(config)
        try_cluster(config.address, 1.0)


def test_metrics_show_actors_and_roles():
    meters = ClusterMeters({"oracle": ["oracle/0"]})
    meters.show(standing())
    text = meters.registry.text()
    for line in (
        'actor_up{actor="oracle/0"} 1',
        'restarts_total{actor="oracle/0"} 3',
        'role_state{role="oracle",state="running"} 1',
        'role_state{role="oracle",state="halted"} 0',
        "cluster_up 1",
    ):
        assert line in text.splitlines()


def test_a_node_that_ran_elsewhere_does_not_begin_without_its_guard(tmp_path):
    venues = {name: {"websocket": f"ws://127.0.0.1:1/{name}"} for name in ("kraken", "binance")}
    write_network(tmp_path / "net", Layout(NAMES[:3], free_ports(4), {}, venues))
    file = tmp_path / "net/alpha.toml"
    folder = own_node(file, "oracle", "").folder
    with pytest.raises(GuardError, match="this node ran on other-host"):
        own_node(file, "oracle", "other-host")
    folder.mkdir(parents=True)
    (folder / HISTORY).touch()
    operator = own_node(file, "oracle", "other-host")
    assert operator.name == "alpha"
    has_run_here(operator)
    noted = (folder / RAN_ON).stat()
    has_run_here(operator)
    assert (folder / RAN_ON).stat().st_mtime_ns == noted.st_mtime_ns
    own_node(file, "oracle", socket.gethostname())
    with pytest.raises(GuardError, match=r"stale: .* this node has run on other-host since"):
        own_node(file, "oracle", "other-host")
    with pytest.raises(ConfigError, match="role is oracle, not aggregator"):
        own_node(file, "aggregator", "")


COORDINATOR = """
import sys
from pathlib import Path
from actors import cluster_actors
if "breaks" in sys.argv:
    cluster_actors.serve = lambda *_: 1 // 0
print(cluster_actors.ClusterCoordinator(Path(sys.argv[1]), sys.argv[2]).beat().pid)
"""


def test_a_coordinator_beats_once_it_serves_stays_with_its_chain_and_says_why_it_ends(tmp_path):
    file, chain = tmp_path / "coordinator.toml", tmp_path / "chain"
    file.write_text('[coordinator]\nfolder = "chain"\n')
    command = [sys.executable, "-c", COORDINATOR, str(file)]
    with pytest.raises(GuardError, match="the chain of this coordinator is on other-host"):
        ClusterCoordinator(file, "other-host")
    assert not chain.exists()
    broken = subprocess.run([*command, "", "breaks"], capture_output=True, timeout=120)
    assert (broken.returncode, broken.stdout) == (1, b"")
    assert "ZeroDivisionError" in (chain / "node.log").read_text()
    for ran_on in ("", "other-host"):
        first = subprocess.run([*command, ran_on], capture_output=True, text=True, timeout=120)
        assert first.stdout.strip().isdecimal(), first.stderr
        assert '"serving"' in (chain / "node.log").read_text()


def test_a_prover_that_is_kept_takes_the_program_of_a_job():
    prover = ClusterProver(settlement_template())
    assert prover.beat().pid == os.getpid()
    job = replace(hash_job(5), program=hash_image())
    execution = job.execution(hash_image())
    for task in PrePass(execution, chunks_per_task=1):
        assert prover.prove(job, task).hashed == prove_task(execution, task)
