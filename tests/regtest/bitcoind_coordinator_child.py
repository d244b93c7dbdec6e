"""A coordinator on a bitcoind of which, at the n-th thing it does, one side is killed.

python bitcoind_coordinator_child.py FOLDER N node|owner     N = 0: to the end, print how many
"""

import os
import signal
import sys
from pathlib import Path

from actors import coordinator
from actors.journal import Journal
from regtest.bitcoind import BitcoindChain
from tests.fault.coordinator_child import Crash, finish


class NodeCrash(Crash):
    """Kills the node instead of its owner."""

    node: BitcoindChain | None = None

    def open(self, folder: Path) -> BitcoindChain:
        self.node = BitcoindChain(folder)
        return self.node

    def moment(self) -> None:
        self.count += self.node is not None
        if self.node and self.count == self.at:
            pid = self.node.pid
            os.kill(pid, signal.SIGKILL)
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)


def main(folder: Path, at: int, victim: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    crash = NodeCrash(at) if victim == "node" else Crash(at)
    coordinator.open_chain = crash.open if isinstance(crash, NodeCrash) else BitcoindChain
    for owner, name in ((Journal, "append"), (BitcoindChain, "broadcast"), (BitcoindChain, "mine")):
        crash.watch(owner, name)
    finish(folder, "close")
    print(crash.count)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
