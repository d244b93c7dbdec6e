"""The configuration of a demo: a TOML file checked field by field, and the contract in it."""

from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Struct

from actors.party_offer import Offer
from protocol.bitcoin.genesis import REGTEST_GENESIS
from protocol.crypto.keys import SecretKey
from protocol.errors import ConfigError, ProtocolError
from protocol.options.payoff import PAYOUT_BITS
from protocol.oracle.config import OracleConfig
from protocol.oracle.feed import Feed
from protocol.settlement.terms import steps_max

DEMO: Final = Path(__file__).with_name("demo.toml")
FEED: Final = Feed("BTC/USD")
SIMULATED: Final = "simulated"
"""The endpoint that means: the venue's simulator on loopback, started by whoever reads the file."""

FUNDS_HEIGHT: Final = 102
"""Where both parties of a new chain have coins that they may spend: a coinbase each."""
SPARE_FEERATE: Final = 5
"""Bonds and outputs are sized for so many times the fee rate."""

Positive = Annotated[int, Meta(ge=1)]
Endpoint = Annotated[str, Meta(pattern=r"^(simulated|wss?://.+)$")]
Blocks = Annotated[int, Meta(ge=1, le=2**16 - 1)]
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
    """The clock of a claim that is challenged, in blocks."""

    confirmations: Annotated[int, Meta(ge=1, le=100)]  # of what a party answers
    move_window: Blocks  # for each answer, or the silent side has lost
    challenge_window: Blocks  # for a challenge, and for a verdict
    sweep_delay: Blocks  # before the claiming side may sweep what it claimed


class Config(Section, frozen=True):
    """A whole file."""

    venues: Venues
    oracle: Oracle
    proving: Proving
    option: Option
    dispute: Dispute

    @property
    def offer(self) -> Offer:
        """The contract, as both parties want it on a new regtest chain."""
        option, proving, dispute = self.option, self.proving, self.dispute
        return Offer(
            instrument=option.instrument,
            quantity_sats=option.quantity_sats,
            collateral_sats=option.collateral_sats,
            premium_sats=option.premium_sats,
            bond_sats=option.bond_sats,
            expiry_height=FUNDS_HEIGHT + 1,
            refund_height=FUNDS_HEIGHT + option.refund_blocks,
            rounds=option.rounds,
            twap_rounds=option.twap_rounds,
            payout_bits=option.payout_bits,
            feerate_sat_vb=option.fee_rate,
            max_feerate_sat_vb=SPARE_FEERATE * option.fee_rate,
            move_window=dispute.move_window,
            challenge_window=dispute.challenge_window,
            sweep_delay=dispute.sweep_delay,
            log4_steps=proving.log4_steps,
            width=proving.width,
        )


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
        steps = steps_max(config.offer.claim(agreed, FEED).quorum)
    except ProtocolError as error:
        raise ConfigError(f"[option] {error}") from None
    try:
        _ = config.offer.chain
    except ProtocolError as error:
        raise ConfigError(f"[option], [dispute]: {error}") from None
    if 4**proving.log4_steps < steps:
        raise ConfigError(f"[proving] log4_steps: the settlement program takes up to {steps} steps")
