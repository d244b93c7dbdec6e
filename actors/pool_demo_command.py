"""``oracle-vm pool demo``: a day of a pool on three tokens, settled on a chain."""

import json
from pathlib import Path
from typing import Annotated

import typer

from actors.pool_demo import STEPS, PoolDemo
from actors.terminal import Announcer, new_folder
from protocol.dispute.claim import Party
from protocol.dispute.lies.catalog import catalogue
from protocol.errors import ConfigError
from protocol.pool.image import LOG4_STEPS


def demo(
    seed: Annotated[int, typer.Option(min=0, help="Of prices, people and keys.")] = 2,
    steps: Annotated[int, typer.Option(min=2, max=288, help="Batches of the day.")] = STEPS,
    chain: Annotated[
        bool, typer.Option("--chain/--no-chain", help="Settle every batch on Bitcoin (regtest).")
    ] = True,
    prove: Annotated[
        bool, typer.Option("--prove", help="Show what the guest made of every batch.")
    ] = False,
    lie: Annotated[
        str, typer.Option(help="The sequencer tells it about the last batch; `dispute list`.")
    ] = "",
    folder: Annotated[
        Path | None,
        typer.Option("--dir", help="Keep all files here, the picture too."),
    ] = None,
    plot: Annotated[Path | None, typer.Option(help="The picture, .png or .svg.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """A simulated day: providers and traders, three oracles, liquidations, orders, funding, and
    every batch an ADVANCE of the pool's STATE. Prices are made up, every signature is real."""
    if lie:
        require_lie(lie, chain=chain)
    with new_folder(folder) as place, Announcer() as announce:
        picture = plot or (None if folder is None else place / "day.png")
        run = PoolDemo(place, seed, steps, announce, chain=chain, proves=prove, lie=lie)
        report = run.run(picture)
    if as_json:
        print(json.dumps(report.to_json()))
    else:
        print("\n".join(report.story(proofs=prove)))
    if not report.ok:
        raise typer.Exit(1)


def require_lie(name: str, *, chain: bool) -> None:
    """ConfigError unless a sequencer can tell it about a batch, and there is a chain to judge."""
    if not chain:
        raise ConfigError("--lie: it is told on the chain; leave --no-chain out")
    lies = catalogue(LOG4_STEPS, opened=True)
    known = [lie for lie, told in lies.items() if told.side is Party.PROVER]
    if name not in known:
        raise ConfigError(f"--lie {name}: a sequencer's lies are {', '.join(known)}")
