"""The file of a pool (TOML): its tokens and the profile of its parameters.

    [pool]
    profile = "brief"                 # docs/pool.md, "Profiles"
    tokens = ["BTC", "ETH", "ADA"]    # each a feed SYMBOL/USD of the network; ids 1, 2, .. in order
    every_s = 10                      # least time between two batches

The terms of a pool are fixed by its first batch: the state says which they were.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from msgspec import Meta

from actors.network import Network, Table, decode
from protocol.errors import ConfigError, EncodingError
from protocol.oracle.config import OracleConfig
from protocol.oracle.feed import Feed
from protocol.pool.layout import TOKENS_MAX
from protocol.pool.params import PoolParams, TokenParams
from protocol.pool.pool import Pool
from protocol.pool.profiles import PROFILES

Symbol = Annotated[str, Meta(pattern=r"^[A-Z0-9]{2,12}\Z")]


class _Pool(Table, frozen=True):
    profile: str = "brief"
    tokens: Annotated[tuple[Symbol, ...], Meta(min_length=1, max_length=TOKENS_MAX)] = ("BTC",)
    every_s: Annotated[int, Meta(ge=1, le=86_400)] = 10


class _File(Table, frozen=True):
    pool: _Pool


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolTerms:
    """What a pool trades and under which parameters. ``symbols`` are by token id;
    ``cushion_sats`` are in the vault of a backed pool from the beginning, and nobody's: so much of
    a fall of bitcoin its owners do not bear."""

    profile: str
    symbols: dict[int, str]
    params: PoolParams
    tokens: dict[int, TokenParams]
    oracles: OracleConfig
    cushion_sats: int = 0

    def genesis(self) -> Pool:
        """The state before the first batch."""
        pool = Pool.genesis(self.params, self.tokens)
        pool.vault.vault_sats = self.cushion_sats
        return pool


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolConfig:
    """A pool's terms, and the least time between two batches."""

    terms: PoolTerms
    every_s: int


def load_pool(path: Path, network: Network) -> PoolConfig:
    """The pool in ``path`` at the prices of ``network``; ConfigError names file and field."""
    table = decode(path, _File).pool
    try:
        for symbol in table.tokens:
            network.feed(f"{symbol}/USD")
        terms = pool_terms(table.profile, table.tokens, network.config)
    except ConfigError as error:
        raise ConfigError(f"{path}: [pool] {error}") from None
    return PoolConfig(terms=terms, every_s=table.every_s)


def pool_terms(
    profile: str,
    symbols: tuple[str, ...],
    oracles: OracleConfig,
    *,
    backed: bool = False,
    cushion_sats: int = 0,
    domain: bytes = bytes(32),
) -> PoolTerms:
    """The terms of a pool of these tokens, ids 1, 2, .. in order; a ``backed`` one holds sats and
    trades BTC first, and its ``domain`` is the digest of its vault's terms. ConfigError names what
    is wrong."""
    if profile not in PROFILES:
        raise ConfigError(f"profile {profile!r}: choose {', '.join(PROFILES)}")
    if len(set(symbols)) != len(symbols):
        raise ConfigError("tokens: one is listed twice")
    if backed and symbols[0] != "BTC":
        raise ConfigError("tokens: a pool that holds sats trades BTC, first of all")
    chosen = PROFILES[profile]
    try:
        params = PoolParams(
            **chosen.pool,
            backed=backed,
            btc_token=1 if backed else 0,
            oracle_config=oracles.digest,
            domain=domain,
            feeds=tuple((n, Feed(f"{s}/USD").feed_id) for n, s in enumerate(symbols, 1)),
        )
        tokens = {n: TokenParams(**chosen.token_fields(s)) for n, s in enumerate(symbols, 1)}
    except EncodingError as error:
        raise ConfigError(f"profile {profile}: {error}") from None
    return PoolTerms(
        profile=profile,
        symbols=dict(enumerate(symbols, 1)),
        params=params,
        tokens=tokens,
        oracles=oracles,
        cushion_sats=cushion_sats,
    )
