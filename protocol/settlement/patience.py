"""How long a transaction of the contract has waited in the mempool, and what is paid then.

What only a mempool shows may never be in a block: a party that lets it stand in its way loses its
deadlines to whoever parks a cheap transaction there. After ``stuck_blocks`` it does not count any
more, and this party's own transaction is sent with a child that pays for both; the rate doubles
each time that so many blocks have passed, up to the terms' highest.
"""

from protocol.bitcoin.tx import txid
from protocol.settlement.lifecycle import Position
from protocol.settlement.policy import Policy
from protocol.settlement.terms import ChainTerms
from protocol.settlement.view import View


class Patience:
    """Of one party, about the last transaction of its contract."""

    def __init__(self, policy: Policy) -> None:
        self._stuck_blocks = policy.stuck_blocks
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
        return self._waited >= self._stuck_blocks

    def feerate_sat_vb(self, chain: ChainTerms) -> int:
        """What to pay by now; the terms' own rate while there is patience."""
        doublings = min(self._waited // self._stuck_blocks, 32)
        return min(chain.feerate_sat_vb << doublings, chain.max_feerate_sat_vb)
