"""Mines until it is killed, printing every block once it is acknowledged.

``mining_child.py DATADIR BLOCKS [BACKEND]``: after BLOCKS it goes on printing nothing and waits.
"""

import sys
from pathlib import Path

from protocol.bitcoin.tx import hash_hex, txout
from protocol.crypto.keys import SecretKey
from regtest.bitcoind import BitcoindChain
from regtest.kernel import KernelChain
from regtest.wallet import Wallet


def main() -> None:
    datadir, blocks = Path(sys.argv[1]), int(sys.argv[2])
    backends = {"kernel": KernelChain, "bitcoind": BitcoindChain}
    chain = backends[sys.argv[3] if len(sys.argv) > 3 else "kernel"](datadir)
    wallet = Wallet(chain, SecretKey(b"\xa1" * 32))
    print(f"opened {chain.height} {int(chain.recovered)}", flush=True)
    for _ in range(blocks):
        if wallet.balance_sats():
            chain.broadcast(wallet.pay([txout(10_000, wallet.script(1))], bytes(32)))
        (block,) = chain.mine(to=wallet.script())
        print(f"block {block.height} {hash_hex(block.hash)}", flush=True)
    print("waiting", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
