"""Free TCP ports of loopback."""

import socket
from contextlib import ExitStack, suppress
from random import SystemRandom
from typing import Final

LISTENING: Final = range(20_000, 32_768)
"""Below the ports that systems give to connections: one of those can take the port of a node while
it restarts."""


def free_ports(count: int) -> list[int]:
    """So many TCP ports of loopback that nobody uses at this moment."""
    candidates = SystemRandom().sample(LISTENING, len(LISTENING))
    ports: list[int] = []
    with ExitStack() as bound:
        for port in candidates:
            if len(ports) == count:
                break
            with suppress(OSError):
                bound.enter_context(socket.socket()).bind(("127.0.0.1", port))
                ports.append(port)
    return ports
