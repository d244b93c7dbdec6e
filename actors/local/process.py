"""A process and its file: which process runs, if one does, and how to end that one and no other.

The file is written and locked by the process that it is about, before it does anything else, and
stays locked until that process is gone, however it goes. It holds the pid and when the process
began, in ticks since a boot that is named too: a pid is used again, all three are not. And the
version of our code that it runs.
"""

import json
import os
import select
import signal
import time
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Final, Self

from actors.files import open_locked, write_all
from protocol.errors import ConfigError

BOOT: Final = Path("/proc/sys/kernel/random/boot_id")
_STARTED: Final = 19
"""Field 22 of /proc/PID/stat, counted from the one behind the name."""


@dataclass(frozen=True, slots=True)
class Process:
    """One process of this machine, whether it still lives or not; ``version`` is of our code, as
    far as it has said so."""

    pid: int
    ticks: int
    boot: str
    version: str = field(default="", compare=False)

    @classmethod
    def of(cls, pid: int) -> Self | None:
        """The process with this pid; None if there is none, or it waits to be buried."""
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            return None if fields[0] in "ZX" else cls(pid, int(fields[_STARTED]), _boot())
        except (OSError, IndexError):
            return None

    @property
    def lives(self) -> bool:
        """Whether it does."""
        return Process.of(self.pid) == self

    @property
    def age_s(self) -> float:
        """Seconds since it began."""
        began_s = self.ticks / os.sysconf("SC_CLK_TCK")
        return max(time.clock_gettime(time.CLOCK_BOOTTIME) - began_s, 0.0)

    def open(self) -> int | None:
        """A descriptor of it, readable once it has ended; None if it has. The caller closes it."""
        try:
            fd = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return None
        if self.lives:  # asked after the descriptor was had: it is this one's
            return fd
        os.close(fd)
        return None

    def send(self, number: int) -> None:
        """Send it a signal, if it lives."""
        fd = self.open()
        if fd is not None:
            try:
                signal.pidfd_send_signal(fd, number)
            except ProcessLookupError:
                pass
            finally:
                os.close(fd)

    def wait(self, deadline_s: float) -> bool:
        """Whether it has ended within so many seconds."""
        fd = self.open()
        if fd is None:
            return True
        try:
            poll = select.poll()
            poll.register(fd, select.POLLIN)
            return bool(poll.poll(1000 * deadline_s))
        finally:
            os.close(fd)

    def end(self, deadline_s: float) -> None:
        """SIGTERM; SIGKILL if that has not ended it by the deadline. Returns when it is gone."""
        self.send(signal.SIGTERM)
        if not self.wait(deadline_s):
            self.send(signal.SIGKILL)
            self.wait(deadline_s)


def claim(path: Path) -> int:
    """Make ``path`` this process's file. The descriptor holds the lock for as long as it is open.
    GuardError if another process has it, ConfigError without Linux' /proc."""
    me = Process.of(os.getpid())
    if me is None:
        raise ConfigError("/proc: not there; `oracle-vm up` needs Linux, start the programs singly")
    fd = open_locked(path)
    os.ftruncate(fd, 0)
    write_all(fd, json.dumps(asdict(replace(me, version=version("oracle-vm")))).encode())
    return fd


def living(path: Path) -> Process | None:
    """The process that ``path`` is about, if it lives."""
    try:
        found = Process(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):  # none yet, or being written
        return None
    return found if found.lives else None


def _boot() -> str:
    return BOOT.read_text().strip()
