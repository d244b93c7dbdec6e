"""Serves a chain, and may SIGKILL itself at a call.

``serving_child.py FOLDER BACKEND [before|after CALL]``: before the node does the call, or when it
has done it and has not answered. The socket is FOLDER/chain.sock, the node FOLDER/node.
"""

import os
import signal
import sys
from pathlib import Path

from regtest import served
from regtest.bitcoind import BitcoindChain
from regtest.kernel import KernelChain


def main(folder: Path, backend: str, moment: str = "", call: str = "") -> None:
    do = served._DO.get(call)

    def deadly(chain, **arguments):
        if moment == "after":
            do(chain, **arguments)
        os.kill(os.getpid(), signal.SIGKILL)

    if do is not None:
        served._DO[call] = deadly
    kind = {"kernel": KernelChain, "bitcoind": BitcoindChain}[backend]
    with kind(folder / "node") as chain, served.ChainServer(chain, folder / "chain.sock"):
        print(f"ready {int(chain.recovered)}", flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
