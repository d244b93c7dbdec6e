"""The programs of a whole network in one event loop, on a clock that a test can move."""

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Self
from urllib.request import urlopen

from actors.aggregator import AggregatorProgram
from actors.feeds.simulated.exchanges import SimulatedExchanges
from actors.network_files import NAMES, Layout, write_network
from actors.operator import Operator, load_operator
from actors.oracle import OracleProgram
from actors.ports import free_ports
from actors.signer_client import Signer
from actors.supervisor import venue_urls
from tests.builders.operators import DEADLINE_S, until
from tests.builders.signers import signer_inside

SETTINGS = {"interval_ms": 300, "schedule_ms": 300, "takeover_ms": 250}
AGGREGATOR = "aggregator"
ORACLES = NAMES[:3]


class MovedClock:
    """Real time plus ``ahead_ms``."""

    name = "moved-clock"

    def __init__(self) -> None:
        self.ahead_ms = 0

    def now_ms(self) -> int:
        return time.time_ns() // 10**6 + self.ahead_ms


class Programs:
    """An aggregator and three oracles by name; ``async with`` starts and ends them."""

    def __init__(
        self,
        folder: Path,
        exchanges: SimulatedExchanges,
        clock: Any = None,
        names: Sequence[str] = ORACLES,
        **settings: Any,
    ) -> None:
        self.folder = folder
        self.clock = clock or MovedClock()
        urls = venue_urls(exchanges.endpoints)
        ports = free_ports(len(names) + 1)
        write_network(folder, Layout(names, ports, {**SETTINGS, **settings}, urls))
        self.names = (AGGREGATOR, *names)
        self.programs: dict[str, Any] = {}
        self._serving: dict[str, asyncio.Task[None]] = {}

    def __getitem__(self, name: str) -> Any:
        """The running program."""
        return self.programs[name]

    def operator(self, name: str) -> Operator:
        """What a node's file says."""
        return load_operator(self.folder / f"{name}.toml", now_ms=self.clock.now_ms())

    def make(self, name: str, signer: Callable[[Operator], Signer] = signer_inside) -> Any:
        """A program on its folder that does not serve yet."""
        kind = AggregatorProgram if name == AGGREGATOR else OracleProgram
        operator = self.operator(name)
        keys = signer(operator)
        try:
            return kind(operator, self.clock, keys)
        except BaseException:
            keys.close()  # a process would end now
            raise

    def start(self, name: str, signer: Callable[[Operator], Signer] = signer_inside) -> Any:
        """The program, serving."""
        program = self.programs[name] = self.make(name, signer)
        self._serving[name] = asyncio.create_task(program.serve())
        return program

    async def ended(self, name: str) -> None:
        """Wait until a program ends by itself; raises what it died of."""
        await asyncio.wait({self._serving[name]}, timeout=DEADLINE_S)
        await self.stop(name)

    async def stop(self, name: str) -> None:
        """End a program; raises what it died of, if it did."""
        serving = self._serving.pop(name)
        serving.cancel()
        del self.programs[name]
        with suppress(asyncio.CancelledError):
            await serving

    async def __aenter__(self) -> Self:
        for name in self.names:
            self.start(name)
        return self

    async def __aexit__(self, *_: object) -> None:
        for name in tuple(self.programs):
            await self.stop(name)

    def round(self, name: str = AGGREGATOR) -> int:
        """The newest certified round that a program knows, -1 before the first."""
        last = self[name].member.node.last
        return -1 if last is None else int(last.round)

    async def certified(self, count: int = 1, name: str = AGGREGATOR, after: int = -1) -> list[Any]:
        """The certificates that a program has told after a round, once there are so many."""

        def found() -> list[Any]:
            return [s.certificate for s in self[name].node.recent if s.round > after]

        await until(lambda: hasattr(self[name], "node") and len(found()) >= count)
        return found()

    async def page(self, name: str, path: str = "/metrics") -> str:
        """A page of a program's metrics port."""

        def get() -> str:
            with urlopen(f"http://127.0.0.1:{self[name].metrics.port}{path}", timeout=10) as reply:
                text: str = reply.read().decode()
            return text

        return await asyncio.to_thread(get)
