"""The breaker of each feed of a batch: a jump is certified once two FULL rounds in a row show it.

The feed that jumps is left out of the round's batch, so nobody is shown a report of it to refuse.
What counts as shown is therefore the observations: 2f + 1 of them, signed, fix the median whatever
the aggregator makes of it. Every node reads them itself when it comes to a later round.
"""

import numpy as np

from protocol.oracle.batch_chain import BatchChain
from protocol.oracle.config import OracleConfig
from protocol.oracle.rows import Column, Mask
from protocol.oracle.sheet import Sheet, within


class Breaker:
    """What the newest round before showed of each feed. A round in which a feed has no quorum says
    nothing about it; a DEGRADED one breaks the row."""

    def __init__(self, n: int) -> None:
        """``n`` is the number of feeds."""
        self.round = -1
        self.rounds: Column = np.zeros(n, dtype=np.uint64)
        self.prices: Column = np.zeros(n, dtype=np.uint64)
        self.is_full: Mask = np.zeros(n, dtype=np.bool_)

    def show(self, round_id: int, sheet: Sheet) -> None:
        """A round is over; ``sheet`` is what it gave."""
        self.round = round_id
        at = sheet.has_quorum
        self.rounds[at] = round_id
        self.prices[at] = sheet.price[at]
        self.is_full[at] = sheet.is_full[at]

    def jumps(self, config: OracleConfig, chain: BatchChain, round_id: int) -> Mask:
        """Where a FULL round before ``round_id`` showed a price beyond max_move of the last
        certified one, and nothing was certified since."""
        return (
            chain.known
            & self.is_full
            & (self.rounds > chain.rounds)
            & (self.rounds < round_id)
            & ~within(self.prices, chain.prices, config.max_move_ppm)
        )

    def is_open(self, config: OracleConfig, chain: BatchChain, round_id: int, sheet: Sheet) -> Mask:
        """Where ``proposal`` refuses the median of ``sheet`` with BREAKER."""
        limit = config.max_move_ppm
        moved = chain.known & ~within(sheet.price, chain.prices, limit)
        if not moved.any():
            return moved
        confirmed = (
            self.jumps(config, chain, round_id)
            & sheet.is_full
            & within(sheet.price, self.prices, limit)
        )
        return moved & ~confirmed
