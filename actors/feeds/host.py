"""What a connection takes from its surroundings: clock, entropy and sleep."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

NS_PER_S = 10**9


def unix_ms() -> int:
    """The host's clock."""
    return time.time_ns() // 10**6


@dataclass(frozen=True, slots=True)
class Host:
    """Clock, entropy and sleep of a connection. ``now_ms`` may be virtual, the rest is real."""

    now_ms: Callable[[], int] = unix_ms
    monotonic_ns: Callable[[], int] = time.monotonic_ns
    uniform: Callable[[float, float], float] = random.uniform
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep

    def now_s(self) -> float:
        """Monotonic seconds."""
        return self.monotonic_ns() / NS_PER_S


@dataclass(frozen=True, slots=True)
class Policy:
    """When a connection is given up, renewed and replaced by REST (oracle.md 3.4), in seconds.

    ``data_deadline_s`` None means the venue's own.
    """

    data_deadline_s: float | None = None
    rotate_s: float = 23 * 3600.0
    rotate_spread_s: float = 20 * 60.0
    handover_s: float = 10.0  # a new connection with quotes of some symbols takes over after this
    rest_after_s: float = 2.0  # without a fresh quote
    rest_until_s: float = 3.0  # of quotes without a gap of rest_after_s
    routine_s: float = 60.0
    timeout_s: float = 5.0  # to open a connection; for a whole REST request
