"""Funding between the sides of a token and the borrow fee on reserves (docs/pool.md, "Funding").

Rates are 1e-12 USD per USD and funding interval. An index grows by floor(rate * t1 / I) - floor(
rate * t0 / I) from t0 to t1, both counted from the last multiple of the interval I before t0: over
whole intervals that is exact, and two steps are always one, with no remainder to keep.
"""

from dataclasses import dataclass

from protocol.pool.muldiv import (
    INDEX_ONE,
    PPM,
    add,
    i64,
    less,
    mul_div,
    mul_div_up,
    sub,
)
from protocol.pool.params import PoolParams, TokenParams
from protocol.pool.position import PositionDatum, Side
from protocol.pool.state import TokenState, VaultDatum


@dataclass(frozen=True, slots=True)
class Settlement:
    """What a position has owed since it was settled last, micro-USDC: ``paid`` and ``received`` by
    it, and ``unpaid``, which its collateral did not cover."""

    paid: int
    received: int
    unpaid: int


def funding_rate(
    token: TokenState, params: TokenParams, terms: PoolParams, liquidity: int
) -> tuple[int, int]:
    """(rate of the longs, rate of the shorts) an interval, 1e-12: positive pays. The factor times
    the skew over the liquidity, at most ``max_rate_ppm``; 0 in an empty pool."""
    skew = less(token.oi_long, token.oi_short) or less(token.oi_short, token.oi_long)
    if not liquidity or not skew:
        return 0, 0
    rate = mul_div(params.funding_ppm * PPM, skew, liquidity)
    rate = min(rate, terms.max_rate_ppm * PPM)
    return (rate, -rate) if token.oi_long > token.oi_short else (-rate, rate)


def borrow_rate(token: TokenState, params: TokenParams, terms: PoolParams, liquidity: int) -> int:
    """What every reserve pays an interval, 1e-12: the factor times the token's utilisation."""
    if not liquidity:
        return 0
    return min(
        mul_div(params.borrow_ppm * PPM, token.reserved, liquidity), terms.max_rate_ppm * PPM
    )


def growth(rate: int, start: int, end: int, terms: PoolParams) -> int:
    """What an index at ``rate`` >= 0 grows by from ``start`` to ``end``, unix seconds; of a longer
    time than ``max_elapsed_s`` only that much counts."""
    interval = terms.funding_interval_s
    elapsed = min(end - start, terms.max_elapsed_s)
    phase = start % interval
    return rate * (phase + elapsed) // interval - rate * phase // interval


def accrue(
    token: TokenState, params: TokenParams, terms: PoolParams, vault: VaultDatum, now: int
) -> None:
    """Brings the token's indices from ``last_funding`` up to ``now``."""
    if not token.last_funding:
        return
    start, liquidity = token.last_funding, vault.total_liquidity
    rate, _ = funding_rate(token, params, terms, liquidity)
    step = growth(abs(rate), start, now, terms)
    step = step if rate > 0 else -step
    token.cum_long = i64(token.cum_long + step)
    token.cum_short = i64(token.cum_short - step)
    fee = borrow_rate(token, params, terms, liquidity)
    token.cum_borrow = add(token.cum_borrow, growth(fee, start, now, terms))


def entry_funding(token: TokenState, side: int) -> int:
    """The index of a side."""
    return token.cum_long if side == Side.LONG else token.cum_short


def settle(
    vault: VaultDatum, token: TokenState, position: PositionDatum, means: int, free: int
) -> Settlement:
    """Pays a position's funding and borrow into, or its funding out of, the liquidity.

    It pays at most ``means``, what it has, and what it receives; it receives at most ``free``, the
    liquidity that no position's profit is reserved from. The payer's share is rounded up, the
    receiver's down.
    """
    moved = i64(entry_funding(token, position.side) - position.entry_funding)
    grown = sub(token.cum_borrow, position.entry_borrow)
    owed = mul_div_up(position.reserve, grown, INDEX_ONE)
    received = 0
    if moved > 0:
        owed = add(owed, mul_div_up(position.size, moved, INDEX_ONE))
    else:
        received = min(mul_div(position.size, -moved, INDEX_ONE), free)
    paid = min(owed, add(means, received))
    vault.total_liquidity = sub(add(vault.total_liquidity, paid), received)
    return Settlement(paid, received, owed - paid)
