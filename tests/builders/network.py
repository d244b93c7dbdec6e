"""A network of plain processes on loopback: what an operator starts, against simulated venues."""

import asyncio
import json
import signal
import subprocess
import sys
import time
from base64 import b64decode, b64encode, urlsafe_b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from shutil import copy
from tempfile import TemporaryDirectory
from typing import Any
from urllib.request import urlopen

from actors.control import call
from actors.feeds.simulated.exchanges import SimulatedExchanges
from actors.feeds.simulated.venue import SimulatedVenue
from actors.history import History, decode_certificate
from actors.journal import Journal
from actors.network import Network as Agreed
from actors.network import load_network
from actors.network_files import NAMES, Layout, write_network
from actors.ports import free_ports
from actors.supervisor import venue_urls
from protocol.errors import ConfigError

AGGREGATOR = "aggregator"
ORACLES = NAMES[:3]
DEADLINE_S = 60.0
POLL_S = 0.02
CALL_S = 10.0

Command = Sequence[str]
PLAIN: Command = (sys.executable, "-m", "actors.cli")
"""What a user types, up to the role."""


def until(condition: Callable[[], Any], what: str = "", deadline_s: float = DEADLINE_S) -> Any:
    """The first true answer; AssertionError that says ``what`` was waited for."""
    end = time.monotonic() + deadline_s
    while not (answer := condition()):
        assert time.monotonic() < end, f"not within {deadline_s:g} s: {what or condition}"
        time.sleep(POLL_S)
    return answer


class Network:
    """The nodes by name, "aggregator" and the oracles, in ``folder``; none runs at first."""

    def __init__(self, folder: Path, layout: Layout) -> None:
        write_network(folder, layout)
        self.folder = folder
        self.names = (AGGREGATOR, *layout.names)
        self.oracles = tuple(layout.names)
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    @property
    def agreed(self) -> Agreed:
        """The network file."""
        return load_network(self.folder / "network.toml")

    def data(self, name: str) -> Path:
        """The folder that is a node's alone."""
        return self.folder / "data" / name

    # Processes

    def start(self, *names: str, command: Command = PLAIN, options: Sequence[str] = ()) -> None:
        """Start nodes, all at first; logs are appended to NAME.log."""
        for name in names or self.names:
            role = AGGREGATOR if name == AGGREGATOR else "oracle"
            file = str(self.folder / f"{name}.toml")
            with (self.folder / f"{name}.log").open("ab") as log:
                self.processes[name] = subprocess.Popen(
                    [*command, role, "run", "--config", file, *options],
                    stdin=subprocess.DEVNULL,
                    stderr=log,
                )

    def started(self, *names: str) -> None:
        """Wait until nodes, all at first, answer and hear everybody who runs."""
        for name in names or self.names:
            others = len(self.processes) - 1
            until(
                lambda name=name, others=others: (
                    len((self.status(name) or {"connected": ()})["connected"]) >= others
                ),
                f"{name} hears {others} others\n{self.tail(name)}",
            )

    def signal(self, name: str, number: int) -> None:
        self.processes[name].send_signal(number)

    def kill(self, name: str) -> None:
        """SIGKILL, and gone."""
        process = self.processes.pop(name)
        process.kill()
        process.wait()

    def exit_code(self, name: str, deadline_s: float = DEADLINE_S) -> int:
        """How a process ends, once it does."""
        process = self.processes[name]
        until(lambda: process.poll() is not None, f"{name} ends\n{self.tail(name)}", deadline_s)
        del self.processes[name]
        return process.returncode

    def stop(self, *names: str) -> dict[str, int]:
        """SIGTERM to nodes, all at first; their exit codes."""
        stopping = names or tuple(self.processes)
        for name in stopping:
            self.signal(name, signal.SIGTERM)
        return {name: self.exit_code(name) for name in stopping}

    def end(self) -> None:
        """SIGKILL to whatever still runs, stopped ones too."""
        for name in tuple(self.processes):
            self.kill(name)

    # What they say

    def ask(self, name: str, method: str, **arguments: Any) -> Any:
        """An answer over the control socket; the errors of ``control.call``."""
        return asyncio.run(call(self.data(name) / "control.sock", method, CALL_S, **arguments))

    def status(self, name: str) -> dict[str, Any] | None:
        """None while nobody answers."""
        try:
            answer: dict[str, Any] = self.ask(name, "status")
        except ConfigError:
            return None
        return answer

    def page(self, name: str, path: str = "/metrics") -> str:
        """A page of the node's metrics port."""
        status = self.status(name)
        assert status is not None
        with urlopen(f"http://127.0.0.1:{status['metrics']}{path}", timeout=CALL_S) as reply:
            text: str = reply.read().decode()
        return text

    def tail(self, name: str, size: int = 2000) -> str:
        """The end of a node's log."""
        path = self.folder / f"{name}.log"
        return path.read_text()[-size:] if path.exists() else "no log"

    def log(self, name: str) -> list[dict[str, Any]]:
        """Every line of a node's log; each must be JSON."""
        return [json.loads(line) for line in (self.folder / f"{name}.log").read_text().splitlines()]

    def certificates(self, name: str) -> list[Any]:
        """What a node has stored, by round."""
        path = self.data(name) / "history.sqlite"
        if not path.is_file():
            return []
        try:
            with closing(History.read(path)) as history:
                rows = history.db.execute("SELECT data FROM certificate ORDER BY round, id")
                return [decode_certificate(data) for (data,) in rows]
        except ConfigError:  # it is being created
            return []

    def last_round(self, name: str) -> int:
        """The newest round that a node has stored, -1 for none."""
        return max((c.round for c in self.certificates(name)), default=-1)

    def until_certified(self, name: str, count: int = 1, after: int = -1) -> list[Any]:
        """The certificates after a round, once a node has so many."""

        def enough() -> list[Any] | None:
            found = [c for c in self.certificates(name) if c.round > after]
            return found if len(found) >= count else None

        found: list[Any] = until(enough, f"{name} has {count} certificates after round {after}")
        return found

    # What must hold whatever happened

    def audit(self) -> None:
        """No slot has two messages in a guard, every certificate has valid signatures and links to
        one that is known, and no round has two."""
        config, known = self.agreed.config, {bytes(32)}
        certified: dict[int, Any] = {}
        for name in self.names:
            for certificate in self.certificates(name):
                certificate.check(config)
                known.add(certificate.hash)
                first = certified.setdefault(certificate.round, certificate)
                assert first.report == certificate.report, f"two of round {certificate.round}"
        assert all(c.previous_hash in known for c in certified.values()), "a link leads nowhere"
        for name in self.oracles:
            slots = [slot(record) for record in guarded(self.data(name) / "guard.journal")]
            assert len(slots) == len(set(slots)), f"{name} has recorded a slot twice"


