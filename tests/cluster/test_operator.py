"""One operator of three on a Ray cluster of its own, the two others as plain processes: nodes die,
freeze, leave and come back, and the network's certificates go on."""

import os
import shutil
import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from actors.clock import SystemClock
from actors.cluster_state import ActorState, ClusterState
from actors.feeds.simulated.exchanges import SimulatedExchanges
from actors.journal import Journal
from actors.local.process import Process
from actors.raylets import Raylets, RayNode, multi_node
from actors.supervision import Phase, State
from protocol.errors import ProtocolError
from tests.builders.network import AGGREGATOR, DEADLINE_S, Network, network, until

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("cluster"), pytest.mark.timeout(600)]

SETTINGS = {"interval_ms": 500, "schedule_ms": 500, "takeover_ms": 400}
GAP_MS = 1_000
BUSY = 3
"""What a machine with other work may take longer."""
START_S = 4 * DEADLINE_S
ALL = 0b111
FILE = """
[cluster]
address = "{address}"
token = "{token}"
folder = "supervisor"
[roles]
oracle = "net/alpha.toml"
aggregator = "net/aggregator.toml"
[supervision]
misses = 5
"""


class Operator:
    """Alpha: the head of its cluster runs the aggregator, a second node the oracle."""

    def __init__(self, folder: Path, files: Network, ray: Raylets) -> None:
        self.files, self.ray = files, ray
        self.file = folder / "cluster.toml"
        self.file.write_text(FILE.format(address=ray.address, token=ray.token))
        self.folder = folder / "supervisor"
        self.oracle_node = ray.nodes[1]
        self.supervisor: subprocess.Popen[bytes]
        self.clock = SystemClock()

    def start(self) -> None:
        """The supervisor, until everything runs."""
        with (self.file.parent / "supervisor.log").open("ab") as log:
            self.supervisor = subprocess.Popen(
                [sys.executable, "-m", "actors.cli", "cluster", "run", str(self.file)],
                stdin=subprocess.DEVNULL,
                stderr=log,
            )
        pid = self.supervisor.pid
        state = self.folder / "state.json"
        until(lambda: (s := ClusterState.read(state)) and s.pid == pid, self.log(), START_S)
        self.is_whole()

    def kill(self) -> None:
        """SIGKILL to the supervisor alone."""
        self.supervisor.kill()
        self.supervisor.wait()

    def end(self) -> None:
        """SIGTERM ends the actors too."""
        self.supervisor.terminate()
        assert self.supervisor.wait(DEADLINE_S) == 0
        until(lambda: not workers_of(self.ray.nodes), "the actors end too")

    @property
    def state(self) -> ClusterState:
        found = ClusterState.read(self.folder / "state.json")
        assert found is not None
        return found

    def actor(self, role: str) -> ActorState:
        return self.state.roles[role].actors[f"{role}/0"]

    def until_state(self, role: str, *states: State) -> ClusterState:
        """Once the supervisor says so."""

        def said() -> ClusterState | None:
            state = ClusterState.read(self.folder / "state.json")
            return state if state and state.roles[role].state in states else None

        found: ClusterState = until(said, f"{role} is {states}\n{self.log()}", START_S)
        return found

    def is_whole(self) -> None:
        """Everything runs, and everybody observes again."""
        for role in ("oracle", "aggregator"):
            self.until_state(role, State.RUNNING)
        now_ms = self.clock.now_ms()
        until(
            lambda: [
                c
                for c in self.files.certificates("bravo")[-3:]
                if c.time > now_ms and c.report.observers == ALL
            ],
            f"everybody observes\n{self.log()}",
            START_S,
        )

    def goes_on(self, since_ms: int) -> None:
        """The others certify after a moment."""
        until(lambda: self.after(since_ms))

    def goes_on_soon(self, since_ms: int) -> None:
        """Their next certificate came within a second of it."""
        self.goes_on(since_ms)
        gap_ms = self.after(since_ms)[0].time - since_ms
        assert gap_ms <= BUSY * GAP_MS, f"the next certificate came {gap_ms} ms after the fault"

    def after(self, since_ms: int) -> list[Any]:
        """The others' certificates after a moment."""
        return [c for c in self.files.certificates("bravo") if c.time > since_ms]

    def has_signed_once(self) -> None:
        """No slot has two signatures in a guard, and nobody has evidence against anybody."""
        self.files.audit()
        for name in self.files.names:
            with TemporaryDirectory() as place:
                copy = shutil.copy(self.files.data(name) / "evidence.journal", place)
                journal, records = Journal.open(Path(copy))
                journal.close()
            assert not records, f"{name} has evidence"

    def log(self) -> str:
        return (self.file.parent / "supervisor.log").read_text()[-3000:]


@pytest.fixture(scope="module")
def alpha(tmp_path_factory):
    folder = tmp_path_factory.mktemp("operator")
    with ExitStack() as stack:
        exchanges = stack.enter_context(SimulatedExchanges(1, SystemClock().now_ms, tick_ms=50))
        files = stack.enter_context(network(folder / "net", exchanges, **SETTINGS))
        files.start("bravo", "charlie")
        ray = stack.enter_context(multi_node([{"aggregator": 1}, {"oracle": 1}]))
        running = Operator(folder, files, ray)
        try:
            running.start()
            yield running
            running.end()
            running.has_signed_once()
        finally:
            running.kill()


