"""``oracle-vm oracle keys``, ``aggregator keys`` and ``network ...``: keys, rosters and whole
networks on disk. Nothing is ever overwritten; what is printed is public."""

import re
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from actors.epochs import Networks, load_networks
from actors.keyfile import load_key, load_keys
from actors.network import AGGREGATOR_NAME, NAME, Network, require_secure
from actors.network_files import (
    NAMES,
    SETTINGS,
    Layout,
    Venues,
    aggregator_entry,
    create_keys,
    oracle_entry,
    pin_fields,
    write_network,
)
from actors.operator import is_operator, load_operator
from actors.rotation_commands import rotate
from actors.signer_config import key_file
from actors.transport_options import parse_url
from actors.transport_tls import create_certificate, read_certificate, require_pin
from protocol.errors import ConfigError
from protocol.oracle.config import MAX_ORACLES
from protocol.oracle.price import VENUES

network = typer.Typer(no_args_is_help=True, help="The network file that operators share.")
network.add_typer(rotate, name="rotate")

Name = Annotated[str, typer.Option(help="1 to 32 of a-z, 0-9 and -.")]
Url = Annotated[str, typer.Option(help="Where it will listen: wss://, or ws:// on loopback.")]
KeyFolder = Annotated[Path, typer.Argument(metavar="FOLDER", help="Gets the new key files.")]


PinTls = Annotated[
    bool, typer.Option("--tls", help="Make a TLS key for the URL's host too, and pin it.")
]


def keys(folder: KeyFolder, name: Name, url: Url, pin_tls: PinTls = False) -> None:
    """Create an oracle's key files and print its roster entry, with proofs of possession."""
    host = _tls_host(url, pin_tls)
    if not re.fullmatch(NAME, name) or name == AGGREGATOR_NAME:
        raise ConfigError(f"--name {name!r}: write 1 to 32 of a-z, 0-9 and -, not 'aggregator'")
    held = create_keys(folder, "oracle")
    pin = create_certificate(folder, host).pin if host else None
    print(oracle_entry(name, url, held, pin), end="")


def aggregator_keys(folder: KeyFolder, url: Url, pin_tls: PinTls = False) -> None:
    """Create an aggregator's key file and print its roster entry."""
    host = _tls_host(url, pin_tls)
    held = create_keys(folder, "aggregator")
    pin = create_certificate(folder, host).pin if host else None
    print(aggregator_entry(url, held, pin), end="")


def _tls_host(url: str, pin_tls: bool) -> str | None:
    uri = parse_url("--url", url)
    if pin_tls:
        require_secure(url)
    return uri.host if pin_tls else None


@network.command()
def tls(
    config: Annotated[Path, typer.Option(help="The operator's TOML file.")],
    folder: Annotated[
        Path | None,
        typer.Option("--new", metavar="FOLDER", help="Make a new key and certificate there."),
    ] = None,
    signer: Annotated[
        Path | None, typer.Option(help="The signer's TOML file, if it has the keys.")
    ] = None,
) -> None:
    """Print tls_key and tls_proof of a node's TLS certificate, for its table of network.toml."""
    operator = load_operator(config)
    host = _tls_host(operator.network.peers[operator.address].url, folder is not None)
    if folder is not None:
        pin = create_certificate(folder, host or "").pin
    elif operator.tls is None or operator.tls.cert is None:
        raise ConfigError(f"{config}: [tls] certificate: none there; --new FOLDER makes one")
    else:
        pin = read_certificate(operator.tls.cert).pin
    identity = load_key(key_file(operator.keys, "identity", signer))
    for field, value in pin_fields(operator.name, identity, pin).items():
        print(f'{field} = "{value}"')


@network.command()
def check(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="network.toml or NAME.toml.")],
) -> None:
    """Check a network file, or an operator's file with its keys, and print what all must agree on:
    the digest of the configuration."""
    if not is_operator(file):
        loaded = load_networks(file)
        now = loaded.now()
        print(f"{file}: valid, {len(now.names)} oracles, {len(now.feeds)} feeds")
        _print_epochs(loaded, now)
        return
    operator = load_operator(file)
    try:
        load_keys(operator.keys, operator.publics)
        if operator.tls is not None:
            operator.tls.client()
            if operator.tls.cert is not None:
                operator.tls.server()
                pin = operator.roster[operator.address].tls_key
                if pin is not None:
                    require_pin(operator.tls.cert, pin)
    except ConfigError as error:
        raise ConfigError(f"{file}: {error}") from None
    print(f"{file}: valid, {operator.role} {operator.name}")
    _print_epochs(operator.networks, operator.network)


def _print_epochs(networks: Networks, now: Network) -> None:
    print(f"configuration {now.config.digest.hex()}")
    for one in networks.all if len(networks.all) > 1 else ():
        print(
            f"epoch {one.config.epoch} from round {networks.begins(one)}:"
            f" {one.config.digest.hex()}, {one.config.quorum} of {', '.join(one.names)}"
        )


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
