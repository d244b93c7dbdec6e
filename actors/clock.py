"""The clock that oracles, simulators and rounds read: real, or declared as simulated."""

import time
from dataclasses import dataclass
from pathlib import Path

from protocol.units import UnixMs


def _real_ns() -> int:
    return time.time_ns()


class SystemClock:
    """Real unix time."""

    name = "system-clock"

    def now_ms(self) -> UnixMs:
        """Milliseconds since 1970."""
        return UnixMs(_real_ns() // 1_000_000)


class SimulatedClock:
    """Stands at ``start_ms`` until it is released, then runs at real speed.

    The release is a file, so that every process sees it, one that is restarted later too.
    """

    name = "simulated-clock"

    def __init__(self, start_ms: int, release_file: Path) -> None:
        self._start_ms = start_ms
        self._file = release_file
        self._released_ns: int | None = None

    def now_ms(self) -> UnixMs:
        """Milliseconds since 1970 on this clock."""
        if self._released_ns is None:
            try:
                released, start = self._file.read_text().split()
            except FileNotFoundError:
                return UnixMs(self._start_ms)
            self._released_ns, self._start_ms = int(released), int(start)
        return UnixMs(self._start_ms + (_real_ns() - self._released_ns) // 1_000_000)

    def release(self, at_ms: int | None = None) -> None:
        """Start the clock, for every process that reads it; ``at_ms`` skips the time until then."""
        start = self._start_ms if at_ms is None else at_ms
        draft = self._file.with_suffix(".draft")
        draft.write_text(f"{_real_ns()} {start}")
        draft.replace(self._file)


@dataclass(frozen=True, slots=True)
class ShiftedClock:
    """Real unix time plus ``offset_ms``: one number, so that programs which share it agree, in
    whatever order and how often they start."""

    offset_ms: int

    @property
    def name(self) -> str:
        """As ``SimulatedClock``: neither is real time."""
        return SimulatedClock.name

    def now_ms(self) -> UnixMs:
        """Milliseconds since 1970 on this clock."""
        return UnixMs(_real_ns() // 1_000_000 + self.offset_ms)


Clock = SystemClock | SimulatedClock | ShiftedClock


def clock_at(offset_ms: int) -> Clock:
    """Real time for 0, else the declared simulated clock that is so far ahead of it."""
    return ShiftedClock(offset_ms) if offset_ms else SystemClock()
