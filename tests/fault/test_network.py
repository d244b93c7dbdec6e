"""Nodes as processes that are killed, frozen, doubled and starved while the rounds go on."""

import signal
import subprocess
import sys
import time
from collections import defaultdict
from hashlib import sha256
from pathlib import Path
from resource import RLIM_INFINITY, RLIMIT_FSIZE, prlimit

import pytest

from actors.feeds.simulated.exchanges import SimulatedExchanges
from protocol.oracle.report import Grade
from tests.builders.network import (
    AGGREGATOR,
    ORACLES,
    PLAIN,
    guarded,
    network,
    round_of,
    until,
)
from tests.fault import crashing_node
from tests.fault.crashing_node import ORACLE_PLACES, PROPOSER_PLACES, SIGNER_PLACES

pytestmark = pytest.mark.timeout(600)

QUICK = {"interval_ms": 250, "schedule_ms": 250, "takeover_ms": 200}
SLOW = {"interval_ms": 1_000, "schedule_ms": 1_000, "takeover_ms": 600}
"""A node that was killed is back before its round is too old."""
CRASH_S = 120.0
GAP_MS = 1_000
BUSY = 3
"""What a machine with other work may take longer."""
ALL = 0b111


@pytest.fixture(scope="module")
def exchanges():
    with SimulatedExchanges(7, tick_ms=50) as running:
        yield running


@pytest.fixture(scope="module")
def net(tmp_path_factory, exchanges):
    """Three oracles and an aggregator, four rounds a second; audited in the end."""
    with network(tmp_path_factory.mktemp("fault") / "net", exchanges, **QUICK) as running:
        running.start()
        running.started()
        running.until_certified(AGGREGATOR, 2)
        yield running
        assert set(running.stop().values()) == {0}
        running.audit()


def now_ms():
    return time.time_ns() // 10**6


def goes_on(net, name, since_ms):
    """The first certificates after a moment, as a node has them; the next came within a second."""
    found = until(
        lambda: [c for c in net.certificates(name) if c.time > since_ms],
        f"{name} has a certificate from after the fault",
    )
    gap_ms = found[0].time - since_ms
    assert gap_ms <= BUSY * GAP_MS, f"the next certificate came {gap_ms} ms after the fault"
    return found


def is_whole(net, name, after):
    """Waits until a node has all that another one has, and everybody observes again."""
    other = "bravo" if name == "alpha" else "alpha"
    hashes = {c.hash for c in net.until_certified(other, 1, after=after)}
    until(
        lambda: hashes <= {c.hash for c in net.certificates(name)},
        f"{name} has the certificates that it missed\n{net.tail(name)}",
    )
    until(
        lambda: net.certificates(name)[-1].report.observers == ALL,
        f"all observe again\n{net.tail(name)}",
    )


@pytest.mark.parametrize("name", [*ORACLES, AGGREGATOR])
def test_certificates_go_on_without_a_killed_node_and_it_comes_back(net, name):
    survivor = next(other for other in ORACLES if other != name)
    before = net.last_round(survivor)
    killed_ms = now_ms()
    net.kill(name)
    goes_on(net, survivor, killed_ms)
    later = net.until_certified(survivor, 3, after=before + 1)
    assert net.last_round(name) <= before + 1
    if name in ORACLES:
        missing = 1 << ORACLES.index(name)
        assert not later[-1].report.observers & missing
        assert later[-1].grades == (Grade.DEGRADED,)
    net.start(name)
    is_whole(net, name, before)
    net.audit()


def test_a_zombie_is_missed_by_nobody_and_signs_nothing_late(net):
    before = net.last_round("alpha")
    stopped_ms = now_ms()
    net.signal("bravo", signal.SIGSTOP)
    try:
        goes_on(net, "alpha", stopped_ms)
        meanwhile = net.until_certified("alpha", 8, after=before + 1)
    finally:
        woken = net.agreed.config.round_at(now_ms())
        net.signal("bravo", signal.SIGCONT)
    is_whole(net, "bravo", before)
    assert all(1 not in c.signers for c in meanwhile)
    asleep = {c.round for c in meanwhile if c.round < woken - 2}  # two rounds back still count
    assert len(asleep) >= 5
    signed = {round_of(r) for r in guarded(net.data("bravo") / "guard.journal")}
    assert not asleep & signed, f"woken in round {woken}"
    net.audit()


def test_an_oracle_with_an_old_copy_of_its_guard_is_refused_by_what_peers_have_seen(net):
    guard = net.data("charlie") / "guard.journal"
    assert net.stop("charlie") == {"charlie": 0}
    old = guard.read_bytes()
    before = net.last_round("charlie")
    net.start("charlie")
    is_whole(net, "charlie", before)
    assert net.stop("charlie") == {"charlie": 0}
    newest = guard.read_bytes()
    assert len(newest) > len(old)
    guard.write_bytes(old)
    after = net.last_round("alpha")
    net.start("charlie")
    assert net.exit_code("charlie") == 1
    error = net.tail("charlie").strip().splitlines()[-1]
    assert error.startswith(f"error: {guard}: ends at seq ")
    assert "an old copy. Bring back the newest file or rotate to a new key" in error
    assert guard.read_bytes() == old, "what it has not recorded it has not signed"
    meanwhile = net.until_certified("alpha", 2, after=after)
    assert {c.report.observers for c in meanwhile} == {0b011}
    guard.write_bytes(newest)
    net.start("charlie")
    is_whole(net, "charlie", before)
    net.audit()


