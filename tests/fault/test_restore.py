"""An oracle whose disk is lost goes on from an old backup, and has signed nothing twice."""

import asyncio
import shutil
from collections import defaultdict

import pytest

from actors.backup import create_backup
from actors.backup_restore import restore_backup
from actors.clock import SystemClock
from actors.feeds.simulated.exchanges import SimulatedExchanges
from actors.journal import read_guard, read_journal
from actors.operator import load_operator
from actors.oracle import OracleProgram
from protocol.oracle.recollection import MARGIN_MS
from tests.builders.network import AGGREGATOR, guarded, network, round_of, slot, until
from tests.builders.running import Programs
from tests.builders.signers import signer_inside

pytestmark = pytest.mark.timeout(600)

PASSPHRASE = "five random words will do"
NAME = "charlie"
QUICK = {"interval_ms": 250, "schedule_ms": 250, "takeover_ms": 200}


@pytest.fixture(scope="module")
def exchanges():
    with SimulatedExchanges(7, tick_ms=50) as running:
        yield running


async def eventually(condition):
    """Poll until it holds; a busy machine may take its time."""
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.01)


async def certified(net, count, after=-1):
    """So many certificates of the aggregator after a round."""

    def found():
        return [s.certificate for s in net[AGGREGATOR].node.recent if s.round > after]

    await eventually(lambda: hasattr(net[AGGREGATOR], "node") and len(found()) >= count)
    return found()


def slots(*files):
    """Every message that these guards have recorded, by slot."""
    found = defaultdict(set)
    for file in files:
        for record in read_journal(file)[0][1:]:
            if len(record) > 84:
                found[slot(record)].add(record[84:])
    return found


async def test_a_restored_oracle_signs_again_behind_all_that_it_can_have_signed(
    tmp_path, exchanges
):
    async with Programs(tmp_path / "net", exchanges) as net:
        index = net.names.index(NAME) - 1
        await certified(net, 2)
        file, data = net.folder / f"{NAME}.toml", net.folder / "data" / NAME
        archive = tmp_path / "charlie.tar"
        manifest = await asyncio.to_thread(create_backup, file, archive, PASSPHRASE)
        copied = manifest.guards[f"data/{NAME}/guard.journal"]
        await eventually(lambda: read_guard(data / "guard.journal").seq > copied + 4)
        await net.stop(NAME)
        lost = tmp_path / "lost.journal"
        shutil.move(data / "guard.journal", lost)
        shutil.rmtree(data)
        restore_backup(archive, tmp_path / "new", PASSPHRASE)

        file = tmp_path / "new" / file.name
        operator = load_operator(file, now_ms=net.clock.now_ms())
        net.programs[NAME] = program = OracleProgram(operator, net.clock, signer_inside(operator))
        net._serving[NAME] = asyncio.create_task(program.serve())
        await eventually(lambda: program.guard.floor > 0)
        config = operator.network.config
        ahead_ms = config.starts_ms(program.guard.floor) - net.clock.now_ms()
        assert ahead_ms <= MARGIN_MS + config.interval_ms
        seen = [net[name].oracle.inbox.newest(index) for name in ("alpha", "bravo")]
        assert program.guard.next_seq() > max(signed.observation.seq for signed in seen)
        before = net.round()
        quiet = [c for c in await certified(net, 2, after=before) if c.round <= program.guard.floor]
        assert all(index not in c.signers for c in quiet), "below the floor it signs nothing"
        net.clock.ahead_ms += MARGIN_MS
        await eventually(
            lambda: any(index in s.certificate.signers for s in net[AGGREGATOR].node.recent)
        )
        assert all(not net[name].convicted for name in net.names)
        assert not net[AGGREGATOR].member.node.inbox.convicted
        restored = operator.folder / "guard.journal"
    twice = {key for key, messages in slots(lost, restored).items() if len(messages) > 1}
    assert not twice
    assert len(slots(lost)) > copied


async def test_with_one_peer_alone_a_restored_oracle_does_not_sign_and_says_why(
    tmp_path, exchanges
):
    async with Programs(tmp_path / "net", exchanges) as net:
        await certified(net, 2)
        file, archive = net.folder / f"{NAME}.toml", tmp_path / "charlie.tar"
        await asyncio.to_thread(create_backup, file, archive, PASSPHRASE)
        await net.stop(NAME)
        await net.stop("bravo")  # it may be the honest one of the two
        restore_backup(archive, tmp_path / "new", PASSPHRASE)
        operator = load_operator(tmp_path / "new" / file.name, now_ms=net.clock.now_ms())
        net.programs[NAME] = program = OracleProgram(operator, net.clock, signer_inside(operator))
        net._serving[NAME] = asyncio.create_task(program.serve())
        await eventually(lambda: program.recollection.missing == {1})
        net.clock.ahead_ms += 10 * MARGIN_MS
        await eventually(lambda: len(program.transport.connected) == 2)
        status = await program.status()
        assert status["waits"].endswith("1 of 2 needed; its sign guard was restored from a backup")
        guard = operator.folder / "guard.journal"
        assert read_guard(guard).is_restored
        size = guard.stat().st_size
        net.start("bravo")
        await eventually(lambda: program.guard.floor > 0)
        assert guard.stat().st_size > size


@pytest.mark.slow
def test_processes_are_backed_up_lose_their_disk_and_come_back(tmp_path, exchanges):
    with network(tmp_path / "net", exchanges, **QUICK) as net:
        net.start()
        net.started()
        net.until_certified(AGGREGATOR, 4)
        archive = tmp_path / "charlie.tar"
        manifest = create_backup(net.folder / f"{NAME}.toml", archive, PASSPHRASE)
        net.until_certified(NAME, 8, after=manifest.round)
        net.kill(NAME)
        lost = tmp_path / "lost.journal"
        shutil.move(net.data(NAME) / "guard.journal", lost)
        for path in (net.data(NAME), net.folder / "keys" / NAME):
            shutil.rmtree(path)
        restore_backup(archive, tmp_path / "new", PASSPHRASE)
        shutil.move(tmp_path / "new" / "data" / NAME, net.data(NAME))
        shutil.move(tmp_path / "new" / "keys" / NAME, net.folder / "keys" / NAME)

        net.start(NAME)
        net.started()
        index = net.oracles.index(NAME)
        again = until(
            lambda: [
                c
                for c in net.certificates("alpha")
                if c.round > manifest.round + 8 and c.report.observers & 1 << index
                if c.time > SystemClock().now_ms() - 1_000
            ],
            f"{NAME} observes again\n{net.tail(NAME)}",
        )
        restored = net.data(NAME) / "guard.journal"
        floor = read_guard(restored).floor
        assert again[0].round > floor > max(round_of(record) for record in guarded(lost))
        assert set(net.stop().values()) == {0}
        assert not any(len(messages) > 1 for messages in slots(lost, restored).values())
        for name in net.names:
            assert read_journal(net.data(name) / "evidence.journal")[0] == ()
