"""``oracle-vm oracle keys``, ``aggregator keys`` and ``network ...``: keys, rosters and whole
networks on disk. Nothing is ever overwritten; what is printed is public."""

import re
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from actors.keyfile import load_keys
from actors.network import AGGREGATOR_NAME, NAME, load_network
from actors.network_files import (
    NAMES,
    SETTINGS,
    Layout,
    Venues,
    aggregator_entry,
    create_keys,
    oracle_entry,
    write_network,
)
from actors.operator import is_operator, load_operator
from actors.transport_options import parse_url
from protocol.errors import ConfigError
from protocol.oracle.config import MAX_ORACLES
from protocol.oracle.price import VENUES

network = typer.Typer(no_args_is_help=True, help="The network file that operators share.")

Name = Annotated[str, typer.Option(help="1 to 32 of a-z, 0-9 and -.")]
Url = Annotated[str, typer.Option(help="Where it will listen: wss://, or ws:// on loopback.")]
KeyFolder = Annotated[Path, typer.Argument(metavar="FOLDER", help="Gets the new key files.")]


def keys(folder: KeyFolder, name: Name, url: Url) -> None:
    """Create an oracle's key files and print its roster entry, with proofs of possession."""
    parse_url("--url", url)
    if not re.fullmatch(NAME, name) or name == AGGREGATOR_NAME:
        raise ConfigError(f"--name {name!r}: write 1 to 32 of a-z, 0-9 and -, not 'aggregator'")
    print(oracle_entry(name, url, create_keys(folder, "oracle")), end="")


def aggregator_keys(folder: KeyFolder, url: Url) -> None:
    """Create an aggregator's key file and print its roster entry."""
    parse_url("--url", url)
    print(aggregator_entry(url, create_keys(folder, "aggregator")), end="")


@network.command()
def check(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="network.toml or NAME.toml.")],
) -> None:
    """Check a network file, or an operator's file with its keys, and print what all must agree on:
    the digest of the configuration."""
    if not is_operator(file):
        loaded = load_network(file)
        print(f"{file}: valid, {len(loaded.names)} oracles, {len(loaded.feeds)} feeds")
        print(f"configuration {loaded.config.digest.hex()}")
        return
    operator = load_operator(file)
    try:
        load_keys(operator.keys, operator.publics)
        if operator.tls is not None:
            operator.tls.client()
            if operator.tls.cert is not None:
                operator.tls.server()
    except ConfigError as error:
        raise ConfigError(f"{file}: {error}") from None
    print(f"{file}: valid, {operator.role} {operator.name}")
    print(f"configuration {operator.network.config.digest.hex()}")


@network.command()
def init(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Gets everything; new or empty.")],
    oracles: Annotated[int, typer.Option(min=1, max=MAX_ORACLES)] = 3,
    feed: Annotated[list[str] | None, typer.Option(help="Repeat for several.")] = None,
    port: Annotated[int, typer.Option(min=1, max=65_000, help="The first of n + 1.")] = 7000,
    exchange: Annotated[
        list[str] | None,
        typer.Option(help="Only venue of an oracle, one after the other: what its hack costs!"),
    ] = None,
    venues: Annotated[str, typer.Option(help='"live", or a file with a [venues] table.')] = "live",
) -> None:
    """Write a network that runs on this machine: keys, network.toml and a file for each node."""
    for name in exchange or ():
        if name not in VENUES:
            raise ConfigError(f"--exchange {name}: choose from {', '.join(VENUES)}")
    names = NAMES[:oracles]
    settings = {"feeds": feed or SETTINGS["feeds"], "min_venues": 1 if exchange else 2}
    ports = range(port, port + 1 + oracles)
    layout = Layout(names, ports, settings, _venues(venues), exchange or ())
    write_network(folder, layout)
    print(f"oracle-vm aggregator run --config {folder / AGGREGATOR_NAME}.toml")
    for name in names:
        print(f"oracle-vm oracle run --config {folder / name}.toml")


class _VenuesFile(msgspec.Struct, forbid_unknown_fields=True):
    venues: dict[str, str | dict[str, str]]


def _venues(source: str) -> Venues:
    if source == "live":
        return dict.fromkeys(VENUES, source)
    path = Path(source)
    try:
        return msgspec.toml.decode(path.read_bytes(), type=_VenuesFile).venues
    except OSError as error:
        raise ConfigError(f"--venues {path}: cannot be read ({error.strerror})") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"--venues {path}: {error}") from None
