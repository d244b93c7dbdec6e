"""The backends that a suite can run on, and why one of them cannot here."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from protocol.errors import ChainError
from regtest.bitcoind import BitcoindChain
from regtest.chain import Chain
from regtest.kernel import KernelChain
from regtest.process import find_bitcoind
from regtest.remote import RemoteChain
from regtest.served import ChainServer


@dataclass(frozen=True, slots=True)
class Backend:
    """A kind of chain."""

    name: str
    open: Callable[[Path], Chain]
    """On a folder of its own."""
    missing: Callable[[], str]
    """Why it cannot run here; empty if it can."""


def no_bitcoind() -> str:
    """Why there is no bitcoind. ChainError for a ``BITCOIND`` that cannot be run: it was asked
    for, so nothing may be skipped over it."""
    try:
        find_bitcoind()
    except ChainError as error:
        if os.environ.get("BITCOIND"):
            raise
        return str(error)
    return ""


class ServedKernel(RemoteChain):
    """The embedded node behind a socket, both in one process."""

    def __init__(self, folder: Path) -> None:
        self._node = KernelChain(folder / "node")
        self._server = ChainServer(self._node, folder / "chain.sock")
        super().__init__(self._server.path)

    def close(self) -> None:
        super().close()
        self._server.stop()
        self._node.close()


KERNEL = Backend("kernel", KernelChain, lambda: "")
BITCOIND = Backend("bitcoind", BitcoindChain, no_bitcoind)
SERVED = Backend("served", ServedKernel, lambda: "")
BACKENDS = (KERNEL, BITCOIND)
