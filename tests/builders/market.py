"""A market with known oracles, a clock that tests move, and a desk of parties that do as told."""

import asyncio
import socket
import time
from collections.abc import Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx

from actors.gateway.app import create_app
from actors.gateway.program import serve_market
from actors.market import Market
from actors.market_config import MarketConfig, Pricing
from actors.market_desk import Dispute
from actors.market_store import MarketStore
from actors.network import Network
from actors.pool_desk import PoolDesk
from actors.ports import free_ports
from actors.transport_options import Address, Peer
from protocol.errors import ConfigError
from protocol.options.book import Contract, Side, Stage
from protocol.oracle.feed import Feed
from protocol.oracle.messages import AGGREGATOR
from protocol.oracle.schedule import Schedule
from tests.builders.epochs import certificate
from tests.builders.oracles import CONFIG, KEYS, PRICE, ROUND, T0

NAMES = ("alpha", "bravo", "charlie")
FEED = Feed("BTC/USD")
CALL = "BTC-27DEC26-90000-C"
PUT = "BTC-27DEC26-90000-P"
AMERICAN = "BTC-27DEC26-90000-P-A"
BARRIER = "BTC-27DEC26-90000-C-UO120000"
QUANTITY = 10**8
BASE = "http://127.0.0.1"
RICH = 10**8
"""A premium that nothing here costs."""

FUND = {"name": "FUND", "txid": "ab" * 32, "vsize": 298, "fee": 599, "height": 124}

NETWORK = Network(
    config=CONFIG,
    feeds=(FEED,),
    schedule=Schedule(
        interval_ms=1000, schedule_ms=30_000, deviation_bps=20, takeover_ms=500, collect_ms=50
    ),
    names=NAMES,
    peers={AGGREGATOR: Peer(KEYS[5].public, "ws://127.0.0.1:1")}
    | {i: Peer(KEYS[i].public, f"ws://127.0.0.1:{i + 2}") for i in range(3)},
)


class TestClock:
    """Stands where tests put it."""

    __test__ = False
    name = "test-clock"

    def __init__(self, now_ms: int = T0 + 500) -> None:
        self.at_ms = now_ms

    def now_ms(self) -> int:
        return self.at_ms


class TestDesk:
    """Remembers what it was asked; the parties say ``stage``."""

    __test__ = False
    custody = "desk"

    def __init__(self) -> None:
        self.offered: list[int] = []
        self.exercised: list[tuple[int, int | None]] = []
        self.settled: list[int] = []
        self.left: list[int] = []
        self.stage: dict[int, Stage] = {}
        self.shown: dict[int, Dispute] = {}
        self.fault: str | None = None
        self.rows: Sequence[dict[str, Any]] = (FUND,)

    async def offer(self, contract: Contract) -> None:
        if self.fault is not None:
            raise ConfigError(self.fault)
        self.offered.append(contract.id)

    async def sides(self, contract: Contract) -> Sequence[Side]:
        stage = self.stage.get(contract.id, Stage.OFFERED)
        return [Side(role="holder", stage=stage, contract_id=f"{contract.id:064x}")]

    async def exercise(self, contract: Contract) -> None:
        self.exercised.append((contract.id, contract.exercise_round))

    async def settle(self, contract: Contract) -> None:
        self.settled.append(contract.id)

    async def transactions(self, contract: Contract) -> Sequence[dict[str, Any]]:
        return self.rows

    async def dispute(self, contract: Contract) -> Dispute | None:
        return self.shown.get(contract.id)

    async def leave(self, contract: Contract) -> None:
        self.left.append(contract.id)

    async def close(self) -> None:
        pass


def market_config(folder: Path, **changes: Any) -> MarketConfig:
    """Nothing listens anywhere."""
    config = MarketConfig(
        listen=Address("127.0.0.1", 0),
        folder=folder,
        hosts=(),
        log="info",
        network=NETWORK,
        feed=FEED,
        listens=False,
        history=None,
        ca=None,
        max_age_ms=90_000,
        pricing=Pricing(),
        surface=None,
        desk=None,
    )
    return replace(config, **changes)


def new_market(
    folder: Path, desk: TestDesk | None = None, clock: TestClock | None = None, **changes: Any
) -> Market:
    config = market_config(folder, **changes)
    store = MarketStore.open(folder / "market.sqlite")
    return Market(config, store, desk, clock or TestClock())  # type: ignore[arg-type]


@asynccontextmanager
async def running_market(folder: Path, price: int | None = PRICE, **changes: Any):
    """A market that runs, with one certified price."""
    market = new_market(folder, **changes)
    async with market.running():
        if price is not None:
            market.certified(certificate(price=price))
        yield market


def next_certificate(offset: int, price: int = PRICE):
    """Of a later round."""
    return certificate(round_id=ROUND + offset, price=price)


class Gateway:
    """The app, its market and a client of it, in process."""

    def __init__(self, market: Market, client: httpx.AsyncClient, app: Any) -> None:
        self.market = market
        self.client = client
        self.app = app

    async def get(self, path: str, **params: Any) -> httpx.Response:
        return await self.client.get(path, params=params)

    async def order(self, key: str, **changes: Any) -> httpx.Response:
        asked = {"instrument": CALL, "quantity_sats": QUANTITY, "max_premium_sats": RICH}
        return await self.command("/v1/contracts", key, asked | changes)

    async def command(self, path: str, key: str, body: Any) -> httpx.Response:
        return await self.client.post(path, json=body, headers={"Idempotency-Key": key})


@asynccontextmanager
async def gateway_on(folder: Path, pool_desk: PoolDesk | None = None, **changes: Any):
    """A gateway whose desk is ``TestDesk`` unless told otherwise."""
    async with running_market(folder, **{"desk": TestDesk(), **changes}) as market:
        app = create_app(market, pool_desk=pool_desk)
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url=BASE) as client:
            yield Gateway(market, client, app)


@asynccontextmanager
async def served(folder: Path, pool_desk: PoolDesk | None = None, **changes: Any):
    """A market behind granian, and its address."""
    (port,) = free_ports(1)
    changes = {"desk": TestDesk(), "listen": Address("127.0.0.1", port), **changes}
    async with running_market(folder, **changes) as market:
        serving = asyncio.create_task(serve_market(market, pool_desk))
        await asyncio.to_thread(_until_it_listens, port)
        try:
            yield market, f"127.0.0.1:{port}"
        finally:
            serving.cancel()
            with suppress(asyncio.CancelledError):
                await serving


def _until_it_listens(port: int) -> None:
    end = time.monotonic() + 20.0
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except OSError:
            assert time.monotonic() < end, "the gateway does not listen"
            time.sleep(0.01)
