"""A Ray cluster of several nodes on this machine, to break: each node is a `ray start --block`.

What an operator's systemd units run, as child processes: each node is a session of its own with a
folder of its own, the cluster has a token of its own, and nothing is left of it at the end. The
caller does not join it; who does is given ``address``, ``token`` or ``environment``.

    with multi_node([{"aggregator": 1}, {"oracle": 1}]) as cluster:
        cluster.kill(cluster.nodes[1])
"""

import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from actors.ports import free_ports
from protocol.errors import ConfigError

HOST: Final = "127.0.0.1"
OBJECT_STORE_BYTES: Final = 100 * 2**20
START_S: Final = 120.0
STOP_S: Final = 120.0
POLL_S: Final = 0.02
TRIES: Final = 3
"""`ray start` ends when a busy machine answers late; a unit starts it again."""
UP: Final = "--block"
"""`ray start` says that it blocks once its node is there."""
FAST: Final = {
    "health_check_initial_delay_ms": 500,
    "health_check_period_ms": 500,
    "health_check_timeout_ms": 1000,
    "health_check_failure_threshold": 2,
}
"""A dead node is known after a second; Ray's defaults take 15 s, for a frozen one a minute."""
AGENTS: Final = ("ray::DashboardAgent", "ray::RuntimeEnvAgent")

Resources = Mapping[str, float]


@dataclass(slots=True, eq=False)
class RayNode:
    """One node: what it offers, its folder, and the process that leads its session."""

    resources: Resources
    labels: Mapping[str, str]
    cpus: int
    folder: Path
    leader: subprocess.Popen[bytes] = field(init=False)
    began: int = field(init=False, default=0)
    """When its leader did, in ticks: a pid is used again, both are not."""

    @property
    def is_up(self) -> bool:
        """Whether its `ray start` runs; that ends soon after its raylet does."""
        return self.leader.poll() is None

    def pids(self) -> dict[int, str]:
        """Every living process of the node and its title, whoever its parent is by now."""
        return _members(self.leader.pid, self.began)

    def raylet(self) -> int:
        """The pid of its raylet. ConfigError if it has none."""
        for pid, title in self.pids().items():
            if "/raylet/raylet " in title:
                return pid
        raise ConfigError(f"{self.folder}: the node has no raylet; is it up?")

    def workers(self) -> dict[int, str]:
        """Its worker processes by pid, with Ray's title: ``ray::Oracle`` for an actor."""
        return {
            pid: title
            for pid, title in self.pids().items()
            if title.startswith("ray::") and not title.startswith(AGENTS)
        }

    def log(self) -> str:
        """What its `ray start` has printed."""
        return _read(self.folder / "start.log")

    def _signal(self, number: int) -> None:
        _signal(self.leader.pid, self.began, number)


