"""A miner for a chain of one's own: coins for both parties first, then a block every few seconds.

It can be ended at any moment: what a block pays follows from its height, and every start goes on
from the height that the chain has.
"""

import threading
from collections.abc import Sequence
from itertools import cycle, islice
from typing import Final

from actors.config import Chain, Wallet
from actors.keyfile import load_key
from actors.local.place import Place
from protocol.crypto.keys import SecretKey
from protocol.errors import ChainError
from protocol.settlement.terms import Role

COINBASES: Final = 8
"""For each party and for the faucet, 50 BTC each."""
MATURITY_BLOCKS: Final = 100
ENDOWED_HEIGHT: Final = 3 * COINBASES + MATURITY_BLOCKS
"""Where everybody has coins that may be spent."""


def scripts_of(place: Place, faucet: SecretKey, chain: Chain) -> Sequence[bytes]:
    """Of the holder, the writer and the faucet."""
    keys = [load_key(place.folder / role.value / "wallet.key") for role in Role]
    return [Wallet(chain, key).script() for key in (*keys, faucet)]


def endow(chain: Chain, scripts: Sequence[bytes]) -> None:
    """Bring a new chain to ``ENDOWED_HEIGHT``: first ``COINBASES`` blocks for each script."""
    paid = COINBASES * len(scripts)
    for script in islice(cycle(scripts), chain.height, paid):
        chain.mine(1, to=script)
    missing = paid + MATURITY_BLOCKS - chain.height
    if missing > 0:
        chain.mine(missing)


def mine_until(stopping: threading.Event, chain: Chain, every_s: float) -> None:
    """A block each ``every_s`` seconds; a restart of the node in between may swallow one."""
    while not stopping.wait(every_s):
        try:
            chain.mine(1)
        except ChainError:
            _ = chain.tip  # ChainError if there is no node any more
