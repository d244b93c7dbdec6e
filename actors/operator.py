"""An operator's own file: which node of the network this is, and what it runs on (TOML).

    [node]         role, name, the network file, folder, addresses
    [keys]         paths, never keys; or
    [signer]       the socket of the process that has them (``oracle-vm signer run``)
    [venues]       where an oracle hears prices: "live", or the URLs of a venue
    [tls] [limits] if wanted

Paths are relative to the file. No secret is read here: a signer does.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from dataclasses import replace as replace_fields
from pathlib import Path
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

from msgspec import Meta, field
from msgspec.structs import replace

from actors.epochs import Networks, load_networks
from actors.feeds.endpoints import LIVE, Endpoint
from actors.feeds.products import symbol_at
from actors.network import (
    AGGREGATOR_NAME,
    Name,
    Network,
    Positive,
    PublicHex,
    Table,
    decode,
    require_secure,
)
from actors.signer_config import Keys, key_paths
from actors.transport_options import Address, Limits, Peer, Tls, is_loopback, parse_address
from protocol.errors import ConfigError, ProtocolError
from protocol.oracle.messages import AGGREGATOR
from protocol.oracle.price import USDT_QUOTED, USDT_RATE_VENUES, VENUES

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


class _Signer(Table, frozen=True):
    socket: Text


class _Venue(Table, frozen=True):
    websocket: str
    rest: str | None = None


class _Tls(Table, frozen=True):
    ca: Text | None = None
    certificate: Text | None = None
    key: Text | None = None
    pins: dict[str, PublicHex] = field(default_factory=dict)


class _Limits(Table, frozen=True):
    frames_per_s: Positive = LIMITS.frames_per_s
    bytes_per_s: Positive = LIMITS.bytes_per_s
    subscribers: Positive = LIMITS.observers


class _OperatorFile(Table, frozen=True):
    node: _Node
    keys: Keys | None = None
    signer: _Signer | None = None
    venues: dict[str, _Venue | Literal["live"]] = field(default_factory=dict)
    tls: _Tls | None = None
    limits: _Limits = _Limits()


@dataclass(frozen=True, slots=True, kw_only=True)
class Operator:
    """One node of the network and its own settings, as ``file`` has them. ``network`` is that of
    the epoch in which it takes part, ``networks`` has all; ``address`` is its oracle index there or
    AGGREGATOR; ``keys`` are paths by purpose, none if ``signer`` is the socket of a process that
    has them, ``publics`` the keys that the roster has for them; ``exchange`` is the only one of
    ``venues`` that prices come from, in single-venue mode (the others show what USDT is worth);
    ``tls`` is None on loopback without it."""

    file: Path
    networks: Networks
    network: Network
    role: Literal["oracle", "aggregator"]
    name: str
    address: int
    folder: Path
    listen: Address
    metrics: Address
    log: str
    keys: Mapping[str, Path]
    signer: Path | None
    venues: Mapping[str, Endpoint]
    exchange: str | None
    tls: Tls | None
    limits: Limits
    pins: Mapping[str, bytes]
    """Of peers' TLS keys by name, in the place of the roster's."""

    @property
    def roster(self) -> dict[int, Peer]:
        """Everybody by address, with this operator's own pins."""
        return {
            address: replace_fields(
                peer, tls_key=self.pins.get(self.name_of(address), peer.tls_key)
            )
            for address, peer in self.network.peers.items()
        }

    def name_of(self, address: int) -> str:
        """What the operator at an address is called."""
        return AGGREGATOR_NAME if address == AGGREGATOR else self.network.names[address]

    @property
    def publics(self) -> dict[str, bytes]:
        """The x-only keys that the files of ``keys`` must hold, as far as the roster says."""
        found = {"identity": self.network.peers[self.address].identity}
        if self.role == "oracle":
            found["oracle"] = self.network.config.oracles[self.address]
        return found

    def address_in(self, network: Network) -> int | None:
        """Its address in another epoch, None if it is not in that roster."""
        return _address_in(self.role, self.name, network)


