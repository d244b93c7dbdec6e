"""Liquidity in and out for shares (GLP), at a value that counts what is open (docs/pool.md)."""

from typing import Final

from protocol.pool.account import AccountDatum
from protocol.pool.draft import Draft
from protocol.pool.layout import POOL_MAX
from protocol.pool.muldiv import (
    BPS,
    add,
    i128,
    index_ceil,
    index_floor,
    less,
    mul_div,
    mul_div_up,
    sub,
)
from protocol.pool.operation import AddLiquidity, RemoveLiquidity
from protocol.pool.pool import Pool
from protocol.pool.reject import RejectCode, RejectError

DEAD_SHARES: Final = 1_000
"""Of the first mint, nobody's for ever: a share can never be made to cost a fortune."""


def add_liquidity(draft: Draft, operation: AddLiquidity) -> None:
    """Mints shares at the larger of the pool's value and its liquidity: a new LP never gets a part
    of a gain that the traders have not paid in yet for less than the others gave."""
    vault, result = draft.vault, draft.result
    draft.receive(operation.amount)
    fee = mul_div_up(operation.amount, draft.pool.params.liquidity_fee_bps, BPS)
    paid = operation.amount - fee
    minted = paid
    if vault.glp_supply:
        value = max(assets_under_management(draft.pool, is_max=True), vault.total_liquidity)
        if value == 0:
            raise RejectError(RejectCode.NO_VALUE)
        minted = mul_div(paid, vault.glp_supply, value)
    result.glp = minted if vault.glp_supply else less(minted, DEAD_SHARES)
    if result.glp == 0:
        raise RejectError(RejectCode.NO_VALUE)
    if result.glp < operation.min_glp:
        raise RejectError(RejectCode.SLIPPAGE)
    vault.glp_supply = add(vault.glp_supply, minted)
    vault.total_liquidity = add(vault.total_liquidity, paid)
    draft.share_fee(fee)
    if vault.total_liquidity > POOL_MAX:
        raise RejectError(RejectCode.OVERFLOW)
    account = draft.pool.account(operation.owner)
    glp = add(account.glp, result.glp)
    draft.put_account(AccountDatum(operation.owner, operation.nonce + 1, glp, vault.time))


def remove_liquidity(draft: Draft, operation: RemoveLiquidity) -> None:
    """Burns shares at the smaller of the pool's value and its liquidity, after the cooldown, and
    only as far as the caps on reserves still hold."""
    vault, result, terms = draft.vault, draft.result, draft.pool.params
    account = draft.pool.account(operation.owner)
    if operation.glp == 0:
        raise RejectError(RejectCode.NO_VALUE)
    if operation.glp > account.glp:
        raise RejectError(RejectCode.GLP_BALANCE)
    if account.last_added + terms.cooldown_s > vault.time:
        raise RejectError(RejectCode.COOLDOWN)
    value = min(assets_under_management(draft.pool, is_max=False), vault.total_liquidity)
    worth = mul_div(operation.glp, value, vault.glp_supply)
    if worth == 0:
        raise RejectError(RejectCode.NO_VALUE)
    fee = mul_div_up(worth, terms.liquidity_fee_bps, BPS)
    result.glp, result.outflow = operation.glp, worth - fee
    if result.outflow < operation.min_out:
        raise RejectError(RejectCode.SLIPPAGE)
    vault.glp_supply = sub(vault.glp_supply, operation.glp)
    vault.total_liquidity = sub(vault.total_liquidity, worth)
    draft.share_fee(fee)
    _check_reserves(draft)
    draft.put_account(
        AccountDatum(
            operation.owner, operation.nonce + 1, account.glp - operation.glp, account.last_added
        )
    )


def assets_under_management(pool: Pool, is_max: bool) -> int:
    """What the LPs' shares are worth, micro-USDC, not below 0: the liquidity, less the profit and
    plus the loss of all open positions, plus what they owe for funding and borrow.

    ``is_max`` rounds up, values positions at the prices they would close at and counts no profit
    above the reserves, for none is paid; else it rounds down, and spread and all profits count.
    """
    high = pool.vault.total_liquidity
    low = pending = 0
    divide, other = (mul_div, mul_div_up) if is_max else (mul_div_up, mul_div)
    for i, token in pool.tokens.items():
        unit, quote = pool.token_params[i].unit, pool.quotes[i]
        long_price, short_price = quote.max_price, quote.min_price
        if is_max:
            long_price, short_price = quote.min_price, quote.max_price
        longs = divide(token.base_long, long_price, unit)
        shorts = other(token.base_short, short_price, unit)
        if is_max:
            longs = min(longs, add(token.oi_long, token.reserved))
            shorts = max(shorts, less(token.oi_short, token.reserved))
        low = add(low, add(longs, token.oi_short))
        high = add(high, add(shorts, token.oi_long))
        owed = i128(token.oi_long * token.cum_long - token.basis_long)
        owed = i128(owed + token.oi_short * token.cum_short - token.basis_short)
        pending = i128(pending + owed + token.reserved * token.cum_borrow)
    if pending > 0:
        high = add(high, (index_ceil if is_max else index_floor)(pending))
    else:
        low = add(low, (index_floor if is_max else index_ceil)(-pending))
    return less(high, low)


def _check_reserves(draft: Draft) -> None:
    """Every cap on reserves, at the liquidity that is left."""
    pool, liquidity = draft.pool, draft.vault.total_liquidity
    for i, token in pool.tokens.items():
        if token.reserved > mul_div(liquidity, pool.token_params[i].max_utilization_bps, BPS):
            raise RejectError(RejectCode.UTILIZATION)
    if pool.reserved_total > mul_div(liquidity, pool.params.global_cap_bps, BPS):
        raise RejectError(RejectCode.GLOBAL_CAP)
