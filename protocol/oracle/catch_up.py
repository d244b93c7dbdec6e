"""Fetching the certificates that a member has missed, from whoever has them.

A certificate that links to an unknown one reveals a gap. The peers are asked one at a time, the one
that showed the certificate first, until the unknown one is found; what they answer proves itself.
"""

from collections.abc import Sequence
from typing import Any, Final

from protocol.oracle.messages import HISTORY_LIMIT, HistoryRequest, Send

GAPS: Final = 64
"""Missing predecessors that are remembered."""
CYCLES: Final = 8
"""So often every peer is asked in vain before the gap is left open."""
WIDER: Final = 64
"""Rounds by which a gap in vain is widened backwards, doubled each time up to ``WIDEST``: what this
member holds before the gap may be on a fork."""
WIDEST: Final = 64 << 12
SLOWER: Final = 4
"""So often patience is doubled, once a cycle in vain: the way may be longer than it was thought."""


class CatchUp:
    """The rounds between ``after_round`` and ``before_round`` in which certificates are missing."""

    def __init__(self, peers: Sequence[int], patience_ms: int) -> None:
        """``patience_ms`` is how long a peer has to answer before the next one is asked, at first.
        An answer that comes later still counts."""
        self._peers = peers
        self._patience_ms = patience_ms
        self._wanted: set[bytes] = set()
        self._after = self._before = self._from = -1
        self._questioned: set[int] = set()
        """The peers that were asked since the gap began."""
        self._asked = 0
        self._asked_ms = 0
        self._in_vain = 0

    def begin(self, certificate: Any, after_round: int, peer: int, now_ms: int) -> list[Send]:
        """``peer`` showed a certificate that links to an unknown one; the newest known before it is
        of ``after_round``."""
        if len(self._wanted) >= GAPS:
            return []
        is_first = not self._wanted
        self._wanted.add(certificate.previous_hash)
        if not is_first:
            self._before = max(self._before, certificate.round)
            return []
        self._after = self._from = after_round
        self._before = certificate.round
        self._asked, self._in_vain = self._peers.index(peer), 0
        self._questioned.clear()
        return self._ask(after_round, now_ms)

    def poll(self, now_ms: int) -> list[Send]:
        """Asks the next peer if the last one was silent or did not have everything."""
        if not self._wanted or 0 <= now_ms - self._asked_ms < self._patience:
            return []
        self._in_vain += 1
        if self._in_vain > CYCLES * len(self._peers):
            self._wanted.clear()
            return []
        self._asked = (self._asked + 1) % len(self._peers)
        back = min(WIDER << (self._in_vain - 1), WIDEST)
        return self._ask(max(-1, self._after - back), now_ms)

    def wakes_ms(self) -> list[int]:
        """When ``poll`` has something to do, unix ms."""
        return [self._asked_ms + self._patience] if self._wanted else []

    @property
    def _patience(self) -> int:
        return self._patience_ms << min(self._in_vain // len(self._peers), SLOWER)

    def is_asked(self, sender: int) -> bool:
        """Whether an answer of this sender is awaited."""
        return bool(self._wanted) and sender in self._questioned

    def fits(self, certificate: Any) -> bool:
        """Whether it is of a round that was asked for."""
        return self._from < int(certificate.round) < self._before

    def receive(self, sender: int, certificates: Sequence[Any], now_ms: int) -> list[Send]:
        """The valid certificates of an answer. Asks the same peer for the next page, if any."""
        found = self._wanted & {certificate.hash for certificate in certificates}
        if found:
            self._wanted -= found
            self._in_vain = 0
        if self._wanted and len(certificates) == HISTORY_LIMIT:
            self._asked = self._peers.index(sender)
            return self._ask(max(certificate.round for certificate in certificates), now_ms)
        return []

    def _ask(self, after_round: int, now_ms: int) -> list[Send]:
        peer = self._peers[self._asked]
        self._from, self._asked_ms = min(self._from, after_round), now_ms
        self._questioned.add(peer)
        return [Send((peer,), HistoryRequest(after_round))]
