"""A server that is closed in the very turn in which somebody has connected."""

import asyncio
import gc
import socket
from contextlib import suppress

import pytest

from actors.listening import close_server


class Caller(asyncio.Protocol):
    def __init__(self, callers):
        self.callers = callers

    def connection_made(self, transport):
        self.callers.append(transport)


@pytest.mark.parametrize("turns", range(6))
async def test_nobody_is_left_between_the_door_and_the_protocol(turns):
    """Either a protocol has the connection when the server is closed, or it is refused."""
    callers = []
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Caller(callers), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    with socket.create_connection(("127.0.0.1", port)) as client:
        for _ in range(turns):
            await asyncio.sleep(0)
        await close_server(server)
        assert not server.is_serving()
        assert len(callers) == (turns > 1), "who has connected is known, or was never accepted"
        gc.collect()  # what was left behind warns, and a warning fails
        for transport in callers:
            transport.abort()
        await asyncio.sleep(0)
        client.settimeout(5)
        with suppress(ConnectionResetError):
            assert client.recv(1) == b""
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))
