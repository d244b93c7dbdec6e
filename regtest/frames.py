"""Frames of msgpack on a Unix socket that is its owner's alone: length u32 | msgpack."""

import os
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import msgpack

from protocol.errors import ChainError, EncodingError

REQUEST_LIMIT: Final = 5 << 20
"""Bytes of a frame to a node: a block has 4 MB at most."""
ANSWER_LIMIT: Final = 64 << 20
"""Bytes of a frame from a node."""
MAX_ITEMS: Final = 200_000
"""Entries of one array."""

_LENGTH: Final = struct.Struct(">I")
_PART: Final = 1 << 20
_PATH_LIMIT: Final = 100
"""Bytes of a path that every system takes as a socket's address."""


class HungUpError(ChainError):
    """The other end closed the connection, between frames or inside one."""


class LateError(ChainError):
    """The deadline passed first."""


def listen(path: Path) -> socket.socket:
    """A socket that accepts connections at ``path``, mode 0600, in place of one whose process is
    dead. ChainError if a living one listens there, or it cannot be made."""
    link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with near(path) as address:
            if _answered(address):
                raise ChainError(f"{path}: another process serves here: stop it, or choose a path")
            path.unlink(missing_ok=True)
            link.bind(str(address))
        path.chmod(0o600)  # nobody connects before listen()
        link.listen(64)
    except BaseException as error:
        link.close()
        if isinstance(error, OSError):
            raise ChainError(f"{path}: no socket can be made ({error.strerror})") from None
        raise
    return link


def connect(path: Path, timeout_s: float) -> socket.socket:
    """A connection to whoever listens at ``path``; OSError if nobody does."""
    link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        link.settimeout(timeout_s)
        with near(path) as address:
            link.connect(str(address))
    except BaseException:
        link.close()
        raise
    return link


def send_frame(link: socket.socket, plain: Any, limit: int, deadline: float) -> None:
    """A plain value. EncodingError if it is too large, HungUpError or LateError if it did not get
    through."""
    packed: bytes = msgpack.packb(plain)
    if len(packed) > limit:
        raise EncodingError(f"a message of {len(packed)} bytes: {limit} are the limit")
    try:
        link.settimeout(max(deadline - time.monotonic(), 0.001))
        link.sendall(_LENGTH.pack(len(packed)) + packed)
    except TimeoutError:
        raise LateError("the other end does not read") from None
    except OSError as error:
        raise HungUpError(f"the connection broke ({error.strerror})") from None


def read_frame(link: socket.socket, limit: int, deadline: float) -> Any:
    """The value of the next frame. HungUpError if the other end closed, LateError if it is not
    there before ``deadline`` (monotonic seconds), EncodingError for bytes that are no frame."""
    (length,) = _LENGTH.unpack(_read(link, _LENGTH.size, deadline))
    if length > limit:
        raise EncodingError(f"a frame of {length} bytes: {limit} are the limit here")
    return _plain(_read(link, length, deadline))


@contextmanager
def near(path: Path) -> Iterator[Path]:
    """The same path in few bytes: a socket's address holds 107 of them."""
    if len(str(path).encode()) <= _PATH_LIMIT:
        yield path
        return
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield Path(f"/proc/self/fd/{folder}") / path.name
    finally:
        os.close(folder)


def _answered(address: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(address))
        except (FileNotFoundError, ConnectionRefusedError):
            return False
    return True


def _read(link: socket.socket, size: int, deadline: float) -> bytes:
    parts: list[bytes] = []
    while size:
        left = deadline - time.monotonic()
        try:
            if left <= 0:
                raise TimeoutError
            link.settimeout(left)
            part = link.recv(min(size, _PART))
        except TimeoutError:
            raise LateError("no complete message in time") from None
        except OSError as error:
            raise HungUpError(f"the connection broke ({error.strerror})") from None
        if not part:
            raise HungUpError("the other end hung up")
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def _plain(data: bytes) -> Any:
    try:
        return msgpack.unpackb(
            data, max_array_len=MAX_ITEMS, max_map_len=64, max_ext_len=0, strict_map_key=True
        )
    except (msgpack.exceptions.UnpackException, ValueError, RecursionError) as error:
        raise EncodingError(f"no msgpack: {error or type(error).__name__}") from None
