"""Observers: clients without a key that are shown every certificate and say nothing."""

import asyncio
from typing import Final

from actors.transport_options import Limits
from actors.transport_queue import Meter, Tally
from actors.transport_socket import Handler, Socket

PATH: Final = "/certificates"
TURN: Final = 16
"""Observers served before the event loop has its turn: thousands must not delay a round."""


class Observers:
    """The subscribers of this process. A slow one skips certificates and gets the newest."""

    def __init__(self, limits: Limits) -> None:
        self.tally = Tally()
        self._limits = limits.for_observers()
        self._sockets: dict[Socket, None] = {}
        self._newest: bytes | None = None

    def __len__(self) -> int:
        return len(self._sockets)

    def subscribe(self) -> Handler | tuple[int, str]:
        """The handler of a new connection, or the HTTP refusal if there are too many."""
        if len(self) >= self._limits.observers:
            return 503, f"{self._limits.observers} observers are connected; try another node"
        return _Observer(self)

    def publish(self, data: bytes) -> None:
        """Shows ``data`` to everybody, a few observers in each turn of the event loop."""
        self._newest = data
        self._show(data, list(self._sockets))

    def _show(self, data: bytes, sockets: list[Socket]) -> None:
        for socket in sockets[-TURN:]:
            socket.send(data)
        del sockets[-TURN:]
        if sockets:
            asyncio.get_running_loop().call_soon(self._show, data, sockets)

    def add(self, socket: Socket) -> None:
        """Shows the newest certificate to a new observer, if there is one, and all later ones."""
        clock = asyncio.get_running_loop().time
        meter = Meter(self._limits.frames_per_s, self._limits.bytes_per_s, clock)
        socket.admit(self._limits, meter, self.tally)
        self._sockets[socket] = None
        if self._newest is not None:
            socket.send(self._newest)

    def remove(self, socket: Socket) -> None:
        """Forgets an observer that left."""
        self._sockets.pop(socket, None)


class _Observer:
    def __init__(self, observers: Observers) -> None:
        self._observers = observers
        self._socket: Socket | None = None

    def opened(self, socket: Socket) -> None:
        self._socket = socket
        self._observers.add(socket)

    def received(self, data: bytes) -> None:
        if self._socket is not None:
            self._socket.close("observers only listen")

    def ended(self, reason: str) -> None:
        if self._socket is not None:
            self._observers.remove(self._socket)
