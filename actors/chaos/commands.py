"""``oracle-vm chaos ...``: break a running network on purpose, by a plan, and see what holds."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from actors.chaos.invariants import Invariant
from actors.chaos.kinds import KINDS
from actors.chaos.plan import load_plan

chaos = typer.Typer(no_args_is_help=True, help="Faults on purpose, and what must hold meanwhile.")


@chaos.callback()
def _chaos() -> None:
    """A group, also with one command."""


@chaos.command()
def run(
    plan: Annotated[Path, typer.Argument(metavar="PLAN.toml", help="What will happen.")],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
    seed: Annotated[int | None, typer.Option(min=0, help="Instead of the plan's.")] = None,
    broken: Annotated[
        Invariant | None,
        typer.Option("--break", help="Take away what this one rests on: it must be reported."),
    ] = None,
    report: Annotated[
        Path, typer.Option(metavar="DIR", help="Where report.md, timeline.png and the logs go.")
    ] = Path("chaos-report"),
) -> None:
    """Run a plan of faults against a network of real processes on this machine.

    The exit code is 1 if an invariant was violated.
    """
    from actors.chaos.report import record, summary, write_report
    from actors.chaos.run import run as run_plan  # takes the programs

    loaded = load_plan(plan, seed)
    screen = Console(stderr=True, highlight=False, soft_wrap=True)
    outcome = run_plan(loaded, broken, screen.print)
    files = write_report(outcome, report)
    print(json.dumps(record(outcome, files[0])) if as_json else summary(outcome, files))
    raise typer.Exit(1 if outcome.violations else 0)


@chaos.command()
def kinds() -> None:
    """The kinds of faults that a plan can have, and what they need."""
    for name, kind in KINDS.items():
        print(f"{name:14} {' '.join((kind.__doc__ or '').split())}")
        own = {f: getattr(kind(), f) for f in kind.__struct_fields__ if f not in ("victim", "at_s")}
        print(f"{'':14} {', '.join(f'{field} = {json.dumps(own[field])}' for field in own)}")
