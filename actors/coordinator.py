"""The coordinator as an actor: it owns a regtest chain and serves it to whoever settles there.

It holds no key and decides nothing: parties judge for themselves what its blocks say. Durable: the
node's blocks are its journal, brought back after SIGKILL; every call says what must hold after it,
so that a call which is repeated changes nothing.
"""

import os
from collections.abc import Sequence
from pathlib import Path

from actors.config import CHAIN_NODE, CHAIN_SOCKET, ChainServer, open_chain
from actors.demo_config import FUNDS_HEIGHT


class Coordinator:
    """The actor; its chain is the one of `oracle-vm chain serve --dir FOLDER`."""

    def __init__(self, folder: Path) -> None:
        """ChainError if another process has the folder open."""
        folder.mkdir(parents=True, exist_ok=True)
        self._chain = open_chain(folder / CHAIN_NODE)
        self._server = ChainServer(self._chain, folder / CHAIN_SOCKET)

    def pid(self) -> int:
        """The process id, once the chain is served."""
        return os.getpid()

    def height(self) -> int:
        """Of the best block."""
        return self._chain.height

    def waiting(self) -> int:
        """How many transactions wait for a block."""
        return len(self._chain.mempool())

    def pay_out(self, scripts: Sequence[bytes]) -> int:
        """A coinbase for each script, and blocks until it may be spent; the height then."""
        for script in scripts:
            if not self._chain.unspent(script):
                self._chain.mine(1, to=script)
        return self.mine_to(FUNDS_HEIGHT)

    def mine_to(self, height: int) -> int:
        """Mine until the chain has this height; the first block holds what waits."""
        missing = height - self._chain.height
        if missing > 0:
            self._chain.mine(missing)
        return self._chain.height

    def close(self) -> None:
        """Stop serving, flush and release the chain."""
        self._server.stop()
        self._chain.close()
