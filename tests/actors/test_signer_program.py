"""Nodes and their signers: the child that ends with its node, and one that a node can lose."""

import ast
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from resource import RLIM_INFINITY, RLIMIT_FSIZE, prlimit
from types import SimpleNamespace
from urllib.error import HTTPError

import pytest

from actors.feeds.simulated.exchanges import SimulatedExchanges
from actors.keyfile import create_key
from actors.local.process import Process
from actors.signer_client import IdentityKey, OracleKey, Signer, open_signer
from actors.signer_core import SignerCore
from actors.signer_dial import ChildDial
from actors.signer_frames import Role
from protocol.crypto.keys import SecretKey
from protocol.errors import ConfigError, GuardError, SignerError
from protocol.oracle import exercise
from tests.builders.network import until as wait_until
from tests.builders.operators import until
from tests.builders.running import AGGREGATOR, ORACLES, Programs
from tests.builders.signers import Serving

NODE_MODULES = (
    *("program", "oracle", "aggregator", "node", "transport_link"),
    *("signer_client", "signer_dial", "signer_frames"),
)


# The child


@pytest.fixture
def keys(tmp_path):
    paths = {name: tmp_path / f"{name}.key" for name in ("identity", "oracle")}
    made = {name: create_key(path) for name, path in paths.items()}
    return SimpleNamespace(paths=paths, folder=tmp_path / "data", **made)


def child(keys):
    return Signer(ChildDial(keys.folder, keys.paths, "info"))


def holds(pid, folder):
    """The names of key files and sign guards under ``folder`` that a process has open."""
    opened = [path.readlink() for path in Path(f"/proc/{pid}/fd").iterdir() if path.exists()]
    kept = [path.name for path in opened if path.is_relative_to(folder)]
    return [name for name in kept if name.endswith((".key", "guard.journal"))]


def gone(pid):
    return Process.of(pid) is None


def test_a_child_holds_the_keys_and_ends_with_its_session(keys):
    signer = child(keys)
    pid, key = signer.pid, signer.oracle(keys.oracle.public)
    assert key.next_seq() == 1
    assert holds("self", keys.folder.parent) == []
    assert holds(pid, keys.folder.parent) == ["guard.journal"]
    command = Path(f"/proc/{pid}/cmdline").read_bytes()
    told = command + Path(f"/proc/{pid}/environ").read_bytes()
    for path in keys.paths.values():
        assert str(path).encode() in command
        assert path.read_text().strip().encode() not in told
    signer.close()
    assert gone(pid)
    core = SignerCore.open(keys.folder, keys.paths)  # the lock is free
    core.close()


def test_a_child_whose_guard_cannot_write_has_a_successor_that_can(keys):
    signer = child(keys)
    try:
        pid, key = signer.pid, signer.oracle(keys.oracle.public)
        slots = (bytes([number]) * 32 for number in range(256))
        room = (keys.folder / "guard.journal").stat().st_size
        prlimit(pid, RLIMIT_FSIZE, (room, RLIM_INFINITY))
        with pytest.raises(GuardError):
            key.record_once(exercise.MAGIC, next(slots), bytes(8))
        wait_until(lambda: gone(pid), "the signer ends", 30)

        def recorded():
            signer.check()
            try:
                key.record_once(exercise.MAGIC, next(slots), bytes(8))
            except GuardError:
                return False
            return True

        wait_until(recorded, "another one writes", 60)
        assert signer.pid != pid
    finally:
        signer.close()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_child_that_is_lost_has_a_successor(keys, number):
    signer = child(keys)
    try:
        key, pid = signer.oracle(keys.oracle.public), signer.pid
        key.record_once(exercise.MAGIC, bytes(32), (5).to_bytes(8))
        line = signer._lines[Role.GUARD]
        line._next_s = line._deadline_s = 0.2
        os.kill(pid, number)
        with pytest.raises(SignerError, match="does not answer"):
            wait_until(lambda: key.recall(b"OBS1", bytes(32), bytes(32)), "it is stopped")
        assert "does not answer" in signer.fault
        wait_until(lambda: signer.check() or signer.fault is None, "another child answers")
        assert signer.pid != pid
        assert gone(pid), "a frozen one is ended: it held the lock"
        assert (key.seq, signer.reconnects) == (1, 1)
        assert key.recall_once(exercise.MAGIC, bytes(32)) == (5).to_bytes(8)
    finally:
        signer.close()
    assert gone(signer.pid)


def test_children_that_end_again_and_again_end_the_node(keys, monkeypatch):
    monkeypatch.setattr("actors.signer_client.RETRY_CAP_S", 0.0)
    signer = child(keys)
    try:
        monkeypatch.setattr("actors.signer_dial.PROGRAM", (sys.executable, "-c", "exit(1)"))
        os.kill(signer.pid, signal.SIGKILL)
        with pytest.raises(SignerError, match="ends again and again"):
            wait_until(signer.check, "it gives up")
        assert signer.lost == signer.fault
    finally:
        signer.close()


def test_a_child_that_was_closed_is_not_started_again(keys):
    signer = child(keys)
    signer.close()
    with pytest.raises(SignerError, match="closed"):
        signer.check()
    assert gone(signer.pid)


def test_a_child_says_why_it_cannot_start(keys):
    keys.paths["oracle"].chmod(0o644)
    with pytest.raises(ConfigError, match=r"\[keys\] oracle: .* others can read the key"):
        child(keys)
    keys.paths["oracle"].chmod(0o600)
    keys.folder.mkdir()
    (keys.folder / "guard.journal").write_bytes(b"no journal at all, and longer than a frame")
    with pytest.raises(GuardError, match=r"guard\.journal"):
        child(keys)


