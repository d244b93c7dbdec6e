"""The process that holds a node's keys: it answers the node over Unix sockets, and nobody else.

Each connection has a thread, so a frame of the network never waits for the disk of the sign guard.
A newer session fences the one before it: from its hello on nothing is signed for the old one. New
is who has connected last, however late its hello is read. What is signed was journalled first, so
the process may be killed anywhere.
"""

import ctypes
import logging
import os
import resource
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Final

from actors.control import short_path
from actors.files import open_locked
from actors.logs import event
from actors.signer_core import SignerCore
from actors.signer_frames import (
    Answer,
    Fault,
    Hello,
    Request,
    Role,
    decode_request,
    encode_answer,
    receive,
    send,
)
from protocol.errors import ConfigError, EncodingError, GuardError, ProtocolError

HELLO_S: Final = 5.0
"""How long a stranger may take to say who it is."""
LOCK_S: Final = 45.0
"""How long the signer before, of a node that was killed, may take to let go of the sign guard."""
POLL_S: Final = 0.05
BACKLOG: Final = 16
_CREDENTIALS: Final = struct.Struct("3i")
_PR_SET_DUMPABLE: Final = 4
_FAULTS: Final[Mapping[type[ProtocolError], Fault]] = {
    GuardError: Fault.GUARD,
    EncodingError: Fault.REFUSED,
    ConfigError: Fault.CONFIG,
}
FENCED: Final = Answer(
    Fault.FENCED, "a newer node has connected to this signer: this one signs nothing any more"
)

log = logging.getLogger(__name__)


class SignerServer:
    """Serves a core's keys to one session at a time."""

    def __init__(self, core: SignerCore, broken: Callable[[], None] = lambda: None) -> None:
        """``broken`` is called once a guard cannot write, behind the answer that says so."""
        self.core = core
        self._broken = broken
        self._turn = threading.Lock()
        """Held while the guard is used, and while a session takes over."""
        self._session, self._since = b"", -1
        """Whose turn it is, and the number of the connection that began it."""
        self._fenced: deque[bytes] = deque(maxlen=1024)
        self._sockets: set[socket.socket] = set()

    def serve(self, line: socket.socket, number: int, hello_s: float | None = HELLO_S) -> None:
        """Answer one connection until it ends; closes it. ``number`` grows from one connection to
        the next, ``hello_s`` is None for who need not hurry."""
        with line:
            try:
                self._serve(line, number, hello_s)
            except (OSError, EOFError) as error:
                event(log, "hung up", logging.DEBUG, reason=str(error))
            except Exception:  # a thread that ends silently would be a node without a signer
                log.critical("a connection ends", exc_info=True)
            finally:
                with self._turn:
                    self._sockets.discard(line)

    def _serve(self, line: socket.socket, number: int, hello_s: float | None) -> None:
        try:
            hello = self._greet(line, number, hello_s)
            while hello is not None and self._serve_one(line, hello):
                continue
        except EncodingError as error:
            event(log, "refused", logging.WARNING, reason=str(error))
            send(line, encode_answer(Answer(Fault.REFUSED, str(error))))

    def _greet(self, line: socket.socket, number: int, hello_s: float | None) -> Hello | None:
        line.settimeout(hello_s)
        hello = decode_request(receive(line))
        if not isinstance(hello, Hello):
            raise EncodingError("the first request of a connection is a hello")
        if not self._take_over(line, hello.session, number):
            send(line, encode_answer(FENCED))
            return None
        line.settimeout(None)
        send(line, encode_answer(Answer(data=self.core.welcome)))
        return hello

    def _take_over(self, line: socket.socket, session: bytes, number: int) -> bool:
        """Whether the session is the newest. All others hear at once that they are not."""
        with self._turn:
            if session in self._fenced:
                return False
            if session != self._session:
                if number < self._since:
                    self._fenced.append(session)
                    return False
                old, self._session, self._since = self._session, session, number
                if old:
                    self._fenced.append(old)
                    event(log, "fenced", logging.WARNING, connections=len(self._sockets))
                for other in self._sockets:
                    with suppress(OSError):
                        other.shutdown(socket.SHUT_RD)  # its thread says why and ends
                self._sockets.clear()
            self._sockets.add(line)
            return True

    def _serve_one(self, line: socket.socket, hello: Hello) -> bool:
        try:
            data = receive(line)
        except EOFError:
            if hello.session != self._session:
                send(line, encode_answer(FENCED))
            return False
        answer = self._answer(hello, decode_request(data))
        send(line, encode_answer(answer))
        if self.core.is_broken:
            self._broken()
        return answer is not FENCED

    def _answer(self, hello: Hello, request: Request) -> Answer:
        if hello.role is Role.FRAMES:
            return self._decide(hello, request)
        with self._turn:
            return self._decide(hello, request)

    def _decide(self, hello: Hello, request: Request) -> Answer:
        if hello.session != self._session:
            return FENCED
        try:
            return Answer(data=self.core.answer(hello.role, request))
        except ProtocolError as error:
            event(log, "refused", logging.WARNING, reason=str(error))
            return fault_of(error)


