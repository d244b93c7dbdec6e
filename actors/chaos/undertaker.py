"""``python -m actors.chaos.undertaker PARENT MARK FOLDER``: ends what a run has left behind.

It waits until the run's process is gone, however it went, and kills whatever carries its mark,
frozen processes too; then it removes the run's folder.
"""

import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from actors.chaos.processes import MARK, marked, send

POLL_S: Final = 0.1
QUIET_S: Final = 1.0
"""Nothing has appeared for so long: nothing will."""


@contextmanager
def watched_over(mark: str, folder: Path) -> Iterator[None]:
    """Everything that carries the mark ends with the block, or with this process. The undertaker
    itself carries none."""
    command = [sys.executable, "-m", "actors.chaos.undertaker", str(os.getpid()), mark, str(folder)]
    undertaker = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        env={name: text for name, text in os.environ.items() if name != MARK},
        start_new_session=True,
    )
    try:
        yield
    finally:
        bury(mark)
        undertaker.kill()
        undertaker.wait()


def bury(mark: str) -> None:
    """SIGKILL to everything with the mark, until nothing has been found for ``QUIET_S``."""
    quiet_since = time.monotonic()
    while (found := marked(mark)) or time.monotonic() - quiet_since < QUIET_S:
        if found:
            send(found, signal.SIGKILL)
            quiet_since = time.monotonic()
        time.sleep(POLL_S)


def main() -> None:
    """Wait, and bury."""
    parent, mark, folder = sys.argv[1:]
    try:
        descriptor = os.pidfd_open(int(parent))
    except ProcessLookupError:
        pass
    else:
        select.select([descriptor], [], [])
    bury(mark)
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