def guarded(path: Path) -> list[bytes]:
    """The records in a sign guard's file, also while it grows: seq 8, kind 4, configuration 32,
    feed 32, round 8, message. Of a slot without a round its 32 bytes stand for configuration."""
    if not path.exists():
        return []
    with TemporaryDirectory() as place:
        journal, records = Journal.open(Path(copy(path, place)))
        journal.close()
    return list(records[1:])


def slot(record: bytes) -> bytes:
    """What is signed once, of a record of ``guarded``."""
    return record[8:84]


def round_of(record: bytes) -> int:
    """The round of a record of ``guarded``."""
    return int.from_bytes(record[76:84])


@contextmanager
def network(
    folder: Path,
    exchanges: SimulatedExchanges,
    oracles: Sequence[str] = ORACLES,
    venues: Sequence[str] = (),
    **settings: Any,
) -> Iterator[Network]:
    """A network that ends with the block. ``venues`` are the only ones of the oracles, if given."""
    ports, urls = free_ports(len(oracles) + 1), venue_urls(exchanges.endpoints)
    made = Network(folder, Layout(oracles, ports, settings, urls, venues))
    try:
        yield made
    finally:
        made.end()


class Moved:
    """A path of prices that is another one times a factor, set while simulators follow it."""

    def __init__(self, path: Any) -> None:
        self.path = path
        self.factors_bps: dict[str, int] = {}

    def price_e8(self, product: str, at_ms: int) -> int:
        price: int = self.path.price_e8(product, at_ms)
        return price * self.factors_bps.get(product, 10_000) // 10_000

    def usdt_price_e8(self, product: str, at_ms: int) -> int:
        price: int = self.path.usdt_price_e8(product, at_ms)
        return price * self.factors_bps.get(product, 10_000) // 10_000


def movable(*venues: SimulatedVenue) -> Moved:
    """Gives the venues a path that a test can move."""
    moved: Any = Moved(venues[0].path)
    for venue in venues:
        venue.path = moved
    return moved  # type: ignore[no-any-return]


def secrets_in(folder: Path) -> dict[Path, bytes]:
    """The secret in every key file below a folder."""
    found = {path: bytes.fromhex(path.read_text()) for path in folder.rglob("*.key")}
    pems = {path: path.read_text().splitlines()[1:-1] for path in folder.rglob("*key.pem")}
    return found | {path: b64decode("".join(lines)) for path, lines in pems.items()}


def leaks(secrets: Mapping[Path, bytes], texts: Mapping[str, bytes]) -> list[str]:
    """The names of texts that hold a secret as bytes, in hex or in base64, as PEM has it too."""
    shapes = [
        shape
        for s in secrets.values()
        for shape in (s, s.hex().encode(), b64encode(s)[:40], urlsafe_b64encode(s)[:40])
    ]
    return [n for n, text in texts.items() if any(s in text or s in text.lower() for s in shapes)]


def family(pid: int) -> list[int]:
    """A process and its children, and theirs."""
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    children = [int(child) for task in tasks for child in task.read_text().split()]
    return [pid, *(member for child in children for member in family(child))]
