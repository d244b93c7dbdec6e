"""Starts every actor of a deployment on one machine and knows where they are."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from actors import placement
from actors.aggregator import Aggregator, AggregatorSettings
from actors.challenger import Challenger
from actors.clock import Clock
from actors.config import Config
from actors.coordinator import Coordinator, CoordinatorSettings
from actors.faults import Lie
from actors.feeds.endpoints import Endpoint
from actors.keyfile import create_key
from actors.oracle import Oracle, OracleSettings
from actors.outcomes import value
from actors.prover import Prover
from protocol.bitcoin.genesis import REGTEST_GENESIS
from protocol.oracle.config import OracleConfig
from protocol.oracle.feed import Feed

STARTUP_S = 180.0
"""How long any actor may take to start: the first run on a machine compiles."""

FEED = Feed("BTC/USD")


@dataclass(frozen=True, slots=True)
class Deployment:
    """The actors of one machine, and what they agree on."""

    oracle_config: OracleConfig
    oracles: list[Any]
    aggregator: Any
    provers: dict[str, Any]
    challenger: Any
    coordinator: Any

    def wait(self) -> None:
        """Until every actor is up. TimeoutError names none: the first one that is late ends it."""
        calls = [oracle.pid.remote() for oracle in self.oracles]
        calls += [self.aggregator.ready.remote(), self.coordinator.stage.remote()]
        calls += [prover.pid.remote() for prover in self.provers.values()]
        calls.append(self.challenger.pid.remote())
        for call in calls:
            value(call, STARTUP_S)


def deploy(
    config: Config,
    folder: Path,
    clock: Clock,
    endpoints: dict[str, Endpoint],
    elf: bytes,
    lie: Lie | None = None,
) -> Deployment:
    """Create keys for everybody in ``folder`` and start everything there.

    The first prover acts for the claiming party; ``lie`` is what it does wrong.
    """
    keys = folder / "keys"
    names = config.oracle.names
    publics = tuple(create_key(keys / f"{name}.key").public for name in names)
    for party in ("holder", "writer"):
        create_key(keys / f"{party}.key")
    oracle_config = _oracle_config(config, publics)
    cfg, feed = oracle_config.encode(), FEED.encode()
    oracles = [
        placement.start(
            placement.ORACLE,
            name,
            Oracle,
            OracleSettings(index, cfg, feed, keys / f"{name}.key", folder / name, endpoints, clock),
        )
        for index, name in enumerate(names)
    ]
    aggregator = placement.start(
        placement.AGGREGATOR,
        "0",
        Aggregator,
        AggregatorSettings(
            cfg,
            feed,
            folder / "aggregator",
            config.oracle.collect_ms,
            config.oracle.certify_ms,
            clock,
        ),
        [f"{placement.ORACLE.prefix}/{name}" for name in names],
    )
    provers = {
        f"prover-{i}": placement.start(
            placement.PROVER, str(i), Prover, elf, lie if i == 0 else None
        )
        for i in range(config.proving.provers)
    }
    coordinator = placement.start(
        placement.COORDINATOR,
        "0",
        Coordinator,
        CoordinatorSettings(
            cfg,
            feed,
            config.option,
            elf,
            keys / "holder.key",
            keys / "writer.key",
            folder / "coordinator",
            config.dispute.move_ms,
        ),
    )
    challenger = placement.start(placement.CHALLENGER, "0", Challenger, elf)
    return Deployment(oracle_config, oracles, aggregator, provers, challenger, coordinator)


def _oracle_config(config: Config, publics: tuple[bytes, ...]) -> OracleConfig:
    oracle = config.oracle
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
