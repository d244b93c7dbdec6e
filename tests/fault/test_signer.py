"""A signer as a process, with nodes that are killed, frozen and doubled while it signs."""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from actors.journal import read_guard
from actors.keyfile import create_key
from protocol.crypto.keys import verify
from protocol.oracle.report import Report
from tests.builders.network import PLAIN, until
from tests.fault import signing_node

pytestmark = pytest.mark.timeout(600)

ENOUGH = 20


class World:
    """A signer behind a socket, and nodes that it signs for; each has a file of what it got."""

    def __init__(self, folder):
        self.folder, self.processes = folder, []
        names = ("identity", "oracle", "dlc", "nonce_seed")
        made = {name: create_key(folder / f"{name}.key") for name in names}
        self.public = made["oracle"].public
        self.file, self.socket = folder / "signer.toml", folder / "signer.sock"
        keys = "\n".join(f'{name} = "{name}.key"' for name in names)
        self.file.write_text(f'[signer]\nsocket = "signer.sock"\nfolder = "data"\n[keys]\n{keys}\n')

    def spawn(self, name, *command):
        with (self.folder / f"{name}.out").open("ab") as out:
            err = (self.folder / f"{name}.err").open("ab")
            with err:
                process = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=out, stderr=err
                )
        self.processes.append(process)
        return process

    def signer(self):
        process = self.spawn("signer", *PLAIN, "signer", "run", "--config", str(self.file))
        lines = (self.folder / "signer.err").read_text().count('"serving"')
        until(
            lambda: (self.folder / "signer.err").read_text().count('"serving"') > lines,
            "the signer serves",
        )
        return process

    def node(self, name, price):
        script = str(Path(signing_node.__file__))
        return self.spawn(
            name, sys.executable, script, str(self.socket), self.public.hex(), str(price)
        )

    def signed(self, name):
        """What a node got, whole lines alone: (report, signature)."""
        path = self.folder / f"{name}.out"
        text = path.read_text() if path.exists() else ""
        lines = text[: text.rfind("\n") + 1].split()
        pairs = zip(lines[::2], lines[1::2], strict=True)
        return [(Report.decode(bytes.fromhex(r)), bytes.fromhex(s)) for r, s in pairs]

    def goes_on(self, name):
        """Until a node has so many signatures more."""
        wanted = len(self.signed(name)) + ENOUGH
        until(lambda: len(self.signed(name)) >= wanted, f"{name} signs")

    def audit(self, *names):
        """Every signature is good, and no round has two messages, whoever asked."""
        by_round = {}
        for report, signature in [pair for name in names for pair in self.signed(name)]:
            assert verify(self.public, report.hash, signature)
            assert by_round.setdefault(report.round, report) == report
        assert read_guard(self.folder / "data" / "guard.journal").seq >= len(by_round)
        return by_round

    def reason(self, name):
        return (self.folder / f"{name}.err").read_text()

    def end(self):
        for process in self.processes:
            with suppress(ProcessLookupError):
                process.kill()
            process.wait()


@pytest.fixture
def world(tmp_path):
    running = World(tmp_path)
    try:
        yield running
    finally:
        running.end()


def test_of_two_nodes_the_newer_signs_and_a_killed_signer_forgets_nothing(world):
    signer = world.signer()
    old = world.node("old", 1)
    world.goes_on("old")
    os.kill(old.pid, signal.SIGSTOP)  # a supervisor that takes it for dead starts another one
    world.node("new", 2)
    world.goes_on("new")
    os.kill(old.pid, signal.SIGCONT)
    assert old.wait(60) == 1
    assert "a newer node has connected to this signer" in world.reason("old")
    world.goes_on("new")
    signer.kill()
    signer.wait()
    signer = world.signer()
    world.goes_on("new")
    by_round = world.audit("old", "new")
    assert {report.price_e8 for report in by_round.values()} == {1, 2}
    second = subprocess.run(
        [*PLAIN, "signer", "run", "--config", str(world.file)], capture_output=True, text=True
    )
    assert second.returncode == 1
    assert "in use by another process; stop it first" in second.stderr
    signer.terminate()
    assert signer.wait(60) == 0
    assert not world.socket.exists()
