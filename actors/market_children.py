"""The parties' processes that a desk starts: one for each side of a contract, started again if it
dies.

A party outlives a desk that is killed. The next desk finds it by the lock on its journal, starts
no second one, and takes over when it is gone.
"""

import signal
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from actors.contract_process import Program
from actors.files import is_held
from actors.local.process import Process
from actors.local.tail import parse, text
from actors.party_folder import JOURNAL
from actors.restarts import Restarts
from protocol.settlement.terms import Role

STARTING_S: Final = 30.0
"""A party reads its journal and builds its contract before it answers."""


@dataclass(slots=True)
class Child:
    """A party that this desk has started, and how often it had to."""

    program: Program
    began_s: float
    restarts: Restarts = field(default_factory=Restarts)
    died_s: float | None = None
    """When it was found dead, None while it runs; this and ``began_s`` are monotonic."""
    fault: str = ""
    """How it died last, until it answers."""


def end_party(pid: int, file: Path) -> None:
    """SIGTERM to the process of this pid if it is the party of this file."""
    process = Process.of(pid)
    with suppress(OSError):
        if process and str(file).encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
            process.send(signal.SIGTERM)


class PartyChildren:
    """Of all contracts, by the party's file."""

    def __init__(self) -> None:
        self._children: dict[Path, Child] = {}

    def keep(self, folder: Path, role: Role) -> str:
        """Have the party of a contract's ``folder`` run; how it died last, empty if it did not, or
        has answered since."""
        file = folder / f"{role.value}.toml"
        child = self._children.get(file)
        if child is None:
            if not is_held(folder / role.value / JOURNAL):
                self._children[file] = self._started(folder, role)
            return ""
        code = None if child.program.child is None else child.program.child.poll()
        if code is not None:
            self._again(child, code)
        return child.fault

    def answered(self, folder: Path, role: Role) -> None:
        """It is well."""
        child = self._children.get(folder / f"{role.value}.toml")
        if child is not None:
            child.fault = ""

    def is_starting(self, folder: Path, role: Role) -> bool:
        """Whether this desk has started it so recently that it need not answer yet."""
        child = self._children.get(folder / f"{role.value}.toml")
        return child is not None and time.monotonic() - child.began_s < STARTING_S

    def end(self, files: Iterable[Path]) -> list[Program]:
        """Tell these parties to end, those that this desk has started; wait for what it returns."""
        ended = [self._children.pop(file).program for file in files if file in self._children]
        for program in ended:
            program.terminate()
        return ended

    def end_all(self) -> list[Program]:
        """The same of all."""
        return self.end(list(self._children))

    def _started(self, folder: Path, role: Role) -> Child:
        config = str(folder / f"{role.value}.toml")
        command = ("party", "run", "--role", role.value, "--config", config)
        log = folder / f"{role.value}.log"
        child = Child(Program(role.value, command, log, outlives=True), time.monotonic())
        child.program.start()
        return child

    def _again(self, child: Child, code: int) -> None:
        """Start one that has ended, later each time."""
        now_s = time.monotonic()
        if child.died_s is None:
            child.died_s = now_s
            said = text(parse(child.program.last_line))
            child.fault = f"its process ended (exit code {code}) and is started again; {said}"
        delay_s = child.restarts.delay_s(now_s)
        if delay_s is not None and now_s - child.died_s >= delay_s:
            child.restarts, child.died_s = child.restarts.another(now_s), None
            child.began_s = now_s
            child.program.start()
