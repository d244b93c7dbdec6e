"""``oracle-vm demo`` and ``oracle-vm config``."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from actors import demo_config as configuration
from actors.demo import Demo, Faults
from actors.demo_instrument import listed
from actors.report import show
from actors.terminal import Announcer, new_folder
from protocol.dispute.claim import Party as Side
from protocol.errors import ProtocolError

config_app = typer.Typer(no_args_is_help=True, help="Configuration files.")

WIDTH = 118
"""Columns where there is no terminal: a txid and what is said about it."""


def demo(
    lie: Annotated[
        str | None,
        typer.Option(
            help="How the side that claims lies: payout, step, root, stall, or another prover's lie"
            " of `oracle-vm dispute list`."
        ),
    ] = None,
    kill: Annotated[int, typer.Option(min=0, help="SIGKILL so many oracles mid-round.")] = 0,
    instrument: Annotated[
        str | None, typer.Option(help="Another one than the configuration's.")
    ] = None,
    config: Annotated[Path, typer.Option(help="TOML file.")] = configuration.DEMO,
    folder: Annotated[
        Path | None,
        typer.Option("--dir", help="Keep all files here, not in a temporary folder."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """One option, from exchange price to Bitcoin, end to end, on this machine."""
    loaded = configuration.load(config)
    if instrument is not None:
        loaded = listed(loaded, instrument)
    if lie is not None:
        from actors.party_lie import require_lie  # takes the machine, which honest demos do not

        require_lie(lie, Side.PROVER)
    with new_folder(folder) as place, Announcer() as announce:
        run = Demo(loaded, Faults(lie, kill), place, announce)
        try:
            run.run()
        except (ProtocolError, TimeoutError) as error:
            if not as_json:
                raise
            run.report.outcome = str(error)
    if as_json:
        print(json.dumps(run.report.to_json()))
    else:
        show(run.report, Console(width=None if sys.stdout.isatty() else WIDTH))
    if not run.report.ok:
        raise typer.Exit(1)


@config_app.callback()
def _config() -> None:
    """Configuration files."""


@config_app.command("check")
def config_check(file: Annotated[Path, typer.Argument(help="TOML file.")]) -> None:
    """Say whether FILE is a valid configuration."""
    configuration.load(file)
    print(f"{file}: valid")
