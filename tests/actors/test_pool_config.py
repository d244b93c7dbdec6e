"""The file of a pool: what it may say, and how a gateway keeps the pool that it names."""

import asyncio
import time
from dataclasses import replace

import pytest

from actors.gateway.program import pool_beside
from actors.pool_config import PoolConfig, load_pool, pool_terms
from protocol.errors import ConfigError
from protocol.oracle.feed import Feed
from tests.builders.market import NETWORK, TestClock, new_market
from tests.builders.sequencing import BEGIN_S, SYMBOLS, Venue

FEEDS = tuple(Feed(f"{symbol}/USD") for symbol in SYMBOLS)
THREE = replace(NETWORK, feeds=FEEDS)


def written(tmp_path, text):
    path = tmp_path / "pool.toml"
    path.write_text(text)
    return path


def test_a_file_gives_terms(tmp_path):
    text = '[pool]\nprofile = "gtrade"\ntokens = ["BTC", "ETH", "ADA"]\nevery_s = 7\n'
    found = load_pool(written(tmp_path, text), THREE)
    assert found.every_s == 7
    assert found.terms.symbols == {1: "BTC", 2: "ETH", 3: "ADA"}
    assert found.terms.params.orders_only
    assert dict(found.terms.params.feeds)[2] == FEEDS[1].feed_id
    assert found.terms.params.oracle_config == THREE.config.digest


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ('tokens = ["BTC", "SOL"]', "SOL/USD"),
        ('tokens = ["BTC", "BTC"]', "one is listed twice"),
        ('profile = "gmx"', "choose brief, gtrade"),
        ("tokens = []", "tokens"),
        ("every_s = 0", "every_s"),
        ("spread = 5", "spread"),
    ],
)
def test_a_file_that_makes_no_sense_is_explained(tmp_path, fields, said):
    with pytest.raises(ConfigError, match=r"pool\.toml") as error:
        load_pool(written(tmp_path, f"[pool]\n{fields}\n"), THREE)
    assert said in str(error.value)


def test_a_pool_that_holds_sats_trades_bitcoin_first():
    with pytest.raises(ConfigError, match="trades BTC, first of all"):
        pool_terms("brief", ("ETH", "BTC"), THREE.config, backed=True)
    terms = pool_terms("brief", ("BTC", "ETH"), THREE.config, backed=True, cushion_sats=7)
    assert terms.params.btc_token == 1
    assert terms.genesis().vault.vault_sats == 7


async def test_a_gateway_keeps_the_pool_at_its_markets_prices(tmp_path):
    (tmp_path / "made").mkdir()
    venue = Venue(tmp_path / "made")  # its oracles are the network's
    venue.sequencer.close()
    network = replace(THREE, config=venue.oracles.config)
    clock = TestClock(1000 * BEGIN_S)
    changes = {"network": network, "pool": PoolConfig(terms=venue.terms, every_s=60)}
    market = new_market(tmp_path, None, clock, **changes)
    async with market.running(), pool_beside(market) as desk:
        assert desk is not None
        await desk.submit(venue.add("lp", 100_000), "key")
        market.certified(venue.certificate())
        await until(lambda: desk.details["seq"] == 1)
        market.certified(venue.certificate(30))  # too soon for another batch
        market.certified(venue.certificate(30))
        await until(lambda: desk.details["seq"] == 2)
        batches = await desk.batches(9, None)
        assert [row["time_ms"] - 1000 * BEGIN_S for row in batches] == [120_000, 60_000]
        assert desk.state["total_liquidity"] == "100000.00"


async def test_without_a_file_there_is_no_pool(tmp_path):
    market = new_market(tmp_path)
    async with market.running(), pool_beside(market) as desk:
        assert desk is None


async def until(condition) -> None:
    end = time.monotonic() + 20.0
    while not condition():
        assert time.monotonic() < end, "it never came"
        await asyncio.sleep(0.005)
