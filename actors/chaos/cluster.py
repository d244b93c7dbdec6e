"""An operator on a Ray cluster of several nodes on this machine: a head, a node for its oracle, and
one for each prover. ``cluster run`` keeps the oracle's actor, as it does for an operator."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Self

from actors.chaos import cluster_proofs
from actors.chaos.child import on_clock
from actors.chaos.keeper import Keeper
from actors.chaos.proofs import Tally
from actors.cluster_config import load_cluster_config
from actors.cluster_state import ClusterState
from actors.network_files import table
from actors.raylets import Raylets, RayNode
from actors.supervision import Phase
from protocol.errors import ConfigError

SUPERVISOR: Final = "cluster"
PROOFS: Final = "proofs"
STARTS: Final = 3
POLL_S: Final = 0.1
PROOF_S: Final = 120.0
ORACLE: Final = 1
"""The oracle's place in the list of nodes; the head comes before it, provers after it."""


class Cluster:
    """A context manager: the nodes are up inside. ``run`` starts what uses them. One change at a
    time: a node that starts needs a head that stays."""

    def __init__(self, folder: Path, oracle: str, provers: int, keeper: Keeper) -> None:
        self._folder = folder
        self._oracle = oracle
        self._provers = provers
        self._keeper = keeper
        self._config = folder / f"{SUPERVISOR}.toml"
        self._raylets: Raylets
        self._nodes: list[RayNode] = []
        self.proofs: ClusterProofs

    def __enter__(self) -> Self:
        home = self._folder / "ray"
        home.mkdir()
        self._raylets = Raylets(home)
        self.proofs = ClusterProofs(self._folder, self._raylets, self._provers, self._keeper)
        try:
            offers = [{}, {"oracle": 1}, *[{"prover": 2}] * self._provers]
            self._nodes = self._raylets.add_all(offers, cpus=2)
        except BaseException:
            self._raylets.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._raylets.close()

    def run(self) -> None:
        """Have ``cluster run`` keep the oracle, and a driver prove."""
        config = self._config
        own = {
            "address": self._raylets.address,
            "token": str(self._raylets.token),
            "folder": f"data/{SUPERVISOR}",
        }
        roles = {"oracle": f"{self._oracle}.toml"}
        config.write_text(table("[cluster]", own) + table("[roles]", roles))
        command = on_clock(self._folder / f"{SUPERVISOR}.clock", "cluster", "run", str(config))
        self._keeper.start(SUPERVISOR, command, self._folder / f"{SUPERVISOR}.log")
        if self._provers:
            self.proofs.run()

    @property
    def failed(self) -> list[str]:
        """The actors whose budget of restarts is spent, as their supervisor says."""
        state = ClusterState.read(load_cluster_config(self._config).state)
        roles = {} if state is None else state.roles
        return [
            name
            for role in roles.values()
            for name, actor in role.actors.items()
            if actor.phase is Phase.FAILED
        ]

    @contextmanager
    def removed(self) -> Iterator[None]:
        """Without the node that the oracle runs on: its machine is gone."""
        with self._off(self._nodes[ORACLE]):
            yield

    @contextmanager
    def headless(self) -> Iterator[None]:
        """Without the head; afterwards the whole cluster is a new one."""
        self._raylets.kill_head()
        try:
            yield
        finally:
            _again(self._raylets.restart_head)
            self.proofs.restart()

    @contextmanager
    def without_worker(self) -> Iterator[None]:
        """Without a prover's node, from the middle of a proof on."""
        self.proofs.wait_under_way()
        with self._off(self._nodes[-1]):
            yield

    @contextmanager
    def _off(self, node: RayNode) -> Iterator[None]:
        self._raylets.power_off(node)
        try:
            yield
        finally:
            _again(lambda: self._raylets.again(node))


def _again(start: Callable[[], object]) -> None:
    """Start nodes, as their systemd units do: on a busy machine Ray gives up now and then."""
    for _ in range(STARTS - 1):
        try:
            start()
        except ConfigError:
            continue
        return
    start()


class ClusterProofs:
    """The proofs of a driver on the cluster, as ``actors.chaos.proofs.Proofs`` has its own."""

    def __init__(self, folder: Path, raylets: Raylets, provers: int, keeper: Keeper) -> None:
        self.expected = b""
        self._folder = folder
        self._raylets = raylets
        self._provers = provers
        self._keeper = keeper

    def run(self) -> None:
        """Start the driver."""
        self.expected = cluster_proofs.expected_root()
        raylets, module = self._raylets, "actors.chaos.cluster_proofs"
        where = (str(self._folder), raylets.address, str(raylets.token), str(self._provers))
        self._keeper.start(PROOFS, ("-m", module, *where), self._folder / f"{PROOFS}.log")

    def restart(self) -> None:
        """A driver belongs to the cluster that it joined."""
        if self._provers:
            self._keeper.hold(PROOFS)
            self._keeper.release(PROOFS)

    @property
    def tally(self) -> Tally:
        """What became of the proofs."""
        ended = [line for line in self._lines() if "root" in line]
        return Tally(
            roots=[bytes.fromhex(line["root"]) for line in ended],
            requeued=sum(line["requeued"] for line in ended),
            caught=sum(cluster_proofs.LIAR in name for line in ended for name in line["excluded"]),
        )

    def lie(self) -> None:
        """From now on one of the provers lies."""
        (self._folder / cluster_proofs.LIE).touch()

    def be_honest(self) -> None:
        """No more."""
        (self._folder / cluster_proofs.LIE).unlink(missing_ok=True)

    def believe(self) -> None:
        """Nothing that a prover says is checked any more."""
        (self._folder / cluster_proofs.BELIEVE).touch()

    def wait_under_way(self) -> None:
        """Until a proof begins. ConfigError if none does."""
        before, end = len(self._lines()), time.monotonic() + PROOF_S
        while True:
            lines = self._lines()
            if len(lines) > before and "began" in lines[-1]:
                return
            if time.monotonic() > end:
                raise ConfigError(f"{PROOFS}.log: no proof has begun for {PROOF_S:g} s")
            time.sleep(POLL_S)

    def _lines(self) -> list[dict[str, Any]]:
        path = self._folder / cluster_proofs.LINES
        text = path.read_text() if path.exists() else ""
        return [json.loads(line) for line in text.splitlines() if line.endswith("}")]