class Raylets:
    """The nodes of a cluster; ``nodes[0]`` is the head. Use ``multi_node``, which ends it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.token = folder / "token"
        """The file with the cluster's token."""
        self.token.touch(mode=0o600)
        self.token.write_text(secrets.token_hex(32))
        [self._port] = free_ports(1)
        self.nodes: list[RayNode] = []
        self._heir = subprocess.Popen(
            [sys.executable, "-m", "actors.raylets"],
            stdin=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    @property
    def address(self) -> str:
        """Of the head: what a driver joins."""
        return f"{HOST}:{self._port}"

    @property
    def head(self) -> RayNode:
        """The node that runs the GCS."""
        return self.nodes[0]

    @property
    def environment(self) -> dict[str, str]:
        """For a process that joins the cluster: this one's, with the cluster's token."""
        inherited = {name: text for name, text in os.environ.items() if name != "RAY_AUTH_TOKEN"}
        return inherited | {
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(self.token),
            "RAY_USAGE_STATS_ENABLED": "0",
        }

    # Nodes

    def add(
        self, resources: Resources, *, labels: Mapping[str, str] | None = None, cpus: int = 1
    ) -> RayNode:
        """A new node that is up; the first one is the head. ConfigError with what `ray start`
        printed if it does not come up."""
        return self.add_all([resources], labels=labels, cpus=cpus)[0]

    def add_all(
        self,
        offers: Sequence[Resources],
        *,
        labels: Mapping[str, str] | None = None,
        cpus: int = 1,
    ) -> list[RayNode]:
        """A new node for each of the offers, started together; as ``add``."""
        added = []
        for resources in offers:
            folder = self.folder / str(len(list(self.folder.iterdir())))
            folder.mkdir()
            added.append(RayNode(resources, labels or {}, cpus, folder))
            self.nodes.append(added[-1])
            self._start(added[-1])
            if added[-1] is self.head:
                self._wait_up(self.head)
        for node in added:
            self._wait_up(node)
        return added

    def again(self, node: RayNode) -> None:
        """Start a node that is down again, as its systemd unit would."""
        self.power_off(node)
        self._start(node)
        self._wait_up(node)
        if node not in self.nodes:
            self.nodes.append(node)

    def kill(self, node: RayNode) -> None:
        """SIGKILL to its raylet. Workers of it may live on for a moment, as in production; its
        `ray start` buries the raylet and ends."""
        _send(node.raylet(), signal.SIGKILL)
        self._wait(lambda: not node.is_up, f"{node.folder}: `ray start` did not end")

    def power_off(self, node: RayNode) -> None:
        """SIGKILL to everything of it at once: the machine is gone."""
        if not node.is_up and not node.pids():
            return
        node._signal(signal.SIGKILL)
        node.leader.wait()
        self._wait(lambda: not self._remains(node), f"{node.folder}: processes are left")

    def remove(self, node: RayNode) -> None:
        """SIGTERM to its `ray start`, which drains the node; whatever is left then is killed. It is
        of the cluster no more, until ``again``."""
        node.leader.terminate()
        self._wait(lambda: not node.is_up, f"{node.folder}: `ray start` did not end")
        self.power_off(node)
        self.nodes.remove(node)

    def freeze(self, node: RayNode) -> None:
        """SIGSTOP to everything of it: it answers nobody until ``thaw``."""
        node._signal(signal.SIGSTOP)

    def thaw(self, node: RayNode) -> None:
        """SIGCONT to everything of it."""
        node._signal(signal.SIGCONT)

    def kill_head(self) -> None:
        """The head's machine is gone, the GCS with it."""
        self.power_off(self.head)

    def restart_head(self) -> None:
        """The head again, at the same address and with an empty GCS; then every other node: a
        raylet of the old cluster is of no use to the new one, and its unit starts it again."""
        for node in reversed(self.nodes):
            self.power_off(node)
        for node in self.nodes:
            self._start(node)
            if node is self.head:
                self._wait_up(node)
        for node in self.nodes:
            self._wait_up(node)

    def close(self) -> None:
        """End everything, the head last; a frozen node too."""
        for node in reversed(self.nodes):
            self.power_off(node)
        assert self._heir.stdin is not None
        self._heir.stdin.close()
        self._heir.wait()

    # How

    def _start(self, node: RayNode) -> None:
        place = ["--head", f"--port={self._port}", "--include-dashboard=false"]
        place.append(f"--system-config={json.dumps(FAST)}")
        if node is not self.head:
            place = [f"--address={self.address}"]
        with (node.folder / "start.log").open("wb") as log:
            node.leader = subprocess.Popen(
                [
                    *(sys.executable, "-m", "ray.scripts.scripts", "start", "--block", *place),
                    f"--node-ip-address={HOST}",
                    f"--num-cpus={node.cpus}",
                    "--num-gpus=0",
                    f"--object-store-memory={OBJECT_STORE_BYTES}",
                    f"--resources={json.dumps(dict(node.resources))}",
                    f"--labels={','.join(f'{k}={v}' for k, v in node.labels.items())}",
                    f"--temp-dir={node.folder}",
                    "--include-log-monitor=false",
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self.environment,
                start_new_session=True,
            )
        node.began = _began(node.leader.pid)
        print(node.leader.pid, node.began, file=self._heir.stdin, flush=True)

    def _wait_up(self, node: RayNode) -> None:
        for _ in range(TRIES):
            self._wait(lambda: UP in node.log() or not node.is_up, "no node is up", START_S)
            if node.is_up:
                return
            said = node.log()
            self.power_off(node)
            self._start(node)
        raise ConfigError(f"a Ray node did not start: {said[-2000:]}")

    def _remains(self, node: RayNode) -> bool:
        node._signal(signal.SIGKILL)
        return bool(node.pids())

    def _wait(self, done: Callable[[], bool], what: str, deadline_s: float = STOP_S) -> None:
        end = time.monotonic() + deadline_s
        while not done():
            if time.monotonic() > end:
                raise ConfigError(f"{what} within {deadline_s:g} s")
            time.sleep(POLL_S)


@contextmanager
def multi_node(nodes: Sequence[Resources], *, cpus: int = 1) -> Iterator[Raylets]:
    """A cluster of one node for each of the resources, the first one the head, until the block
    ends; every node offers ``cpus`` besides.

    Its folder is a short one: Ray's sockets are in it, and their paths are limited.
    """
    folder = Path(tempfile.mkdtemp(prefix="ray-"))
    cluster = Raylets(folder)
    try:
        cluster.add_all(nodes, cpus=cpus)
        yield cluster
    finally:
        cluster.close()
        shutil.rmtree(folder, ignore_errors=True)


def main() -> None:
    """The heir of a cluster: is told the sessions of its nodes on stdin. When that ends, as who
    made the cluster closed it or was killed, it ends what is left of them."""
    for line in sys.stdin.readlines():
        session, began = map(int, line.split())
        while _members(session, began):
            _signal(session, began, signal.SIGKILL)


def _members(session: int, began: int) -> dict[int, str]:
    """The living processes of a session and their titles; none if a stranger leads it by now."""
    if _began(session) not in (0, began):
        return {}
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and _session(int(entry.name)) == session:
            found[int(entry.name)] = _read(entry / "cmdline").replace("\0", " ").strip()
    return found


def _signal(session: int, began: int, number: int) -> None:
    for pid in _members(session, began):
        _send(pid, number)


def _session(pid: int) -> int:
    """The session of a living process, 0 of one that is gone or waits to be buried."""
    fields = _stat(pid)
    return int(fields[3]) if fields and fields[0] not in "ZX" else 0


def _began(pid: int) -> int:
    """When a process began, in ticks; 0 of one that is gone."""
    fields = _stat(pid)
    return int(fields[19]) if fields else 0


def _stat(pid: int) -> list[str]:
    return _read(Path(f"/proc/{pid}/stat")).rpartition(")")[2].split()


def _read(path: Path) -> str:
    try:
        return path.read_bytes().decode(errors="replace")
    except OSError:  # not there yet, or gone
        return ""


def _send(pid: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


if __name__ == "__main__":
    main()
