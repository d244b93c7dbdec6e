"""When a round is due and whose turn it is to propose it: arithmetic on unix ms and round numbers.

A round is due when no certificate exists since the last boundary of the schedule (a burnt round is
retried every interval until one does), when a price has left the last certified one, or when a
peer has opened it. A round's proposers take turns of ``takeover_ms``: the dedicated aggregator,
then oracle (round mod n), then the next. After a burnt round the oracles come first, so an
aggregator that burns rounds costs one round id each, not the price.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from protocol.errors import ConfigError
from protocol.oracle.messages import AGGREGATOR

BPS: Final = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """Times in ms, ``deviation_bps`` in hundredths of a percent. ConfigError names a wrong field.

    ``collect_ms`` is how long a proposer waits for a further observation; it is the aggregator
    node's ``wait_ms``.
    """

    interval_ms: int
    schedule_ms: int = 30_000
    deviation_bps: int = 20
    takeover_ms: int = 500
    collect_ms: int = 50

    def __post_init__(self) -> None:
        for name in ("interval_ms", "schedule_ms", "deviation_bps", "takeover_ms"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name}: must be at least 1, got {getattr(self, name)}")
        if self.schedule_ms % self.interval_ms:
            raise ConfigError(
                f"schedule_ms: {self.schedule_ms} is no multiple of interval_ms {self.interval_ms}"
            )
        if not 0 <= self.collect_ms < self.takeover_ms:
            raise ConfigError(
                f"collect_ms: {self.collect_ms} must be less than takeover_ms {self.takeover_ms},"
                " or the next in rank proposes before the aggregator does"
            )

    def is_overdue(self, now_ms: int, certified_round: int) -> bool:
        """Whether the last boundary of the schedule still has no certificate."""
        boundary_ms = now_ms // self.schedule_ms * self.schedule_ms
        return certified_round < boundary_ms // self.interval_ms

    def next_boundary_ms(self, now_ms: int) -> int:
        """The next boundary of the schedule after ``now_ms``."""
        return (now_ms // self.schedule_ms + 1) * self.schedule_ms

    def deviates(self, prices: Mapping[bytes, int], reference: Mapping[bytes, int]) -> bool:
        """Whether a price is ``deviation_bps`` or more from the reference of its feed."""
        return any(
            abs(price - reference[feed]) * BPS >= self.deviation_bps * reference[feed]
            for feed, price in prices.items()
            if feed in reference
        )

    def turn_ms(self, proposer: int, round_id: int, oracles: int, *, burnt: bool) -> int:
        """How long after a round opened this proposer's turn comes. ``burnt``: the oracle that
        asks has signed a report since the last certificate, in vain."""
        if proposer == AGGREGATOR:
            rank = oracles if burnt else 0
        else:
            rank = (proposer - round_id) % oracles + (0 if burnt else 1)
        return rank * self.takeover_ms
