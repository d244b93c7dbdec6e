"""``oracle-vm watchtower ...``: guards contracts for parties whose machines may be down."""

import asyncio
import json
import logging
from pathlib import Path
from typing import Annotated, Final

import typer

from actors.clock import SystemClock
from actors.control import call
from actors.logs import open_log
from actors.party_folder import CONTROL
from actors.until_stopped import until_stopped
from actors.watchtower import WatchtowerProgram
from actors.watchtower_config import load_watchtower

watchtower = typer.Typer(no_args_is_help=True, help="Guards contracts for absent parties.")

ASK_S: Final = 10.0

Config = Annotated[Path, typer.Option(help="The watchtower's TOML file.")]


@watchtower.command()
def run(config: Config) -> None:
    """Guard every contract of the file until SIGINT or SIGTERM; logs on stderr. Start it again on
    the same folder and it goes on."""
    settings = load_watchtower(config)
    open_log(level=getattr(logging, settings.log.upper()))
    asyncio.run(until_stopped(WatchtowerProgram(settings, SystemClock()).serve()))


@watchtower.command()
def status(config: Config) -> None:
    """Where each contract stands, as JSON."""
    folder = load_watchtower(config).folder
    print(json.dumps(asyncio.run(call(folder / CONTROL, "status", ASK_S))))
