"""A network, a chain and a market with two parties a contract: real programs in one loop.

Oracles, aggregator and venues speak over their sockets, the chain is the embedded node served on
its own, parties talk over WebSocket and control sockets, journals and histories are files.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, Final

from actors import market as market_module
from actors import party, program
from actors.aggregator import AggregatorProgram
from actors.clock import SystemClock
from actors.config import CHAIN_NODE, CHAIN_SOCKET, Chain, ChainServer, Wallet, open_chain
from actors.feeds.endpoints import Endpoint
from actors.feeds.simulated.exchanges import SimulatedExchanges
from actors.keyfile import create_key
from actors.market import Market
from actors.market_config import DeskConfig, MarketConfig, Pricing, SharedTerms
from actors.market_parties import PartyDesk
from actors.market_store import MarketStore
from actors.network import AGGREGATOR_NAME, Network, load_network
from actors.network_files import NAMES, Layout, table, write_network
from actors.operator import Operator, load_operator
from actors.oracle import OracleProgram
from actors.ports import free_ports
from actors.supervisor import venue_urls
from actors.transport_options import Address
from protocol.bitcoin.tx import txout
from protocol.crypto.keys import SecretKey
from protocol.oracle import member
from protocol.oracle.feed import Feed
from protocol.settlement.terms import Role
from tests.builders.signers import signer_inside
from tests.soak.parties import Bell, Parties
from tests.soak.plan import Plan

ORACLES: Final = NAMES[:3]
FEED: Final = Feed("BTC/USD")
TICK_MS: Final = 1_900
"""Of the venues: each message of theirs is read three times over; a silence of 2 s is a fault."""
CALM: Final = {"ping_s": 20.0, "silence_s": 60.0}
"""Transport limits: nothing is lost here, so pings need not come every second."""
LOOKS: Final = (
    (market_module, "LOOK_S", 60.0),  # how the contracts stand, beside every certificate
    (program, "TEND_S", 60.0),  # signs of life of the signers
    (program, "LOOK_S", 60.0),  # for a rotation
    (member, "LOOK_MS", 5_000),  # at the clock
    (party, "LIMITS", replace(party.LIMITS, **CALM)),
)
"""How often programs look at what does not change by itself here."""
SETTINGS: Final = {"schedule_ms": 30_000, "deviation_bps": 20}
PURSES_SATS: Final = {Role.HOLDER: 60_000_000, Role.WRITER: 430_000_000}
"""What a side of a contract starts with: premium or collateral, its bond, and fees."""
COINBASE_SATS: Final = 50 * 10**8
MATURITY: Final = 100
START_S: Final = 60.0
CLOSING_BLOCKS: Final = 6
"""Orders end so many blocks before expiry."""


@dataclass
class World:
    """What runs, and where."""

    folder: Path
    network: Network
    plans: Sequence[Plan]
    chain: Chain
    market: Market
    parties: Parties
    nodes: list[Any]
    """Oracles, then the aggregator."""
    faults: list[str]
    """What ended by itself."""

    def wallet(self, number: int, role: Role) -> Path:
        """The key that pays for one side of a contract, counted from 1."""
        return self.folder / "wallets" / f"{number}-{role.value}.key"

    @property
    def contracts(self) -> Path:
        """A folder for each contract."""
        return self.folder / "api" / "contracts"


@asynccontextmanager
async def running(
    folder: Path, seed: int, plans: Sequence[Plan], block_s: int
) -> AsyncIterator[World]:
    """Everything is up and the first price is certified inside the block."""
    clock = SystemClock()
    for module, name, value in LOOKS:
        setattr(module, name, value)
    async with AsyncExitStack() as stack:
        faults: list[str] = []
        exchanges = SimulatedExchanges(seed, clock.now_ms, tick_ms=TICK_MS)
        for venue in exchanges.venues:
            await venue.start()
            stack.push_async_callback(venue.stop)
            _task(stack, venue.run(), venue.name, faults)
            exchanges.endpoints[venue.name] = Endpoint(venue.url, venue.rest_url)
        network = _write(folder, exchanges)
        nodes = []
        for name in (*ORACLES, AGGREGATOR_NAME):
            operator = _operator(folder, name)
            kind = AggregatorProgram if name == AGGREGATOR_NAME else OracleProgram
            nodes.append(kind(operator, clock, signer_inside(operator)))
            _task(stack, nodes[-1].serve(), name, faults)
        chain = open_chain(folder / "chain" / CHAIN_NODE)
        stack.callback(chain.close)
        stack.enter_context(ChainServer(chain, folder / "chain" / CHAIN_SOCKET))
        purses = {
            Wallet(chain, create_key(_purse(folder, number, role))).script(): sats
            for number in range(1, 1 + len(plans))
            for role, sats in PURSES_SATS.items()
        }
        await asyncio.to_thread(endow, chain, purses)
        bell = Bell()
        _task(stack, mine(chain, bell, block_s), "miner", faults)
        config = _market(folder, network, block_s)
        assert config.desk is not None
        desk = PartyDesk.open(config.desk, clock.now_ms)
        parties = Parties(
            bell, clock, lambda number: plans[number - 1], lambda n, r: _purse(folder, n, r)
        )
        desk._children = parties
        market = Market(config, MarketStore.open(folder / "market.sqlite"), desk, clock)
        await stack.enter_async_context(market.running())
        world = World(folder, network, plans, chain, market, parties, nodes, faults)
        async with asyncio.timeout(START_S):
            while not market.indexes:
                await asyncio.sleep(1.0)
        yield world


def _task(stack: AsyncExitStack, work: Any, name: str, faults: list[str]) -> None:
    """Runs until the stack ends; one that ends by itself is told in ``faults``."""
    task = asyncio.create_task(work)

    def ended(task: asyncio.Task[None]) -> None:
        if not task.cancelled():
            faults.append(f"{name} ended: {task.exception() or 'by itself'}")

    async def end() -> None:
        task.remove_done_callback(ended)
        task.cancel()
        await asyncio.wait({task})

    task.add_done_callback(ended)
    stack.push_async_callback(end)


def endow(chain: Chain, purses: Mapping[bytes, int]) -> None:
    """A coin of so many sats for each script, from the first coinbases."""
    rich = Wallet(chain, SecretKey(secrets.token_bytes(32)))
    chain.mine(2 + sum(purses.values()) // COINBASE_SATS, to=rich.script())
    chain.mine(MATURITY)
    waiting = iter(purses.items())
    while batch := [*islice(waiting, 20)]:
        outputs = [txout(sats, script) for script, sats in batch]
        chain.broadcast(rich.pay(outputs, secrets.token_bytes(32)))
        chain.mine(1)


async def mine(chain: Chain, bell: Bell, every_s: int) -> None:
    """A block each ``every_s`` seconds, for ever."""
    while True:
        await asyncio.sleep(every_s)
        await asyncio.to_thread(chain.mine, 1)
        bell.ring()


def _purse(folder: Path, number: int, role: Role) -> Path:
    return folder / "wallets" / f"{number}-{role.value}.key"


def _write(folder: Path, exchanges: SimulatedExchanges) -> Network:
    """All the files of the run."""
    layout = Layout(ORACLES, free_ports(4), SETTINGS, venue_urls(exchanges.endpoints))
    write_network(folder / "network", layout)
    publics = {role: create_key(folder / role.value / "identity.key").public for role in Role}
    for role in Role:
        create_key(folder / role.value / "wallet.key")  # named by the file; each order has its own
        name = role.value
        tables = (
            table("[party]", {"role": name, "folder": name, "chain": f"chain/{CHAIN_SOCKET}"}),
            table("[keys]", {p: f"{name}/{p}.key" for p in ("identity", "wallet")}),
            table("[peer]", {"identity_key": publics[role.other].hex()}),
            table("[oracles]", {"network": "network/network.toml"}),
        )
        (folder / f"{name}.toml").write_text("\n".join(tables))
    (folder / "chain").mkdir()
    return load_network(folder / "network/network.toml")


def _operator(folder: Path, name: str) -> Operator:
    found = load_operator(folder / "network" / f"{name}.toml")
    return replace(found, limits=replace(found.limits, **CALM))


def _market(folder: Path, network: Network, block_s: int) -> MarketConfig:
    own = folder / "api"
    own.mkdir()
    desk = DeskConfig(
        folder=own / "contracts",
        holder=folder / "holder.toml",
        writer=folder / "writer.toml",
        chain=folder / "chain" / CHAIN_SOCKET,
        aggregator=folder / f"network/data/{AGGREGATOR_NAME}/control.sock",
        starts=True,
        terms=SharedTerms(block_s=block_s, grace_s=86_400),
        network=network,
        feed=FEED,
    )
    return MarketConfig(
        listen=Address("127.0.0.1", 0),
        folder=own,
        hosts=(),
        log="info",
        network=network,
        feed=FEED,
        listens=True,
        history=None,
        ca=None,
        max_age_ms=90_000,
        pricing=Pricing(closes_s=CLOSING_BLOCKS * block_s),
        surface=None,
        desk=desk,
    )
