"""What is priced and at which market, and what bad input is refused for.

Spot, strike, barrier and sums are in one unit; time is in years, rate and dividend yield are
continuously compounded (a carry b is the yield rate - b), volatility is per root year; 0.6 is 60 %.
"""

import math
from dataclasses import dataclass
from enum import StrEnum

from protocol.errors import PriceError
from protocol.options.instrument import OptionKind


class Payoff(StrEnum):
    """What is paid where the option ends in the money."""

    VANILLA = "vanilla"
    CASH = "cash_or_nothing"
    ASSET = "asset_or_nothing"
    TOUCH = "cash_at_hit"  # as soon as the spot reaches the strike


class BarrierKind(StrEnum):
    """Where the barrier lies and what touching it does."""

    DOWN_AND_OUT = "down_and_out"
    DOWN_AND_IN = "down_and_in"
    UP_AND_OUT = "up_and_out"
    UP_AND_IN = "up_and_in"

    @property
    def up(self) -> float:
        """+1 for a barrier above the spot, -1 for one below."""
        return 1.0 if self in (BarrierKind.UP_AND_OUT, BarrierKind.UP_AND_IN) else -1.0

    @property
    def is_out(self) -> bool:
        """Whether touching it ends the option."""
        return self in (BarrierKind.DOWN_AND_OUT, BarrierKind.UP_AND_OUT)


@dataclass(frozen=True, slots=True)
class Barrier:
    """``rebate`` is paid at the touch of a knock-out, or at expiry of a knock-in never touched.
    ``dates`` equally spaced looks, the last at expiry; None: the barrier is always watched."""

    kind: BarrierKind
    level: float
    rebate: float = 0.0
    dates: int | None = None


@dataclass(frozen=True, slots=True)
class Option:
    """What is priced. ``cash`` is the sum of a cash payoff."""

    kind: OptionKind
    strike: float
    payoff: Payoff = Payoff.VANILLA
    cash: float = 1.0
    is_american: bool = False
    barrier: Barrier | None = None

    @property
    def sign(self) -> float:
        """+1 for a call, -1 for a put."""
        return 1.0 if self.kind is OptionKind.CALL else -1.0

    @property
    def asset(self) -> float:
        """What is paid in the money is asset * S + sum, see ``closed``."""
        return {Payoff.VANILLA: self.sign, Payoff.ASSET: 1.0}.get(self.payoff, 0.0)

    @property
    def sum(self) -> float:
        """See ``asset``."""
        return {Payoff.VANILLA: -self.sign * self.strike, Payoff.ASSET: 0.0}.get(
            self.payoff, self.cash
        )


@dataclass(frozen=True, slots=True)
class Market:
    """At which spot, rate, dividend yield and volatility."""

    spot: float
    rate: float = 0.0
    dividend: float = 0.0
    vol: float = 0.0


def require(option: Option, market: Market, years: float) -> None:
    """PriceError names an input that is out of range, or a combination that has no formula."""
    for name, number in (
        ("spot", market.spot),
        ("strike", option.strike),
        ("barrier", option.barrier.level if option.barrier else 1.0),
    ):
        if not 0.0 < number < math.inf:
            raise PriceError(f"{name} {number:g}: it must lie above 0")
    for name, number in (("vol", market.vol), ("years", years)):
        if not 0.0 <= number < math.inf:
            raise PriceError(f"{name} {number:g}: it must be 0 or more")
    for name, number in (
        ("rate", market.rate),
        ("dividend", market.dividend),
        ("cash", option.cash),
        ("rebate", option.barrier.rebate if option.barrier else 0.0),
    ):
        if not math.isfinite(number):
            raise PriceError(f"{name} {number:g}: it must be a number")
    _require_formula(option, market)


def _require_formula(option: Option, market: Market) -> None:
    barrier = option.barrier
    pays_at_touch = option.payoff is Payoff.TOUCH or (barrier is not None and barrier.rebate != 0.0)
    if pays_at_touch and market.rate < 0.0:
        raise PriceError(f"rate {market.rate:g}: what is paid at a touch is priced for 0 or above")
    if option.payoff is Payoff.TOUCH and barrier is not None:
        raise PriceError("barrier: a touch has none, its strike is the level")
    if option.is_american and option.payoff is not Payoff.VANILLA:
        raise PriceError(f"payoff {option.payoff}: only a vanilla option is American here")
    if barrier is None:
        return
    if barrier.dates is not None and barrier.dates < 1:
        raise PriceError(f"dates {barrier.dates}: a barrier is looked at once at least")
    if barrier.dates is not None or option.is_american:
        if not barrier.kind.is_out or barrier.rebate:
            raise PriceError(
                f"barrier {barrier.kind}: with dates, and for American options, only knock-outs"
                " without a rebate are priced"
            )
        if barrier.dates is not None and option.is_american:
            raise PriceError("dates: an American knock-out is priced as always watched; omit them")
