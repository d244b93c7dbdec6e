"""What the simulated venues share: a loopback server, a tick loop, a market made from the path."""

import asyncio
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Sequence
from http import HTTPStatus
from socket import SO_LINGER, SOL_SOCKET
from struct import pack
from typing import ClassVar, Final
from urllib.parse import parse_qs, urlsplit

from websockets.asyncio.server import Server, ServerConnection, broadcast, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from actors.feeds.simulated.faults import Faults
from actors.feeds.simulated.http import Reply, wrong_response
from actors.feeds.simulated.market import Market
from actors.feeds.simulated.path import E8, PricePath

REFRESH_MS: Final = 400
"""An unchanged quote is repeated after this long."""
DAY_MS: Final = 86_400_000
HOST: Final = "127.0.0.1"
CLOSE_TIMEOUT_S: Final = 0.2


class SimulatedVenue(ABC):
    """One exchange as a WebSocket and HTTP server on loopback. All methods run in its event loop.

    Subclasses hold the wire format: ``_greet``, ``_hear`` (one client message), ``_tick`` and
    ``_get`` (one REST request). ``faults`` is what it does wrong.
    """

    name: ClassVar[str]
    url_path: ClassVar[str] = ""
    latency_ms: ClassVar[int]
    half_spread_ppm: ClassVar[int]
    tick_e8: ClassVar[int]

    def __init__(
        self, path: PricePath, now_ms: Callable[[], int], products: Sequence[str], tick_s: float
    ) -> None:
        self.path = path
        self.products = tuple(products)
        self.faults = Faults()
        self.connects = 0
        self.asked: Counter[str] = Counter()
        """REST requests by path."""
        self._now_ms = now_ms
        self._tick_s = tick_s
        self._clients: set[ServerConnection] = set()
        self._sent: dict[str, Market] = {}
        self._server: Server | None = None

    async def start(self, port: int = 0) -> None:
        """Listen on ``port`` of loopback (0: a free one); OSError if it is taken."""
        self._server = await serve(
            self._client,
            HOST,
            port,
            process_request=self._answer_http,
            compression=None,
            ping_interval=20,
            ping_timeout=60,
            close_timeout=CLOSE_TIMEOUT_S,
        )

    @property
    def _port(self) -> int:
        assert self._server is not None
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    @property
    def url(self) -> str:
        """Where a client connects."""
        return f"ws://{HOST}:{self._port}{self.url_path}"

    @property
    def rest_url(self) -> str:
        """The base of the REST interface."""
        return f"http://{HOST}:{self._port}"

    async def run(self) -> None:
        """Publish a tick every ``tick_s`` seconds until cancelled."""
        while True:
            if not self.faults.silent:
                self._tick(self._now_ms())
            await asyncio.sleep(self._tick_s)

    async def stop(self) -> None:
        """Close the server and every connection."""
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    def say(self, frame: str | bytes) -> None:
        """Send any frame to every client, sane or not."""
        broadcast(self._clients, frame)

    async def hang_up(self, code: int = 1012) -> None:
        """Close every connection; the server goes on listening."""
        await asyncio.gather(*(client.close(code) for client in tuple(self._clients)))

    def reset(self) -> None:
        """Cut every connection with a TCP reset."""
        for client in tuple(self._clients):
            raw = client.transport.get_extra_info("socket")
            raw.setsockopt(SOL_SOCKET, SO_LINGER, pack("ii", 1, 0))
            client.transport.abort()

    def freeze(self) -> None:
        """Leave every connection half open: nothing is sent on it, nothing read, no pong."""
        for client in tuple(self._clients):
            client.transport.pause_reading()
            self._forget(client)

    @abstractmethod
    def skip(self, count: int) -> None:
        """Move the sequence numbers on, or back, by ``count``."""

    def market(self, product: str, now_ms: int) -> Market:
        """``product`` at this venue: the path as it was ``latency_ms`` ago, on the venue's grid."""
        at_ms = now_ms - self.latency_ms
        price = self._fair_e8(product, at_ms)
        grid = self._grid_e8(product)
        half = price * self.half_spread_ppm // 10**6
        bid = (price - half) // grid * grid
        ask = -(-(price + half) // grid) * grid
        taker_buys = (at_ms // 100 * 2654435761 >> 7) & 1 == 1
        depth = 1 + at_ms // 20 * 48271 % (2 * E8)
        last = ask if taker_buys else bid
        if self.faults.crossed:
            bid, ask = ask, bid
        if self.faults.one_sided:
            bid = 0
        return Market(bid, ask, last, depth, 2 * E8 + 2 - depth, taker_buys, at_ms)

    def _fair_e8(self, product: str, at_ms: int) -> int:
        return self.path.price_e8(product, at_ms)

    def _grid_e8(self, product: str) -> int:
        """The price grid: the venue's tick for prices in the thousands, finer for small prices."""
        return self.tick_e8 if product == "BTC-USD" else min(self.tick_e8, E8 // 10**5)

    def day_ago_e8(self, product: str, at_ms: int) -> int:
        """The price a day before, on the venue's grid."""
        grid = self._grid_e8(product)
        return self._fair_e8(product, at_ms - DAY_MS) // grid * grid

    def _moved(self, product: str, now_ms: int) -> Market | None:
        """The market to publish now: None if nothing changed and the last one is still recent."""
        market = self.market(product, now_ms)
        sent = self._sent.get(product)
        if (
            sent
            and (sent.bid_e8, sent.bid_size_e8) == (market.bid_e8, market.bid_size_e8)
            and (sent.ask_e8, sent.ask_size_e8) == (market.ask_e8, market.ask_size_e8)
            and 0 <= market.time_ms - sent.time_ms < REFRESH_MS
        ):
            return None
        self._sent[product] = market
        return market

    async def _client(self, socket: ServerConnection) -> None:
        self.connects += 1
        self._clients.add(socket)
        try:
            await self._greet(socket)
            async for message in socket:
                await self._hear(socket, message)
        except ConnectionClosed:
            pass
        finally:
            self._clients.discard(socket)
            self._forget(socket)

    async def _answer_http(self, socket: ServerConnection, request: Request) -> Response | None:
        upgrades = "Upgrade" in request.headers
        if self.faults.status is not None or not upgrades:
            self.asked[request.path.partition("?")[0]] += not upgrades
            wrong = await wrong_response(socket, self.faults)
            return wrong or self._rest(request).response()
        known = self._is_stream_path(request.path.partition("?")[0])
        return None if known else socket.respond(HTTPStatus.NOT_FOUND, "no such endpoint\n")

    def _is_stream_path(self, path: str) -> bool:
        return path.startswith(self.url_path or "/")

    def _rest(self, request: Request) -> Reply:
        url = urlsplit(request.path)
        query = {key: values[-1] for key, values in parse_qs(url.query).items()}
        return self._get(url.path, query, "User-Agent" in request.headers)

    @abstractmethod
    def _get(self, path: str, query: dict[str, str], introduced: bool) -> Reply:
        """Answer a REST request; ``introduced``: it has a User-Agent."""

    async def _greet(self, socket: ServerConnection) -> None:  # noqa: B027 (most venues say nothing)
        """What the venue sends on connect."""

    @abstractmethod
    async def _hear(self, socket: ServerConnection, message: str | bytes) -> None:
        """Answer one client message."""

    @abstractmethod
    def _forget(self, socket: ServerConnection) -> None:
        """Drop the subscriptions of a connection that ended."""

    @abstractmethod
    def _tick(self, now_ms: int) -> None:
        """Publish what changed."""
