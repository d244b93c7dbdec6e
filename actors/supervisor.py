"""Starts every actor of a deployment on one machine and knows where they are."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from actors import placement
from actors.aggregator import Aggregator, AggregatorSettings
from actors.challenger import Challenger
from actors.clock import Clock
from actors.config import Config, claim_terms, oracle_config
from actors.coordinator import Coordinator, CoordinatorSettings
from actors.faults import Lie
from actors.feeds.endpoints import Endpoint
from actors.keyfile import create_key
from actors.oracle import Oracle, OracleSettings
from actors.outcomes import value
from actors.prover import Prover
from protocol.oracle.config import OracleConfig
from protocol.oracle.feed import Feed
from protocol.settlement.terms import settlement_image
from riscv_vm.image import ProgramImage

STARTUP_S = 180.0
"""How long any actor may take to start: the first run on a machine compiles."""

FEED = Feed("BTC/USD")


@dataclass(frozen=True, slots=True)
class Deployment:
    """The actors of one machine, and what they agree on."""

    oracle_config: OracleConfig
    image: ProgramImage  # the settlement guest with the contract's terms
    oracles: list[Any]
    aggregator: Any
    provers: dict[str, Any]
    challenger: Any
    coordinator: Any

    def wait(self) -> None:
        """Until every actor is up; TimeoutError if one is not."""
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
    lie: Lie | None = None,
) -> Deployment:
    """Create keys for everybody in ``folder`` and start everything there.

    The first prover acts for the claiming party; ``lie`` is what it does wrong.
    """
    names = config.oracle.names
    publics = tuple(create_key(_key(folder, name)).public for name in names)
    agreed = oracle_config(config.oracle, publics)
    image = settlement_image(claim_terms(config.option, agreed, FEED.feed_id))
    oracles = [
        placement.start(
            placement.ORACLE,
            name,
            Oracle,
            OracleSettings(
                index,
                agreed.encode(),
                FEED.encode(),
                _key(folder, name),
                folder / "oracles" / name,
                endpoints,
                clock,
            ),
        )
        for index, name in enumerate(names)
    ]
    return Deployment(
        oracle_config=agreed,
        image=image,
        oracles=oracles,
        aggregator=_start_aggregator(config, folder, clock, agreed),
        provers={
            f"prover-{i}": placement.start(
                placement.PROVER, str(i), Prover, image, lie if i == 0 else None
            )
            for i in range(config.proving.provers)
        },
        challenger=placement.start(placement.CHALLENGER, "0", Challenger, image),
        coordinator=_start_coordinator(config, folder, agreed),
    )


def _start_aggregator(config: Config, folder: Path, clock: Clock, agreed: OracleConfig) -> Any:
    settings = AggregatorSettings(
        config=agreed.encode(),
        feed=FEED.encode(),
        folder=folder / "aggregator",
        collect_ms=config.oracle.collect_ms,
        certify_ms=config.oracle.certify_ms,
        clock=clock,
    )
    names = [placement.ORACLE.full_name(name) for name in config.oracle.names]
    return placement.start(placement.AGGREGATOR, "0", Aggregator, settings, names)


def _start_coordinator(config: Config, folder: Path, agreed: OracleConfig) -> Any:
    holder, writer = folder / "keys" / "holder.key", folder / "keys" / "writer.key"
    create_key(holder)
    create_key(writer)
    settings = CoordinatorSettings(
        config=agreed.encode(),
        feed=FEED.encode(),
        option=config.option,
        holder_key=holder,
        writer_key=writer,
        folder=folder / "coordinator",
        move_ms=config.dispute.move_ms,
    )
    return placement.start(placement.COORDINATOR, "0", Coordinator, settings)


def _key(folder: Path, oracle: str) -> Path:
    return folder / "keys" / f"oracle-{oracle}.key"
