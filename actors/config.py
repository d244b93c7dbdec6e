"""Configuration: TOML files checked field by field, and the choice of a chain backend."""

from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Struct

from protocol.bitcoin.address import MAINNET, REGTEST, SIGNET, Network
from protocol.bitcoin.genesis import REGTEST_GENESIS
from protocol.crypto.keys import SecretKey
from protocol.errors import ConfigError, ProtocolError
from protocol.options.instrument import parse_instrument
from protocol.options.payoff import PAYOUT_BITS
from protocol.oracle.config import OracleConfig
from protocol.settlement.terms import ClaimTerms, steps_max
from protocol.units import Sats
from regtest.chain import Chain
from regtest.remote import RemoteChain, serves
from regtest.served import ChainServer
from regtest.wallet import Wallet

__all__ = [
    "BACKENDS",
    "Chain",
    "ChainServer",
    "Config",
    "Option",
    "Wallet",
    "chain_network",
    "claim_terms",
    "load",
    "open_chain",
    "open_folder",
    "oracle_config",
    "serves",
]

DEMO = Path(__file__).with_name("demo.toml")
SIMULATED = "simulated"
"""The endpoint that means: the venue's simulator on loopback, started by whoever reads the file."""

NETWORKS: Final = {network.name: network for network in (REGTEST, SIGNET)}
BACKENDS: Final = ("kernel", "bitcoind", "socket", "rpc")
CHAIN_SOCKET: Final = "chain.sock"
CHAIN_NODE: Final = "node"
"""In a folder of `oracle-vm chain serve`."""

Positive = Annotated[int, Meta(ge=1)]
Endpoint = Annotated[str, Meta(pattern=r"^(simulated|wss?://.+)$")]
Name = Annotated[str, Meta(pattern=r"^[a-z0-9-]{1,32}$")]


class Section(Struct, frozen=True, forbid_unknown_fields=True):
    """One table of the file."""


class Venues(Section, frozen=True):
    """WebSocket endpoint of each venue, or ``simulated``."""

    binance: Endpoint
    coinbase: Endpoint
    kraken: Endpoint

    @property
    def simulated(self) -> bool:
        """True when no live venue is named; ConfigError when live and simulated ones are mixed."""
        kinds = {endpoint == SIMULATED for endpoint in (self.binance, self.coinbase, self.kraken)}
        if len(kinds) > 1:
            raise ConfigError("[venues] mixes live and simulated endpoints: choose one world")
        return kinds.pop()


class Oracle(Section, frozen=True):
    """The oracle network: the fields of CFG1 (oracle.md 4.2) and the deadlines of a round."""

    names: Annotated[tuple[Name, ...], Meta(min_length=3, max_length=8)]
    quorum: Annotated[int, Meta(ge=2, le=8)]
    faults: Annotated[int, Meta(ge=0, le=7)]
    interval_ms: Annotated[int, Meta(ge=1000)]
    delta_ppm: Positive
    max_move_ppm: Positive
    max_age_ms: Positive
    future_ms: Positive
    min_venues: Annotated[int, Meta(ge=1, le=3)]
    schedule_ms: Positive  # how often a price is certified, if it stands still
    deviation_bps: Positive  # and how far it moves before it is certified at once
    collect_ms: Positive  # how long a proposer waits for a further observation
    takeover_ms: Positive  # how long the next in rank waits for a proposal

    @property
    def settings(self) -> dict[str, Any]:
        """The [network] table of a network file, as far as it differs from a new one's."""
        return {name: getattr(self, name) for name in self.__struct_fields__ if name != "names"}


class Proving(Section, frozen=True):
    """The prover pool and the size of the commitment (dispute.md 2)."""

    provers: Annotated[int, Meta(ge=1, le=64)]
    log4_steps: Annotated[int, Meta(ge=1, le=15)]
    log4_chunk: Annotated[int, Meta(ge=1, le=10)]
    task_steps: Positive  # steps that one prover takes at a time
    width: Annotated[int, Meta(ge=20, le=32)]


class Option(Section, frozen=True):
    """The contract between holder and writer."""

    instrument: str
    quantity_sats: Positive
    collateral_sats: Positive  # locked by the writer: a call's is its quantity at least
    premium_sats: Positive
    bond_sats: Positive  # of each party: its own moves, should it have to claim, are paid from it
    refund_blocks: Annotated[int, Meta(ge=2, le=1000)]
    fee_rate: Annotated[int, Meta(ge=1, le=1000)]  # sat/vB
    rounds: Positive = 1  # up to expiry: a barrier is watched, an American one exercised in them
    twap_rounds: Annotated[int, Meta(ge=0)] = 0  # of the mean that settles; 0: the price at expiry
    payout_bits: Positive = PAYOUT_BITS


class Dispute(Section, frozen=True):
    """The clock of the game."""

    move_ms: Positive  # what a side has for each answer


class Config(Section, frozen=True):
    """A whole file."""

    venues: Venues
    oracle: Oracle
    proving: Proving
    option: Option
    dispute: Dispute


def load(path: Path) -> Config:
    """The configuration in ``path``; ConfigError names file, field and what it should be."""
    try:
        config = msgspec.toml.decode(path.read_bytes(), type=Config)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from None
    except msgspec.ValidationError as error:
        raise ConfigError(f"{path}: {error} (compare with {DEMO})") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not TOML: {error}") from None
    try:
        _check(config)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
    return config


