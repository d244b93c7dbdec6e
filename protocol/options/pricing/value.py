"""One option priced: which formula applies.

``kernels.european`` and its like are the fast path: the same numbers, a few times sooner, without
the checks.
"""

import math
from collections.abc import Sequence
from typing import Final

from protocol.errors import PriceError
from protocol.options.pricing import discrete, grid, kernels
from protocol.options.pricing.american import ACCURATE, FAST, Schemes, american
from protocol.options.pricing.greeks import Greeks
from protocol.options.pricing.implied import implied_vol
from protocol.options.pricing.jets import Jet
from protocol.options.pricing.option import Barrier, Market, Option, Payoff, require

_UNREACHED: Final = 9.0
"""Standard deviations of the whole life beyond which an American's barrier cannot matter."""


def value(
    option: Option, market: Market, years: float, *, is_accurate: bool = False
) -> Greeks[float]:
    """Price and Greeks, ``years`` before expiry; American ones by the fast scheme, within 1e-5 of
    the strike, unless ``is_accurate``.

    Without time or volatility left the path is certain, and so are price and Greeks. PriceError
    names an input that is out of range, a combination that has no formula, or an overflow.
    """
    require(option, market, years)
    if option.payoff is Payoff.TOUCH:
        numbers: Sequence[float] = kernels.paid_at_touch(
            option.sign, option.cash, option.strike, *_at(market, years)
        )
    elif option.is_american:
        numbers = _american(option, market, years, ACCURATE if is_accurate else FAST)
    elif option.barrier is not None:
        numbers = _barrier(option, option.barrier, market, years)
    else:
        numbers = _plain(option, market, years)
    if not all(map(math.isfinite, numbers)):
        raise PriceError(
            f"{option}, {market}, years {years:g}: the numbers are too far apart to be priced; look"
            " for a wrong unit"
        )
    return Greeks(*numbers)


def implied(option: Option, market: Market, years: float, price: float) -> float:
    """The volatility at which a European vanilla option has this price, per root year.

    PriceError if the price lies outside the bounds of no arbitrage, or is so close to one that no
    volatility can be told.
    """
    require(option, market, years)
    if option.payoff is not Payoff.VANILLA or option.is_american or option.barrier is not None:
        raise PriceError("implied volatility: only a European vanilla option has one")
    vol = implied_vol(
        option.sign, price, option.strike, market.spot, years, market.rate, market.dividend
    )
    if math.isnan(vol):
        asset = market.spot * math.exp(-market.dividend * years)
        cash = option.strike * math.exp(-market.rate * years)
        low, high = max(option.sign * (asset - cash), 0.0), asset if option.sign > 0 else cash
        raise PriceError(
            f"price {price:g}: without arbitrage it lies between {low:g} and {high:g}, and an"
            " option has a volatility only between them"
        )
    return float(vol)


def _at(market: Market, years: float) -> tuple[float, float, float, float, float]:
    return market.spot, years, market.rate, market.dividend, market.vol


def _sum(*jets: Sequence[float]) -> Sequence[float]:
    return [sum(parts) for parts in zip(*jets, strict=True)]


def _minus(jet: Jet) -> Jet:
    a, b, c, d, e, f, g = jet
    return (-a, -b, -c, -d, -e, -f, -g)


def _plain(option: Option, market: Market, years: float) -> Jet:
    jet: Jet = kernels.european(
        option.sign, option.asset, option.sum, option.strike, *_at(market, years)
    )
    return jet


def _barrier(option: Option, barrier: Barrier, market: Market, years: float) -> Sequence[float]:
    up, at = barrier.kind.up, _at(market, years)
    terms = (option.sign, up, option.asset, option.sum, option.strike, barrier.level)
    if barrier.dates is not None:
        if market.vol * math.sqrt(years) > 0.0:
            return discrete.knock_out(*terms, barrier.dates, *at)
        return _looked_at(option, barrier, barrier.dates, market, years)
    out: Jet = kernels.knock_out(*terms, 0.0, *at)
    if barrier.kind.is_out:
        if not barrier.rebate:
            return out
        return _sum(out, kernels.paid_at_touch(up, barrier.rebate, barrier.level, *at))
    inside = _sum(_plain(option, market, years), _minus(out))
    if not barrier.rebate:
        return inside
    return _sum(inside, kernels.paid_untouched(up, barrier.rebate, barrier.level, *at))


def _looked_at(
    option: Option, barrier: Barrier, dates: int, market: Market, years: float
) -> Sequence[float]:
    """A knock-out on a certain path, which is farthest out on the first or on the last date."""
    for when in (years / dates, years):
        spot = market.spot * math.exp((market.rate - market.dividend) * when)
        if barrier.kind.up * (spot - barrier.level) >= 0.0:
            return [0.0] * kernels.GREEKS
    return _plain(option, market, years)


def _american(option: Option, market: Market, years: float, schemes: Schemes) -> Sequence[float]:
    sign, at = option.sign, _at(market, years)
    barrier = option.barrier
    if barrier is not None:
        up, level = barrier.kind.up, barrier.level
        if up * (market.spot - level) >= 0.0:
            return [max(sign * (market.spot - option.strike), 0.0)] + [0.0] * (kernels.GREEKS - 1)
        away = abs(math.log(level / market.spot)) - abs(market.rate - market.dividend) * years
        if away <= _UNREACHED * market.vol * math.sqrt(years):
            jet: Jet = grid.knock_out(sign, up, option.strike, level, *at)
            if math.isnan(jet[0]):
                raise PriceError(
                    f"vol {market.vol:g}: too small beside rate {market.rate:g} less dividend"
                    f" {market.dividend:g} to price an American knock-out; price the European one"
                )
            return jet
    jet = american(sign, option.strike, *at, schemes, False)
    if math.isnan(jet[0]):
        raise PriceError(
            f"rate {market.rate:g}, dividend {market.dividend:g}: where both are negative the"
            " region of exercise may have two borders; price the European option, or set them to 0"
            " or above"
        )
    return jet
