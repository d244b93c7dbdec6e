"""Files that must survive a crash and have one owner: locks, whole writes, folders on disk."""

import fcntl
import os
from collections.abc import Callable
from pathlib import Path

from protocol.errors import ConfigError, GuardError

Fsync = Callable[[int], None]
"""``os.fsync``; tests replace it to inject disk errors."""


def open_locked(path: Path) -> int:
    """A file descriptor of ``path``, created with mode 0600 if there is no file, with an exclusive
    lock that is held until it is closed. GuardError if another process has it."""
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        fd = os.open(path, flags, 0o600)
    except OSError as error:
        raise GuardError(
            f"{path}: {error.strerror}; check the folder and its permissions"
        ) from error
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # The owner may have put a new file here between our open and our lock.
        if not os.path.samestat(os.fstat(fd), path.stat()):
            raise FileNotFoundError
    except OSError as error:
        os.close(fd)
        raise GuardError(f"{path}: in use by another process; stop it first") from error
    return fd


def is_held(path: Path) -> bool:
    """Whether a process has ``path`` open by ``open_locked``; False if there is no such file."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def write_all(fd: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(fd, rest) :]


def write_whole(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Replace a file: after a crash it has what it had or ``data``, and that is on the disk."""
    draft = path.with_name(f"{path.name}.new")
    fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    try:
        write_all(fd, data)
        os.fsync(fd)
    finally:
        os.close(fd)
    draft.replace(path)
    sync_folder(path.parent)


def expanded(path: Path) -> Path:
    """With the home folder of who is named by ``~``; ConfigError if that is nobody."""
    try:
        return path.expanduser()
    except RuntimeError:
        raise ConfigError(f"{path}: no such user; write the whole path") from None


def read_all(fd: int) -> bytes:
    with open(fd, "rb", closefd=False) as file:
        return file.read()


def sync_folder(folder: Path, fsync: Fsync = os.fsync) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fsync(fd)
    finally:
        os.close(fd)
