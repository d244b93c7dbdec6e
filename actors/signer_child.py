"""A node's own signer: a child process that holds the keys, and ends when the node does.

    python -m actors.signer_child GUARD_FD FRAMES_FD LOG FOLDER PURPOSE=PATH...

The two sockets are inherited: nobody else can reach it, and their end is the node's end, however
the node went. Paths are on the command line, keys never.
"""

import logging
import os
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path

from actors.logs import open_log
from actors.signer_frames import decode_request, encode_answer, receive, send
from actors.signer_program import (
    SignerServer,
    fault_of,
    give_up,
    lock_down,
    open_core,
    serve_thread,
)
from protocol.errors import ProtocolError


def main() -> None:
    """Serve the two inherited sockets until the node is gone."""
    guard_fd, frames_fd, level, folder, *keys = sys.argv[1:]
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # the node ends first, then this
    lock_down()
    open_log(level=getattr(logging, level.upper()))
    lines = [socket.socket(fileno=int(fd)) for fd in (guard_fd, frames_fd)]
    paths = {purpose: Path(path) for purpose, _, path in (key.partition("=") for key in keys)}
    try:
        core = open_core(Path(folder), paths)
    except ProtocolError as error:
        with suppress(OSError, EOFError):
            decode_request(receive(lines[0]))
            send(lines[0], encode_answer(fault_of(error)))
        sys.exit(1)
    server = SignerServer(core, give_up)
    threads = [serve_thread(server, line, number, None) for number, line in enumerate(lines)]
    for thread in threads:
        thread.join()
    os._exit(0)


if __name__ == "__main__":
    main()
