"""What bounds a connection: the rate of its input and the size of its output."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

BURST_S: Final = 1.0


@dataclass(slots=True)
class Tally:
    """What the bounds of a connection cost its peer."""

    dropped: int = 0
    """Frames that it did not read in time."""
    throttled: int = 0
    """Times that it had to wait before this side read on."""


class Meter:
    """How far a peer is ahead of its allowed rates: ``spend`` what it sent, and it has to wait
    for ``debt_s``. What it may send in one second may come at once."""

    def __init__(
        self, frames_per_s: float, bytes_per_s: float, clock_s: Callable[[], float]
    ) -> None:
        """``clock_s`` is a monotonic clock in seconds."""
        self._frame_s = 1 / frames_per_s
        self._byte_s = 1 / bytes_per_s
        self._clock_s = clock_s
        self._frames_paid_s = self._bytes_paid_s = clock_s() - BURST_S

    def spend(self, frames: int, size: int) -> None:
        """The peer sent ``frames`` of ``size`` bytes together."""
        floor = self._clock_s() - BURST_S
        self._frames_paid_s = max(self._frames_paid_s, floor) + frames * self._frame_s
        self._bytes_paid_s = max(self._bytes_paid_s, floor) + size * self._byte_s

    def debt_s(self) -> float:
        """Seconds until it may go on; not positive if at once."""
        return max(self._frames_paid_s, self._bytes_paid_s) - self._clock_s()


class Outbox:
    """Frames that wait until a peer reads; the newest win."""

    def __init__(self) -> None:
        self._frames: deque[bytes] = deque()
        self._size = 0

    def __len__(self) -> int:
        return len(self._frames)

    def put(self, frame: bytes, most_frames: int, most_bytes: int) -> int:
        """Appends a frame and drops the oldest ones until the rest is within the bounds; returns
        how many."""
        self._frames.append(frame)
        self._size += len(frame)
        dropped = 0
        while len(self._frames) > most_frames or self._size > most_bytes:
            self.take()
            dropped += 1
        return dropped

    def take(self) -> bytes:
        """Removes and returns the oldest frame."""
        frame = self._frames.popleft()
        self._size -= len(frame)
        return frame
