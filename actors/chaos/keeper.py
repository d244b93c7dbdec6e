"""Starts the processes of a run and starts again what dies, within the budget that ``up`` has."""

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from resource import RLIM_INFINITY, RLIMIT_FSIZE, prlimit
from typing import Final

from actors.chaos.processes import family, send
from actors.restarts import Restarts
from protocol.errors import ConfigError

POLL_S: Final = 0.05
STOP_S: Final = 20.0
UP_S: Final = 60.0


@dataclass(slots=True)
class Kept:
    """A program: ``held`` is not started again for now, ``room`` are the bytes that its files may
    have, ``due_s`` is when it is started again. ``ends`` are when it ended (monotonic) and its exit
    codes."""

    name: str
    command: Sequence[str]
    log: Path
    process: subprocess.Popen[bytes] | None = None
    restarts: Restarts = field(default_factory=Restarts)
    due_s: float | None = None
    held: bool = False
    failed: bool = False
    room: int | None = None
    starts: int = 0
    ends: list[tuple[float, int]] = field(default_factory=list)


class Keeper:
    """A context manager. ``start`` adds a program."""

    def __init__(self) -> None:
        self._kept: dict[str, Kept] = {}
        self._lock = threading.RLock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="keeper", daemon=True)

    def __enter__(self) -> "Keeper":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def kept(self) -> Mapping[str, Kept]:
        """The programs by name."""
        return self._kept

    def start(self, name: str, command: Sequence[str], log: Path) -> None:
        """Have ``python COMMAND...`` run from now on, with what it says in a file."""
        program = Kept(name, command, log)
        with self._lock:
            self._kept[name] = program
            self._start(program)

    def replace(self, name: str, command: Sequence[str]) -> None:
        """Another program in its place."""
        with self._lock:
            self.hold(name)
            self._kept[name].command = command
            self.release(name)

    def hold(self, name: str) -> None:
        """SIGKILL, and down until ``release``."""
        with self._lock:
            program = self._kept[name]
            program.held = True
            if program.process is not None:
                program.process.kill()
                self._bury(program)

    def release(self, name: str) -> None:
        """It may run again."""
        with self._lock:
            program = self._kept[name]
            program.held, program.due_s = False, time.monotonic()

    def wait_up(self, name: str) -> None:
        """Until its process runs: a fault of one that is down is none. ConfigError if it does not
        come."""
        end = time.monotonic() + UP_S
        while (process := self._kept[name].process) is None or process.poll() is not None:
            if time.monotonic() > end:
                raise ConfigError(f"{name} is not up after {UP_S:g} s; read its log")
            time.sleep(POLL_S)

    def signal(self, name: str, number: signal.Signals) -> None:
        """To its process and its children, if it runs."""
        with self._lock:
            process = self._kept[name].process
            if process is not None and process.poll() is None:
                send(family(process.pid), number)

    def limit(self, name: str, room: int | None) -> None:
        """No file of it may be longer than ``room`` bytes, after it was started again neither;
        None: as long as it likes from its next start on."""
        with self._lock:
            program = self._kept[name]
            program.room = room
            if program.process is not None:
                self._apply_limit(program.process.pid, room)

    def stop(self) -> dict[str, int]:
        """SIGTERM to all and, after a while, SIGKILL; their exit codes."""
        self._stop.set()
        self._thread.join()
        running = {n: k.process for n, k in self._kept.items() if k.process is not None}
        for process in running.values():
            send(family(process.pid), signal.SIGCONT)
            process.terminate()
        end = time.monotonic() + STOP_S
        for process in running.values():
            try:
                process.wait(max(end - time.monotonic(), 0.0))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for program in self._kept.values():
            program.process = None
        return {name: process.returncode for name, process in running.items()}

    def _run(self) -> None:
        while not self._stop.wait(POLL_S):
            with self._lock:
                for program in self._kept.values():
                    self._look(program)

    def _look(self, program: Kept) -> None:
        now_s = time.monotonic()
        if program.process is not None and program.process.poll() is not None:
            self._bury(program)
        if program.process is None and program.due_s is not None and now_s >= program.due_s:
            program.due_s = None
            program.restarts = program.restarts.another(now_s)
            self._start(program)

    def _bury(self, program: Kept) -> None:
        assert program.process is not None
        program.ends.append((time.monotonic(), program.process.wait()))
        program.process = None
        if not program.held:
            now_s = time.monotonic()
            delay_s = program.restarts.delay_s(now_s)
            program.failed = delay_s is None
            program.due_s = None if delay_s is None else now_s + delay_s

    def _start(self, program: Kept) -> None:
        with program.log.open("ab") as log:
            program.process = subprocess.Popen(
                [sys.executable, *program.command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        program.starts += 1
        if program.room is not None:
            self._apply_limit(program.process.pid, program.room)

    def _apply_limit(self, pid: int, room: int | None) -> None:
        limit = RLIM_INFINITY if room is None else room
        for member in family(pid):
            try:
                prlimit(member, RLIMIT_FSIZE, (limit, RLIM_INFINITY))
            except ProcessLookupError:
                pass
            except PermissionError as error:
                raise ConfigError(f"disk-full: prlimit of {member} is refused ({error})") from None
