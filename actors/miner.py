"""A miner for a chain of one's own: coins for some first, then a block every few seconds.

It can be ended at any moment: what a block pays follows from its height, and every start goes on
from the height that the chain has.
"""

import threading
from collections.abc import Sequence
from itertools import cycle, islice
from typing import Final

from actors.config import Chain

COINBASES: Final = 8
"""For each script, 50 BTC each."""
MATURITY_BLOCKS: Final = 100


def endowed_height(scripts: int) -> int:
    """Where the first coins of so many scripts may all be spent."""
    return scripts * COINBASES + MATURITY_BLOCKS


def endow(chain: Chain, scripts: Sequence[bytes]) -> None:
    """Bring a new chain to ``endowed_height``: first ``COINBASES`` blocks for each script."""
    for script in islice(cycle(scripts), chain.height, COINBASES * len(scripts)):
        chain.mine(1, to=script)
    missing = endowed_height(len(scripts)) - chain.height
    if scripts and missing > 0:
        chain.mine(missing)


def mine_until(stopping: threading.Event, chain: Chain, every_s: float) -> None:
    """A block each ``every_s`` seconds. ChainError if the node does not take one."""
    while not stopping.wait(every_s):
        chain.mine(1)
