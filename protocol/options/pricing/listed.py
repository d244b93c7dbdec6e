"""A listed instrument as an option to price, in dollars for a quantity of one bitcoin.

Its contract pays satoshis: a vanilla option q (S - K) / S of them, which are worth S - K dollars a
bitcoin, and a binary option the quantity itself, worth S dollars: asset-or-nothing. The cap of a
put at its collateral is left out. A European knock-out is looked at once a round, from now to
expiry; an American one is taken as always watched, which makes it a little cheaper than it is.
"""

from typing import Final

from protocol.errors import PriceError
from protocol.options import instrument as listed
from protocol.options.instrument import Instrument, KnockOut
from protocol.options.pricing.option import Barrier, BarrierKind, Option, Payoff
from protocol.units import E8, UnixMs

YEAR_MS: Final = 365 * 86_400_000


def years_left(instrument: Instrument, now_ms: UnixMs) -> float:
    """To its expiry, in years of 365 days. PriceError after it."""
    left_ms = instrument.expiry_ms - now_ms
    if left_ms < 0:
        raise PriceError(
            f"{instrument}: it expired {-left_ms / 1000:.0f} s before the time given; name a later"
            " expiry"
        )
    return left_ms / YEAR_MS


def option_of(instrument: Instrument, now_ms: UnixMs, round_ms: int) -> Option:
    """The option; ``round_ms`` is the interval of the oracles' rounds."""
    left_ms = max(instrument.expiry_ms - now_ms, 1)
    dates = None if instrument.is_american else -(-left_ms // round_ms)
    return Option(
        kind=instrument.kind,
        strike=instrument.strike_e8 / E8,
        payoff=Payoff.ASSET if instrument.is_binary else Payoff.VANILLA,
        is_american=instrument.is_american,
        barrier=None if instrument.barrier is None else _barrier(instrument.barrier, dates),
    )


def _barrier(barrier: listed.Barrier, dates: int | None) -> Barrier:
    is_up = barrier.direction is KnockOut.UP
    kind = BarrierKind.UP_AND_OUT if is_up else BarrierKind.DOWN_AND_OUT
    return Barrier(kind, barrier.level_e8 / E8, dates=dates)
