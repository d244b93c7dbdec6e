"""The gateway as a process of its own: quotes a second, and how old a Greek is when it is shown.

python -m tests.bench.gateway [--json]      oracle-vm bench gateway --json
"""

import asyncio
import itertools
import json
import os
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve

from actors.contract_oracles import DemoOracles
from actors.ports import free_ports
from protocol import wire
from protocol.oracle.certificate import Certificate
from protocol.oracle.feed import Feed
from protocol.oracle.messages import AGGREGATOR
from protocol.oracle.report import Grade, Report
from protocol.units import E8
from protocol.wire.frame import Notice
from tests.bench._report import finish, hardware, say

CONNECTIONS = 32
SECONDS = 5.0
RUNS = 3
ROWS = 10_000
BATCHES = 20
PRICES = 200
SPOT = 60_000

METHODS = {
    "quotes_per_second": f"GET /v1/quote over {CONNECTIONS} kept connections, each asking again as"
    " soon as it is answered, for as long as 5 s; strikes, types and quantities vary, every answer"
    " is a 200 with a premium. Server and client are two processes on the same cores; the best of"
    f" {RUNS} runs, with its latencies",
    "quotes_per_cpu_second": "the same by the CPU time of the gateway's process: what a core that"
    " nothing else runs on could serve",
    "batch_quotes_per_second": f"POST /v1/quotes with {ROWS} rows, one request after the other",
    "greeks_ms": "from the moment that a node hands a certificate to its socket to the arrival of"
    " the new Greeks at a WebSocket client: verification of the signatures, volatility, the whole"
    " sheet of an expiry, JSON. `ticker` is one option, `chain` all of an expiry (146), both"
    " subscribed with `index` on one connection",
}


class Nodes:
    """Plays every node of the network towards the gateway: whoever listens hears what is told."""

    def __init__(self, folder: Path) -> None:
        self.oracles = DemoOracles.create(folder / "net", {"quorum": 2, "faults": 1})
        self.listeners: set[ServerConnection] = set()
        self._config = self.oracles.network.config
        self._previous = bytes(32)
        self._round = 0

    @property
    def port(self) -> int:
        """Of the aggregator, as the network file says."""
        return int(self.oracles.network.peers[AGGREGATOR].url.rsplit(":", 1)[1].strip("/"))

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """Serves certificates inside the block."""

        async def hear(socket: ServerConnection) -> None:
            self.listeners.add(socket)
            await socket.wait_closed()
            self.listeners.discard(socket)

        async with serve(hear, "127.0.0.1", self.port):
            yield

    def certificate(self, price_e8: int) -> bytes:
        """The next one, as it travels."""
        now_ms = time.time_ns() // 10**6
        self._round = max(self._config.round_at(now_ms), self._round + 1)
        report = Report(
            config_digest=self._config.digest,
            feed_id=Feed("BTC/USD").feed_id,
            round=self._round,
            price_e8=price_e8,
            conf_e8=E8,
            grade=Grade.FULL,
            observers=7,
            time=now_ms,
            observations_root=bytes(32),
            prev_report_hash=self._previous,
        )
        keys = self.oracles.keys
        signed = ((i, keys[i].sign(report.hash, secrets.token_bytes(32))) for i in range(2))
        certificate = Certificate(report, tuple(signed))
        self._previous = report.hash
        return Notice(*wire.encode(certificate)).encode()

    async def tell(self, data: bytes) -> None:
        """Everybody who listens."""
        for socket in tuple(self.listeners):
            await socket.send(data)


@contextmanager
def gateway(folder: Path, port: int) -> Iterator[int]:
    """``oracle-vm api run`` in a process of its own; its id."""
    (folder / "api.toml").write_text(
        f'[api]\nlisten = "127.0.0.1:{port}"\nfolder = "data"\nnetwork = "net/network.toml"\n'
        'log = "warning"\n[certificates]\nmax_age_s = 3600\n'
    )
    command = [sys.executable, "-m", "actors.cli", "api", "run"]
    child = subprocess.Popen([*command, "--config", str(folder / "api.toml")])
    try:
        yield child.pid
    finally:
        child.terminate()
        child.wait()


