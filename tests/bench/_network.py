"""Three oracles and an aggregator as four processes, for the oracle benchmark."""

import asyncio
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from actors.control import call
from actors.feeds.endpoints import Endpoint
from actors.network_files import NAMES, Layout, write_network
from actors.ports import free_ports
from actors.supervisor import venue_urls
from protocol.errors import ConfigError

START_S = 60.0
CALL_S = 30.0
POLL_S = 0.05
ORACLES = NAMES[:3]
AGGREGATOR = "aggregator"


@dataclass
class Network:
    """The running processes by name, and their folder."""

    folder: Path
    command: Callable[[str, Path], list[str]]
    """Starts a node, given role and file."""
    processes: dict[str, "subprocess.Popen[bytes]"] = field(default_factory=dict)

    def start(self, name: str) -> None:
        """For the first time, or again."""
        role = AGGREGATOR if name == AGGREGATOR else "oracle"
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                self.command(role, self.folder / f"{name}.toml"), stderr=log
            )

    def ask(self, name: str, method: str) -> Any:
        """What the node answers on its control socket."""
        return asyncio.run(call(self.folder / "data" / name / "control.sock", method, CALL_S))

    def certificates(self) -> int:
        """How many rounds the aggregator has certified so far."""
        return int(self.ask(AGGREGATOR, "status")["certificates"])

    def wait(self, ready: Callable[[], bool]) -> None:
        """Ask until it says yes; TimeoutError after START_S."""
        end = time.monotonic() + START_S
        while True:
            try:
                if ready():
                    return
            except ConfigError:
                pass
            if time.monotonic() > end:
                logs = "\n".join(p.read_text()[-2000:] for p in sorted(self.folder.glob("*.log")))
                raise TimeoutError(f"the network did not start:\n{logs}")
            time.sleep(POLL_S)

    def kill(self, name: str) -> None:
        """SIGKILL."""
        self.processes[name].kill()
        self.processes[name].wait()


@contextmanager
def running(
    settings: Mapping[str, Any],
    endpoints: Mapping[str, Endpoint],
    command: Callable[[str, Path], list[str]],
    prepare: Callable[[Path], None] = lambda _: None,
) -> Iterator[Network]:
    """A network with these [network] settings; ``prepare`` may change its files before it starts.
    ``command`` as Network has it."""
    with TemporaryDirectory(prefix="bench-") as place:
        folder = Path(place) / "net"
        ports = free_ports(len(ORACLES) + 1)
        write_network(folder, Layout(ORACLES, ports, settings, venue_urls(endpoints)))
        prepare(folder)
        network = Network(folder, command)
        try:
            for name in (AGGREGATOR, *ORACLES):
                network.start(name)
            network.wait(lambda: len(network.ask(AGGREGATOR, "status")["connected"]) == 3)
            network.wait(lambda: network.certificates() > 0)
            yield network
        finally:
            for process in network.processes.values():
                process.kill()
                process.wait()


def plain(role: str, file: Path) -> list[str]:
    """The command of a user."""
    return [sys.executable, "-m", "actors.cli", role, "run", "--config", str(file)]
