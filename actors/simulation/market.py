"""The true price and what an honest oracle sees of it."""

from random import Random
from typing import Final

MILLION: Final = 1_000_000
STEP_MS: Final = 100
START_E8: Final = 8_374_400_000_000
NOISE_PPM: Final = 300
"""Honest oracles differ by twice this, far below delta: other venues, other milliseconds."""


class Market:
    """A random walk in steps of ``STEP_MS``, with jumps where the schedule has them."""

    def __init__(self, random: Random, duration_ms: int, jumps: list[tuple[int, int]]) -> None:
        """``jumps`` are (ms since the start, parts per million)."""
        self._path = []
        price = START_E8
        pending = sorted(jumps)
        for at_ms in range(0, duration_ms + 2 * STEP_MS, STEP_MS):
            price += price * random.randint(-250, 250) // MILLION
            while pending and pending[0][0] <= at_ms:
                price += price * pending.pop(0)[1] // MILLION
            self._path.append(price)

    def seen_by(self, oracle: int, at_ms: int, feed: int = 0) -> int:
        """What an honest oracle's venues show ``at_ms`` after the start, 10^-8 USD. Feeds move
        together; the first is the dearest."""
        step = min(max(0, at_ms) // STEP_MS, len(self._path) - 1)
        noise = Random(f"{oracle}/{step}/{feed}").randint(-NOISE_PPM, NOISE_PPM)
        return (self._path[step] + self._path[step] * noise // MILLION) // (1, 3, 90)[feed]
