"""A signer in the process of a test: the same core and the same client, without a child."""

import socket
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

from actors.operator import Operator
from actors.signer_client import Signer
from actors.signer_core import SignerCore
from actors.signer_dial import SocketDial, SocketLine
from actors.signer_frames import (
    Answer,
    Hello,
    Request,
    Role,
    decode_answer,
    decode_request,
    encode_answer,
    encode_request,
)
from actors.signer_program import Listener, SignerServer, fault_of, serve_all
from protocol.errors import ProtocolError


class CoreLine:
    """A line that ends in the core itself; what crosses it is encoded all the same."""

    is_late = False

    def __init__(self, core: SignerCore, role: Role) -> None:
        self._core = core
        self._role = role

    def ask(self, request: Request) -> Answer:
        asked = decode_request(encode_request(request))
        return decode_answer(encode_answer(self._answer(asked)))

    def close(self) -> None:
        pass

    def _answer(self, request: Request) -> Answer:
        if isinstance(request, Hello):
            return Answer(data=self._core.welcome)
        try:
            return Answer(data=self._core.answer(self._role, request))
        except ProtocolError as error:
            return fault_of(error)


class CoreDial:
    """``actors.signer_dial.Dial`` of a core that is closed with it."""

    def __init__(self, core: SignerCore) -> None:
        self.core = core

    def line(self, role: Role) -> Any:
        return CoreLine(self.core, role)

    def close(self) -> None:
        self.core.close()


class Serving:
    """A signer's server in this process, behind a socket; ``dial`` is a client's way to it."""

    def __init__(self, core: SignerCore, path: Path) -> None:
        self.core = core
        self.listener = Listener(path)
        self.server = SignerServer(core)
        self.dial = SocketDial(path)
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def line(self, role: Role, session: bytes) -> tuple[SocketLine, Answer]:
        """A line that has said hello."""
        line = self.dial.line(role)
        return line, line.ask(Hello(session, role))

    def end(self) -> None:
        """Hang up on everybody; the core stays open. Twice is fine."""
        if self._thread.is_alive():
            self.listener._socket.shutdown(socket.SHUT_RDWR)
            self._thread.join(10)
            self.listener.close()
        for line in tuple(self.server._sockets):
            with suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        with suppress(OSError):
            serve_all(self.server, self.listener)


def signer_inside(operator: Operator) -> Signer:
    """The signer of an operator, in this process."""
    return Signer(CoreDial(SignerCore.open(operator.folder, operator.keys)))
