"""A locked folder with its kernel open: opened once, closed once, recovered after a crash."""

import os
from pathlib import Path

from protocol.errors import ChainError
from regtest.datadir import Datadir
from regtest.libkernel import Kernel


class OpenDatadir:
    """What must be closed exactly once, by ``close`` or at the latest by the interpreter's exit."""

    def __init__(self, path: Path, *, reindex: bool) -> None:
        """Claim ``path`` and open its kernel. If its last holder did not close, or on request,
        the databases are rebuilt before anything is written. ChainError if that is impossible."""
        self._pid = os.getpid()
        self._datadir = Datadir.claim(path)
        self._kernel: Kernel | None = None
        try:
            self.recovered = self._datadir.dirty or reindex
            self._datadir.mark_dirty()
            self._kernel = Kernel(self._datadir.path, reindex=self.recovered)
        except BaseException:
            self._datadir.release()
            raise

    @property
    def kernel(self) -> Kernel:
        """ChainError in a fork of the process that opened it, or once it is closed."""
        if os.getpid() != self._pid:
            raise ChainError("a forked process cannot use its parent's chain: open another datadir")
        if self._kernel is None:
            raise ChainError(f"the chain in {self._datadir.path} is closed: open it again")
        return self._kernel

    def reopen(self) -> None:
        """Flush everything, by the only way there is. A failure leaves the marker: reindex."""
        self.kernel.close()
        self._kernel = None
        self._kernel = Kernel(self._datadir.path, reindex=False)

    def close(self) -> None:
        """Flush, mark the folder clean, let it go. Nothing happens the second time.

        ChainError if the flush failed: the marker stays, the next opening rebuilds.
        """
        kernel, self._kernel = self._kernel, None
        if os.getpid() != self._pid:  # a fork's copy must not flush the parent's files
            if kernel is not None:
                kernel.disown()
            return
        try:
            if kernel is not None:
                kernel.close()
                self._datadir.mark_clean()
        finally:
            self._datadir.release()
