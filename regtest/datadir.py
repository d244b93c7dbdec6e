"""Who holds a node's folder, and whether its last holder closed it.

A node flushes only when it is closed. ``dirty`` exists from before it opens until after it has
closed; found at the next opening, the databases are rebuilt from the block files.
"""

import fcntl
import os
from pathlib import Path
from typing import Self

from protocol.errors import ChainError


class Datadir:
    """An exclusive claim on a folder. The kernel drops the lock even after SIGKILL."""

    def __init__(self, path: Path, lock: int) -> None:
        self.path = path
        self._lock = lock

    @classmethod
    def claim(cls, path: Path) -> Self:
        """Create the folder and lock it; ChainError naming the holder if it is taken."""
        path = path.resolve()
        try:
            path.mkdir(parents=True, exist_ok=True)
            lock = os.open(path / "owner.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise ChainError(f"cannot use {path} as a node's folder: {error.strerror}") from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.read(lock, 32).decode(errors="replace").strip() or "unknown"
            os.close(lock)
            mine = " (this process)" if holder == str(os.getpid()) else ""
            raise ChainError(
                f"{path} is open in process {holder}{mine}: close it there or choose another folder"
            ) from error
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
        return cls(path, lock)

    def require_without(self, folder: str, other: str) -> None:
        """ChainError if ``folder`` is here, which shows that the ``other`` backend has its chain
        in this place: two backends would see two chains."""
        if (self.path / folder).exists():
            raise ChainError(f"{self.path} holds the chain of {other}: choose another folder")

    @property
    def dirty(self) -> bool:
        """Whether the last holder did not close."""
        return self._marker.exists()

    def mark_dirty(self) -> None:
        """On disk before this returns."""
        with self._marker.open("wb") as marker:
            marker.write(f"{os.getpid()}\n".encode())
            marker.flush()
            os.fsync(marker.fileno())
        self._sync()

    def mark_clean(self) -> None:
        self._marker.unlink(missing_ok=True)
        self._sync()

    def release(self) -> None:
        """Let others claim the folder; once is enough."""
        lock, self._lock = self._lock, -1
        if lock >= 0:
            os.close(lock)

    @property
    def _marker(self) -> Path:
        return self.path / "dirty"

    def _sync(self) -> None:
        folder = os.open(self.path, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
