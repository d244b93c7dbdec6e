"""What the simulated venues share: a loopback server, a tick loop, a market made from the path."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import ClassVar, Final

from websockets.asyncio.server import Server, ServerConnection, broadcast, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from actors.feeds.simulated.path import E8, PricePath

REFRESH_MS: Final = 400
"""An unchanged quote is repeated after this long."""
DAY_MS: Final = 86_400_000
EPOCH: Final = datetime(1970, 1, 1)
HOST: Final = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Market:
    """Top of book and last trade of one product at one venue, 10^-8; sizes in 10^-8 of the base."""

    bid_e8: int
    ask_e8: int
    last_e8: int
    bid_size_e8: int
    ask_size_e8: int
    buyer_was_taker: bool
    time_ms: int


def stamp(at_ms: int) -> str:
    """RFC 3339 with microseconds; the digits below the millisecond are made up."""
    moment = EPOCH + timedelta(milliseconds=at_ms, microseconds=at_ms * 7919 % 1000)
    return moment.isoformat(timespec="microseconds") + "Z"


def decimal(value_e8: int, places: int = 8) -> str:
    """``value_e8`` with exactly ``places`` decimals."""
    whole, fraction = divmod(value_e8, E8)
    return f"{whole}.{fraction:08d}"[: len(str(whole)) + 1 + places]


class SimulatedVenue(ABC):
    """One exchange as a WebSocket server on loopback. All methods run in its event loop.

    Subclasses hold the wire format: ``_greet``, ``_hear`` (one client message) and ``_tick``.
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
        self.silent = False
        self.connects = 0
        self._now_ms = now_ms
        self._tick_s = tick_s
        self._clients: set[ServerConnection] = set()
        self._sent: dict[str, Market] = {}
        self._server: Server | None = None

    async def start(self) -> None:
        """Listen on a free port of loopback."""
        self._server = await serve(
            self._client,
            HOST,
            0,
            process_request=self._check_path,
            compression=None,
            ping_interval=20,
            ping_timeout=60,
            close_timeout=1,
        )

    @property
    def url(self) -> str:
        """Where a client connects."""
        assert self._server is not None
        port = self._server.sockets[0].getsockname()[1]
        return f"ws://{HOST}:{port}{self.url_path}"

    async def run(self) -> None:
        """Publish a tick every ``tick_s`` seconds until cancelled."""
        while True:
            if not self.silent:
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
        return Market(
            bid, ask, ask if taker_buys else bid, depth, 2 * E8 + 2 - depth, taker_buys, at_ms
        )

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

    def _check_path(self, socket: ServerConnection, request: Request) -> Response | None:
        if request.path.partition("?")[0].startswith(self.url_path or "/"):
            return None
        return socket.respond(HTTPStatus.NOT_FOUND, "no such endpoint\n")

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
