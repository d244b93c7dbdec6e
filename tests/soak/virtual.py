"""Virtual time for real programs: sockets, threads and files are real, waiting is not.

The event loop has a clock of its own. When nothing can be read, no callback is due and no thread
works for it, the clock leaps to the next timer. Every program of the run lives in this one loop, so
a day takes as long as its work takes, and a busy machine makes it slower, never late.

Import this module before anything of ours: names are bound to ``time``'s functions on import.
"""

import asyncio
import os
import selectors
import time
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import Executor
from typing import Any, Final, TypeVar

T = TypeVar("T")

STUCK_S: Final = 300.0
"""A thread that works longer than this, really, hangs."""
NS: Final = 10**9

_real_monotonic_ns = time.monotonic_ns


class _Clock:
    """Unix and monotonic time move together, by leaps; real until ``begin``."""

    def __init__(self) -> None:
        self.ahead_ns: int | None = None
        self._stands_ns = 0
        self._unix_ns = 0

    def begin(self, unix_ms: int) -> None:
        self._stands_ns = _real_monotonic_ns()
        self._unix_ns = unix_ms * 10**6
        self.ahead_ns = 0

    def end(self) -> None:
        self.ahead_ns = None

    def leap(self, seconds: float) -> None:
        assert self.ahead_ns is not None
        self.ahead_ns += max(int(seconds * NS), 1)

    def monotonic_ns(self) -> int:
        if self.ahead_ns is None:
            return _real_monotonic_ns()
        return self._stands_ns + self.ahead_ns

    def unix_ns(self) -> int:
        if self.ahead_ns is None:
            return _real_time_ns()
        return self._unix_ns + self.ahead_ns


_real_time_ns = time.time_ns
_CLOCK: Final = _Clock()

# ``time.time`` stays real: block headers have it, and consensus code looks at the host's clock.
time.time_ns = _CLOCK.unix_ns
time.monotonic_ns = _CLOCK.monotonic_ns
time.monotonic = lambda: _CLOCK.monotonic_ns() / NS


def real_s() -> float:
    """Seconds of the machine's own monotonic clock."""
    return _real_monotonic_ns() / NS


class VirtualLoop(asyncio.SelectorEventLoop):
    """Leaps to the next timer when everything rests. ``leaps`` counts how often it did."""

    def __init__(self) -> None:
        self.leaps = 0
        self.working = 0
        super().__init__(_Selector(self))

    def time(self) -> float:
        return time.monotonic()

    def run_in_executor(
        self, executor: Executor | None, func: Callable[..., T], *args: Any
    ) -> "asyncio.Future[T]":
        """As always; time stands while the thread works."""
        future = super().run_in_executor(executor, func, *args)
        self.working += 1
        future.add_done_callback(self._done)
        return future

    def _done(self, _: Any) -> None:
        self.working -= 1


class _Selector(selectors.DefaultSelector):
    """Real descriptors; a timeout is leapt over instead of waited for."""

    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or (timeout is not None and timeout <= 0):
            return ready
        if self._loop.working > 0:
            return self._until_a_thread_is_done()
        os.sched_yield()  # bytes between two sockets of this process are there by now
        ready = super().select(0 if timeout is not None else STUCK_S)
        if not ready and timeout is not None:
            _CLOCK.leap(timeout)
            self._loop.leaps += 1
        return ready

    def _until_a_thread_is_done(self) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(STUCK_S)
        if not ready:
            raise RuntimeError(f"a thread has worked for {STUCK_S:g} s: time cannot go on")
        return ready


def run(main: Callable[[], Coroutine[Any, Any, T]], unix_ms: int) -> T:
    """The result of ``main()`` in virtual time that begins at ``unix_ms``."""
    _CLOCK.begin(unix_ms)
    try:
        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            return runner.run(main())
    finally:
        _CLOCK.end()


__all__: Sequence[str] = ("VirtualLoop", "real_s", "run")