def oracle_config(oracle: Oracle, publics: tuple[bytes, ...]) -> OracleConfig:
    """What the oracles sign under, with these public keys; ConfigError names a wrong field."""
    return OracleConfig(
        genesis_hash=REGTEST_GENESIS,
        epoch=1,
        oracles=publics,
        quorum=oracle.quorum,
        faults=oracle.faults,
        interval_ms=oracle.interval_ms,
        delta_ppm=oracle.delta_ppm,
        max_move_ppm=oracle.max_move_ppm,
        max_age_ms=oracle.max_age_ms,
        future_ms=oracle.future_ms,
        min_venues=oracle.min_venues,
    )


def _check(config: Config) -> None:
    """What no single field can say; each error names its table and field."""
    oracle, proving = config.oracle, config.proving
    if len(set(oracle.names)) != len(oracle.names):
        raise ConfigError("[oracle] names: every oracle needs a name of its own")
    if proving.width not in (20, 32):
        raise ConfigError("[proving] width: 20 or 32 bytes")
    if proving.log4_chunk > proving.log4_steps:
        raise ConfigError("[proving] log4_chunk: a chunk is at most the whole trace (log4_steps)")
    _ = config.venues.simulated
    stand_ins = tuple(SecretKey(bytes([i + 1]) * 32).public for i in range(len(oracle.names)))
    try:
        agreed = oracle_config(oracle, stand_ins)
    except ConfigError as error:
        raise ConfigError(f"[oracle] {error}") from None
    try:
        steps = steps_max(claim_terms(config.option, agreed, bytes(32)).quorum)
    except ProtocolError as error:
        raise ConfigError(f"[option] {error}") from None
    if 4**proving.log4_steps < steps:
        raise ConfigError(f"[proving] log4_steps: the settlement program takes up to {steps} steps")


def claim_terms(
    option: Option, oracles: OracleConfig, feed_id: bytes, start_round: int | None = None
) -> ClaimTerms:
    """What of the contract decides the payout, from ``start_round`` to the round of expiry; without
    it over ``option.rounds``.

    EncodingError or TermsError for an instrument or amounts that cannot be settled.
    """
    instrument = parse_instrument(option.instrument)
    if start_round is None:
        start_round = max(oracles.round_at(instrument.expiry_ms) - option.rounds + 1, 0)
    return ClaimTerms.of_instrument(
        instrument,
        oracles,
        feed_id,
        Sats(option.quantity_sats),
        Sats(option.collateral_sats),
        start_round=start_round,
        twap_rounds=option.twap_rounds,
        payout_bits=option.payout_bits,
    )


def chain_network(name: str) -> Network:
    """The network of that name; ConfigError for mainnet, and for one that does not exist."""
    if name == MAINNET.name:
        raise ConfigError(
            "network: mainnet is refused, this program has not earned real coins; use regtest, or"
            " signet with a node of yours"
        )
    if name not in NETWORKS:
        raise ConfigError(f"network {name!r}: choose one of {', '.join(NETWORKS)}")
    return NETWORKS[name]


def open_chain(
    path: Path,
    backend: str = "kernel",
    *,
    network: str = REGTEST.name,
    rpc_url: str = "",
    since_height: int = 0,
) -> Chain:
    """A Bitcoin node, by what it is and where:

        kernel    Bitcoin Core's consensus in this process, its blocks in the folder ``path``
        bitcoind  a bitcoind as a child process (``BITCOIND``, PATH, or the fetched one), likewise
        socket    served by `oracle-vm chain serve` on the socket ``path``
        rpc       a node of the user's own at ``rpc_url``; ``path`` is its cookie file. Its chain is
                  read from ``since_height`` on, which must lie below the contract's FUND

    Signet is served by ``rpc`` (or a socket in front of it) only. ConfigError names what is wrong,
    ChainError if the node does not open or is of another network.
    """
    chosen = chain_network(network)
    if backend not in BACKENDS:
        raise ConfigError(f"backend {backend!r}: choose one of {', '.join(BACKENDS)}")
    if bool(rpc_url) != (backend == "rpc"):
        raise ConfigError('rpc_url: backend "rpc" needs it and no other takes it')
    if backend == "socket":
        return RemoteChain(path, network=chosen.name)
    if backend == "rpc":
        from regtest.external import ExternalChain

        return ExternalChain(rpc_url, path, chosen, since_height=since_height)
    if chosen is not REGTEST:
        raise ConfigError(
            f"network {network}: backend {backend} is regtest only; run a node of your own and"
            ' name it with backend "rpc", rpc_url and its cookie'
        )
    return _kernel(path) if backend == "kernel" else _bitcoind(path)


def open_folder(folder: Path) -> Chain:
    """The chain of a folder of `oracle-vm chain serve`: what serves it now, else the node in it,
    opened here. ConfigError if there is none."""
    socket, node = folder / CHAIN_SOCKET, folder / CHAIN_NODE
    if serves(socket):
        return RemoteChain(socket)
    if (node / "chainstate").exists():
        return _kernel(node)
    if (node / "regtest").exists():
        return _bitcoind(node)
    raise ConfigError(
        f"{folder}: no chain there; start one with `oracle-vm chain serve --dir {folder}`"
    )


# Who asks a served chain need not wait until the engines are imported.


def _kernel(datadir: Path) -> Chain:
    from regtest.kernel import KernelChain

    return KernelChain(datadir)


def _bitcoind(datadir: Path) -> Chain:
    from regtest.bitcoind import BitcoindChain

    return BitcoindChain(datadir)
