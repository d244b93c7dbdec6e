"""How a node reaches its signer: a child of its own, or the process behind a socket."""

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, Protocol

from actors.control import short_path
from actors.restarts import Restarts
from actors.signer_frames import (
    Answer,
    Request,
    Role,
    decode_answer,
    encode_request,
    receive,
    send,
)
from protocol.errors import GuardError

PROGRAM: Sequence[str] = (sys.executable, "-m", "actors.signer_child")
"""A child; tests put one here that dies where it is told to."""
DEADLINES_S: Final[Mapping[Role, float]] = {Role.GUARD: 30.0, Role.FRAMES: 1.0}
"""For an answer. A busy machine and a slow disk are no reason to give a signer up; but frames are
sealed in the event loop, and one that comes late is lost."""
FIRST_S: Final = 10.0
"""For the first answer behind a socket."""
START_S: Final = 90.0
"""For the first answer of a child, which has to start, and to get the sign guard."""
CLOSE_S: Final = 5.0
"""For its end."""
_AT_ONCE_S: Final = 0.001


class Line(Protocol):
    """One connection to a signer."""

    @property
    def is_late(self) -> bool:
        """Whether an answer is overdue; nothing else is asked before it has come."""

    def ask(self, request: Request) -> Answer:
        """The answer; TimeoutError if it does not come in time or is late already, OSError,
        EOFError or EncodingError if there will be none on this line any more."""

    def close(self) -> None:
        """Hang up. Twice is fine."""


class SocketLine:
    """A line over a connected socket. An answer may take ``deadline_s``, the first one
    ``first_s``."""

    def __init__(self, end: socket.socket, deadline_s: float, first_s: float) -> None:
        self.is_late = False
        self._end = end
        self._lock = threading.Lock()
        self._deadline_s, self._next_s = deadline_s, first_s

    def ask(self, request: Request) -> Answer:
        """``Line.ask``; does not block while an answer is late."""
        with self._lock:
            if self.is_late:
                self._receive(_AT_ONCE_S)  # nobody waits for it any more
                self.is_late = False
            self._send(encode_request(request))
            within_s, self._next_s = self._next_s, self._deadline_s
            try:
                return self._receive(within_s)
            except TimeoutError:
                self.is_late = True
                raise

    def close(self) -> None:
        """``Line.close``."""
        with suppress(OSError):
            self._end.shutdown(socket.SHUT_RDWR)  # wakes who waits for an answer
        self._end.close()

    def _send(self, data: bytes) -> None:
        self._end.settimeout(self._next_s)
        try:
            with suppress(BrokenPipeError, ConnectionResetError):
                send(self._end, data)  # who hung up may have said why
        except TimeoutError:
            raise EOFError("it does not take the whole request") from None

    def _receive(self, within_s: float) -> Answer:
        self._end.settimeout(within_s)
        self._end.recv(1, socket.MSG_PEEK)  # in time or not, nothing is lost
        self._end.settimeout(self._deadline_s)
        try:
            return decode_answer(receive(self._end))
        except TimeoutError:
            raise EOFError("it does not say the whole answer") from None


class Dial(Protocol):
    """How lines to one signer are had."""

    def line(self, role: Role) -> Line:
        """A new one. OSError if nobody listens, GuardError if there will never be another one."""

    def close(self) -> None:
        """No further line is wanted: ends a signer that is this node's own."""


class SocketDial:
    """The signer that listens on ``path``: ``oracle-vm signer run``."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def line(self, role: Role) -> SocketLine:
        """A new connection."""
        end = socket.socket(socket.AF_UNIX)
        try:
            end.settimeout(FIRST_S)
            with short_path(self._path) as near:
                end.connect(str(near))
        except OSError as error:
            end.close()
            raise OSError(f"{self._path}: {error.strerror or error}") from None
        return SocketLine(end, DEADLINES_S[role], FIRST_S)

    def close(self) -> None:
        """It is not this node's."""


class ChildDial:
    """A signer of this node's own, for the keys in ``keys`` (paths by purpose), its guards in
    ``folder``. A child has one line of each role: who wants another one gets another child."""

    def __init__(self, folder: Path, keys: Mapping[str, Path], level: str) -> None:
        self._arguments = [level, str(folder), *(f"{name}={path}" for name, path in keys.items())]
        self._lock = threading.Lock()
        self._is_closed = False
        self._starts = Restarts()
        self._process: subprocess.Popen[bytes] | None = None
        self._lines: dict[Role, SocketLine] = {}
        self._unused: set[Role] = set()

    def line(self, role: Role) -> SocketLine:
        """The line of this role to the child, or to the next one. OSError if the one before does
        not end, and so keeps the sign guard, GuardError if too many have ended."""
        with self._lock:
            if self._is_closed:
                raise OSError("it was ended")
            if role not in self._unused:
                self._end(patience_s=0)
                self._start()
            self._unused.discard(role)
            return self._lines[role]

    def close(self) -> None:
        """End the child: it ends by itself, unless it is frozen."""
        with self._lock, suppress(OSError):
            self._is_closed = True
            self._end(CLOSE_S)

    def _start(self) -> None:
        now_s = time.monotonic()
        if self._starts.delay_s(now_s) is None:
            raise GuardError("this node's signer ends again and again; its log says why")
        self._starts = self._starts.another(now_s)
        pairs = {role: socket.socketpair() for role in Role}
        fds = [pairs[role][1].fileno() for role in (Role.GUARD, Role.FRAMES)]
        try:
            self._process = subprocess.Popen(
                [*PROGRAM, *map(str, fds), *self._arguments],
                pass_fds=fds,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
            )
        finally:
            for _, theirs in pairs.values():
                theirs.close()
        self._lines = {
            role: SocketLine(ours, DEADLINES_S[role], START_S) for role, (ours, _) in pairs.items()
        }
        self._unused = set(Role)

    def _end(self, patience_s: float) -> None:
        """What it has journalled is on disk, so it may be killed anywhere."""
        for line in self._lines.values():
            line.close()
        if self._process is None:
            return
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(patience_s)
            return
        self._process.kill()
        try:
            self._process.wait(CLOSE_S)
        except subprocess.TimeoutExpired:
            raise OSError(f"process {self._process.pid} does not end: its disk hangs") from None
