"""Starts every actor of a deployment on one machine and knows where they are."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from actors import placement
from actors.aggregator import Aggregator
from actors.agreement import write_parties
from actors.clock import Clock
from actors.coordinator import Coordinator
from actors.demo_config import Config
from actors.feeds.endpoints import Endpoint
from actors.network import AGGREGATOR_NAME, load_network
from actors.network_files import Layout, write_network
from actors.oracle import Oracle
from actors.outcomes import value
from actors.party_actor import PartyActor
from actors.ports import free_ports
from actors.prover import Prover
from protocol.oracle.config import OracleConfig
from protocol.settlement.terms import Role, settlement_template

STARTUP_S: Final = 180.0
"""How long any actor may take to start: the first run on a machine compiles."""
CHAIN_FOLDER: Final = "chain"


@dataclass(frozen=True, slots=True)
class Deployment:
    """The actors of one machine, and what they agree on."""

    oracle_config: OracleConfig
    oracles: list[Any]
    aggregator: Any
    provers: dict[str, Any]
    parties: dict[Role, Any]
    coordinator: Any

    def wait(self) -> None:
        """Until every actor is up; TimeoutError if one is not."""
        actors = [*self.oracles, self.aggregator, *self.provers.values(), *self.parties.values()]
        for call in [actor.pid.remote() for actor in (*actors, self.coordinator)]:
            value(call, STARTUP_S)


def deploy(
    config: Config,
    folder: Path,
    clock: Clock,
    endpoints: Mapping[str, Endpoint],
    claimant: Role,
    lie: str | None = None,
) -> Deployment:
    """Create keys for everybody in ``folder`` and start everything there.

    The provers work for the ``claimant``, who claims by ``lie`` if there is one; the other party
    runs the machine itself.
    """
    names = config.oracle.names
    place, chain = folder / "network", folder / CHAIN_FOLDER
    ports = free_ports(len(names) + 1)
    write_network(place, Layout(names, ports, config.oracle.settings, venue_urls(endpoints)))
    network = place / "network.toml"
    write_parties(folder, config, chain, network, None if lie is None else claimant)
    coordinator = placement.start(placement.COORDINATOR, "0", Coordinator, chain)
    image = settlement_template()
    numbers = [str(number) for number in range(config.proving.provers)]
    provers = {n: placement.start(placement.PROVER, n, Prover, image) for n in numbers}
    own: dict[Role, tuple[Any, ...]] = {claimant: (numbers, lie)}
    return Deployment(
        oracle_config=load_network(network).config,
        oracles=[
            placement.start(placement.ORACLE, name, Oracle, place / f"{name}.toml", clock)
            for name in names
        ],
        aggregator=placement.start(
            placement.AGGREGATOR, "0", Aggregator, place / f"{AGGREGATOR_NAME}.toml", clock
        ),
        provers=provers,
        parties={
            role: placement.start(
                placement.PARTY,
                role.value,
                PartyActor,
                folder / f"{role.value}.toml",
                config.proving,
                *own.get(role, ()),
            )
            for role in Role
        },
        coordinator=coordinator,
    )


def venue_urls(endpoints: Mapping[str, Endpoint]) -> dict[str, dict[str, str]]:
    """The venues as an operator's file has them."""
    found = {}
    for venue, endpoint in endpoints.items():
        found[venue] = {"websocket": endpoint.websocket_url}
        if endpoint.rest_url is not None:
            found[venue]["rest"] = endpoint.rest_url
    return found
