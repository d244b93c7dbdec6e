"""Starts every actor of a deployment on one machine and knows where they are."""

import socket
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from actors import placement
from actors.aggregator import Aggregator
from actors.challenger import Challenger
from actors.clock import Clock
from actors.config import Config, claim_terms
from actors.coordinator import Coordinator, CoordinatorSettings
from actors.faults import Lie
from actors.feeds.endpoints import Endpoint
from actors.keyfile import create_key
from actors.network import AGGREGATOR_NAME, load_network
from actors.network_files import Layout, write_network
from actors.oracle import Oracle
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
    image = settlement_image(claim_terms(config.option, agreed, FEED.feed_id))
    return Deployment(
        oracle_config=agreed,
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
        coordinator=_start_coordinator(config, folder, agreed),
    )


def venue_urls(endpoints: Mapping[str, Endpoint]) -> dict[str, dict[str, str]]:
    """The venues as an operator's file has them."""
    found = {}
    for venue, endpoint in endpoints.items():
        found[venue] = {"websocket": endpoint.websocket_url}
        if endpoint.rest_url is not None:
            found[venue]["rest"] = endpoint.rest_url
    return found


def free_ports(count: int) -> list[int]:
    """So many TCP ports of loopback that nobody listens on at this moment."""
    with ExitStack() as bound:
        sockets = [bound.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


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
