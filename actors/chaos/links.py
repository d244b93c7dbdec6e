"""TCP links on loopback between the nodes of a network, in user space: no root, no real distance.

    with Links(seed) as links:
        relink(folder, links)                                   # before the nodes start
        links.shape(Shape(delay_ms=40, jitter_ms=10))           # every way
        links.shape(Shape(stalled=True), "alpha", "bravo")      # what alpha sends to bravo

One link for each dialer and listener; a way is a direction of it. Every node has a copy of the
network file with the addresses of its own links (addresses are not part of the configuration that
all nodes agree on).
"""

import asyncio
import json
import selectors
import threading
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any, Final, Self, cast

from actors.chaos.lane import EOF, LOST, Lane, Shape, Way
from actors.listening import close_server
from actors.network import AGGREGATOR_NAME, load_network
from actors.operator import load_operator
from actors.transport_options import parse_url
from protocol.errors import ConfigError
from protocol.oracle.messages import AGGREGATOR

__all__ = ["Links", "Shape", "relink"]

HOST: Final = "127.0.0.1"
CALL_S: Final = 10.0


class Links:
    """A context manager: links carry bytes in a thread with its own event loop from enter to exit.
    ``seed`` fixes jitter and loss. Methods may be called from any thread but that one."""

    def __init__(self, seed: int = 0) -> None:
        self._random = Random(seed)
        self._ways: dict[tuple[str, str], Way] = {}
        self._servers: list[asyncio.Server] = []
        self._connections: dict[frozenset[str], set[Connection]] = {}
        # epoll waits whole milliseconds, rounded up: every way would be so much longer.
        self._loop = asyncio.SelectorEventLoop(selectors.SelectSelector())
        self._thread = threading.Thread(target=self._loop.run_forever, name="links", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._run(self._close)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def add(self, dialer: str, listener: str, port: int) -> int:
        """A link from ``dialer`` to ``listener``, who listens on ``port`` of loopback (or will);
        the port to dial instead."""
        return int(self._run(self._add, dialer, listener, port))

    def shape(self, shape: Shape, sender: str | None = None, receiver: str | None = None) -> None:
        """What happens from now on to what ``sender`` says to ``receiver`` (None: anybody).
        ConfigError if there is no such way."""
        self._run(self._shape, shape, sender, receiver)

    def corrupt(self, sender: str, receiver: str, frames: int = 1) -> None:
        """Flip a bit in each of the next frames of a way."""
        self._run(self._corrupt, sender, receiver, frames)

    def cut(self, one: str | None = None, other: str | None = None) -> int:
        """Reset the connections between two nodes (None: all); how many there were."""
        return int(self._run(self._cut, one, other))

    def counts(self, sender: str, receiver: str) -> dict[str, int]:
        """What has passed: bytes, pieces, lost, corrupted."""
        return dict(self._ways[sender, receiver].counts)

    @property
    def corrupted(self) -> int:
        """Frames of all ways in which a bit was flipped."""
        return sum(way.counts["corrupted"] for way in self._ways.values())

    @property
    def ways(self) -> tuple[tuple[str, str], ...]:
        """Every sender with every receiver that it has a link to."""
        return tuple(self._ways)

    # In the loop

    def _run(self, call: Callable[..., Any], *arguments: Any) -> Any:
        async def run() -> Any:
            result = call(*arguments)
            return await result if asyncio.iscoroutine(result) else result

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(CALL_S)

    async def _add(self, dialer: str, listener: str, port: int) -> int:
        there = self._ways.setdefault((dialer, listener), Way())
        back = self._ways.setdefault((listener, dialer), Way())
        made = self._connections.setdefault(frozenset((dialer, listener)), set())
        server = await self._loop.create_server(
            lambda: Connection(there, back, port, self._random, made).near, HOST, 0
        )
        self._servers.append(server)
        return int(server.sockets[0].getsockname()[1])

    def _shape(self, shape: Shape, sender: str | None, receiver: str | None) -> None:
        for way in self._between(sender, receiver):
            way.shape = shape
            for lane in tuple(way.lanes):
                lane.go()
        if shape.reset:
            self._cut(sender, receiver)

    def _corrupt(self, sender: str, receiver: str, frames: int) -> None:
        for way in self._between(sender, receiver):
            way.corrupt += frames

    def _between(self, sender: str | None, receiver: str | None) -> list[Way]:
        found = [
            way
            for (one, other), way in self._ways.items()
            if sender in (None, one) and receiver in (None, other)
        ]
        if not found:
            raise ConfigError(f"link: nothing goes from {sender} to {receiver}; name two nodes")
        return found

    def _cut(self, one: str | None, other: str | None) -> int:
        wanted = {one, other} - {None}
        found = [c for pair, made in self._connections.items() if wanted <= pair for c in made]
        for connection in found:
            connection.abort()
        return len(found)

    async def _close(self) -> None:
        for server in self._servers:
            await close_server(server)
        self._cut(None, None)
        await asyncio.sleep(0)  # connections are told in the next turn
        await asyncio.sleep(0)


class Connection:
    """A dialer's connection (``near``) and the one that is made for it (``far``)."""

    def __init__(
        self, there: Way, back: Way, port: int, random: Random, made: set["Connection"]
    ) -> None:
        self._refused = there.shape.reset or back.shape.reset
        self._port = port
        self._made = made
        self._there = Lane(there, random, self._dial)
        self._back = Lane(back, random)
        self.near = End(self, self._there, self._back)
        self._far: End | None = None
        self._dialling: asyncio.Task[None] | None = None
        made.add(self)

    def opened(self, end: "End") -> None:
        """An end is connected."""
        if self._refused:
            self.abort()
        elif end is self._far:
            self._there.go()

    def ended(self) -> None:
        """An end is gone; so is the connection, once both are."""
        if self.near.is_gone and (self._far is None or self._far.is_gone):
            self._there.end()
            self._back.end()
            self._made.discard(self)

    def abort(self) -> None:
        """A reset for both ends."""
        self._refused = True
        self._there.end()
        self._back.end()
        for end in (self.near, self._far):
            if end is not None:
                end.abort()

    def _dial(self) -> None:
        self._dialling = asyncio.get_running_loop().create_task(self._connect())

    async def _connect(self) -> None:
        self._far = far = End(self, self._back, self._there)
        try:
            loop = asyncio.get_running_loop()
            await loop.create_connection(lambda: far, HOST, self._port)
        except OSError:  # nobody listens: the dialer hears of it
            self._far = None
            self.abort()


class End(asyncio.Protocol):
    """One of the two sockets of a connection: fills ``out``, is filled from ``into``."""

    def __init__(self, connection: Connection, out: Lane, into: Lane) -> None:
        self.is_gone = False
        self._connection = connection
        self._out = out
        self._into = into
        self._transport: asyncio.Transport | None = None

    def abort(self) -> None:
        """A reset, if it is connected."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._out.source = self._into.sink = self._transport
        self._connection.opened(self)

    def data_received(self, data: bytes) -> None:
        self._out.put(data)

    def eof_received(self) -> bool:
        self._out.put(EOF)
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_gone = True
        self._out.source = None
        self._out.put(LOST)
        self._connection.ended()

    def pause_writing(self) -> None:
        self._into.blocked = True

    def resume_writing(self) -> None:
        self._into.blocked = False
        self._into.go()


def relink(folder: Path, links: Links) -> None:
    """Give every node of the network in ``folder`` (``actors.network_files.write_network``) links
    of its own: it reads ``networks/NAME/network.toml`` from now on. Before the nodes start."""
    network = load_network(folder / "network.toml")
    names = {**dict(enumerate(network.names)), AGGREGATOR: AGGREGATOR_NAME}
    text = (folder / "network.toml").read_text()
    for me, name in names.items():
        own = text
        for peer, listener in names.items():
            if me != AGGREGATOR and (peer == AGGREGATOR or peer < me):
                url = network.peers[peer].url
                port = links.add(name, listener, parse_url("url", url).port)
                own = own.replace(json.dumps(url), json.dumps(f"ws://{HOST}:{port}"))
        _use(folder, name, own)


def _use(folder: Path, name: str, text: str) -> None:
    copy = folder / "networks" / name / "network.toml"
    copy.parent.mkdir(parents=True)
    copy.write_text(text)
    file = folder / f"{name}.toml"
    was, now = 'network = "network.toml"', f'network = "networks/{name}/network.toml"'
    file.write_text(file.read_text().replace(was, now, 1))
    load_operator(file)