@pytest.mark.parametrize("name", ["alpha", AGGREGATOR])
def test_a_second_process_on_a_folder_is_refused_and_the_first_goes_on(net, name):
    role = AGGREGATOR if name == AGGREGATOR else "oracle"
    command = [*PLAIN, role, "run", "--config", str(net.folder / f"{name}.toml")]
    second = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert second.returncode == 1
    assert second.stderr.startswith(f"error: {net.data(name)}/history.sqlite.lock: in use by")
    assert second.stderr.count("\n") == 1
    assert net.processes[name].poll() is None
    goes_on(net, name, now_ms())


def test_an_oracle_whose_disk_is_full_falls_silent_and_comes_back(net):
    """The file size limit stands for a full disk: what is there stays, nothing can be added."""
    before = net.last_round("bravo")
    files = [path for path in net.data("charlie").iterdir() if path.is_file()]
    room = max(path.stat().st_size for path in files)
    began_ms = now_ms()
    pid = net.processes["charlie"].pid
    prlimit(pid, RLIMIT_FSIZE, (room, RLIM_INFINITY))
    assert net.exit_code("charlie") == 1
    error = net.tail("charlie").strip().splitlines()[-1]
    assert error.startswith(f"error: {net.data('charlie')}/history.sqlite: ")
    goes_on(net, "alpha", began_ms)
    with_two = net.until_certified("alpha", 3, after=net.last_round("charlie") + 1)
    assert with_two[-1].report.observers == 0b011
    net.start("charlie")
    is_whole(net, "charlie", before)
    net.audit()


EVERY_PLACE = (*PROPOSER_PLACES, *ORACLE_PLACES, *SIGNER_PLACES)


class Crashing:
    """A network of alpha and bravo, so that every certificate needs both; charlie is away."""

    def __init__(self, net, folder):
        self.net, self.notes = net, folder

    def runs(self, *names):
        """Starts those that do not run: any test may be the first of its process."""
        for name in names:
            if name not in self.net.processes:
                self.start(name)

    def start(self, name, place="never"):
        script = str(Path(crashing_node.__file__))
        notes = str(self.notes / f"{name}.notes")
        self.net.start(name, command=(sys.executable, script, place, notes))

    def crash(self, name, places):
        """Starts the node again and again; at each place it dies once, or its signer does."""
        if name in self.net.processes:
            self.net.kill(name)
        for place in places:
            dead = self.notes / f"{name}.notes.dead"
            dead.unlink(missing_ok=True)
            self.start(name, place)
            if place in SIGNER_PLACES:
                until(dead.exists, f"{place}\n{self.net.tail(name)}", CRASH_S)
                self.net.until_certified("alpha", 2, after=self.net.last_round("alpha"))
                self.net.kill(name)
            else:
                code = self.net.exit_code(name, CRASH_S)
                assert code == -signal.SIGKILL, f"{place}: {code}\n{self.net.tail(name)}"
            self.require_one_signature_a_slot(name)
        self.start(name)

    def require_one_signature_a_slot(self, name):
        signed = defaultdict(set)
        notes = self.notes / f"{name}.notes"
        for line in notes.read_text().splitlines() if notes.exists() else ():
            kind, round_id, digest = line.split()
            signed[kind, int(round_id)].add(digest)
        twice = {slot: digests for slot, digests in signed.items() if len(digests) > 1}
        assert not twice, f"{name} has signed two messages of a slot: {twice}"
        recorded = {
            (record[8:12].decode(), round_of(record)): sha256(record[84:]).hexdigest()
            for record in guarded(self.net.data(name) / "guard.journal")
        }
        assert all(recorded[slot] in digests for slot, digests in signed.items())
        return signed


@pytest.fixture(scope="module")
def crashing(tmp_path_factory, exchanges):
    folder = tmp_path_factory.mktemp("crash")
    with network(folder / "net", exchanges, **SLOW) as running:
        yield Crashing(running, folder)


@pytest.mark.parametrize(
    "places",
    [EVERY_PLACE[::3], pytest.param(EVERY_PLACE, marks=pytest.mark.slow)],
    ids=["some", "all"],
)
def test_an_oracle_that_dies_at_every_step_of_a_round_never_signs_twice(crashing, places):
    net = crashing.net
    crashing.runs("alpha")
    for name in {"bravo", AGGREGATOR} & set(net.processes):
        net.kill(name)
    # Nobody else proposes: first as one who takes over, then as one who answers.
    crashing.crash("bravo", places)
    net.until_certified("alpha", 2, after=net.last_round("bravo"))
    for name in ("alpha", "bravo"):
        signed = crashing.require_one_signature_a_slot(name)
        assert {kind for kind, _ in signed} == {"OBS1", "RPT1"}
    net.audit()


def test_an_aggregator_that_dies_between_propose_and_publish_forks_nothing(crashing):
    net = crashing.net
    crashing.runs("alpha", "bravo")
    crashing.crash(AGGREGATOR, PROPOSER_PLACES[:3])
    after = max(net.last_round(name) for name in ("alpha", "bravo"))
    net.until_certified(AGGREGATOR, 2, after=after)
    hashes = {c.hash for c in net.certificates("bravo")}
    until(
        lambda: hashes <= {c.hash for c in net.certificates(AGGREGATOR)},
        "the aggregator has what was certified without it",
    )
    for name in ("alpha", "bravo"):
        crashing.require_one_signature_a_slot(name)
    net.audit()
