"""Processes of several operators go from one epoch to the next while one of them is dead."""

import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from actors.epochs import Networks, load_networks
from actors.feeds.simulated.exchanges import SimulatedExchanges
from actors.ports import free_ports
from protocol.errors import ProtocolError
from protocol.oracle.expiry import ExpiryCertificate
from protocol.oracle.layout import ZERO32
from tests.builders.network import AGGREGATOR, Network, network, until
from tests.builders.rotations import next_network, rotated

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

PATIENCE_S = 240.0
AHEAD_S = 45
"""From the draft to the round: commands and restarts take a while on a busy machine."""


@pytest.fixture
def net(tmp_path: Path) -> Iterator[Network]:
    with (
        SimulatedExchanges(7, lambda: time.time_ns() // 10**6, tick_ms=50) as exchanges,
        network(tmp_path / "net", exchanges, schedule_ms=2000, takeover_ms=1500) as made,
    ):
        yield made


def networks(net: Network) -> Networks:
    return load_networks(net.folder / "network.toml")


def rotate(net: Network, following: Path, *signers: str) -> int:
    """The round of a rotation that these operators have signed by their running nodes."""
    config = networks(net).newest.config
    round_id = config.round_at(time.time_ns() // 10**6 + 1000 * AHEAD_S)
    return rotated(net.folder, following, round_id, signers)


def until_round(net: Network, round_id: int, *names: str) -> None:
    """Until each node knows a certificate of this round or a later one."""
    for name in names:

        def there(name: str = name) -> bool:
            status = net.status(name) or {}
            return (status.get("round") or -1) >= round_id

        until(there, f"{name} is in round {round_id}\n{net.tail(name)}", PATIENCE_S)


def gap_s(net: Network, begins: int) -> float:
    """The longest time without a certificate around a round, as the aggregator had them on disk."""
    near = [at for r, _, at in net.ask(AGGREGATOR, "certificates") if abs(r - begins) <= 10]
    return max(b - a for a, b in pairwise(near)) / 1e9


def check(net: Network, *names: str) -> None:
    """No node misses a certificate, and each is of an epoch that may certify its round."""
    epochs = networks(net).epochs
    for name in names:

        def is_linked(name: str = name) -> bool:
            chain = net.certificates(name)
            known = {ZERO32, *(certificate.hash for certificate in chain)}
            return all(certificate.previous_hash in known for certificate in chain)

        until(is_linked, f"{name} has no gap", PATIENCE_S)
        found = [epochs.check(certificate).epoch for certificate in net.certificates(name)]
        assert found == sorted(found)
        assert found[-1] == networks(net).now().config.epoch


def expire(net: Network, epoch: int, start: int, target: int) -> ExpiryCertificate:
    """What the oracles of an epoch sign, once enough of them are back and connected."""
    known = networks(net)
    asked = {"feed": "BTC/USD", "start": start, "target": target, "grace": 5}
    digest = known.epoch(epoch).config.digest.hex()

    def answered() -> Any:
        try:
            return net.ask(AGGREGATOR, "expire", **asked, config=digest)
        except ProtocolError:
            return None

    answer = until(answered, f"an expiry of epoch {epoch}", PATIENCE_S)
    certificate = ExpiryCertificate.decode(bytes.fromhex(answer["expiry"]))
    assert known.epochs.check_expiry(certificate).epoch == epoch
    return certificate


def test_join_leave_and_a_new_key_while_one_is_dead(net: Network) -> None:
    net.start()
    net.started()
    first = net.until_certified("alpha", 3)
    (port,) = free_ports(1)
    joins = {"delta": f"ws://127.0.0.1:{port}"}
    two = next_network(net.folder, joins=joins, quorum=3, faults=1)
    begins = rotate(net, two, "alpha", "bravo")
    net.start("delta")
    until(lambda: net.status("delta"), "delta waits to join", PATIENCE_S)
    net.kill("charlie")
    until_round(net, begins + 3, "alpha", "bravo", "delta", AGGREGATOR)
    print(f"join, one oracle dead: {gap_s(net, begins):.2f} s without a certificate")
    net.start("charlie")
    until_round(net, net.last_round("alpha") + 1, "charlie")
    check(net, "alpha", "bravo", "charlie", "delta", AGGREGATOR)
    expire(net, 1, first[0].round, first[1].round)

    three = next_network(net.folder, two.name, leaves="charlie", renewed="bravo", quorum=2)
    begins = rotate(net, three, "alpha", "charlie", "delta")
    net.kill("bravo")
    net.start("bravo")  # with the new key beside the old one
    until(lambda: net.status("bravo"), "bravo is back", PATIENCE_S)
    until_round(net, begins + 3, "alpha", "bravo", "delta", AGGREGATOR)
    print(f"leave and new key: {gap_s(net, begins):.2f} s without a certificate")
    assert net.exit_code("charlie", PATIENCE_S) == 0
    net.kill("alpha")
    net.start("alpha")
    until_round(net, net.last_round("delta") + 1, "alpha")
    check(net, "alpha", "bravo", "delta", AGGREGATOR)
    again = expire(net, 1, first[0].round, first[2].round)
    assert {index for index, _ in again.signatures} == {0, 1}
    status = net.status("delta")
    assert status is not None
    assert [epoch["epoch"] for epoch in status["epochs"]] == [1, 2, 3]
