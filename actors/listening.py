"""The end of an asyncio server."""

import asyncio
from typing import Final

TURNS: Final = 3
"""Of the event loop, from a connection that was accepted to a protocol that knows of it."""


async def close_server(server: asyncio.Server) -> None:
    """Listen no more. Whoever was accepted before has reached its protocol, which can close it: in
    CPython up to 3.13.0 a server that is closed meanwhile leaves such a connection open
    (gh-109564)."""
    loop = asyncio.get_running_loop()
    try:
        for listening in server.sockets:
            loop.remove_reader(listening.fileno())
        for _ in range(TURNS):
            await asyncio.sleep(0)
    finally:
        server.close()