def load_operator(path: Path, exchange: str | None = None, now_ms: int | None = None) -> Operator:
    """The operator in ``path`` and the network that it names, in the epoch of ``now_ms`` (unix; by
    default of this moment) or, who is not in that roster, in the one that it joins; ``exchange``
    replaces the file's. ConfigError names file, table and field and what it should be."""
    file = decode(path, _OperatorFile)
    if exchange is not None:
        file = replace(file, node=replace(file.node, exchange=exchange))
    networks = load_networks(path.parent / file.node.network)
    try:
        return _operator(file, path, networks, now_ms)
    except ProtocolError as error:
        raise ConfigError(f"{path}: {error}") from None


def is_operator(path: Path) -> bool:
    """Whether the file has a [node] table; ConfigError if it cannot be read."""
    return "node" in decode(path, dict)


def _operator(file: _OperatorFile, path: Path, networks: Networks, now_ms: int | None) -> Operator:
    node, folder = file.node, path.parent
    network, address = _own_place(node, networks, now_ms or networks.clock.now_ms())
    listen = parse_address("[node] listen", node.listen)
    metrics = parse_address("[node] metrics", node.metrics)
    if not is_loopback(metrics.host):
        raise ConfigError(f"[node] metrics: {node.metrics}: use an address of loopback")
    return Operator(
        file=path,
        networks=networks,
        network=network,
        role=node.role,
        name=node.name,
        address=address,
        folder=folder / node.folder,
        listen=listen,
        metrics=metrics,
        log=node.log,
        keys=_key_paths(file, folder),
        signer=None if file.signer is None else folder / file.signer.socket,
        venues=_venues(file, network),
        exchange=node.exchange,
        tls=_tls(file.tls, listen, folder),
        pins=_pins(file.tls, networks),
        limits=Limits(
            frames_per_s=file.limits.frames_per_s,
            bytes_per_s=file.limits.bytes_per_s,
            observers=file.limits.subscribers,
        ),
    )


def _pins(table: _Tls | None, networks: Networks) -> dict[str, bytes]:
    found = {}
    for name, pin in ({} if table is None else table.pins).items():
        role = "aggregator" if name == AGGREGATOR_NAME else "oracle"
        at = [(network, _address_in(role, name, network)) for network in networks.all]
        urls = [network.peers[i].url for network, i in at if i is not None]
        if not urls:
            raise ConfigError(f"[tls.pins] {name}: not in the roster, remove it")
        try:
            require_secure(urls[-1])
        except ConfigError as error:
            raise ConfigError(f"[tls.pins] {name}: {error}") from None
        found[name] = bytes.fromhex(pin)
    return found


def _own_place(node: _Node, networks: Networks, now_ms: int) -> tuple[Network, int]:
    """The network of the epoch to take part in, and the address there."""
    if (node.role == "aggregator") != (node.name == AGGREGATOR_NAME):
        raise ConfigError(f"[node] name: the aggregator's is {AGGREGATOR_NAME!r}, and no other's")
    active = networks.at(networks.newest.config.round_at(now_ms))
    for network in networks.all[len(networks.before(active)) :]:
        address = _address_in(node.role, node.name, network)
        if address is not None:
            return network, address
    raise ConfigError(
        f"[node] name: {node.name!r} is not in the roster of {node.network}, epoch"
        f" {active.config.epoch}: {', '.join(active.names)}"
    )


def _address_in(role: str, name: str, network: Network) -> int | None:
    if role == "aggregator":
        return AGGREGATOR
    return network.names.index(name) if name in network.names else None


def _key_paths(file: _OperatorFile, folder: Path) -> dict[str, Path]:
    if (file.keys is None) == (file.signer is None):
        raise ConfigError("[keys] or [signer]: name the key files, or the signer that has them")
    return {} if file.keys is None else key_paths(file.keys, file.node.role, folder)


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
