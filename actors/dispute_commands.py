"""``oracle-vm dispute ...``: disputes on Bitcoin, rehearsed, priced and read."""

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from actors.dispute_cost import cost
from actors.dispute_explain import explain_command
from actors.dispute_report import show_game, show_lies, show_matrix
from actors.terminal import Announcer
from protocol.dispute.claim import Party as Side
from protocol.dispute.lies.catalog import Lie, catalogue
from protocol.errors import ConfigError
from protocol.settlement.terms import Role
from riscv_vm.isa import LOG4_STEPS_DEFAULT

dispute = typer.Typer(no_args_is_help=True, help="Disputes on Bitcoin: rehearse, price, read.")
dispute.command("cost")(cost)
dispute.command("explain")(explain_command)

JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object.")]
SeedOption = Annotated[int, typer.Option(help="Chance: the same seed tells the same lie.")]
WidthOption = Annotated[int, typer.Option(help="Bytes of a hash: 20 or 32.")]

_WIDTH = 130
"""Columns where there is no terminal."""


@dispute.command("list")
def list_(as_json: JsonOption = False) -> None:
    """Every lie that can be told in a dispute, who tells it, and on what it ends."""
    lies = catalogue(LOG4_STEPS_DEFAULT).values()
    if as_json:
        print(json.dumps({"lies": [_lie(lie) for lie in lies]}))
    else:
        show_lies(lies, _console())


@dispute.command()
def play(
    lie: Annotated[str, typer.Option(help="A name of `dispute list`.")],
    side: Annotated[Side | None, typer.Option(help="Who lies; it must be who tells it.")] = None,
    prover: Annotated[Role, typer.Option(help="Whose claim it is.")] = Role.HOLDER,
    step: Annotated[
        str, typer.Option(help="Where: a number, first, middle, last or random.")
    ] = "random",
    seed: SeedOption = 0,
    backend: Annotated[str, typer.Option(help="kernel or bitcoind.")] = "kernel",
    width: WidthOption = 20,
    folder: Annotated[
        Path | None, typer.Option("--dir", help="Keep chain and contract file in a new folder.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """One lie on a real contract, every move in a block, to the last satoshi. Exit code 1 if who
    lies does not lose."""
    from actors.dispute_play import lie_named, require_place
    from actors.dispute_play import play as play_game
    from actors.dispute_play_stage import CONTRACT, Stage

    told = lie_named(lie, LOG4_STEPS_DEFAULT)
    if side not in (None, told.side):
        raise ConfigError(f"--side {side}: the lie {lie} is told by the {told.side}")
    require_place(step, LOG4_STEPS_DEFAULT)
    with tempfile.TemporaryDirectory(prefix="oracle-vm-") as made, Announcer() as announce:
        stage = Stage.create(Path(made), backend, width, announce)
        announce("dispute")
        report = play_game(stage, told, prover, step, seed, folder)
    if as_json:
        print(json.dumps(report.to_json()))
    else:
        show_game(report, _console())
        if folder is not None:
            print(f"Look again: oracle-vm audit {folder / CONTRACT}")
            print(f"            oracle-vm chain graph {folder / CONTRACT} --dir {folder}")
    if not report.ok:
        raise typer.Exit(1)


@dispute.command()
def matrix(
    full: Annotated[
        bool, typer.Option("--full", help="Every lie, both directions, four places.")
    ] = False,
    seed: SeedOption = 0,
    width: WidthOption = 20,
    as_json: JsonOption = False,
) -> None:
    """Every kind of lie about the settlement program, played to the end. Exit code 1 if one game
    does not end as it must."""
    from actors.dispute_matrix import PROCESSES, MatrixReport, Row, entries, played

    games, begin, done = list(entries(full=full)), time.perf_counter(), 0
    with tempfile.TemporaryDirectory(prefix="oracle-vm-") as made, Announcer() as announce:

        def heard(row: Row) -> None:
            nonlocal done
            done += 1
            announce(f"{done} of {len(games)}: {row.lie}, {row.prover} proves, {row.place}")

        announce(f"make a contract, then play {len(games)} games")
        processes = PROCESSES if full else 1
        rows = played(games, Path(made), seed=seed, width=width, processes=processes, heard=heard)
    report = MatrixReport(full, seed, width, time.perf_counter() - begin, rows)
    if as_json:
        print(json.dumps(report.to_json()))
    else:
        show_matrix(report, _console())
    if not report.ok:
        raise typer.Exit(1)


def _lie(lie: Lie) -> dict[str, object]:
    return {
        "name": lie.name,
        "side": lie.side.value,
        "about": lie.about,
        "expected": lie.winner.value,
        "ends": sorted(fault.value for fault in lie.ends),
        "has_step": lie.has_step,
    }


def _console() -> Console:
    return Console(width=None if sys.stdout.isatty() else _WIDTH)
