"""The network file that all operators share: limits, feeds, schedule and roster (TOML).

[network]      who signs what within which limits (oracle.md 4.2), and when; on regtest the offset
               of a simulated clock, if all of them run on one
[[oracle]]     name, url, and two keys with proofs that their operator holds them, by index
[aggregator]   url, identity key and its proof

Either may pin its TLS key: ``tls_key`` (``transport_tls``), signed by its identity key in
``tls_proof``. URLs and pins say where and how to dial; they are no part of the configuration that
all must agree on, and may differ from one operator's copy to another's.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar

import msgspec
from msgspec import Meta, Struct

from actors.clock import Clock, clock_at
from actors.transport_options import Peer, parse_url
from protocol.errors import ConfigError, ProtocolError
from protocol.oracle.config import MAX_ORACLES, OracleConfig
from protocol.oracle.feed import Feed
from protocol.oracle.messages import AGGREGATOR
from protocol.oracle.price import VENUES
from protocol.oracle.roster import check_possession, check_tls_key, require_distinct, roster_digest
from protocol.oracle.schedule import Schedule

GENESIS: Final[Mapping[str, str]] = {
    "mainnet": "000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f",
    "testnet4": "00000000da84f2bafbbc53dee25a72ae507ff4914b867c565be350b0da8bf043",
    "signet": "00000008819873e925422c1ff0f99f7cc9bbb232af63a077a480a3633bee1ef6",
    "regtest": "0f9188f13cb7b2c71f2a335e3a4fc328bf5beb436012afca590b1a11466e2206",
}
"""Genesis block hashes as they are displayed."""

AGGREGATOR_NAME: Final = "aggregator"
Positive = Annotated[int, Meta(ge=1, le=2**32 - 1)]
Count = Annotated[int, Meta(ge=0, le=255)]
NAME: Final = r"^[a-z0-9-]{1,32}\Z"

Name = Annotated[str, Meta(pattern=NAME)]
PublicHex = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
SignatureHex = Annotated[str, Meta(pattern=r"^[0-9a-f]{128}\Z")]
Symbol = Annotated[str, Meta(pattern=r"^[A-Z0-9]{2,12}/[A-Z0-9]{2,12}\Z")]


class Table(Struct, frozen=True, forbid_unknown_fields=True):
    """One table of a file."""


class _Network(Table, frozen=True):
    genesis: Annotated[str, Meta(pattern=rf"^({'|'.join(GENESIS)}|[0-9a-f]{{64}})\Z")]
    epoch: Annotated[int, Meta(ge=0, le=2**32 - 1)]
    quorum: Count
    faults: Count
    interval_ms: Positive
    delta_ppm: Positive
    max_move_ppm: Positive
    max_age_ms: Positive
    future_ms: Positive
    min_venues: Annotated[int, Meta(ge=1, le=len(VENUES))]
    feeds: Annotated[tuple[Symbol, ...], Meta(min_length=1, max_length=1000)]
    schedule_ms: Positive = 30_000
    deviation_bps: Positive = 20
    collect_ms: Annotated[int, Meta(ge=0)] = 50
    takeover_ms: Positive = 500
    clock_offset_ms: Annotated[int, Meta(ge=-(10**12), le=10**12)] = 0


class _Oracle(Table, frozen=True):
    name: Name
    url: str
    oracle_key: PublicHex
    oracle_proof: SignatureHex
    identity_key: PublicHex
    identity_proof: SignatureHex
    tls_key: PublicHex | None = None
    tls_proof: SignatureHex | None = None


class _Aggregator(Table, frozen=True):
    url: str
    identity_key: PublicHex
    proof: SignatureHex
    tls_key: PublicHex | None = None
    tls_proof: SignatureHex | None = None


class NetworkFile(Table, frozen=True):
    """The tables of the file."""

    network: _Network
    oracle: Annotated[tuple[_Oracle, ...], Meta(min_length=1, max_length=MAX_ORACLES)]
    aggregator: _Aggregator
    rotation: Any = None  # how the epoch before led to it (``epochs``)


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """What all operators agree on. ``peers`` maps an address (oracle index or AGGREGATOR) to its
    identity and URL; ``names`` are the oracles' in the order of their indexes. All programs of a
    network on a simulated clock add ``clock_offset_ms`` to real time."""

    config: OracleConfig
    feeds: tuple[Feed, ...]
    schedule: Schedule
    names: tuple[str, ...]
    peers: Mapping[int, Peer]
    clock_offset_ms: int = 0

    @property
    def roster(self) -> bytes:
        """The digest of what a rotation signs besides the configuration."""
        return roster_digest(
            [(name, self.peers[index].identity) for index, name in enumerate(self.names)],
            self.peers[AGGREGATOR].identity,
            [feed.symbol for feed in self.feeds],
            self.schedule,
        )

    @property
    def clock(self) -> Clock:
        """What its programs read the time from."""
        return clock_at(self.clock_offset_ms)

    def feed(self, symbol: str) -> Feed:
        """The feed of this symbol; ConfigError if the network does not price it."""
        for feed in self.feeds:
            if feed.symbol == symbol:
                return feed
        known = ", ".join(feed.symbol for feed in self.feeds)
        raise ConfigError(f"feed {symbol!r}: this network prices {known}")


def load_network(path: Path) -> Network:
    """The network in ``path``; ConfigError names file, table and field and what it should be.
    Programs of a network that has rotated load ``epochs.load_networks``."""
    return network_of(path, decode(path, NetworkFile))


def network_of(path: Path, file: NetworkFile) -> Network:
    """The network of these tables, which ``path`` holds; ConfigError as ``load_network``."""
    try:
        return _network(file)
    except ProtocolError as error:
        raise ConfigError(f"{path}: {error}") from None


_File = TypeVar("_File")


def decode(path: Path, kind: type[_File]) -> _File:
    """The tables in ``path``; ConfigError names the file and the field."""
    try:
        return msgspec.toml.decode(path.read_bytes(), type=kind)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from None
    except msgspec.ValidationError as error:
        raise ConfigError(f"{path}: {error}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not TOML: {error}") from None


def _network(file: NetworkFile) -> Network:
    _check_roster(file)
    table = file.network
    if len(set(table.feeds)) != len(table.feeds):
        raise ConfigError("[network] feeds: one is listed twice")
    genesis = GENESIS.get(table.genesis, table.genesis)
    if table.clock_offset_ms and genesis != GENESIS["regtest"]:
        raise ConfigError(
            "[network] clock_offset_ms: a simulated clock is for regtest alone; remove this line"
        )
    try:
        config = OracleConfig(
            genesis_hash=bytes.fromhex(genesis)[::-1],
            epoch=table.epoch,
            oracles=tuple(bytes.fromhex(oracle.oracle_key) for oracle in file.oracle),
            quorum=table.quorum,
            faults=table.faults,
            interval_ms=table.interval_ms,
            delta_ppm=table.delta_ppm,
            max_move_ppm=table.max_move_ppm,
            max_age_ms=table.max_age_ms,
            future_ms=table.future_ms,
            min_venues=table.min_venues,
        )
        schedule = Schedule(
            interval_ms=table.interval_ms,
            schedule_ms=table.schedule_ms,
            deviation_bps=table.deviation_bps,
            takeover_ms=table.takeover_ms,
            collect_ms=table.collect_ms,
        )
    except ConfigError as error:
        raise ConfigError(f"[network] {error}") from None
    peers = {
        index: _peer(f"[[oracle]] {index} {oracle.name}", oracle.name, oracle)
        for index, oracle in enumerate(file.oracle)
    }
    peers[AGGREGATOR] = _peer("[aggregator]", AGGREGATOR_NAME, file.aggregator)
    return Network(
        config=config,
        feeds=tuple(Feed(symbol) for symbol in table.feeds),
        schedule=schedule,
        names=tuple(oracle.name for oracle in file.oracle),
        peers=peers,
        clock_offset_ms=table.clock_offset_ms,
    )


def _peer(head: str, name: str, table: _Oracle | _Aggregator) -> Peer:
    identity = bytes.fromhex(table.identity_key)
    if table.tls_key is None or table.tls_proof is None:
        if table.tls_key != table.tls_proof:
            raise ConfigError(f"{head}: tls_key and tls_proof: write both or none")
        return Peer(identity, table.url)
    pin = bytes.fromhex(table.tls_key)
    try:
        require_secure(table.url)
        check_tls_key(identity, name, pin, bytes.fromhex(table.tls_proof))
    except ProtocolError as error:
        raise ConfigError(f"{head}: {error}") from None
    return Peer(identity, table.url, pin)


def require_secure(url: str) -> None:
    """ConfigError unless a pinned TLS key can be asked for there."""
    if not url.startswith("wss://"):
        raise ConfigError(f"url: {url}: a TLS key is pinned, so write wss:// or remove tls_key")


def _check_roster(file: NetworkFile) -> None:
    held = []
    urls: dict[str, str] = {}
    for index, oracle in enumerate(file.oracle):
        table = f"[[oracle]] {index} {oracle.name}"
        if oracle.name == AGGREGATOR_NAME:
            raise ConfigError(f"{table}: name: {AGGREGATOR_NAME!r} is the aggregator's alone")
        for purpose, key, proof in (
            ("oracle", oracle.oracle_key, oracle.oracle_proof),
            ("identity", oracle.identity_key, oracle.identity_proof),
        ):
            held.append((table, oracle.name, oracle.url, purpose, key, proof))
    one = file.aggregator
    held.append(("[aggregator]", AGGREGATOR_NAME, one.url, "identity", one.identity_key, one.proof))
    for table, name, url, purpose, key, proof in held:
        try:
            parse_url("url", url)
            check_possession(purpose, name, bytes.fromhex(key), bytes.fromhex(proof))
        except ProtocolError as error:
            raise ConfigError(f"{table}: {error}") from None
        if urls.setdefault(url, name) != name:
            raise ConfigError(f"{table}: url: {url} is also {urls[url]}'s")
    require_distinct((name, purpose, bytes.fromhex(key)) for _, name, _, purpose, key, _ in held)
