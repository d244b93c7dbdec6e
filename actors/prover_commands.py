"""``oracle-vm prover ...``: runs the machine for the parties of this computer."""

import asyncio
import logging
from pathlib import Path
from typing import Annotated

import typer

from actors.logs import open_log
from actors.prover_config import load_prover
from actors.until_stopped import until_stopped

prover = typer.Typer(no_args_is_help=True, help="Runs the machine for parties on this computer.")


@prover.callback()
def _prover() -> None:
    """A group, also with one command."""


@prover.command()
def run(config: Annotated[Path, typer.Option(help="The prover's TOML file.")]) -> None:
    """Prove what parties ask for on a Unix socket until SIGINT or SIGTERM; logs on stderr."""
    from actors.prover_program import ProverProgram  # takes the machine

    settings = load_prover(config)
    open_log(level=getattr(logging, settings.log.upper()))
    asyncio.run(until_stopped(ProverProgram(settings).serve()))
