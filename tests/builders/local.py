"""Folders of ``oracle-vm up``, as a test sees them from outside."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from actors.history import History
from actors.journal import Journal
from actors.local.files import create
from actors.local.place import Site
from actors.local.process import Process
from actors.network import load_network
from tests.builders.network import guarded, slot

UP_S = 400.0


def oracle_vm(*arguments: object, code: int = 0, **environment: str) -> str:
    """What a command prints on stdout, on stderr too if it fails, if this is its exit code."""
    command = [sys.executable, "-m", "actors.cli", *map(str, arguments)]
    run = subprocess.run(
        command, capture_output=True, text=True, timeout=UP_S, env=os.environ | environment
    )
    assert run.returncode == code, f"{arguments}: {run.stdout}{run.stderr}"
    return run.stdout + run.stderr if code else run.stdout


def prices_alone(folder: Path) -> Site:
    """The files of three operators who only sign prices, one a second: no market, no chain."""
    for group in create(folder, live=False, port=None, block_s=1, apart=True).groups:
        for name in ("coordinator", "prover", "api"):
            (group.folder / f"{name}.toml").unlink(missing_ok=True)
        up, network = group.folder / "up.toml", group.network
        up.write_text(re.sub("(?m)^api = .*$", "", up.read_text()))
        network.write_text(network.read_text().replace("schedule_ms = 5000", "schedule_ms = 1000"))
    return Site.load(folder)


def processes_below(folder: Path) -> set[int]:
    """Pids of every process whose command line names the folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if str(folder).encode() in path.read_bytes() and Process.of(int(path.parent.name)):
                found.append(int(path.parent.name))
        except OSError:
            continue
    return set(found) - {os.getpid()}


def end_below(folder: Path) -> None:
    """SIGKILL to all of them."""
    while pids := processes_below(folder):  # a keeper may have started one more
        for pid in pids:
            os.kill(pid, signal.SIGKILL)


@contextmanager
def history_of(folder: Path, owner: str) -> Iterator[History]:
    """What an operator's oracle has stored."""
    path = folder / "operators" / owner / "data" / owner / "history.sqlite"
    with closing(History.read(path)) as history:
        yield history


def rounds(folder: Path, owner: str) -> set[int]:
    """The rounds of these certificates."""
    with history_of(folder, owner) as history:
        return {round_id for (round_id,) in history.db.execute("SELECT round FROM certificate")}


def audit(folder: Path) -> None:
    """Of operators that are down: every certificate is valid, no round has two, no guard a slot
    twice, and nobody holds evidence."""
    certified: dict[int, Any] = {}
    for place in sorted((folder / "operators").iterdir()):
        config = load_network(place / "network.toml").config
        with history_of(folder, place.name) as history:
            for certificate in history.newest_first():
                certificate.check(config)
                first = certified.setdefault(certificate.round, certificate)
                assert first.report == certificate.report, f"two of round {certificate.round}"
        slots = [slot(record) for record in guarded(place / "data" / place.name / "guard.journal")]
        assert slots
        assert len(slots) == len(set(slots)), f"{place.name} has recorded a slot twice"
        for path in place.glob("data/*/evidence.journal"):
            assert evidence(path) == [], path


def evidence(path: Path) -> list[bytes]:
    """Of equivocation, that a node holds, also while it runs."""
    with TemporaryDirectory() as place:
        journal, records = Journal.open(Path(shutil.copy(path, place)))
        journal.close()
    return list(records)


def log_lines(folder: Path) -> dict[Path, list[dict[str, Any]]]:
    """Every line of every program's log; each must be JSON."""
    found = {}
    for path in folder.rglob("logs/*.log"):
        found[path] = [json.loads(line) for line in path.read_text().splitlines()]
        assert found[path], f"{path}: nothing logged"
    return found
