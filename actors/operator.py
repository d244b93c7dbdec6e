"""An operator's own file: which node of the network this is, and what it runs on (TOML).

    [node]         role, name, the network file, folder, addresses
    [keys]         paths, never keys
    [venues]       where an oracle hears prices: "live", or the URLs of a venue
    [tls] [limits] if wanted

Paths are relative to the file. No secret is read here (``keyfile.load_keys`` does).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

from msgspec import Meta, field
from msgspec.structs import replace

from actors.feeds.endpoints import LIVE, Endpoint
from actors.feeds.products import symbol_at
from actors.network import AGGREGATOR_NAME, Name, Network, Positive, Table, decode, load_network
from actors.transport_options import Address, Limits, Tls, is_loopback, parse_address
from protocol.errors import ConfigError, ProtocolError
from protocol.oracle.messages import AGGREGATOR
from protocol.oracle.price import USDT_QUOTED, USDT_RATE_VENUES, VENUES

PURPOSES: Final[Mapping[str, tuple[str, ...]]] = {
    "oracle": ("identity", "oracle", "dlc", "nonce_seed"),
    "aggregator": ("identity",),
}
"""The keys of each role. One file a purpose: a leak or a mistake with one says nothing of the rest.
``dlc`` and ``nonce_seed`` are for attestations of discreet log contracts."""

LIMITS: Final = Limits()

Text = Annotated[str, Meta(min_length=1)]


class _Node(Table, frozen=True):
    role: Literal["oracle", "aggregator"]
    name: Name
    folder: Text
    listen: str
    network: Text = "network.toml"
    metrics: str = "127.0.0.1:0"
    log: Literal["debug", "info", "warning", "error"] = "info"
    exchange: str | None = None  # the only venue to price with


class _Keys(Table, frozen=True):
    identity: Text
    oracle: Text | None = None
    dlc: Text | None = None
    nonce_seed: Text | None = None


class _Venue(Table, frozen=True):
    websocket: str
    rest: str | None = None


class _Tls(Table, frozen=True):
    ca: Text | None = None
    certificate: Text | None = None
    key: Text | None = None


class _Limits(Table, frozen=True):
    frames_per_s: Positive = LIMITS.frames_per_s
    bytes_per_s: Positive = LIMITS.bytes_per_s
    subscribers: Positive = LIMITS.observers


class _OperatorFile(Table, frozen=True):
    node: _Node
    keys: _Keys
    venues: dict[str, _Venue | Literal["live"]] = field(default_factory=dict)
    tls: _Tls | None = None
    limits: _Limits = _Limits()


@dataclass(frozen=True, slots=True, kw_only=True)
class Operator:
    """One node of the network and its own settings. ``address`` is its oracle index or AGGREGATOR;
    ``keys`` are paths by purpose, ``publics`` the keys that the roster has for them; ``exchange``
    is the only one of ``venues`` that prices come from, in single-venue mode (the others show what
    USDT is worth); ``tls`` is None on loopback without it."""

    network: Network
    role: Literal["oracle", "aggregator"]
    name: str
    address: int
    folder: Path
    listen: Address
    metrics: Address
    log: str
    keys: Mapping[str, Path]
    venues: Mapping[str, Endpoint]
    exchange: str | None
    tls: Tls | None
    limits: Limits

    @property
    def publics(self) -> dict[str, bytes]:
        """The x-only keys that the files of ``keys`` must hold, as far as the roster says."""
        found = {"identity": self.network.peers[self.address].identity}
        if self.role == "oracle":
            found["oracle"] = self.network.config.oracles[self.address]
        return found


def load_operator(path: Path, exchange: str | None = None) -> Operator:
    """The operator in ``path`` and the network that it names; ``exchange`` replaces the file's.
    ConfigError names file, table and field and what it should be."""
    file = decode(path, _OperatorFile)
    if exchange is not None:
        file = replace(file, node=replace(file.node, exchange=exchange))
    network = load_network(path.parent / file.node.network)
    try:
        return _operator(file, path.parent, network)
    except ProtocolError as error:
        raise ConfigError(f"{path}: {error}") from None


def is_operator(path: Path) -> bool:
    """Whether the file has a [node] table; ConfigError if it cannot be read."""
    return "node" in decode(path, dict)


def _operator(file: _OperatorFile, folder: Path, network: Network) -> Operator:
    node = file.node
    listen = parse_address("[node] listen", node.listen)
    metrics = parse_address("[node] metrics", node.metrics)
    if not is_loopback(metrics.host):
        raise ConfigError(f"[node] metrics: {node.metrics}: use an address of loopback")
    return Operator(
        network=network,
        role=node.role,
        name=node.name,
        address=_own_address(node, network),
        folder=folder / node.folder,
        listen=listen,
        metrics=metrics,
        log=node.log,
        keys=_key_paths(file.keys, node.role, folder),
        venues=_venues(file, network),
        exchange=node.exchange,
        tls=_tls(file.tls, listen, folder),
        limits=Limits(
            frames_per_s=file.limits.frames_per_s,
            bytes_per_s=file.limits.bytes_per_s,
            observers=file.limits.subscribers,
        ),
    )


def _own_address(node: _Node, network: Network) -> int:
    if node.role == "aggregator":
        if node.name != AGGREGATOR_NAME:
            raise ConfigError(f"[node] name: the aggregator's is {AGGREGATOR_NAME!r}")
        return AGGREGATOR
    if node.name not in network.names:
        raise ConfigError(
            f"[node] name: {node.name!r} is not in the roster of {node.network}:"
            f" {', '.join(network.names)}"
        )
    return network.names.index(node.name)


def _key_paths(table: _Keys, role: str, folder: Path) -> dict[str, Path]:
    paths: dict[str, Path] = {}
    owners: dict[Path, str] = {}
    for purpose in PURPOSES["oracle"]:
        text = getattr(table, purpose)
        if (text is None) == (purpose in PURPOSES[role]):
            what = "name its file" if text is None else f"an {role} has no such key, remove it"
            raise ConfigError(f"[keys] {purpose}: {what}")
        if text is None:
            continue
        path = folder / text
        other = owners.setdefault(path.resolve(), purpose)
        if other != purpose:
            raise ConfigError(f"[keys] {purpose}: the same file as {other}; one file a purpose")
        paths[purpose] = path
    return paths


def _venues(file: _OperatorFile, network: Network) -> dict[str, Endpoint]:
    exchange, min_venues = file.node.exchange, network.config.min_venues
    if file.node.role == "aggregator":
        if file.venues or exchange is not None:
            raise ConfigError("[venues] and [node] exchange: an aggregator has none, remove them")
        return {}
    found = {name: _endpoint(name, venue) for name, venue in file.venues.items()}
    if len(found) < min_venues:
        raise ConfigError(
            f"[venues] {', '.join(found) or 'none'}: the network's min_venues is {min_venues};"
            f" choose from {', '.join(VENUES)}"
        )
    if exchange is not None and exchange not in found:
        raise ConfigError(f"[node] exchange: {exchange!r} is not in [venues]")
    if exchange is not None and min_venues != 1:
        raise ConfigError(f"[node] exchange: needs a network with min_venues = 1, not {min_venues}")
    quoted = USDT_QUOTED & ({exchange} if exchange else found.keys())
    if quoted and not found.keys() & set(USDT_RATE_VENUES):
        raise ConfigError(
            f"[venues] {', '.join(quoted)} quotes in USDT: add {' or '.join(USDT_RATE_VENUES)},"
            " where USDT has a price"
        )
    _require_products(found, network)
    return found


def _require_products(venues: Iterable[str], network: Network) -> None:
    for feed in network.feeds:
        for venue in venues:
            try:
                symbol_at(venue, feed.symbol.replace("/", "-"))
            except ConfigError as error:
                raise ConfigError(f"[network] feeds: {feed.symbol}: {error}") from None


def _endpoint(name: str, venue: _Venue | Literal["live"]) -> Endpoint:
    if name not in VENUES:
        raise ConfigError(f"[venues] {name}: unknown; choose from {', '.join(VENUES)}")
    if isinstance(venue, str):
        return LIVE[name]
    if venue.rest is not None:
        url = urlsplit(venue.rest)
        if url.scheme != "https" and not (url.scheme == "http" and is_loopback(url.hostname or "")):
            raise ConfigError(
                f"[venues.{name}] rest: {venue.rest!r}: use https://, or http:// on loopback"
            )
    try:
        return Endpoint(venue.websocket, venue.rest)
    except ConfigError as error:
        raise ConfigError(f"[venues.{name}] websocket: {error}") from None


def _tls(table: _Tls | None, listen: Address, folder: Path) -> Tls | None:
    if table is not None and (table.certificate is None) != (table.key is None):
        raise ConfigError("[tls] certificate and key: name both files or none")
    if not is_loopback(listen.host) and (table is None or table.certificate is None):
        raise ConfigError(
            f"[tls] certificate and key: needed to listen on {listen.host}; or listen on loopback"
            " behind a proxy that has them"
        )
    if table is None:
        return None
    ca, cert, key = (
        None if text is None else folder / text for text in (table.ca, table.certificate, table.key)
    )
    return Tls(ca, cert, key)
