"""Epochs of a network that runs: who joins, leaves or changes its key, and what goes on."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from actors.control import call
from actors.epochs import FOLDER, Networks, load_networks, load_rotation
from actors.feeds.simulated.exchanges import SimulatedExchanges
from actors.history import AnyCertificate, History
from actors.history_check import check_history
from actors.keyfile import load_key
from actors.network import load_network
from actors.network_files import NAMES, Layout, write_network
from actors.ports import free_ports
from protocol.errors import GuardError, ProtocolError, QuorumError
from protocol.oracle.expiry import ExpiryCertificate
from protocol.oracle.layout import ZERO32
from protocol.oracle.price import VENUES
from tests.builders.epochs import certificate
from tests.builders.market import TestClock, new_market
from tests.builders.operators import until
from tests.builders.oracles import AUX
from tests.builders.rotations import drafted, installed, next_network, signed
from tests.builders.running import AGGREGATOR, MovedClock, Programs

AHEAD_MS = 60_000
"""From the draft to the round; the clock is moved, nobody waits."""
LEFT_MS = 2_000
"""What is left of it then."""


class Operators:
    """The operators of a network of programs, as far as rotations go."""

    def __init__(self, net: Programs, clock: MovedClock) -> None:
        self.net = net
        self.clock = clock
        self.file = net.folder / "network.toml"

    @property
    def networks(self) -> Networks:
        return load_networks(self.file)

    def draft(self, following: Path) -> Path:
        interval_ms = self.networks.newest.config.interval_ms
        return drafted(self.net.folder, following, (self.clock.now_ms() + AHEAD_MS) // interval_ms)

    async def sign(self, draft: Path, name: str) -> Path:
        return await asyncio.to_thread(signed, self.net.folder, draft, name)

    async def rotate(self, following: Path, *signers: str) -> int:
        """Draft, sign and install; returns the round."""
        draft = self.draft(following)
        installed(self.net.folder, draft, [await self.sign(draft, name) for name in signers])
        return self.networks.begins(self.networks.newest)

    async def come(self, round_id: int) -> None:
        """Move the clock to shortly before a round."""
        interval_ms = self.networks.newest.config.interval_ms
        left_ms = round_id * interval_ms - self.clock.now_ms()
        self.clock.ahead_ms += max(0, left_ms - LEFT_MS)


@pytest.fixture
def clock() -> MovedClock:
    return MovedClock()


@pytest.fixture
async def operators(tmp_path: Path, clock: MovedClock) -> AsyncIterator[Operators]:
    with SimulatedExchanges(7, clock.now_ms, tick_ms=50) as exchanges:
        async with Programs(tmp_path / "net", exchanges, clock) as net:
            yield Operators(net, clock)


def stored(operators: Operators, name: str) -> list[AnyCertificate]:
    """What a node has on disk, oldest first."""
    path = operators.net.folder / "data" / name / "history.sqlite"
    with closing(History.read(path)) as history:
        return list(history.newest_first())[::-1]


def is_linked(operators: Operators, name: str) -> bool:
    """Whether every certificate links to one that is there: so to the first, over all epochs."""
    chain = stored(operators, name)
    known = {ZERO32, *(certificate.hash for certificate in chain)}
    return all(certificate.previous_hash in known for certificate in chain)


async def check_chain(operators: Operators, name: str) -> list[int]:
    """Every certificate is of an epoch that may certify its round, and none is missing; the
    epochs that certified."""
    await until(lambda: is_linked(operators, name))
    checked = map(operators.networks.epochs.check, stored(operators, name))
    epochs = [config.epoch for config in checked]
    assert epochs == sorted(epochs)
    path = operators.net.folder / "data" / name / "history.sqlite"
    with closing(History.read(path)) as history:
        assert not check_history(history, operators.networks.epochs).faults
    return sorted(set(epochs))


async def expiry(operators: Operators, epoch: int, rounds: list[int]) -> ExpiryCertificate:
    path = operators.net.folder / "data" / AGGREGATOR / "control.sock"
    digest = operators.networks.epoch(epoch).config.digest.hex()
    arguments = {"feed": "BTC/USD", "start": rounds[0], "target": rounds[-1], "grace": 5}
    found = await call(path, "expire", 30, **arguments, config=digest)
    return ExpiryCertificate.decode(bytes.fromhex(found["expiry"]))


async def until_epoch(operators: Operators, epoch: int, *names: str) -> None:
    """Until the newest certificate that nodes have on disk is of an epoch."""
    digest = operators.networks.epoch(epoch).config.digest

    def there(name: str) -> bool:
        newest = stored(operators, name)[-1:]
        return [certificate.report.config_digest for certificate in newest] == [digest]

    for name in names:
        await until(lambda name=name: there(name))  # type: ignore[misc]


async def test_one_joins_then_one_leaves_and_one_has_a_new_key(operators: Operators) -> None:
    net, (port,) = operators.net, free_ports(1)
    first = await net.certified(3)
    joins = {"delta": f"ws://127.0.0.1:{port}"}
    following = next_network(net.folder, joins=joins, quorum=3, faults=1)
    await operators.sign(operators.draft(following), "bravo")
    operators.clock.ahead_ms += 1000
    with pytest.raises(ProtocolError, match="another ROT1 was recorded"):
        await operators.sign(operators.draft(following), "bravo")
    operators.clock.ahead_ms += 1000
    begins = await operators.rotate(following, "alpha", "charlie")
    net.start("delta")
    await operators.come(begins)
    await until_epoch(operators, 2, "delta", *net.names)
    assert net["delta"].operator.address == 3
    assert await check_chain(operators, "delta") == [1, 2]

    rounds = [certificate.round for certificate in first]
    old = await expiry(operators, 1, rounds)
    operators.networks.epochs.check_expiry(old)
    assert old.expiry.slot.config_digest == operators.networks.all[0].config.digest

    following = next_network(
        net.folder, following.name, leaves="charlie", renewed="bravo", quorum=2, faults=1
    )
    begins = await operators.rotate(following, "alpha", "charlie", "delta")
    await net.stop("bravo")
    net.start("bravo")  # its signer has the new key now
    await net.stop("alpha")
    await operators.come(begins)
    await until_epoch(operators, 3, "bravo", "delta", AGGREGATOR)
    net.start("alpha")  # it was down at the switch
    await until_epoch(operators, 3, "alpha")
    for name in ("alpha", "bravo", "delta", AGGREGATOR):
        assert await check_chain(operators, name) == [1, 2, 3]
    await until(lambda: net["alpha"].recollection.is_enough)
    again = await expiry(operators, 1, [rounds[0], rounds[-2]])
    operators.networks.epochs.check_expiry(again)
    assert {index for index, _ in again.signatures} == {0, 1}, "charlie has left"
    with pytest.raises(ProtocolError, match="not in the roster"):
        net.make("charlie")


async def test_two_of_three_learn_of_a_rotation_after_its_round(operators: Operators) -> None:
    """Their old quorum has certified on meanwhile; nobody goes on from that."""
    net, late = operators.net, operators.net.folder / "late"
    late.mkdir()
    await net.certified(1)
    shutil.copy(operators.file, late)
    for name in (AGGREGATOR, "bravo", "charlie"):
        file = net.folder / f"{name}.toml"
        file.write_text(file.read_text().replace('"network.toml"', '"late/network.toml"'))
        await net.stop(name)
        net.start(name)
    await net.certified(2)
    following = next_network(net.folder, quorum=2, faults=1)
    begins = await operators.rotate(following, "alpha", "bravo")
    await operators.come(begins)
    await until(lambda: net["alpha"].operator.network.config.epoch == 2)
    await until(lambda: net.round("bravo") > begins + 2 and net.round("charlie") > begins + 2)
    over = max(map(net.round, net.names))
    shutil.copytree(net.folder / FOLDER, late / FOLDER)
    await until_epoch(operators, 2, *net.names)

    await net.stop("bravo")
    net.start("bravo")
    await net.certified(2, after=net.round())
    last = net.round()
    await until(lambda: min(map(net.round, net.names)) >= last)
    epochs = operators.networks.epochs

    def chain(name: str) -> list[AnyCertificate]:
        found = [c for c in stored(operators, name) if c.round <= last]
        return [c for c in found if epochs.counts(c.report.config_digest, c.round)]

    await until(lambda: all(chain(name) == chain("alpha") for name in net.names))
    known = {ZERO32, *(certificate.hash for certificate in chain("alpha"))}
    assert all(certificate.previous_hash in known for certificate in chain("alpha"))
    assert epochs.check(chain("alpha")[-1]).epoch == 2
    for name in ("bravo", "charlie"):
        with closing(History.read(net.folder / f"data/{name}/history.sqlite")) as history:
            findings = check_history(history, epochs)
        assert not findings.faults
        assert findings.late
        assert begins < findings.late[0] <= over


async def test_a_clock_that_was_ahead_of_a_switch_comes_back(operators: Operators) -> None:
    net, clock = operators.net, operators.clock
    await net.certified(2)
    following = next_network(net.folder, renewed="charlie", quorum=2, faults=1)
    begins = await operators.rotate(following, "alpha", "bravo")
    await net.stop("charlie")
    net.clock = MovedClock()
    net.start("charlie")
    net.clock.ahead_ms = 2 * AHEAD_MS
    await until(lambda: net["charlie"].operator.network.config.epoch == 2)
    net.clock.ahead_ms = clock.ahead_ms
    await until(lambda: net["charlie"].operator.network.config.epoch == 1)
    last = net.round()
    await until(lambda: last < net.round("charlie") < begins)


async def test_what_was_installed_in_time_counts_whatever_is_in_the_folder_then(
    operators: Operators,
) -> None:
    net = operators.net
    await net.certified(2)
    following = next_network(net.folder, quorum=2, faults=1)
    begins = await operators.rotate(following, "alpha", "bravo")
    await until(lambda: all(len(net[name].operator.networks.all) == 2 for name in net.names))
    (installed_file,) = (net.folder / FOLDER).iterdir()
    installed_file.with_name("3.rot").write_text(installed_file.read_text())
    installed_file.write_text("broken")
    (net.folder / "alpha.toml").write_text("broken")
    operators.clock.ahead_ms += AHEAD_MS
    await until(lambda: all(net[n].operator.network.config.epoch == 2 for n in net.names))
    await net.certified(2, "alpha", after=begins)


async def test_what_an_epoch_dies_of_in_the_round_of_a_switch_ends_the_program(
    operators: Operators,
) -> None:
    net = operators.net
    await net.certified(1)

    async def run() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise GuardError("guard.journal: no space left on device") from None

    await net.stop("alpha")
    program = net.make("alpha")
    program._run = run
    looks = iter((1.0, 0.0))
    program._look_s = lambda: next(looks)
    with pytest.raises(GuardError, match="no space left"):
        await asyncio.wait_for(program.serve(), 60)


async def test_a_market_takes_prices_of_an_epoch_that_is_installed_while_it_runs(
    tmp_path: Path,
) -> None:
    """It listens to who joins from then on, and to who leaves until the round."""
    net = tmp_path / "net"
    venues = dict.fromkeys(VENUES, "live")
    write_network(net, Layout(NAMES[:3], range(7000, 7004), {}, venues))
    networks = load_networks(net / "network.toml")
    joins = {"delta": "ws://127.0.0.1:7004"}
    following = next_network(net, leaves="alpha", joins=joins, quorum=2, faults=0)
    round_id = networks.newest.config.round_at(networks.clock.now_ms() + AHEAD_MS)
    draft = drafted(net, following, round_id)
    held = {name: load_key(net / "keys" / name / "oracle.key") for name in NAMES[:3]}
    lines = [
        f'{name} = "{held[name].sign(load_rotation(draft).rotation.hash, AUX).hex()}"\n'
        for name in NAMES[:2]
    ]
    signatures = net / "signatures"
    signatures.write_text("".join(lines))
    config = load_network(following).config
    found = certificate(config, round_id, keys=(held["bravo"], held["charlie"]))
    clock = TestClock(networks.clock.now_ms())
    market = new_market(
        tmp_path, None, clock, networks=networks, network=networks.newest, listens=True
    )

    def heard() -> list[str]:
        return [node.name for node in market.nodes]

    async with market.running():
        await until(heard)
        assert heard() == [AGGREGATOR, *NAMES[:3]]
        alpha, bravo = market.nodes[1:3]
        with pytest.raises(QuorumError, match="fetch the rotations"):
            market.certified(found)
        installed(net, draft, [signatures])
        await until(lambda: len(market.networks.all) == 2)
        market.certified(found)
        assert market.certificates[-1] == found
        await until(lambda: "delta" in heard())
        assert heard() == [AGGREGATOR, *NAMES[:3], "delta"]
        clock.at_ms = config.starts_ms(round_id)
        await until(lambda: alpha not in market.nodes)
        assert heard() == [AGGREGATOR, "bravo", "charlie", "delta"]
        assert market.nodes[1] is bravo
        assert all(node.fault for node in market.nodes), "each was dialled"