KILLED = """
import os, sys
from pathlib import Path
from actors.signer_client import Signer
from actors.signer_dial import ChildDial
folder = Path(sys.argv[1])
paths = {name: folder / f"{name}.key" for name in ("identity", "oracle")}
print(Signer(ChildDial(folder / "data", paths, "info")).pid, flush=True)
os.kill(os.getpid(), 9)
"""


def test_a_node_that_is_killed_takes_its_signer_along_and_the_next_one_waits(keys):
    command = [sys.executable, "-c", KILLED, str(keys.folder.parent)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert ended.returncode == -signal.SIGKILL
    signer = child(keys)
    try:
        wait_until(lambda: gone(int(ended.stdout)))
        assert signer.oracle(keys.oracle.public).next_seq() == 1
    finally:
        signer.close()


# Programs


@pytest.fixture
async def net(tmp_path):
    with SimulatedExchanges(7, tick_ms=50) as exchanges:
        async with Programs(tmp_path / "net", exchanges) as running:
            yield running


def observes(net, oracles):
    """Whether the newest certificate is of these oracles (bits)."""
    return net[AGGREGATOR].member.node.last.report.observers == oracles


async def test_a_node_says_that_it_has_lost_its_signer_and_goes_on_with_it(
    net, tmp_path, monkeypatch
):
    monkeypatch.setattr("actors.signer_client.RETRY_CAP_S", 0.05)
    monkeypatch.setattr("actors.program.TEND_S", 0.05)
    await net.certified(1)
    await net.stop("charlie")
    path = tmp_path / "signer.sock"
    lines = (net.folder / "charlie.toml").read_text().split("\n[")
    keyless = [table for table in lines if not table.startswith("keys]")]
    with_keys = net.operator("charlie")
    (net.folder / "charlie.toml").write_text(
        "\n[".join(keyless) + f'\n[signer]\nsocket = "{path}"\n'
    )
    assert not net.operator("charlie").keys
    core = SignerCore.open(with_keys.folder, with_keys.keys)
    serving = Serving(core, path)
    try:
        charlie = net.start("charlie", open_signer)
        await until(lambda: observes(net, 0b111))
        serving.end()
        await until(lambda: charlie.keys.fault is not None)
        status = await charlie.status()
        assert "no signer answers" in status["signer"]["fault"] or "does not answer" in str(status)
        with pytest.raises(HTTPError, match="503"):
            await net.page("charlie", "/healthz")
        assert "signer_up 0" in await net.page("charlie")
        before = net.round()
        later = await net.certified(3, after=before)
        assert later[-1].report.observers == 0b011, "the others go on without it"
        serving = Serving(core, path)
        await until(lambda: observes(net, 0b111))
        assert (await charlie.status())["signer"]["reconnects"] == 1
        assert "signer_up 1" in await net.page("charlie")
        newer = Signer(serving.dial)
        with pytest.raises(SignerError, match="a newer node has connected"):
            await net.ended("charlie")
        newer.close()
    finally:
        serving.end()
        core.close()


async def own_signer(net):
    """Charlie with a signer child, once it takes part."""
    await net.certified(1)
    await net.stop("charlie")
    charlie = net.start("charlie", open_signer)
    await until(lambda: observes(net, 0b111))
    return charlie


async def test_a_node_whose_signer_is_killed_goes_on_with_another_one(net):
    charlie = await own_signer(net)
    pid = charlie.keys.pid
    os.kill(pid, signal.SIGKILL)
    await until(lambda: charlie.keys.pid != pid and charlie.keys.fault is None)
    after = net.round()
    await until(lambda: net.round() > after and observes(net, 0b111))
    assert (await charlie.status())["signer"]["reconnects"] == 1


FROZEN_S = 8.0


@pytest.mark.slow
async def test_a_node_whose_signer_is_frozen_for_a_while_goes_on_with_it(net):
    charlie = await own_signer(net)
    pid = charlie.keys.pid
    os.kill(pid, signal.SIGSTOP)
    try:
        frozen_s = time.monotonic()
        await until(lambda: charlie.keys.fault is not None)
        assert (await charlie.status())["signer"]["fault"] == charlie.keys.fault
        await until(lambda: net.round() > 0 and observes(net, 0b011))
        await until(lambda: time.monotonic() - frozen_s > FROZEN_S)
    finally:
        os.kill(pid, signal.SIGCONT)
    await until(lambda: charlie.keys.fault is None)
    after = net.round()
    await until(lambda: net.round() > after and observes(net, 0b111))
    assert (charlie.keys.pid, charlie.keys.reconnects) == (pid, 0)


async def test_no_program_holds_a_key(net):
    await net.certified(1)
    for name in (*ORACLES, AGGREGATOR):
        program = net[name]
        seen = [program, program.transport._identity, program.transport._identity._key]
        if name in ORACLES:
            seen += [program.guard, program.oracle, program.signer, program.recollection]
        held = [value for one in seen for value in vars(one).values()]
        assert not [value for value in held if isinstance(value, SecretKey)]
        assert isinstance(program.transport._identity._key, IdentityKey)
    assert isinstance(net["alpha"].guard, OracleKey)


@pytest.mark.parametrize("module", NODE_MODULES)
def test_no_module_of_a_node_can_read_a_key(module):
    tree = ast.parse(Path("actors", f"{module}.py").read_text())
    imported = {
        f"{node.module}.{alias.name}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert not [name for name in imported if name.startswith("actors.keyfile.")]
    assert "actors.journal.SignGuard" not in imported
