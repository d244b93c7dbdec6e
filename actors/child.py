"""``python -m actors.child PARENT COMMAND...``: the command line, ended when the process PARENT is.

However PARENT went, by SIGKILL too: its descriptor is readable then. Linux only, as pidfd is.
"""

import os
import select
import signal
import sys
import threading


def main() -> None:
    """Be ``oracle-vm COMMAND...`` for as long as the parent lives."""
    parent, *command = sys.argv[1:]
    threading.Thread(target=_end_with, args=(int(parent),), daemon=True).start()
    from actors import cli

    sys.argv = ["oracle-vm", *command]
    cli.main()


def _end_with(parent: int) -> None:
    """SIGTERM to this process once its parent is gone, or if it has gone already."""
    try:
        descriptor = os.pidfd_open(parent)
    except ProcessLookupError:
        descriptor = None
    if descriptor is not None and os.getppid() == parent:
        select.select([descriptor], [], [])
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main()