class Client:
    """HTTP/1.1 on one kept connection; just enough of it."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def __aenter__(self) -> "Client":
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._writer.close()
        await self._writer.wait_closed()

    async def ask(self, path: str, body: bytes = b"") -> bytes:
        """The body of a 200."""
        method = "POST" if body else "GET"
        head = (
            f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        self._writer.write(head.encode() + body)
        answer = await self._reader.readuntil(b"\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 200"), answer
        length = int(answer.lower().split(b"content-length:")[1].split(b"\r\n")[0])
        return await self._reader.readexactly(length)


def paths(expiry: str) -> Iterator[str]:
    """Quotes that are never twice the same."""
    tails = ("C", "P", "C-A", "P-A", "C-B", "P-B", "C-UO90000", "P-DO30000")
    for number in itertools.count():
        strike, tail = 40_000 + 250 * (number % 161), tails[number % 8]
        yield f"/v1/quote?instrument=BTC-{expiry}-{strike}-{tail}&quantity_sats={10**6 + number}"


def cpu_seconds_of(pid: int) -> float | None:
    """User and system time of a process so far; None where there is no /proc."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def load(port: int, expiry: str, pid: int) -> dict[str, float | None]:
    """One run of all connections."""
    asked, latencies = paths(expiry), []
    end = time.perf_counter() + SECONDS

    async def one() -> None:
        async with Client(port) as client:
            while (begin := time.perf_counter()) < end:
                await client.ask(next(asked))
                latencies.append(time.perf_counter() - begin)

    begin, cpu_s = time.perf_counter(), cpu_seconds_of(pid)
    await asyncio.gather(*(one() for _ in range(CONNECTIONS)))
    rate, after_s = len(latencies) / (time.perf_counter() - begin), cpu_seconds_of(pid)
    spent_s = None if cpu_s is None or after_s is None else after_s - cpu_s
    by_cpu = None if not spent_s else len(latencies) / spent_s
    return {"per_second": rate, "per_cpu_second": by_cpu, **percentiles(latencies)}


async def batches(port: int, expiry: str) -> float:
    """Quotes a second in long requests."""
    asked = paths(expiry)
    rows = [{"instrument": next(asked).split("=")[1].split("&")[0]} for _ in range(ROWS)]
    body = json.dumps({"quotes": rows}).encode()
    async with Client(port) as client:
        await client.ask("/v1/quotes", body)
        begin = time.perf_counter()
        for _ in range(BATCHES):
            await client.ask("/v1/quotes", body)
        return ROWS * BATCHES / (time.perf_counter() - begin)


async def greeks(nodes: Nodes, port: int, expiry: str) -> dict[str, Any]:
    """How long a certificate takes to become Greeks at a client."""
    channels = [f"ticker.BTC-{expiry}-60000-C", f"chain.BTC.{expiry}", "index.BTC"]
    names = ("ticker", "chain", "index")
    found: dict[str, list[float]] = {name: [] for name in names}
    async with connect(f"ws://127.0.0.1:{port}/v1/stream", max_size=None) as socket:
        request = {"id": 1, "method": "public/subscribe", "params": {"channels": channels}}
        await socket.send(json.dumps(request))
        for _ in range(1 + len(channels)):
            await socket.recv()
        for number in range(PRICES):
            data = nodes.certificate((SPOT + number % 50) * E8)
            begin = time.perf_counter()
            await nodes.tell(data)
            for _ in channels:
                message = await socket.recv()
                took_s = time.perf_counter() - begin
                channel = json.loads(message)["params"]["channel"]
                found[names[channels.index(channel)]].append(took_s)
            await asyncio.sleep(0.01)
    return {name: percentiles(latencies) for name, latencies in found.items()}


def percentiles(latencies: list[float]) -> dict[str, float]:
    """p50 and p99 in milliseconds."""
    ordered = sorted(latencies)
    return {f"p{q}_ms": 1000 * ordered[len(ordered) * q // 100] for q in (50, 99)}


async def until(holds: Callable[[], Any]) -> None:
    """AssertionError after a minute."""
    end = time.monotonic() + 60.0
    while not holds():
        assert time.monotonic() < end
        await asyncio.sleep(0.02)


async def measured(folder: Path) -> dict[str, Any]:
    nodes, (port,) = Nodes(folder), free_ports(1)
    async with nodes.listening():
        with gateway(folder, port) as pid:
            await until(lambda: nodes.listeners)
            await nodes.tell(nodes.certificate(SPOT * E8))
            async with Client(port) as client:
                listed = json.loads(await client.ask("/v1/instruments"))
            expiry = listed["expiries"][-1]
            say("quotes")
            runs = [await load(port, expiry, pid) for _ in range(RUNS)]
            say("batches")
            in_batches = await batches(port, expiry)
            say("greeks")
            shown = await greeks(nodes, port, expiry)
    best = max(runs, key=lambda run: run["per_second"] or 0.0)
    return {
        "quotes_per_second": best.pop("per_second"),
        "quotes_per_cpu_second": best.pop("per_cpu_second"),
        "quotes_latency": best,
        "batch_quotes_per_second": in_batches,
        "greeks_ticker": shown["ticker"],
        "greeks_chain": shown["chain"],
        "greeks_index": shown["index"],
    }


def measure() -> dict[str, Any]:
    begin = hardware()
    with tempfile.TemporaryDirectory() as folder:
        found = asyncio.run(measured(Path(folder)))
    return {
        **found,
        "connections": CONNECTIONS,
        "goals": {"quotes_per_second": 3000, "quotes_p99_ms": 50, "greeks_ms": 20},
        "hardware": begin,
        "methods": METHODS,
    }


if __name__ == "__main__":
    finish("gateway", measure)
