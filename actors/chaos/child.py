"""``python -m actors.chaos.child CLOCK COMMAND...``: the command line, on a clock of its own.

CLOCK is a file of 8 bytes: the milliseconds that the wall clock of this process is ahead of the
machine's. Written while it runs, the clock steps, as a machine's does that is set.
"""

import mmap
import sys
import time
from pathlib import Path
from struct import Struct
from typing import Final

OFFSET: Final = Struct("<q")


def on_clock(file: Path, *command: str) -> tuple[str, ...]:
    """How to start ``oracle-vm COMMAND...``; its clock is right at first."""
    set_clock(file, 0)
    return ("-m", "actors.chaos.child", str(file), *command)


def set_clock(file: Path, offset_ms: int) -> None:
    """Step the clock of the process that has ``file``; creates it."""
    with file.open("r+b" if file.exists() else "wb") as clock:
        clock.write(OFFSET.pack(offset_ms))


def main() -> None:
    """Be ``oracle-vm COMMAND...``."""
    file, *command = sys.argv[1:]
    _own_clock(Path(file))
    from actors import cli

    sys.argv = ["oracle-vm", *command]
    cli.main()


def _own_clock(file: Path) -> None:
    # Before anything is imported that could keep the functions.
    with file.open("rb") as clock:
        offset = mmap.mmap(clock.fileno(), OFFSET.size, prot=mmap.PROT_READ)
    real_ns = time.time_ns

    def time_ns() -> int:
        return real_ns() + int(OFFSET.unpack(offset)[0]) * 1_000_000

    time.time_ns = time_ns
    time.time = lambda: time_ns() / 1e9


if __name__ == "__main__":
    main()
