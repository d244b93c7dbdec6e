"""``oracle-vm demo`` and ``oracle-vm config``."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from actors import config as configuration
from actors.demo import Demo, Faults
from actors.faults import Lie
from actors.report import show
from actors.terminal import Announcer, new_folder
from protocol.errors import ProtocolError

config_app = typer.Typer(no_args_is_help=True, help="Configuration files.")


def demo(
    lie: Annotated[Lie | None, typer.Option(help="What the prover does wrong.")] = None,
    kill: Annotated[int, typer.Option(min=0, help="SIGKILL so many oracles mid-round.")] = 0,
    config: Annotated[Path, typer.Option(help="TOML file.")] = configuration.DEMO,
    folder: Annotated[
        Path | None,
        typer.Option("--dir", help="Keep all files here, not in a temporary folder."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """One option, from exchange price to Bitcoin, end to end, on this machine."""
    loaded = configuration.load(config)
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
        show(run.report, Console(width=None if sys.stdout.isatty() else 110))
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
