"""Three oracles and an aggregator as four processes, for the oracle benchmark."""

import asyncio
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
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
    processes: dict[str, "subprocess.Popen[bytes]"]

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
) -> Iterator[Network]:
    """A network with these [network] settings; ``command`` starts a node, given role and file."""
    with TemporaryDirectory(prefix="bench-") as place:
        folder = Path(place) / "net"
        ports = free_ports(len(ORACLES) + 1)
        write_network(folder, Layout(ORACLES, ports, settings, venue_urls(endpoints)))
        network = Network(folder, {})
        try:
            for name in (AGGREGATOR, *ORACLES):
                role = AGGREGATOR if name == AGGREGATOR else "oracle"
                with (folder / f"{name}.log").open("wb") as log:
                    network.processes[name] = subprocess.Popen(
                        command(role, folder / f"{name}.toml"), stderr=log
                    )
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
