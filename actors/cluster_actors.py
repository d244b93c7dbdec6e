"""The roles of an operator as actors that a supervisor keeps: each says on request that it works.

They are the programs of `oracle run`, `aggregator run` and `coordinator run` with the same files,
and provers. Each is given a path, never a key.
"""

import logging
import os
import socket
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from actors.aggregator import Aggregator
from actors.config import CHAIN_NODE, CHAIN_SOCKET, serves
from actors.coordinator_commands import serve
from actors.coordinator_config import CoordinatorConfig, load_coordinator
from actors.files import write_whole
from actors.logs import open_log
from actors.operator import Operator, load_operator
from actors.oracle import Oracle
from actors.prover import Prover
from protocol.errors import ConfigError, GuardError
from riscv_vm.image import ProgramImage

HISTORY: Final = "history.sqlite"
"""What every node has in its folder once it has run."""
RAN_ON: Final = "ran-on"
"""There too: the name of the machine that ran it last as an actor."""
POLL_S: Final = 0.1

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Beat:
    """An actor works: its process, and the machine that it is on."""

    pid: int
    host: str


def here() -> Beat:
    """This process."""
    return Beat(os.getpid(), socket.gethostname())


class ClusterOracle(Oracle):
    """An oracle. ``ran_on`` is the machine where it ran before, empty if it never did."""

    def __init__(self, file: Path, ran_on: str) -> None:
        """GuardError if it ran before and its folder is not on this machine."""
        operator = own_node(file, "oracle", ran_on)
        super().__init__(file, operator.network.clock)
        has_run_here(operator)

    async def beat(self) -> Beat:
        """Once the loop that serves the network has come round."""
        return await self._running.ask(_beat())


class ClusterAggregator(Aggregator):
    """The aggregator; as ``ClusterOracle``."""

    def __init__(self, file: Path, ran_on: str) -> None:
        operator = own_node(file, "aggregator", ran_on)
        super().__init__(file, operator.network.clock)
        has_run_here(operator)

    async def beat(self) -> Beat:
        """Once the loop that serves the network has come round."""
        return await self._running.ask(_beat())


class ClusterCoordinator:
    """A Bitcoin node for the machine: `coordinator run` on a thread; the process ends with it."""

    def __init__(self, file: Path, ran_on: str) -> None:
        """GuardError if it ran before and its chain is not on this machine."""
        settings = load_coordinator(file)
        is_own = settings.backend != "rpc"  # else the chain is a node's of the user
        if ran_on and is_own and not (settings.folder / CHAIN_NODE).exists():
            raise GuardError(
                f"{settings.folder}: no {CHAIN_NODE}: the chain of this coordinator is on {ran_on},"
                " a new one would be another chain; let that machine offer coordinator, or bring"
                " the folder here"
            )
        settings.folder.mkdir(parents=True, exist_ok=True)
        open_log(settings.folder / "node.log", getattr(logging, settings.log.upper()))
        self._socket = settings.folder / CHAIN_SOCKET
        threading.Thread(target=_coordinate, args=(settings,), daemon=True).start()

    def beat(self) -> Beat:
        """Once its socket serves the chain."""
        while not serves(self._socket):
            time.sleep(POLL_S)
        return here()


def _coordinate(settings: CoordinatorConfig) -> None:
    try:
        serve(settings, threading.Event())
    except Exception:
        log.critical("the node stops", exc_info=True)
    finally:
        os._exit(1)


class ClusterProver(Prover):
    """A prover of the settlement program, and of those that jobs bring."""

    def __init__(self, image: ProgramImage) -> None:
        super().__init__(image)

    def beat(self) -> Beat:
        """Its process; a proof may be under way."""
        return here()


async def _beat() -> Beat:
    return here()


def own_node(file: Path, role: str, ran_on: str) -> Operator:
    """The node's file. ConfigError unless it is one of this role; GuardError if the node ran before
    and this machine has not its folder, or an old one of it: sign guard and history are on another
    disk, and a node that begins without them can sign what contradicts them."""
    operator = load_operator(file)
    if operator.role != role:
        raise ConfigError(f"{file}: [node] role is {operator.role}, not {role}: name another file")
    remedy = f"let that machine offer {role}, or bring the folder here as docs/operators.md says"
    if ran_on and not (operator.folder / HISTORY).is_file():
        raise GuardError(
            f"{operator.folder}: no {HISTORY}: this node ran on {ran_on}, its guard is there;"
            f" {remedy}"
        )
    host = operator.folder / RAN_ON
    if ran_on and host.is_file() and (last := host.read_text()) != ran_on:
        raise GuardError(
            f"{operator.folder}: stale: it was last used on {last}, and this node has run on"
            f" {ran_on} since, its guard is there; {remedy} (if this folder is the newer one after"
            f" all, remove {host})"
        )
    return operator


def has_run_here(operator: Operator) -> None:
    """Leave the name of this machine in the folder of a node that has the lock of its guard."""
    path, name = operator.folder / RAN_ON, socket.gethostname()
    if not path.is_file() or path.read_text() != name:
        write_whole(path, name.encode())
