"""Profit, loss and health of a position from its base quantity (docs/pool.md, "PnL").

A position keeps how many tokens it stands for instead of an average price: quantities add up, and
the average price size / base equals GMX's recursion. Longs are valued at the lower price, shorts at
the higher one; a long's value is rounded down and a short's up, so a trade never gains by rounding.
"""

from enum import IntEnum

from protocol.pool.muldiv import BPS, mul_div, mul_div_up
from protocol.pool.params import TokenParams
from protocol.pool.position import PositionDatum, Side
from protocol.pool.prices import Quote


class Health(IntEnum):
    """GMX's liquidation states."""

    HEALTHY = 0
    UNDERWATER = 1
    """What remains does not cover the fees of a liquidation."""
    OVER_LEVERAGED = 2


def closing_price(quote: Quote, side: int) -> int:
    """At which price a position of ``side`` is valued and closed."""
    return quote.min_price if side == Side.LONG else quote.max_price


def base_of(size: int, price: int, side: int, params: TokenParams) -> int:
    """The base quantity that ``size`` buys: rounded down for a long, up for a short."""
    divide = mul_div if side == Side.LONG else mul_div_up
    return divide(size, params.unit, price)


def value_of(base: int, price: int, side: int, params: TokenParams) -> int:
    """What a base quantity is worth, micro-USD: rounded down for a long, up for a short."""
    multiply = mul_div if side == Side.LONG else mul_div_up
    return multiply(base, price, params.unit)


def base_left(position: PositionDatum, size: int) -> int:
    """The base of what ``size`` (below the position's) leaves, rounded as in ``base_of``."""
    divide = mul_div if position.side == Side.LONG else mul_div_up
    return divide(position.base, position.size - size, position.size)


def pnl(size: int, base: int, side: int, price: int, params: TokenParams) -> tuple[int, int]:
    """(profit, loss) at ``price``, micro-USDC; at most one is above zero."""
    value = value_of(base, price, side, params)
    better, worse = (value, size) if side == Side.LONG else (size, value)
    return (better - worse, 0) if better > worse else (0, worse - better)


def is_at_cap(position: PositionDatum, price: int, params: TokenParams) -> bool:
    """Whether the profit has reached the reserve, which is all of it that will be paid."""
    profit, _ = pnl(position.size, position.base, position.side, price, params)
    return 0 < profit >= position.reserve


def average_price(position: PositionDatum, params: TokenParams) -> int:
    """The mantissa of the price that the position was opened at, on average, to the nearest unit;
    for people."""
    if not position.base:
        return 0
    return (2 * position.size * params.unit + position.base) // (2 * position.base)


def position_fee(size: int, params: TokenParams) -> int:
    """The fee on a change of ``size``, rounded up."""
    return mul_div_up(size, params.fee_bps, BPS)


def max_size(collateral: int, params: TokenParams) -> int:
    """The largest size that ``collateral`` may carry."""
    return mul_div(collateral, params.max_leverage_bps, BPS)


def health(
    size: int, base: int, collateral: int, side: int, price: int, params: TokenParams
) -> Health:
    """GMX's validateLiquidation for a position whose funding is settled."""
    _, loss = pnl(size, base, side, price, params)
    if loss > collateral:
        return Health.UNDERWATER
    left = collateral - loss
    if left < position_fee(size, params) + params.liquidation_fee:
        return Health.UNDERWATER
    return Health.OVER_LEVERAGED if size > max_size(left, params) else Health.HEALTHY
