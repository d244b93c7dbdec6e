"""``oracle-vm oracle ...`` and ``oracle-vm aggregator ...``: nodes as plain processes."""

import asyncio
import json
import logging
from pathlib import Path
from typing import Annotated, Any

import typer

from actors.aggregator import EXPIRE_S, AggregatorProgram
from actors.control import call
from actors.dlc_commands import dlc
from actors.key_commands import aggregator_keys, keys
from actors.logs import open_log
from actors.operator import Operator, load_operator
from actors.oracle import OracleProgram
from actors.program import Program, run
from actors.rotation_commands import oracle_rotate
from actors.simulate_command import sim
from protocol.errors import ConfigError

oracle = typer.Typer(no_args_is_help=True, help="An oracle of the network.")
aggregator = typer.Typer(no_args_is_help=True, help="The aggregator of the network.")
oracle.command()(keys)
oracle.command()(sim)
oracle.add_typer(oracle_rotate, name="rotate")
oracle.add_typer(dlc, name="dlc")
aggregator.command("keys")(aggregator_keys)

STATUS_S = 5.0

Config = Annotated[Path, typer.Option(help="The operator's TOML file.")]


@oracle.command("run")
def oracle_run(
    config: Config,
    exchange: Annotated[
        str | None, typer.Option(help="Price with this venue alone (min_venues = 1).")
    ] = None,
) -> None:
    """Run an oracle until SIGINT or SIGTERM; logs on stderr."""
    _serve(_operator(config, "oracle", exchange))


@aggregator.command("run")
def aggregator_run(config: Config) -> None:
    """Run the aggregator until SIGINT or SIGTERM; logs on stderr."""
    _serve(_operator(config, "aggregator"))


@oracle.command("status")
def oracle_status(config: Config) -> None:
    """What the running oracle says of itself, as JSON."""
    _ask(_operator(config, "oracle"), "status", STATUS_S)


@aggregator.command("status")
def aggregator_status(config: Config) -> None:
    """What the running aggregator says of itself, as JSON."""
    _ask(_operator(config, "aggregator"), "status", STATUS_S)


@aggregator.command("expire")
def aggregator_expire(
    config: Config,
    start: Annotated[int, typer.Option(help="The first round of the window.")],
    target: Annotated[int, typer.Option(help="The round of expiry.")],
    feed: Annotated[str, typer.Option()] = "BTC/USD",
    grace: Annotated[int, typer.Option(help="Rounds after it that may stand in.")] = 600,
    window: Annotated[int, typer.Option(help="Rounds of a TWAP; 0 for the spot.")] = 0,
    exercise: Annotated[
        int | None, typer.Option(help="An American contract: the round that settles it.")
    ] = None,
    contract: Annotated[str, typer.Option(help="Its preimage in hex.")] = "",
    quorum: Annotated[
        int | None,
        typer.Option(min=1, help="Signatures; as the contract's terms say, if not the network's."),
    ] = None,
    epoch: Annotated[
        int | None, typer.Option(help="The contract's, if the network has rotated since.")
    ] = None,
) -> None:
    """Have the oracles sign an expiry (EXP) over their certified history; JSON for `verify`."""
    operator = _operator(config, "aggregator")
    arguments = {
        "feed": feed,
        "start": start,
        "target": target,
        "grace": grace,
        "window": window,
        "exercise": exercise,
        "contract": contract,
        "quorum": quorum,
    }
    if epoch is not None:
        arguments["config"] = operator.networks.epoch(epoch).config.digest.hex()
    _ask(operator, "expire", 2 * EXPIRE_S, **arguments)


@aggregator.command("notice")
def aggregator_notice(
    config: Config,
    notice: Annotated[str, typer.Argument(help="The signed notice (EXN1) in hex.")],
) -> None:
    """Pass the exercise notice of an American option's holder to all oracles."""
    _ask(_operator(config, "aggregator"), "notice", STATUS_S, notice=notice)


def _operator(file: Path, role: str, exchange: str | None = None) -> Operator:
    operator = load_operator(file, exchange)
    if operator.role != role:
        raise ConfigError(f"{file}: [node] role is {operator.role}, not {role}: name another file")
    return operator


def _serve(operator: Operator) -> None:
    open_log(level=getattr(logging, operator.log.upper()), operator=operator.name)
    kind: type[Program] = OracleProgram if operator.role == "oracle" else AggregatorProgram
    asyncio.run(run(kind(operator, operator.network.clock)))


def _ask(operator: Operator, method: str, deadline_s: float, **arguments: Any) -> None:
    path = operator.folder / "control.sock"
    print(json.dumps(asyncio.run(call(path, method, deadline_s, **arguments))))
