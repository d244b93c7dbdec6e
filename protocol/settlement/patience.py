"""How long a transaction waits, and what is paid then.

What only a mempool shows may never be in a block: a party that lets it stand in its way loses its
deadlines to whoever parks a cheap transaction there. After ``stuck_blocks`` it does not count any
more. What this party itself wants in a block pays more the longer it has waited, twice as much each
time that so many blocks have passed, and the terms' highest rate when its window is about to close:
a pre-signed transaction through a child, one that it signs alone by being signed again.
"""

from dataclasses import dataclass
from typing import Final

from bitcoin.core import CTransaction

from protocol.bitcoin.tx import txid
from protocol.settlement.lifecycle import Position
from protocol.settlement.policy import MARGIN_BLOCKS, Policy
from protocol.settlement.terms import ChainTerms
from protocol.settlement.view import View

SPARE_BLOCKS: Final = MARGIN_BLOCKS
"""A window that closes so soon is about to close: one block to pay the highest rate in, and one in
case that this is late."""


@dataclass(frozen=True, slots=True)
class Due:
    """A transaction that the next block may hold, and what it should pay by now: 0 for what it
    pays by itself."""

    name: str
    tx: CTransaction
    feerate_sat_vb: int = 0


def feerate_sat_vb(
    policy: Policy, chain: ChainTerms, base: int, waited: int, left: int | None = None
) -> int:
    """What to pay for a transaction that has waited so many blocks and should be in one of the next
    ``left``; ``base`` at first, the terms' highest rate at most."""
    if left is not None and left <= SPARE_BLOCKS:
        return chain.max_feerate_sat_vb
    doublings = min(max(waited, 0) // policy.stuck_blocks, 32)
    return min(base << doublings, chain.max_feerate_sat_vb)


class Patience:
    """Of one party, about the last transaction of its contract."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._waiting: tuple[bytes, int] | None = None
        self._waited = 0

    def look(self, position: Position, view: View) -> Position:
        """What counts of ``position``: all, or what blocks hold where the rest waits too long."""
        last = position.path[-1] if position.path else None
        if last is None or last.confirmed:
            self._waiting = None
        elif self._waiting is None or self._waiting[0] != txid(last.tx):
            self._waiting = txid(last.tx), view.height
        self._waited = view.height - self._waiting[1] if self._waiting else 0
        return position.in_blocks if self.is_out else position

    @property
    def is_out(self) -> bool:
        """Whether something has waited for too many blocks."""
        return self._waited >= self._policy.stuck_blocks

    def feerate_sat_vb(self, chain: ChainTerms) -> int:
        """What to pay by now; the terms' own rate while there is patience."""
        return feerate_sat_vb(self._policy, chain, chain.feerate_sat_vb, self._waited)
