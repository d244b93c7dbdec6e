"""Which feeds to put into a batch, so that no feed and no oracle stops the others.

An oracle signs a batch whole: it must have observed every feed in it and agree with every median.
The proposer has the signed observations and so knows for which feeds that is the case. It takes the
feeds on which all oracles of one quorum agree; of several quorums the one whose feeds have waited
longest in sum, so a feed that lost to others goes first after a while.

That a member of the chosen quorum agrees is no proof that it signs. One that did not, in a round
without a certificate, is counted on only if there is no other quorum: for 2 rounds, then 4, 8 and
so on. A liar can burn few rounds that way, and an honest oracle that was down soon counts again.
"""

from collections import Counter
from collections.abc import Collection, Sequence
from itertools import combinations
from typing import Final

import numpy as np

from protocol.oracle.rows import Column, Mask

MOST_BROKEN: Final = 10
"""A broken promise costs 2^10 rounds at most."""


class Promises:
    """The oracles that could have signed and did not."""

    def __init__(self) -> None:
        self._broken: Counter[int] = Counter()
        self._until: dict[int, int] = {}

    def settle(self, round_id: int, able: Collection[int], voters: Collection[int]) -> None:
        """A round ended without a certificate; ``able`` agreed with the whole proposal."""
        for oracle in set(able) - set(voters):
            self._broken[oracle] = min(self._broken[oracle] + 1, MOST_BROKEN)
            self._until[oracle] = round_id + 2 ** self._broken[oracle]

    def kept(self, oracles: Collection[int], round_id: int) -> frozenset[int]:
        """Those to count on in this round."""
        return frozenset(i for i in oracles if self._until.get(i, -1) < round_id)


def choose(
    agreeing: Mask, oracles: Sequence[int], quorum: int, waited: Column, trusted: Collection[int]
) -> Mask:
    """The feeds to propose. ``agreeing`` has a row for each of ``oracles``: the feeds that it could
    sign; ``waited`` is how long each feed had no certificate, in any unit."""
    none: Mask = np.zeros(agreeing.shape[1], dtype=np.bool_)
    if len(oracles) < quorum:
        return none
    if (agreeing == agreeing[0]).all():
        everywhere: Mask = agreeing[0]
        return everywhere
    best, best_key = none, (False, -1, -1)
    for members in combinations(range(len(oracles)), quorum):
        feeds: Mask = np.logical_and.reduce(agreeing[list(members)])
        counted_on = sum(oracles[i] in trusted for i in members)
        key = (bool(feeds.any()), counted_on, int(waited[feeds].sum()))
        if key > best_key:
            best, best_key = feeds, key
    return best
