"""``oracle-vm api ...``: the options market over HTTP and WebSocket."""

import asyncio
import logging
from pathlib import Path
from typing import Annotated

import typer

from actors.logs import open_log
from actors.market_config import load_market
from actors.until_stopped import until_stopped

api = typer.Typer(no_args_is_help=True, help="The options market over HTTP and WebSocket.")

Config = Annotated[Path, typer.Option(help="The gateway's TOML file.")]


@api.command()
def run(config: Config) -> None:
    """Serve until SIGINT or SIGTERM; logs on stderr. Start it again on the same folder and it goes
    on."""
    from actors.gateway.program import serve

    settings = load_market(config)
    open_log(level=getattr(logging, settings.log.upper()))
    asyncio.run(until_stopped(serve(settings, settings.network.clock)))
