"""The processes of a run: each carries the run's mark in its environment, and so do its children.

Whatever a run has started is found by it, however it was started and whoever its parent is now. A
process that overwrites its environment (Ray's workers do) is found by its session. The session that
the run was started in is its user's: in it only what is marked is the run's.
"""

import os
import secrets
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

MARK: Final = "ORACLE_VM_CHAOS"
_STATE, _PARENT, _SESSION = 0, 1, 3


def new_mark() -> str:
    """Of a run by this process: a name, and the session of its user."""
    return f"{secrets.token_hex(8)}-{os.getsid(0)}"


def marked(mark: str) -> set[int]:
    """The living processes of the run with this mark, but for this one."""
    text = f"{MARK}={mark}".encode()
    found = {pid for pid in _pids() if text in _read(pid, "environ").split(b"\0")}
    sessions = {_stat(pid)[_SESSION] for pid in found} - {mark.rpartition("-")[2], ""}
    found |= {pid for pid in _pids() if _stat(pid)[_SESSION] in sessions}
    return {pid for pid in found - {os.getpid()} if lives(pid)}


def lives(pid: int) -> bool:
    """Whether a process runs, or is frozen."""
    return _stat(pid)[_STATE] not in ("Z", "X", "")


def family(pid: int) -> set[int]:
    """A process, its children and theirs."""
    parents = {child: _stat(child)[_PARENT] for child in _pids()}
    found, new = set[int](), {pid}
    while new:
        found |= new
        new = {child for child, parent in parents.items() if parent in map(str, new)} - found
    return found


def send(pids: set[int], number: signal.Signals) -> None:
    """A signal to each that still lives."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def spoken(pid: int) -> bytes:
    """Its arguments and its environment."""
    return _read(pid, "cmdline") + b"\0" + _read(pid, "environ")


def title(pid: int) -> str:
    """Its arguments, for a person."""
    return _read(pid, "cmdline").replace(b"\0", b" ").decode(errors="replace").strip()


def _pids() -> Iterator[int]:
    return (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal())


def _read(pid: int, name: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:  # it has ended, or it is somebody else's
        return b""


def _stat(pid: int) -> list[str]:
    """Behind its name: state, parent, group, session."""
    return _read(pid, "stat").decode(errors="replace").rpartition(")")[2].split() or [""] * 4
