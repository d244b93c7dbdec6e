"""Starts every actor of a deployment on one machine and knows where they are."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from actors import placement
from actors.aggregator import Aggregator
from actors.agreement import Custody, agree
from actors.challenger import Challenger
from actors.clock import Clock
from actors.config import Config
from actors.coordinator import Coordinator, CoordinatorSettings
from actors.faults import Lie
from actors.feeds.endpoints import Endpoint
from actors.network import AGGREGATOR_NAME, load_network
from actors.network_files import Layout, write_network
from actors.oracle import Oracle
from actors.outcomes import value
from actors.ports import free_ports
from actors.prover import Prover
from protocol.oracle.config import OracleConfig
from protocol.oracle.feed import Feed
from protocol.settlement.terms import ContractTerms, Role, settlement_image
from riscv_vm.image import ProgramImage

STARTUP_S = 180.0
"""How long any actor may take to start: the first run on a machine compiles."""

FEED = Feed("BTC/USD")


@dataclass(frozen=True, slots=True)
class Deployment:
    """The actors of one machine, and what they agree on."""

    oracle_config: OracleConfig
    terms: ContractTerms
    image: ProgramImage  # the settlement guest with these terms
    oracles: list[Any]
    aggregator: Any
    provers: dict[str, Any]
    challenger: Any
    coordinator: Any

    def wait(self) -> None:
        """Until every actor is up; TimeoutError if one is not."""
        calls = [actor.pid.remote() for actor in (*self.oracles, self.aggregator)]
        calls += [prover.pid.remote() for prover in self.provers.values()]
        calls += [self.challenger.pid.remote(), self.coordinator.stage.remote()]
        for call in calls:
            value(call, STARTUP_S)


def deploy(
    config: Config,
    folder: Path,
    clock: Clock,
    endpoints: Mapping[str, Endpoint],
    lie: Lie | None = None,
) -> Deployment:
    """Create keys for everybody in ``folder`` and start everything there.

    The first prover acts for the claiming party; ``lie`` is what it does wrong.
    """
    names = config.oracle.names
    place = folder / "network"
    ports = free_ports(len(names) + 1)
    write_network(place, Layout(names, ports, config.oracle.settings, venue_urls(endpoints)))
    agreed = load_network(place / "network.toml").config
    custody = {role: Custody.create(folder / "keys", role) for role in Role}
    terms = agree(config, agreed, FEED.feed_id, custody)
    image = settlement_image(terms)
    return Deployment(
        oracle_config=agreed,
        terms=terms,
        image=image,
        oracles=[
            placement.start(placement.ORACLE, name, Oracle, place / f"{name}.toml", clock)
            for name in names
        ],
        aggregator=placement.start(
            placement.AGGREGATOR, "0", Aggregator, place / f"{AGGREGATOR_NAME}.toml", clock
        ),
        provers={
            f"prover-{i}": placement.start(
                placement.PROVER, str(i), Prover, image, lie if i == 0 else None
            )
            for i in range(config.proving.provers)
        },
        challenger=placement.start(placement.CHALLENGER, "0", Challenger, image),
        coordinator=placement.start(
            placement.COORDINATOR,
            "0",
            Coordinator,
            CoordinatorSettings(
                config=agreed.encode(),
                terms=terms.encode(),
                holder=custody[Role.HOLDER],
                writer=custody[Role.WRITER],
                folder=folder / "coordinator",
                move_ms=config.dispute.move_ms,
            ),
        ),
    )


def venue_urls(endpoints: Mapping[str, Endpoint]) -> dict[str, dict[str, str]]:
    """The venues as an operator's file has them."""
    found = {}
    for venue, endpoint in endpoints.items():
        found[venue] = {"websocket": endpoint.websocket_url}
        if endpoint.rest_url is not None:
            found[venue]["rest"] = endpoint.rest_url
    return found
