"""``python -m actors.local.child PROCESS_FILE COMMAND...``: the command line with a process file.

The file is claimed before anything is imported that could take long: whoever looks for a running
program finds it, and a second one of the same name ends here.
"""

import sys
from pathlib import Path

from actors.local.process import claim
from protocol.errors import ProtocolError


def main() -> None:
    """Claim the file and be ``oracle-vm COMMAND...``."""
    path, *command = sys.argv[1:]
    try:
        claim(Path(path))  # held until this process ends
    except ProtocolError as error:
        sys.exit(f"error: {error}")
    from actors import cli

    sys.argv = ["oracle-vm", *command]
    cli.main()


if __name__ == "__main__":
    main()
