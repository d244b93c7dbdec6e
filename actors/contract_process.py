"""Processes of a demo: started together, asked over their sockets, ended in order."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from actors.control import call
from protocol.errors import ChainError, ConfigError

POLL_S: Final = 0.01
STOP_S: Final = 10.0
CALL_S: Final = 120.0


@dataclass(slots=True)
class Program:
    """A command of ``oracle-vm`` as a child process; its output goes to the file ``log``. It ends
    with the process that starts it unless it ``outlives`` that one."""

    name: str
    command: Sequence[str]
    log: Path
    control: Path | None = None
    """Its control socket, if it has one."""
    outlives: bool = False
    child: subprocess.Popen[bytes] | None = field(default=None, init=False)

    def start(self) -> None:
        """Start it, for the first time or again."""
        module = ("actors.cli",) if self.outlives else ("actors.child", str(os.getpid()))
        with self.log.open("ab") as output:
            self.child = subprocess.Popen(
                [sys.executable, "-m", *module, *self.command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )

    def kill(self) -> None:
        """SIGKILL, as a power cut would."""
        assert self.child is not None
        self.child.kill()
        self.child.wait()

    def terminate(self) -> None:
        """SIGTERM; ``wait`` for it."""
        if self.child is not None and self.child.poll() is None:
            self.child.send_signal(signal.SIGTERM)

    def wait(self) -> None:
        """Until it has ended; SIGKILL if it does not."""
        if self.child is None:
            return
        try:
            self.child.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.kill()

    def require_alive(self) -> None:
        """ChainError, with the end of its log, if it has ended by itself."""
        if self.child is not None and self.child.poll() is not None:
            code, said = self.child.returncode, self.last_line
            raise ChainError(f"the {self.name} process ended (exit code {code}): {said}")

    @property
    def last_line(self) -> str:
        """Of its log."""
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        return lines[-1] if lines else "it said nothing"

    def ask(self, method: str, **arguments: Any) -> Any:
        """The answer of its control socket, once it listens."""
        assert self.control is not None
        deadline = time.monotonic() + CALL_S
        while True:
            try:
                return asyncio.run(call(self.control, method, CALL_S, **arguments))
            except ConfigError:
                self.require_alive()
                if time.monotonic() > deadline:
                    raise
                time.sleep(POLL_S)


class Processes:
    """Several programs. On leaving they are stopped, the first one, which the others need, last."""

    def __init__(self, programs: Sequence[Program]) -> None:
        self.programs = {program.name: program for program in programs}

    def __getitem__(self, name: str) -> Program:
        return self.programs[name]

    def __enter__(self) -> Self:
        for program in self.programs.values():
            program.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        first, *others = self.programs.values()
        for group in (others, [first]):
            for program in group:
                program.terminate()
            for program in group:
                program.wait()

    def until(self, holds: Callable[[], bool], what: str, deadline_s: float = CALL_S) -> None:
        """Returns when ``holds()``. ChainError if a program ends before that, or it takes longer
        than ``deadline_s``."""
        end = time.monotonic() + deadline_s
        while not holds():
            for program in self.programs.values():
                program.require_alive()
            if time.monotonic() > end:
                raise ChainError(f"{what}: it did not happen in {deadline_s:g} s; see the logs")
            time.sleep(POLL_S)