@pytest.fixture
def operator(alpha):
    """Alpha with everything up, whatever the test before left."""
    if alpha.supervisor.poll() is not None:
        alpha.start()
    if not alpha.oracle_node.is_up:
        alpha.ray.again(alpha.oracle_node)
    alpha.is_whole()
    return alpha


def test_an_oracle_whose_node_is_killed_costs_no_certificate_and_comes_back(operator):
    before, at_ms = operator.actor("oracle"), operator.clock.now_ms()
    operator.ray.power_off(operator.oracle_node)
    operator.goes_on(at_ms)
    operator.until_state("oracle", State.DEGRADED)
    operator.until_state("aggregator", State.RUNNING)
    until(lambda: "no node offers oracle" in operator.actor("oracle").reason, operator.log())
    operator.ray.again(operator.oracle_node)
    operator.is_whole()
    after = operator.actor("oracle")
    assert after.pid != before.pid
    assert after.restarts > before.restarts
    operator.has_signed_once()


def test_a_frozen_oracle_is_found_replaced_and_never_signs_again(operator):
    before, at_ms = operator.actor("oracle"), operator.clock.now_ms()
    orphan = Process.of(before.pid)
    os.kill(before.pid, signal.SIGSTOP)
    try:
        operator.goes_on_soon(at_ms)
        until(lambda: operator.actor("oracle").pid not in (before.pid, None), deadline_s=START_S)
    finally:
        orphan.send(signal.SIGCONT)
    operator.is_whole()
    until(lambda: not orphan.lives, "the one that was frozen is gone")
    operator.has_signed_once()


def test_a_frozen_node_is_given_up_and_its_oracle_never_signs_again(operator):
    node, at_ms = operator.oracle_node, operator.clock.now_ms()
    before = operator.actor("oracle")
    operator.ray.freeze(node)
    other = None
    try:
        operator.goes_on_soon(at_ms)
        operator.until_state("oracle", State.DEGRADED)
        other = operator.ray.add({"oracle": 1})
        # The orphan holds the lock of the guard on this disk: whoever comes after it is refused.
        until(lambda: "another process" in operator.actor("oracle").reason, operator.log(), START_S)
    finally:
        operator.ray.thaw(node)
    until(lambda: operator.actor("oracle").phase is Phase.RUNNING, operator.log(), START_S)
    assert operator.actor("oracle").pid != before.pid
    assert operator.actor("oracle").pid in other.pids()
    operator.has_signed_once()
    operator.ray.remove(other)
    operator.ray.again(node)
    operator.is_whole()


def test_a_node_leaves_in_order_and_is_added_again(operator):
    at_ms = operator.clock.now_ms()
    operator.ray.remove(operator.oracle_node)
    operator.goes_on_soon(at_ms)
    operator.until_state("oracle", State.DEGRADED)
    operator.ray.again(operator.oracle_node)
    operator.is_whole()
    operator.has_signed_once()


def test_a_supervisor_that_is_killed_finds_its_actors_and_starts_no_second_ones(operator):
    before = {role: operator.actor(role) for role in ("oracle", "aggregator")}
    workers = {role: sorted(workers_of(operator.ray.nodes)) for role in before}
    operator.kill()
    at_ms = operator.clock.now_ms()
    operator.goes_on_soon(at_ms)
    operator.start()
    for role, actor in before.items():
        assert operator.actor(role).pid == actor.pid
        assert operator.actor(role).restarts == actor.restarts
        assert sorted(workers_of(operator.ray.nodes)) == workers[role]


def test_the_head_is_lost_and_everything_goes_on_from_disk(operator):
    before, at_ms = operator.actor("oracle"), operator.clock.now_ms()
    feed = operator.files.agreed.feeds[0].symbol
    operator.ray.kill_head()
    operator.goes_on_soon(at_ms)
    state = until(lambda: (s := operator.state).fault and s, operator.log(), START_S)
    assert operator.ray.address in state.fault
    [during, *_] = operator.files.until_certified("bravo", 1, operator.files.last_round("bravo"))
    operator.ray.restart_head()
    operator.is_whole()
    assert not operator.state.fault
    assert operator.actor("oracle").pid != before.pid
    # A contract that expired meanwhile is settled: its round was certified, the quorum signs.
    answer = until(lambda: expired(operator.files, feed, during.round), operator.log())
    assert answer["expiry"]
    operator.has_signed_once()


def test_a_wrong_token_is_refused_within_the_deadline(operator, tmp_path):
    token = tmp_path / "token"
    token.touch(mode=0o600)
    token.write_text("ab" * 32)
    file = tmp_path / "cluster.toml"
    file.write_text(FILE.format(address=operator.ray.address, token=token))
    done = subprocess.run(
        [sys.executable, "-m", "actors.cli", "cluster", "run", str(file)],
        capture_output=True,
        text=True,
        timeout=START_S,
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.splitlines()[-1].startswith("error: ")
    assert "the cluster has another token" in done.stderr
    assert "Traceback" not in done.stderr


def workers_of(nodes: list[RayNode]) -> list[int]:
    """The processes of the supervised actors."""
    return [p for node in nodes for p, title in node.workers().items() if "::Cluster" in title]


def expired(files: Network, feed: str, round_id: int) -> dict[str, Any] | None:
    """The expiry of a round, None while a quorum does not sign it yet."""
    try:
        answer: dict[str, Any] = files.ask(
            AGGREGATOR, "expire", feed=feed, start=round_id, target=round_id, grace=600
        )
    except ProtocolError:  # a node is still coming back
        return None
    return answer
