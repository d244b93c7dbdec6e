"""What is attacked: operators as real processes, their links, and the venues that they hear.

Everybody has the same simulated venues, but for oracles that are to lie about the price: theirs
follow a path of their own, which is the same one until it is bent.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any, Final, Self

from actors.chaos.child import on_clock
from actors.chaos.cluster import Cluster, ClusterProofs
from actors.chaos.keeper import Keeper
from actors.chaos.lane import Shape, together
from actors.chaos.links import Links, relink
from actors.chaos.plan import Plan
from actors.chaos.proofs import Proofs
from actors.control import call
from actors.feeds.simulated.exchanges import SimulatedExchanges
from actors.feeds.simulated.path import PricePath
from actors.network import AGGREGATOR_NAME, Network, load_network
from actors.network_files import Layout, write_network
from actors.ports import free_ports
from actors.supervisor import venue_urls
from protocol.errors import ConfigError, ProtocolError

TICK_MS: Final = 50
LOGS: Final = ("log", "out", "err", "jsonl")
"""How the names of files end that programs, Ray among them, write what they do into."""
START_S: Final = 120.0
PROVING_S: Final = 300.0
"""For the first proof: machines are compiled, on a cluster by every prover."""
POLL_S: Final = 0.1
CALL_S: Final = 5.0
MILLION: Final = 1_000_000


@dataclass(slots=True)
class BentPath:
    """A path of prices that is ``path`` times a factor, set while simulators follow it."""

    path: PricePath
    seed: int
    factor_ppm: int = MILLION

    def price_e8(self, product: str, at_ms: int) -> int:
        """As ``PricePath``; dollars per USDT are not bent."""
        price = self.path.price_e8(product, at_ms)
        return price if product == "USDT-USD" else price * self.factor_ppm // MILLION

    def usdt_price_e8(self, product: str, at_ms: int) -> int:
        """The same price in 10^-8 USDT."""
        return self.path.usdt_price_e8(product, at_ms) * self.factor_ppm // MILLION


class Ground:
    """A context manager: everything runs and everybody hears everybody inside."""

    def __init__(self, plan: Plan, folder: Path, bent: Sequence[str] = ()) -> None:
        """``bent`` are oracles with venues of their own."""
        self.plan = plan
        self.folder = folder
        self.names = (*plan.oracles, AGGREGATOR_NAME)
        self.links = Links(plan.seed)
        self.keeper = Keeper()
        self._prover = Proofs(folder, self.keeper)
        self.cluster: Cluster | None = None
        if plan.on_cluster is not None:
            self.cluster = Cluster(folder, plan.on_cluster, plan.ground.provers, self.keeper)
        self.bent: dict[str, BentPath] = {}
        self._liars = bent
        self._shapes: list[tuple[tuple[str, str], Shape]] = []
        self._shaping = Lock()
        self._open = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as opening:
            exchanges = opening.enter_context(self._exchanges())
            opening.enter_context(self.links)
            self._write(venue_urls(exchanges.endpoints))
            for name in self._liars:
                self._bend(name, opening, exchanges)
            relink(self.folder, self.links)
            self._reshape(self.links.ways)
            if self.cluster is not None:
                opening.enter_context(self.cluster)
            opening.enter_context(self.keeper)
            for name in self.names:
                if name != self.plan.on_cluster:
                    self.keeper.start(name, self.command(name), self.folder / f"{name}.log")
            if self.cluster is not None:
                self.cluster.run()
            elif self.plan.ground.provers:
                opening.enter_context(self._prover)
            self.wait_whole(self.names, START_S)
            if self.plan.ground.provers:
                self.wait(lambda: None if self.proofs.tally.roots else "no proof", PROVING_S)
            self._open = opening.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    # Its parts

    @property
    def proofs(self) -> Proofs | ClusterProofs:
        """What is proved meanwhile."""
        return self._prover if self.cluster is None else self.cluster.proofs

    @property
    def network(self) -> Network:
        """What all operators agree on."""
        return load_network(self.folder / "network.toml")

    def data(self, name: str) -> Path:
        """The folder that is a node's alone."""
        return self.folder / "data" / name

    def logs(self) -> tuple[Path, ...]:
        """What the programs have written."""
        return tuple(sorted(path for end in LOGS for path in self.folder.rglob(f"*.{end}")))

    def secrets(self) -> dict[str, bytes]:
        """Every key by its file."""
        return {
            str(path.relative_to(self.folder)): bytes.fromhex(path.read_text())
            for path in sorted(self.folder.rglob("*.key"))
        }

    def command(self, name: str) -> tuple[str, ...]:
        """What runs a node: ``oracle-vm ROLE run``, on a clock of its own."""
        role = "aggregator" if name == AGGREGATOR_NAME else "oracle"
        file = str(self.folder / f"{name}.toml")
        return on_clock(self.clock(name), role, "run", "--config", file)

    def clock(self, name: str) -> Path:
        """The file that sets a node's clock."""
        return self.folder / f"{name}.clock"

    @contextmanager
    def shaped(self, ways: Sequence[tuple[str, str]], shape: Shape) -> Iterator[None]:
        """These ways, until the end of the block; what others do to them goes on."""
        held = [(way, shape) for way in ways]
        with self._shaping:
            self._shapes += held
            self._reshape(ways)
        try:
            yield
        finally:
            with self._shaping:
                for one in held:
                    self._shapes.remove(one)
                self._reshape(ways)

    def _reshape(self, ways: Iterable[tuple[str, str]]) -> None:
        ground = self.plan.ground
        calm = Shape(delay_ms=ground.delay_ms, jitter_ms=ground.jitter_ms)
        for way in ways:
            shapes = [shape for held, shape in self._shapes if held == way]
            self.links.shape(together([calm, *shapes]), *way)

    # What it says

    def status(self, name: str) -> Mapping[str, Any] | None:
        """What a node says of itself; None while it does not answer."""
        try:
            answer = asyncio.run(call(self.data(name) / "control.sock", "status", CALL_S))
        except ProtocolError:
            return None
        return dict(answer)

    def is_whole(self, names: Sequence[str]) -> str | None:
        """Why one of these does not hear all the others; None if all do."""
        for name in names:
            status = self.status(name)
            if status is None:
                return f"{name} does not answer"
            if len(status["connected"]) < len(names) - 1:
                return f"{name} hears {status['connected']}"
        return None

    def wait_whole(self, names: Sequence[str], deadline_s: float) -> None:
        """Until each of these hears the others. ConfigError says who does not."""
        self.wait(lambda: self.is_whole(names), deadline_s)

    def wait(self, fault: Callable[[], str | None], deadline_s: float) -> None:
        """Until there is no fault any more; ConfigError with it at the deadline."""
        end = time.monotonic() + deadline_s
        while (why := fault()) is not None:
            if time.monotonic() > end:
                raise ConfigError(f"{self.folder}: {why} after {deadline_s:g} s; read its log")
            time.sleep(POLL_S)

    # Files

    def _exchanges(self) -> SimulatedExchanges:
        return SimulatedExchanges(self.plan.seed, tick_ms=TICK_MS)

    def _write(self, urls: Mapping[str, Mapping[str, str]]) -> None:
        ground = self.plan.ground
        settings = {
            "interval_ms": ground.interval_ms,
            "schedule_ms": ground.schedule_ms,
            "takeover_ms": ground.takeover_ms,
            "delta_ppm": ground.delta_ppm,
        }
        ports = free_ports(len(self.names))
        write_network(self.folder, Layout(self.plan.oracles, ports, settings, urls))

    def _bend(self, name: str, opening: ExitStack, honest: SimulatedExchanges) -> None:
        """Venues of its own for one oracle."""
        own = opening.enter_context(self._exchanges())
        path: Any = BentPath(own.path, own.path.seed)
        for venue in own.venues:
            venue.path = path
        self.bent[name] = path
        file = self.folder / f"{name}.toml"
        text = file.read_text()
        theirs, its = venue_urls(honest.endpoints), venue_urls(own.endpoints)
        for exchange, urls in theirs.items():
            for field, url in urls.items():
                text = text.replace(f'"{url}"', f'"{its[exchange][field]}"')
        file.write_text(text)
