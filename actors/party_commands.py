"""``oracle-vm party ...``: one side of one contract as a process, and what to ask of it."""

import asyncio
import json
import logging
from collections.abc import Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final

import typer

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

log = logging.getLogger(__name__)

Config = Annotated[Path, typer.Option(help="The party's TOML file.")]


class RoleName(StrEnum):
    """``protocol.settlement.terms.Role`` on the command line."""

    HOLDER = "holder"
    WRITER = "writer"


@party.command()
def run(
    role: Annotated[RoleName, typer.Option(help="Must be the file's: nobody signs by mistake.")],
    config: Config,
    lie: Annotated[
        str | None,
        typer.Option(help="FOR TESTS: lie on purpose, and lose. `dispute list` names all lies."),
    ] = None,
) -> None:
    """Run a party until SIGINT or SIGTERM; logs on stderr. Start it again on the same folder and it
    goes on."""
    settings = load_party(config)
    if settings.role.value != role.value:
        raise ConfigError(f"{config}: [party] role is {settings.role.value}, not {role.value}")
    open_log(level=getattr(logging, settings.log.upper()))
    asyncio.run(until_stopped(program_of(settings, lie).serve()))


def program_of(settings: PartyConfig, lie: str | None) -> PartyProgram:
    """The program of a party, of a lying one if a lie is named."""
    if lie is None:
        return PartyProgram(settings, settings.oracles.clock)
    from actors.party_lie import lying  # takes the machine, which an honest party may never need

    log.warning("THIS PARTY LIES ON PURPOSE (--lie %s): it will lose", lie)
    program = PartyProgram(
        settings, settings.oracles.clock, strategy=lying(lie, lambda: program.party)
    )
    return program


@party.command()
def keys(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Gets the new key files.")],
) -> None:
    """Create identity.key and wallet.key, and print the identity key for the other side's file."""
    held = {name: create_key(folder / f"{name}.key") for name in ("identity", "wallet")}
    print(f'[peer]\nidentity_key = "{held["identity"].public.hex()}"')


@party.command()
def status(
    config: Config,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Where the running party stands, and whose move it is in a dispute."""
    found = _answer(config, "status")
    print(json.dumps(found) if as_json else "\n".join(status_lines(found)))


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


def status_lines(found: Mapping[str, Any]) -> Iterator[str]:
    """A party's status for a person."""
    yield f"{found['role']} of {found['contract'] or 'no contract yet'}"
    yield f"{found['stage']} {found['outcome']}".strip() + f", at block {found['height']:,}"
    dispute = found["dispute"]
    if dispute is not None and dispute["turn"] is not None:
        awaited = f"the {dispute['prover']}'s claim waits for {dispute['wait']}"
        yield f"{awaited} of the {dispute['turn']} until block {dispute['until_height']:,}"
    elif dispute is not None:
        yield f"the {dispute['prover']}'s claim ended in {dispute['leaf']}: {dispute['winner']} won"
    if dispute is not None and dispute["step"] is not None:
        yield f"disputed step {dispute['step']:,}"
    if found["fault"]:
        yield f"waiting: {found['fault']}"


def _ask(config: Path, method: str, deadline_s: float = ASK_S, **arguments: Any) -> None:
    print(json.dumps(_answer(config, method, deadline_s, **arguments)))


def _answer(config: Path, method: str, deadline_s: float = ASK_S, **arguments: Any) -> Any:
    settings: PartyConfig = load_party(config)
    return asyncio.run(call(settings.folder / CONTROL, method, deadline_s, **arguments))
