"""A pool as the API and the demo show it: JSON of ``actors.gateway.pool_models``.

Money is a decimal string exact to 10^-6; rates are per funding interval
(8 hours), positive where that side pays. Nothing here changes a pool.
"""

from bisect import bisect_left
from collections.abc import Iterable
from typing import Any, Final

from actors.pool_config import PoolTerms
from actors.pool_store import StoredResult
from actors.pool_summary import GLP, Summary, TokenSummary, token_summary
from protocol.pool import view
from protocol.pool.funding import entry_funding
from protocol.pool.layout import PRICE_MAX
from protocol.pool.liquidity import assets_under_management
from protocol.pool.muldiv import BPS, INDEX_ONE, mul_div, mul_div_up
from protocol.pool.order import OrderDatum, OrderFlag, OrderKind
from protocol.pool.params import TokenParams
from protocol.pool.pnl import Health, average_price, closing_price, health, pnl
from protocol.pool.pool import Pool
from protocol.pool.position import PositionDatum, Side
from protocol.pool.reject import RejectError
from protocol.pool.state import VaultFlag

USD6: Final = 1_000_000
FLAGS: Final = {
    VaultFlag.HALTED: "halted",
    VaultFlag.CLOSE_ONLY: "close-only",
    VaultFlag.ORDERS_ONLY: "orders-only",
}

Json = dict[str, Any]


def usd(amount: int) -> str:
    """Micro-USDC, or 1e-6 shares, as a decimal."""
    sign, size = ("-" if amount < 0 else ""), abs(amount)
    return f"{sign}{size // USD6}.{size % USD6:06}"


def value(pool: Pool) -> int:
    """What all shares are worth, micro-USDC; before the first prices nothing is open."""
    if not pool.quotes:
        return pool.vault.total_liquidity
    return assets_under_management(pool, is_max=True)


