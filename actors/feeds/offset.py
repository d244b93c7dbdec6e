"""How far a venue's clock is from ours: a min-filter over what the venue says about the time.

A venue's time in an answer was read between our question and the answer, so the offset (venue minus
ours) lies in an interval; the shortest round trip gives the narrowest. A time that comes unasked
(Coinbase heartbeats) only bounds the offset from below, since latency is never negative; the
largest such bound is the one of least latency.
"""

from collections import deque
from typing import Final, NamedTuple

MAX_TRIP_MS: Final = 1_000
"""An answer slower than this tells nothing."""
WINDOW_MS: Final = 600_000
MERGE_MS: Final = 10_000
"""Unasked times of so long become one sample."""
SAMPLES: Final = 64
ALARM_MS: Final = 1_000
"""Beyond this offset an operator has to look at the host's clock."""
_UNBOUNDED_MS: Final = 2**63


class _Sample(NamedTuple):
    at_ms: int
    low_ms: int
    high_ms: int

    def agrees(self, other: "_Sample") -> bool:
        return self.low_ms <= other.high_ms and other.low_ms <= self.high_ms


class VenueClock:
    """The clock offset of one venue, shared by all its connections. Times are unix ms.

    ``assumed_ms`` is the offset until the first sample, from which on it is ``known``.
    """

    def __init__(self, assumed_ms: int = 0) -> None:
        self.offset_ms = assumed_ms
        self.known = False
        self._samples: deque[_Sample] = deque(maxlen=SAMPLES)

    @property
    def alarm(self) -> bool:
        """The venue and this host disagree by more than a second."""
        return self.known and abs(self.offset_ms) > ALARM_MS

    def answered(self, sent_ms: int, venue_ms: int, received_ms: int) -> None:
        """The venue read ``venue_ms`` off its clock between our two times."""
        if 0 <= received_ms - sent_ms <= MAX_TRIP_MS:
            self._add(_Sample(received_ms, venue_ms - received_ms, venue_ms - sent_ms))

    def heard(self, venue_ms: int, received_ms: int) -> None:
        """The venue sent its time without being asked."""
        sample = _Sample(received_ms, venue_ms - received_ms, _UNBOUNDED_MS)
        last = self._samples[-1] if self._samples else None
        if last and last.high_ms == _UNBOUNDED_MS and 0 <= received_ms - last.at_ms < MERGE_MS:
            self._samples.pop()
            sample = _Sample(last.at_ms, max(sample.low_ms, last.low_ms), _UNBOUNDED_MS)
        self._add(sample)

    def _add(self, new: _Sample) -> None:
        # A sample that contradicts the newest is from before one of the clocks was set.
        kept = (
            old
            for old in self._samples
            if 0 <= new.at_ms - old.at_ms <= WINDOW_MS and old.agrees(new)
        )
        self._samples = deque([*kept, new], maxlen=SAMPLES)
        best = min(self._samples, key=lambda sample: sample.high_ms - sample.low_ms)
        low_ms = max(sample.low_ms for sample in self._samples)
        if best.high_ms == _UNBOUNDED_MS:
            self.offset_ms = low_ms
        else:
            self.offset_ms = max(low_ms, (best.low_ms + best.high_ms) // 2)
        self.known = True
