"""What ``oracle-vm api run`` runs: a market and its gateway in one process and one event loop."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

from granian.constants import Interfaces
from granian.http import HTTP1Settings
from granian.server.embed import Server

from actors.clock import Clock
from actors.gateway.app import create_app
from actors.logs import event
from actors.market import Change, Market
from actors.market_config import MarketConfig
from actors.market_parties import PartyDesk
from actors.market_store import MarketStore
from actors.pool_desk import PoolDesk
from actors.pool_sequencer import PoolSequencer
from protocol.errors import ConfigError

HEAD_BYTES: Final = 16 << 10
"""Of a request's line and headers."""

log = logging.getLogger(__name__)


async def serve(config: MarketConfig, clock: Clock) -> None:
    """Run until cancelled. ConfigError and GuardError name the file that is in the way."""
    store = MarketStore.open(config.folder / "market.sqlite")
    desk = None if config.desk is None else PartyDesk.open(config.desk, clock.now_ms)
    market = Market(config, store, desk, clock)
    async with market.running(), pool_beside(market) as pool:
        serving = asyncio.create_task(serve_market(market, pool))
        try:
            await asyncio.wait((serving, market.failed), return_when=asyncio.FIRST_COMPLETED)
        finally:
            serving.cancel()
            await asyncio.wait((serving,))
        await (market.failed if market.failed.done() else serving)


@asynccontextmanager
async def pool_beside(market: Market) -> AsyncIterator[PoolDesk | None]:
    """The pool that the market's file names, at the market's prices; None if it names none.
    ConfigError and GuardError as ``PoolSequencer.open``."""
    config = market.config
    if config.pool is None:
        yield None
        return
    sequencer = PoolSequencer.open(config.folder / "pool.sqlite", config.pool.terms)
    desk = PoolDesk(sequencer, config.pool.every_s)

    def hear(change: Change) -> None:
        if change is Change.PRICE and market.certificates:
            desk.certified(market.certificates[-1])

    async with desk.running() as running:
        market.watch(running)
        market.changed.append(hear)
        yield desk


async def serve_market(market: Market, pool: PoolDesk | None = None) -> None:
    """Serve a market, and a pool, that run, until cancelled. ConfigError if the address cannot be
    had."""
    listen = market.config.listen
    server: Any = Server(
        create_app(market, pool_desk=pool),
        listen.host,
        listen.port,
        interface=Interfaces.ASGINL,
        http1_settings=HTTP1Settings(max_buffer_size=HEAD_BYTES),
        log_enabled=False,
    )
    serving = asyncio.create_task(server.serve())
    event(log, "serving", address=f"{listen.host}:{listen.port}")
    try:
        await asyncio.shield(serving)
    except (OSError, RuntimeError) as error:
        raise ConfigError(f"[api] listen: {listen.host}:{listen.port}: {error}") from None
    finally:
        server.stop()
        with suppress(asyncio.CancelledError, OSError, RuntimeError):
            await serving
