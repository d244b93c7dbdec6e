"""What ``oracle-vm api run`` runs: a market and its gateway in one process and one event loop."""

import asyncio
import logging
from contextlib import suppress
from typing import Any, Final

from granian.constants import Interfaces
from granian.http import HTTP1Settings
from granian.server.embed import Server

from actors.clock import Clock
from actors.gateway.app import create_app
from actors.logs import event
from actors.market import Market
from actors.market_config import MarketConfig
from actors.market_parties import PartyDesk
from actors.market_store import MarketStore
from protocol.errors import ConfigError

HEAD_BYTES: Final = 16 << 10
"""Of a request's line and headers."""

log = logging.getLogger(__name__)


async def serve(config: MarketConfig, clock: Clock) -> None:
    """Run until cancelled. ConfigError and GuardError name the file that is in the way."""
    store = MarketStore.open(config.folder / "market.sqlite")
    desk = None if config.desk is None else PartyDesk.open(config.desk, clock.now_ms)
    market = Market(config, store, desk, clock)
    async with market.running():
        serving = asyncio.create_task(serve_market(market))
        try:
            await asyncio.wait((serving, market.failed), return_when=asyncio.FIRST_COMPLETED)
        finally:
            serving.cancel()
            await asyncio.wait((serving,))
        await (market.failed if market.failed.done() else serving)


async def serve_market(market: Market) -> None:
    """Serve a market that runs, until cancelled. ConfigError if the address cannot be had."""
    listen = market.config.listen
    server: Any = Server(
        create_app(market),
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