class Listener:
    """The socket ``path`` (mode 0600) for processes of the same user; a lock file beside it."""

    def __init__(self, path: Path) -> None:
        """GuardError if another process serves there, ConfigError if it cannot be made."""
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = open_locked(lock_of(path))
        self._socket = socket.socket(socket.AF_UNIX)
        try:
            path.unlink(missing_ok=True)  # of a process that was killed: the lock is ours
            mask = os.umask(0o177)
            try:
                with short_path(path) as near:
                    self._socket.bind(str(near))
            finally:
                os.umask(mask)
            self._socket.listen(BACKLOG)
        except OSError as error:
            self._socket.close()
            os.close(self._lock)
            raise ConfigError(
                f"[signer] socket: {path}: cannot be made ({error.strerror})"
            ) from None

    def accept(self) -> socket.socket:
        """The next connection of a process of this user."""
        while True:
            line, _ = self._socket.accept()
            if peer_uid(line) == os.geteuid():
                return line
            event(log, "refused", logging.WARNING, reason="a process of another user")
            line.close()

    def close(self) -> None:
        """Stop listening and remove the socket."""
        self._socket.close()
        self.path.unlink(missing_ok=True)
        os.close(self._lock)


def lock_of(path: Path) -> Path:
    """The file that the process which listens on the socket ``path`` holds."""
    return path.with_name(path.name + ".lock")


def fault_of(error: ProtocolError) -> Answer:
    """The answer that tells of an error."""
    return Answer(_FAULTS.get(type(error), Fault.REFUSED), str(error))


def give_up() -> None:
    """End this process: the next one opens the guard again and knows what is on disk."""
    log.critical("a sign guard cannot write; the signer ends and must be started again")
    os._exit(1)


def lock_down() -> None:
    """No core dump, and no other process of the same user may read this one's memory (Linux)."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def peer_uid(line: socket.socket) -> int:
    """The user of the process at the other end, as it was when it connected."""
    data = line.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return int(_CREDENTIALS.unpack(data)[1])


def serve_thread(
    server: SignerServer, line: socket.socket, number: int, hello_s: float | None = HELLO_S
) -> threading.Thread:
    """A thread that answers ``line``."""
    thread = threading.Thread(target=server.serve, args=(line, number, hello_s), daemon=True)
    thread.start()
    return thread


def serve_all(server: SignerServer, listener: Listener) -> None:
    """Answer whoever connects; OSError once the listener is closed."""
    for number in count():
        serve_thread(server, listener.accept(), number)


def open_core(folder: Path, keys: Mapping[str, Path]) -> SignerCore:
    """``SignerCore.open``, once the signer before has let go of the sign guard."""
    deadline_s = time.monotonic() + LOCK_S
    told = False
    while True:
        try:
            return SignerCore.open(folder, keys)
        except GuardError as error:
            # In use; or it was, and a compaction has put a new file there meanwhile.
            is_held = isinstance(error.__cause__, BlockingIOError | FileNotFoundError)
            if not is_held or time.monotonic() > deadline_s:
                raise
            if not told:
                event(log, "waiting", reason=str(error))
            told = True
            time.sleep(POLL_S)
