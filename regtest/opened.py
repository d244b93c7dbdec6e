"""A locked folder with what works on it, the kernel in this process or a bitcoind beside it:
opened once, closed once, recovered after a crash."""

import os
from pathlib import Path

from protocol.errors import ChainError
from regtest.datadir import Datadir
from regtest.libkernel import Kernel
from regtest.process import NodeProcess, stop_orphan


class OpenDatadir:
    """What must be closed exactly once, by ``close`` or at the latest by the interpreter's exit."""

    def __init__(self, path: Path, *, reindex: bool) -> None:
        """Claim ``path`` and open its kernel. If its last holder did not close, or on request,
        the databases are rebuilt before anything is written. ChainError if that is impossible."""
        self._pid = os.getpid()
        self._datadir = Datadir.claim(path)
        self._kernel: Kernel | None = None
        try:
            self._datadir.require_without("regtest", "a bitcoind")
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


class OpenNode:
    """The same for a bitcoind: a child process of the one that holds the folder."""

    def __init__(self, path: Path, binary: Path, *, reindex: bool) -> None:
        """Claim ``path`` and start its node. One that outlived its owner is stopped first; if the
        last one was not stopped in order, or on request, its databases are rebuilt."""
        self._pid = os.getpid()
        self._datadir = Datadir.claim(path)
        self._process: NodeProcess | None = None
        try:
            self._datadir.require_without("chainstate", "the embedded node")
            if stop_orphan(self._datadir.path, ours=self._datadir.dirty):
                self._datadir.mark_clean()
            self.recovered = self._datadir.dirty or reindex
            self._datadir.mark_dirty()
            self._process = NodeProcess(binary, self._datadir.path, reindex=self.recovered)
        except BaseException:
            self._datadir.release()
            raise

    @property
    def process(self) -> NodeProcess:
        """ChainError in a fork of the process that opened it, once it is closed, or once the node
        has ended by itself."""
        if os.getpid() != self._pid:
            raise ChainError("a forked process cannot use its parent's chain: open another datadir")
        if self._process is None:
            raise ChainError(f"the chain in {self._datadir.path} is closed: open it again")
        self._process.require_running()
        return self._process

    def close(self) -> None:
        """Stop the node, mark the folder clean, let it go. Nothing happens the second time.

        ChainError if it did not stop in order: the marker stays, the next opening rebuilds. So
        does the marker of a node that was killed before.
        """
        if os.getpid() != self._pid:
            return
        process, self._process = self._process, None
        try:
            if process is not None:
                lived = process.running
                if process.stop():
                    self._datadir.mark_clean()
                elif lived:
                    raise ChainError(
                        f"bitcoind on {self._datadir.path} did not stop in order: its databases"
                        " are rebuilt when it is opened"
                    )
        finally:
            self._datadir.release()