def details(pool: Pool, terms: PoolTerms, pending: int) -> Json:
    """``PoolDetails``."""
    vault, aum = pool.vault, value(pool)
    rows = {
        terms.symbols[token]: token_details(pool, token, state)
        for token, state in _token_states(pool).items()
    }
    traders = sum(state.open_pnl for state in _token_states(pool).values() if state is not None)
    return {
        "pool_id": pool.pool_id.hex(),
        "stablecoin": view.STABLE,
        "profile": terms.profile,
        "seq": vault.seq,
        "time_ms": 1000 * vault.time,
        "state_root": pool.root().hex(),
        "flags": [name for flag, name in FLAGS.items() if vault.flags & flag],
        "total_liquidity_usd": usd(vault.total_liquidity),
        "aum_usd": usd(aum),
        "glp_supply": usd(vault.glp_supply),
        "glp_price_usd": usd(aum * GLP // vault.glp_supply) if vault.glp_supply else None,
        "collateral_usd": usd(vault.collateral_total),
        "order_escrow_usd": usd(vault.order_escrow),
        "protocol_fees_usd": usd(vault.protocol_fees),
        "insurance_usd": usd(vault.insurance),
        "bad_debt_usd": usd(vault.bad_debt),
        "trader_pnl_usd": usd(traders),
        "vault_sats": vault.vault_sats if pool.params.backed else None,
        "positions": vault.pos_count,
        "pending": pending,
        "tokens": rows,
    }


def token_details(pool: Pool, token: int, now: TokenSummary | None) -> Json:
    """``TokenDetails``; ``now`` is None before the first prices."""
    state, params = pool.tokens[token], pool.token_params[token]
    liquidity, exp = pool.vault.total_liquidity, params.price_exp
    return {
        "id": token,
        "price_min_usd": None if now is None else view.price(now.min_price, exp),
        "price_max_usd": None if now is None else view.price(now.max_price, exp),
        "reserved_usd": usd(state.reserved),
        "collateral_usd": usd(state.collateral),
        "utilization_bps": state.reserved * BPS // liquidity if liquidity else 0,
        "max_utilization_bps": params.max_utilization_bps,
        "max_leverage_bps": params.max_leverage_bps,
        "fee_bps": params.fee_bps,
        "open_interest_long_usd": usd(state.oi_long),
        "open_interest_short_usd": usd(state.oi_short),
        "funding_rate_long": view.rate(now.rate_long if now else 0),
        "funding_rate_short": view.rate(now.rate_short if now else 0),
        "trader_pnl_usd": usd(now.open_pnl if now else 0),
    }


def position(pool: Pool, terms: PoolTerms, found: PositionDatum) -> Json:
    """``Position`` at the pool's quotes."""
    params, quote = pool.token_params[found.token], pool.quotes[found.token]
    mark = closing_price(quote, found.side)
    funding, borrow = owed(pool, found)
    left = max(found.collateral - funding - borrow, 0)
    remaining = left - pnl(found.size, found.base, found.side, mark, params)[1]
    limit = liquidation_price(found, left, params)
    return {
        "id": found.id.hex(),
        "owner": found.owner.hex(),
        "token": terms.symbols[found.token],
        "side": Side(found.side).name.lower(),
        "size_usd": usd(found.size),
        "collateral_usd": usd(found.collateral),
        "reserve_usd": usd(found.reserve),
        "average_price_usd": view.price(average_price(found, params), params.price_exp),
        "mark_price_usd": view.price(mark, params.price_exp),
        "pnl_usd": usd(won(pool, found)),
        "funding_owed_usd": usd(funding),
        "borrow_owed_usd": usd(borrow),
        "leverage_bps": found.size * BPS // remaining if remaining > 0 else None,
        "liquidation_price_usd": None if limit is None else view.price(limit, params.price_exp),
        "nonce": found.nonce,
        "opened_ms": 1000 * found.opened,
    }


def won(pool: Pool, found: PositionDatum) -> int:
    """What closing a position now would win (at most its reserve) or lose, micro-USDC."""
    params, quote = pool.token_params[found.token], pool.quotes[found.token]
    mark = closing_price(quote, found.side)
    profit, loss = pnl(found.size, found.base, found.side, mark, params)
    return min(profit, found.reserve) - loss


def owed(pool: Pool, found: PositionDatum) -> tuple[int, int]:
    """(funding, borrow) that a position would be charged now, micro-USDC; funding below zero is
    received."""
    state = pool.tokens[found.token]
    moved = entry_funding(state, found.side) - found.entry_funding
    if moved >= 0:
        funding = mul_div_up(found.size, moved, INDEX_ONE)
    else:
        funding = -mul_div(found.size, -moved, INDEX_ONE)
    return funding, mul_div_up(found.reserve, state.cum_borrow - found.entry_borrow, INDEX_ONE)


def liquidation_price(found: PositionDatum, collateral: int, params: TokenParams) -> int | None:
    """The first price against the position at which it is liquidated, with what it has left after
    funding; None if there is none that a token may have."""
    prices = range(1, PRICE_MAX + 1)

    def is_unhealthy(mantissa: int) -> bool:
        try:
            state = health(found.size, found.base, collateral, found.side, mantissa, params)
        except RejectError:  # out of all bounds
            return True
        return state != Health.HEALTHY

    if found.side == Side.LONG:
        healthy = bisect_left(prices, True, key=lambda mantissa: not is_unhealthy(mantissa))
        return prices[healthy - 1] if healthy else None
    unhealthy = bisect_left(prices, True, key=is_unhealthy)
    return prices[unhealthy] if unhealthy < len(prices) else None


def order(pool: Pool, terms: PoolTerms, found: OrderDatum) -> Json:
    """``Order``."""
    params = pool.token_params[found.token]
    is_market = found.kind == OrderKind.MARKET
    return {
        "id": found.key.hex(),
        "owner": found.owner.hex(),
        "nonce": found.nonce,
        "token": terms.symbols[found.token],
        "side": Side(found.side).name.lower(),
        "kind": OrderKind(found.kind).name.lower(),
        "action": "decrease" if found.flags & OrderFlag.DECREASE else "increase",
        "reduce_only": bool(found.flags & OrderFlag.REDUCE_ONLY),
        "size_usd": usd(found.size),
        "collateral_usd": usd(found.collateral),
        "escrow_usd": usd(found.deposit),
        "trigger_price_usd": None
        if is_market
        else view.price(found.trigger_price, params.price_exp),
        "acceptable_price_usd": view.price(found.acceptable_price, params.price_exp),
        "seq": found.commit_seq,
    }


def account(
    pool: Pool,
    owner: bytes,
    results: Iterable[StoredResult],
    fee_index: int,
) -> Json:
    """``Account``. ``results`` are all of the owner's, ``fee_index`` the pool's newest."""
    found = pool.account(owner)
    accepted = [row for row in results if not row.code]
    held = [each for each in pool.open_positions() if each.owner == owner]
    supply = pool.vault.glp_supply
    provided = [row for row in accepted if row.is_liquidity]
    traded = [row for row in accepted if not row.is_liquidity]
    return {
        "owner": owner.hex(),
        "next_nonce": found.nonce,
        "glp": usd(found.glp),
        "glp_value_usd": usd(found.glp * value(pool) // supply if supply else 0),
        "share_bps": found.glp * BPS // supply if supply else 0,
        "added_usd": usd(sum(row.inflow for row in provided)),
        "removed_usd": usd(sum(row.outflow for row in provided)),
        "fees_earned_usd": usd(fees_earned(provided, fee_index)),
        "last_added_ms": 1000 * found.last_added if found.last_added else None,
        "positions": len(held),
        "collateral_usd": usd(sum(each.collateral for each in held)),
        "pnl_usd": usd(sum(won(pool, each) for each in held)),
        "funding_owed_usd": usd(sum(owed(pool, each)[0] for each in held)),
        "paid_in_usd": usd(sum(row.inflow for row in traded)),
        "paid_out_usd": usd(sum(row.outflow for row in traded)),
    }


def fees_earned(provided: Iterable[StoredResult], fee_index: int) -> int:
    """What fees have brought an owner's shares, micro-USDC: for every stretch in which it held the
    same number of shares, that number times what the index grew by."""
    earned = shares = since = 0
    for row in provided:
        now = int(row.fee_index)
        earned += shares * (now - since)
        since = now
        shares += row.glp if row.kind == "add_liquidity" else -row.glp
    return (earned + shares * (fee_index - since)) // INDEX_ONE


def operation(submitted: Json, became: StoredResult | None) -> Json:
    """``Operation``: what was submitted, and what became of it."""
    if became is None:
        unknown = ("batch", "code", "inflow_usd", "outflow_usd", "fee_usd")
        return submitted | {"status": "pending"} | dict.fromkeys(unknown)
    return submitted | {
        "status": "rejected" if became.code else "accepted",
        "batch": became.batch,
        "code": became.code or None,
        "inflow_usd": usd(became.inflow),
        "outflow_usd": usd(became.outflow),
        "fee_usd": usd(became.fee),
    }


def batch(found: Summary, journal: bytes, transactions: list[Json]) -> Json:
    """``Batch``; ``journal`` in its canonical bytes: five roots of 32 bytes, and the number."""
    names = ("old_root", "new_root", "ops_root", "prices_root", "payments_root")
    roots = {name: journal[32 * at : 32 * at + 32].hex() for at, name in enumerate(names)}
    return {
        "seq": found.seq,
        "round": found.round,
        "time_ms": 1000 * found.time_s,
        "certificate_hash": found.certificate_hash.hex(),
        **roots,
        "accepted": found.accepted,
        "rejected": found.rejected,
        "liquidations": found.liquidations,
        "fees_usd": usd(found.fees),
        "aum_usd": usd(found.aum),
        "glp_price_usd": None if found.glp_price is None else usd(found.glp_price),
        "transactions": transactions,
    }


def _token_states(pool: Pool) -> dict[int, TokenSummary | None]:
    return {token: token_summary(pool, token, 0) if pool.quotes else None for token in pool.tokens}
