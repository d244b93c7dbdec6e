"""The file of ``oracle-vm api run`` (TOML): prices, how they are quoted, who trades.

    [api]            address, folder, the network file of the oracles, the file of a pool
    [certificates]   listen to the nodes of the network, or follow a node's history, or both
    [market]         rate, volatility, markup
    [desk]           the parties' files and the Bitcoin node; without it nothing can be ordered
    [desk.terms]     what every contract shares: bonds, fees, windows

Paths are relative to the file. No key is read here, and none is named.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, field

from actors.epochs import Networks, load_networks
from actors.network import Network, Table, decode
from actors.pool_config import PoolConfig, load_pool
from actors.transport_options import Address, is_loopback, parse_address
from protocol.errors import ConfigError, EncodingError, PriceError
from protocol.options.book import CLOSING_MS
from protocol.options.sheet import UNDERLYING
from protocol.options.surface import Surface, read_surface
from protocol.oracle.feed import Feed

STALE: Final = 3
"""Times of the schedule without a certificate after which a price is too old to quote."""

Text = Annotated[str, Meta(min_length=1)]
Level = Annotated[float, Meta(gt=0, le=10)]
Rate = Annotated[float, Meta(ge=-1, le=1)]
Seconds = Annotated[int, Meta(ge=1, le=10**9)]
Blocks = Annotated[int, Meta(ge=1, le=2**16 - 1)]
Sum = Annotated[int, Meta(ge=0, le=10**15)]


class _Api(Table, frozen=True):
    listen: Text
    folder: Text
    network: Text = "network.toml"
    pool: Text | None = None
    hosts: tuple[Text, ...] = ()  # further names in Host, of a proxy
    dlc: Text | None = None  # a folder of `oracle dlc`, whose events are served
    log: Literal["debug", "info", "warning", "error"] = "info"


class _Certificates(Table, frozen=True):
    listen: bool = True
    history: Text | None = None
    ca: Text | None = None  # authorities to trust where nodes are reached by wss://
    max_age_s: Seconds | None = None


class Pricing(Table, frozen=True):
    """[market]: rates continuously compounded; ``vol`` stands in until ``moves_min`` moves of the
    certified price have been seen; ``markup_bps`` of the premium is what the writer adds;
    ``closes_s`` before an expiry its last option is sold: it must be funded in time."""

    rate: Rate = 0.0
    dividend: Rate = 0.0
    vol: Level = 0.6
    half_life_s: Seconds = 86_400
    moves_min: Annotated[int, Meta(ge=1, le=10**6)] = 60
    surface: Text | None = None
    markup_bps: Annotated[int, Meta(ge=0, le=10_000)] = 100
    closes_s: Annotated[int, Meta(ge=0, le=10**6)] = CLOSING_MS // 1000


class SharedTerms(Table, frozen=True):
    """[desk.terms]: sats, and blocks. A contract's expiry and refund height follow from its expiry
    time at ``block_s`` a block; ``spare_blocks`` are added, ``refund_blocks`` come after. The first
    certified price within ``grace_s`` of the expiry settles."""

    bond_sats: Sum = 3_000_000
    claim_fee_sats: Sum = 50_000
    feerate_sat_vb: Annotated[int, Meta(ge=1, le=1000)] = 2
    max_feerate_sat_vb: Annotated[int, Meta(ge=1, le=1000)] = 10
    move_window: Blocks = 6
    challenge_window: Blocks = 12
    sweep_delay: Blocks = 12
    block_s: Seconds = 600
    grace_s: Annotated[int, Meta(ge=600, le=10**7)] = 600
    spare_blocks: Blocks = 6
    refund_blocks: Blocks = 2_100


class _Desk(Table, frozen=True):
    holder: Text
    writer: Text
    chain: Text
    aggregator: Text | None = None  # its control socket, for expiries and notices
    starts: bool = False
    terms: SharedTerms = field(default_factory=SharedTerms)


class _ApiFile(Table, frozen=True):
    api: _Api
    certificates: _Certificates = _Certificates()
    market: Pricing = Pricing()
    desk: _Desk | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeskConfig:
    """Paths of the parties' files without [terms], of the node's socket and, if there is one here,
    of the aggregator's; whether the desk starts the parties' processes itself; ``folder`` is where
    the contracts' files go."""

    folder: Path
    holder: Path
    writer: Path
    chain: Path
    aggregator: Path | None
    starts: bool
    terms: SharedTerms
    network: Network
    feed: Feed


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketConfig:
    """A gateway and its market. ``feed`` is the index that options are written on; ``max_age_ms``
    the age from which a price is not quoted; ``surface`` None for volatility from history; ``pool``
    what it keeps beside the market, if anything. ``networks`` are those of all epochs, ``network``
    that of the start; None if it has never rotated."""

    listen: Address
    folder: Path
    hosts: tuple[str, ...]
    log: str
    network: Network
    feed: Feed
    listens: bool
    history: Path | None
    ca: Path | None
    max_age_ms: int
    pricing: Pricing
    surface: Surface | None
    desk: DeskConfig | None
    dlc: Path | None = None
    pool: PoolConfig | None = None
    networks: Networks | None = None


def load_market(path: Path) -> MarketConfig:
    """The gateway in ``path``; ConfigError names file, table and field and what it should be."""
    file = decode(path, _ApiFile)
    networks = load_networks(path.parent / file.api.network)
    try:
        return _market(file, path.parent, networks)
    except (ConfigError, EncodingError, PriceError) as error:
        raise ConfigError(f"{path}: {error}") from None


def _market(file: _ApiFile, folder: Path, networks: Networks) -> MarketConfig:
    network = networks.now()
    listen = parse_address("[api] listen", file.api.listen)
    if not is_loopback(listen.host):
        raise ConfigError(
            f"[api] listen: {file.api.listen}: listen on loopback; to be reached from elsewhere put"
            " a proxy with a certificate and a log-in in front and write its name in `hosts`"
        )
    source = file.certificates
    if not source.listen and source.history is None:
        raise ConfigError(
            "[certificates]: listen = true, or name a history; there is no price else"
        )
    feed, own = network.feed(f"{UNDERLYING}/USD"), folder / file.api.folder
    surface = file.market.surface
    return MarketConfig(
        listen=listen,
        folder=own,
        hosts=file.api.hosts,
        log=file.api.log,
        network=network,
        feed=feed,
        listens=source.listen,
        history=None if source.history is None else folder / source.history,
        ca=None if source.ca is None else folder / source.ca,
        max_age_ms=(
            STALE * network.schedule.schedule_ms
            if source.max_age_s is None
            else 1000 * source.max_age_s
        ),
        pricing=file.market,
        surface=None if surface is None else _surface(folder / surface),
        desk=None if file.desk is None else _desk(file.desk, folder, own, network, feed),
        dlc=None if file.api.dlc is None else folder / file.api.dlc,
        pool=None if file.api.pool is None else load_pool(folder / file.api.pool, networks.all[0]),
        networks=networks,
    )


def _desk(table: _Desk, folder: Path, own: Path, network: Network, feed: Feed) -> DeskConfig:
    return DeskConfig(
        folder=own / "contracts",
        holder=folder / table.holder,
        writer=folder / table.writer,
        chain=folder / table.chain,
        aggregator=None if table.aggregator is None else folder / table.aggregator,
        starts=table.starts,
        terms=table.terms,
        network=network,
        feed=feed,
    )


def _surface(path: Path) -> Surface:
    try:
        fields: Any = msgspec.json.decode(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"[market] surface: {path}: {error.strerror}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"[market] surface: {path}: not JSON: {error}") from None
    return read_surface(fields)
