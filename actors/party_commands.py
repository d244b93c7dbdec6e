"""``oracle-vm party ...``: one side of one contract as a process, and what to ask of it."""

import asyncio
import json
import logging
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from actors.clock import SystemClock
from actors.control import call
from actors.keyfile import create_key
from actors.logs import open_log
from actors.party import PartyProgram
from actors.party_config import PartyConfig, load_party
from actors.party_folder import CONTROL
from actors.until_stopped import until_stopped
from protocol.errors import ConfigError

party = typer.Typer(no_args_is_help=True, help="One side of an option contract.")

ASK_S: Final = 10.0
PROVE_S: Final = 120.0
"""Settling proves the claim first; on a new machine the prover is compiled before that."""

Config = Annotated[Path, typer.Option(help="The party's TOML file.")]


class RoleName(StrEnum):
    """``protocol.settlement.terms.Role`` on the command line."""

    HOLDER = "holder"
    WRITER = "writer"


@party.command()
def run(
    role: Annotated[RoleName, typer.Option(help="Must be the file's: nobody signs by mistake.")],
    config: Config,
) -> None:
    """Run a party until SIGINT or SIGTERM; logs on stderr. Start it again on the same folder and it
    goes on."""
    settings = load_party(config)
    if settings.role.value != role.value:
        raise ConfigError(f"{config}: [party] role is {settings.role.value}, not {role.value}")
    open_log(level=getattr(logging, settings.log.upper()))
    asyncio.run(until_stopped(PartyProgram(settings, SystemClock()).serve()))


@party.command()
def keys(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Gets the new key files.")],
) -> None:
    """Create identity.key and wallet.key, and print the identity key for the other side's file."""
    held = {name: create_key(folder / f"{name}.key") for name in ("identity", "wallet")}
    print(f'[peer]\nidentity_key = "{held["identity"].public.hex()}"')


@party.command()
def status(config: Config) -> None:
    """Where the running party stands, as JSON."""
    _ask(config, "status")


@party.command()
def transactions(config: Config) -> None:
    """The contract's transactions on the chain, as JSON."""
    _ask(config, "transactions")


@party.command()
def settle(
    config: Config,
    certificate: Annotated[str, typer.Argument(help="What the oracles signed (EXP1) in hex.")],
) -> None:
    """Close together with the other side at what the oracles say, or claim it."""
    _ask(config, "settle", PROVE_S, certificate=certificate)


@party.command()
def close(config: Config) -> None:
    """From now on, offer the other side to close together."""
    _ask(config, "close")


@party.command()
def claim(config: Config) -> None:
    """From now on, claim without waiting for the other side."""
    _ask(config, "claim")


@party.command()
def exercise(
    config: Config,
    round_id: Annotated[int, typer.Argument(metavar="ROUND", help="Of the oracles.", min=0)],
) -> None:
    """Sign the notice that an American option is exercised in ROUND; `aggregator notice` takes
    it."""
    _ask(config, "exercise", round_id=round_id)


def _ask(config: Path, method: str, deadline_s: float = ASK_S, **arguments: Any) -> None:
    settings: PartyConfig = load_party(config)
    answer = asyncio.run(call(settings.folder / CONTROL, method, deadline_s, **arguments))
    print(json.dumps(answer))
