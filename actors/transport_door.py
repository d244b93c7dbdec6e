"""The door before TLS: callers who have not finished its handshake, bounded like other strangers.

asyncio would begin TLS for everybody who connects, a quarter of a megabyte each, and tell nobody.
"""

import asyncio
import ssl
from collections.abc import Callable
from typing import cast

from actors.transport_options import Limits
from actors.transport_socket import Socket


class Door:
    """Speaks TLS with callers and hands each that can to a socket made by ``accept``. Of more than
    ``limits.strangers`` at once the oldest makes room; each has ``limits.open_s``."""

    def __init__(
        self, context: ssl.SSLContext, limits: Limits, accept: Callable[[], Socket]
    ) -> None:
        self.waiting: dict[asyncio.Task[None], asyncio.Transport] = {}
        """One for each handshake that goes on, oldest first."""
        self._context = context
        self._limits = limits
        self._accept = accept

    def __call__(self) -> asyncio.Protocol:
        """The protocol of a new connection."""
        return _Caller(self)

    def close(self) -> None:
        """Nobody gets in any more."""
        while self.waiting:
            self._turn_away()

    def knock(self, caller: "_Caller", transport: asyncio.Transport) -> None:
        """Somebody has connected."""
        transport.pause_reading()  # what is said belongs to TLS
        task = asyncio.get_running_loop().create_task(self._admit(caller, transport))
        self.waiting[task] = transport
        task.add_done_callback(lambda done: self.waiting.pop(done, None))
        if len(self.waiting) > self._limits.strangers:
            self._turn_away()

    def _turn_away(self) -> None:
        """The oldest, at once: asyncio may accept a hundred callers in one turn of the loop."""
        task = next(iter(self.waiting))
        self.waiting.pop(task).abort()
        task.cancel()

    async def _admit(self, caller: "_Caller", transport: asyncio.Transport) -> None:
        secured = None
        try:
            secured = await asyncio.get_running_loop().start_tls(
                transport,
                caller,
                self._context,
                server_side=True,
                ssl_handshake_timeout=self._limits.open_s,
            )
        except OSError:  # of which ssl.SSLError is one
            pass
        finally:
            if secured is None:
                transport.abort()
        if secured is not None and not caller.is_lost:
            socket = self._accept()
            secured.set_protocol(socket)
            socket.connection_made(secured)
            if caller.early:
                socket.data_received(bytes(caller.early))


class _Caller(asyncio.Protocol):
    """Keeps what comes between the end of the handshake and the socket's turn."""

    def __init__(self, door: Door) -> None:
        self.early = bytearray()
        self.is_lost = False
        self._door = door

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._door.knock(self, cast("asyncio.Transport", transport))

    def data_received(self, data: bytes) -> None:
        self.early += data

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_lost = True
