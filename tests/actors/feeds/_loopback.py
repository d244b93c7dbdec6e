"""What the tests of live connections share: hosts that do not wait, servers that misbehave."""

import asyncio
import contextlib
import random
import time

from websockets.asyncio.server import serve

from actors.feeds.board import QuoteBoard
from actors.feeds.connection import VenueConnection
from actors.feeds.endpoints import Endpoint
from actors.feeds.host import Host, Policy

DEADLINE_S = 15.0
TICKER = '{"u":%d,"s":"BTCUSDT","b":"84000.00","B":"1","a":"84000.01","A":"1"}'
ACK = '{"result":null,"id":1}'


async def until(condition, deadline_s=DEADLINE_S):
    """Poll ``condition`` until it holds."""
    deadline = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        await asyncio.sleep(0.002)


class Sleeps:
    """Records the delays and hardly waits for them."""

    def __init__(self):
        self.delays = []

    async def __call__(self, delay_s):
        self.delays.append(delay_s)
        await asyncio.sleep(min(delay_s, 0.002))


def hurried(sleeps=None):
    """A host on which back-off costs no time."""
    return Host(uniform=random.Random(1).uniform, sleep=sleeps or Sleeps())


@contextlib.asynccontextmanager
async def connected(endpoint, *, venue="binance", symbols=("BTC-USDT",), changed=None, **policy):
    """A running connection, its board, and the delays that it was asked to wait."""
    board, sleeps = QuoteBoard(), Sleeps()
    endpoint = endpoint if isinstance(endpoint, Endpoint) else Endpoint(endpoint)
    connection = VenueConnection(
        venue,
        symbols,
        endpoint,
        board,
        host=hurried(sleeps),
        policy=Policy(**policy),
        changed=changed,
    )
    task = asyncio.create_task(connection.run())
    try:
        yield connection, board, sleeps
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


@contextlib.asynccontextmanager
async def server(handler, **options):
    """A WebSocket server with this handler; its URL."""
    async with serve(handler, "127.0.0.1", 0, close_timeout=0.1, **options) as running:
        yield f"ws://127.0.0.1:{running.sockets[0].getsockname()[1]}/ws"
