"""``oracle-vm pool``: a scenario of the multi-asset pool, operation by operation."""

import json
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from typer.core import TyperGroup

from actors import pool_compare, pool_story
from actors.pool_play import Play, play
from actors.pool_scenario import Scenario, load_scenario
from protocol.pool.batch import Batch
from protocol.pool.pool import Pool

_LATER: Final = {"demo": "actors.pool_demo_command", "submit": "actors.pool_submit"}


class _Commands(TyperGroup):
    """Others are imported when they are called: a scenario needs neither plots nor a chain."""

    def list_commands(self, ctx: Any) -> list[str]:
        return [*super().list_commands(ctx), *_LATER]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in _LATER:
            return super().get_command(ctx, cmd_name)
        alone = typer.Typer(add_completion=False, rich_markup_mode=None)
        alone.command(cmd_name)(getattr(import_module(_LATER[cmd_name]), cmd_name))
        return typer.main.get_command(alone)


pool = typer.Typer(cls=_Commands, no_args_is_help=True, rich_markup_mode=None)


@pool.callback()
def _pool() -> None:
    """The multi-asset pool."""


@pool.command("run")
def run(
    scenario: Annotated[Path, typer.Argument(metavar="SCENARIO.json", help="docs/pool.md.")],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
    prove: Annotated[
        bool, typer.Option("--prove", help="Run every batch in the guest too: steps and root.")
    ] = False,
) -> None:
    """Play a scenario: every operation signed by a test key, accepted or refused with its code,
    payout, fees, and the state after it."""
    told = load_scenario(scenario)
    played = _proved(told) if prove else play(told)
    outcomes = pool_compare.compare(played) if told.compare else []
    if as_json:
        answer = pool_story.to_json(played)
        if outcomes:
            answer["comparison"] = [outcome.to_json() for outcome in outcomes]
        print(json.dumps(answer))
        return
    console = Console()
    pool_story.show(played, console)
    if outcomes:
        pool_compare.show(outcomes, console)


def _proved(scenario: Scenario) -> Play:
    # Not at the top: a scenario that is only played need not load the machine.
    from actors.pool_prove import run_proved, scenario_oracles

    def judge(pool: Pool, batch: Batch) -> dict[str, Any]:
        result, proof = run_proved(pool, batch)
        return {"new_root": result.journal.new_root.hex(), **proof.to_json()}

    return play(scenario, judge, scenario_oracles().digest)
