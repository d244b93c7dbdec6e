"""One price path for all simulated venues: an integer function of seed, product and time.

Value noise in a few octaves gives a continuous path, a level per jump cell adds sudden moves. Every
moment can be asked for directly: servers, demo and tests agree without talking to each other.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import blake2b
from typing import Final

E8: Final = 10**8
PPB: Final = 10**9

BASE_E8: Final[Mapping[str, int]] = {
    "BTC-USD": 84_000 * E8,
    "ETH-USD": 2_700 * E8,
    "ADA-USD": 75 * E8 // 100,
    "SOL-USD": 150 * E8,
    "USDT-USD": E8,
}
_STABLE: Final = frozenset({"USDT-USD"})
_STABLE_DIVISOR: Final = 20

# (period in ms, amplitude in ppb of the base price)
_OCTAVES: Final = ((600_000, 6_000_000), (60_000, 1_500_000), (5_000, 300_000), (400, 60_000))
_JUMP_MS: Final = 20_000
_JUMP_PPB: Final = 1_500_000


@lru_cache(maxsize=65_536)
def _noise(seed: int, label: str, cell: int) -> int:
    """Uniform in [-PPB, PPB), fixed by its arguments."""
    digest = blake2b(f"{seed}/{label}/{cell}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") % (2 * PPB) - PPB


@dataclass(frozen=True, slots=True)
class PricePath:
    """The price of each product in US dollars at every moment, fixed by ``seed``: it moves by about
    a per cent around ``base_e8``, by default ``BASE_E8``."""

    seed: int
    base_e8: Mapping[str, int] = field(default_factory=lambda: BASE_E8)

    def price_e8(self, product: str, at_ms: int) -> int:
        """The price of ``product`` (``BTC-USD``, ``USDT-USD``, ...) in 10^-8 dollars at unix ms."""
        move_ppb = sum(
            self._wave(f"{product}/{period}", period, at_ms) * amplitude // PPB
            for period, amplitude in _OCTAVES
        )
        level = _noise(self.seed, f"{product}/jump", at_ms // _JUMP_MS)
        move_ppb += level * _JUMP_PPB // PPB
        if product in _STABLE:
            move_ppb //= _STABLE_DIVISOR
        return self.base_e8[product] * (PPB + move_ppb) // PPB

    def usdt_price_e8(self, product: str, at_ms: int) -> int:
        """The same price in 10^-8 USDT."""
        return self.price_e8(product, at_ms) * E8 // self.price_e8("USDT-USD", at_ms)

    def _wave(self, label: str, period_ms: int, at_ms: int) -> int:
        cell, phase_ms = divmod(at_ms, period_ms)
        left, right = _noise(self.seed, label, cell), _noise(self.seed, label, cell + 1)
        return left + (right - left) * phase_ms // period_ms
