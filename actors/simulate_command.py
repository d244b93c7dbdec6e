"""``oracle-vm oracle sim``: the oracle network in virtual time, under faults drawn from a seed."""

import json
from typing import Annotated, Any

import typer
from rich.console import Console

from actors.simulation.broken import Defence
from actors.simulation.campaign import Campaign, replay, run
from actors.simulation.scenario import draw
from protocol.oracle.messages import AGGREGATOR, Refused


def sim(
    schedules: Annotated[int, typer.Option(min=1, help="How many.")] = 300,
    seed: Annotated[int, typer.Option(help="The same seed gives the same run.")] = 1,
    schedule: Annotated[
        int | None, typer.Option(min=0, help="Replay this one alone, with every message.")
    ] = None,
    broken: Annotated[
        Defence | None, typer.Option("--break", help="Honest nodes lack this defence.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Run the oracle network in virtual time under seeded faults and check its invariants; the exit
    code is 1 if one was violated."""
    if schedule is None:
        with Console(stderr=True).status("") as status:
            campaign = run(
                seed,
                range(schedules),
                broken,
                lambda done: status.update(f"{done} of {schedules} schedules ..."),
            )
    else:
        if not as_json:
            print(draw(seed, schedule))
        campaign = replay(seed, schedule, _quiet if as_json else _trace, broken)
    if as_json:
        print(json.dumps(campaign.to_json()))
    else:
        _show(campaign)
    if campaign.violations:
        raise typer.Exit(1)


def _quiet(*_: Any) -> None:
    return


def _trace(at_ms: int, sender: int, to: int, message: Any) -> None:
    detail = getattr(message, "round", "")
    if isinstance(message, Refused):
        detail = f"{message.round} {message.refusal}"
    kind = type(message).__name__
    print(f"{at_ms:6} ms  {_name(sender):>10} -> {_name(to):<10}  {kind} {detail}")


def _name(address: int) -> str:
    return "aggregator" if address == AGGREGATOR else f"oracle {address}"


def _show(campaign: Campaign) -> None:
    report = campaign.to_json()
    grades = ", ".join(f"{count} {grade}" for grade, count in report["grades"].items())
    print(
        f"{report['schedules']} schedules of seed {report['seed']}: {report['certificates']}"
        f" certificates, reports: {grades}"
    )
    for name, times in report["invariants"].items():
        print(f"{times:>9}  {name}")
    kinds = ", ".join(f"{count} {kind}" for kind, count in report["faults"].items() if count)
    print(f"faults: {kinds}")
    for v in report["violations"][:10]:
        print(f"VIOLATED  {v['invariant']}: {v['detail']}")
        print(
            f"          replay: --seed {v['seed']} --schedule {v['schedule']} (at {v['at_ms']} ms)"
        )
    print(f"{len(report['violations'])} violations")
