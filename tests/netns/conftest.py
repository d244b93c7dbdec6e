"""Three operators on three machines that are network namespaces."""

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from actors.feeds.simulated.exchanges import SimulatedExchanges
from actors.network_files import Layout
from actors.ports import free_ports
from actors.supervisor import venue_urls
from tests.builders.network import ORACLES, Network
from tests.netns.machines import Machines
from tests.netns.namespaces import Namespaces, lacking

SEED = 1
VENUES_PORT = 9470
SETTINGS = {"schedule_ms": 1_000}


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machines]:
    """All of it, running."""
    if why := lacking():
        pytest.skip(why)
    with SimulatedExchanges(SEED, base_port=VENUES_PORT) as exchanges:
        urls = venue_urls(exchanges.endpoints)
    ports, venues = free_ports(len(ORACLES) + 1), []
    net = Network(tmp_path_factory.mktemp("netns") / "net", Layout(ORACLES, ports, SETTINGS, urls))
    with Namespaces(ORACLES) as hosts:
        simulate = ("feeds", "simulate", "--port", str(VENUES_PORT), "--seed", str(SEED))
        try:
            for host in ORACLES:
                command = [*hosts.command(host), sys.executable, "-m", "actors.cli", *simulate]
                venues.append(subprocess.Popen(command, stdout=subprocess.DEVNULL, env=os.environ))
            made = Machines(net, hosts)
            made.spread(ports)
            made.start()
            for name in net.names:
                net.until_certified(name)
            yield made
        finally:
            net.end()
            for venue in venues:
                venue.kill()
                venue.wait()
