"""The state as people and programs read it: JSON, numbers as strings (docs/pool.md, "Views").

Money has two decimals, a utilisation one and "%", a rate four, per funding interval; all rounded
half away from zero, without thousands separators. Nothing here decides anything.
"""

from collections.abc import Mapping
from typing import Any, Final

from protocol.pool.funding import funding_rate
from protocol.pool.layout import STABLE_USDC, STABLES
from protocol.pool.liquidity import assets_under_management
from protocol.pool.muldiv import BPS, INDEX_ONE, PPM
from protocol.pool.order import OrderDatum, OrderFlag, OrderKind
from protocol.pool.pnl import average_price, closing_price, health, pnl
from protocol.pool.pool import Pool
from protocol.pool.position import PositionDatum, Side
from protocol.pool.state import TokenFlag

Symbols = Mapping[int, str]
Json = dict[str, Any]
STABLE: Final = STABLES[STABLE_USDC]


def stablecoin(pool: Pool) -> str:
    """The symbol of what the pool counts in, or its id if it is none of the known ones."""
    return STABLES.get(pool.vault.stable_id, pool.vault.stable_id.hex())


def decimal(value: int, one: int, places: int) -> str:
    """``value / one`` with so many decimals, rounded half away from zero; never "-0.00"."""
    scaled = (2 * abs(value) * 10**places + one) // (2 * one)
    whole, part = divmod(scaled, 10**places)
    sign = "-" if value < 0 and scaled else ""
    return f"{sign}{whole}.{part:0{places}d}" if places else f"{sign}{whole}"


def money(usd6: int) -> str:
    """Micro-USDC, or 1e-6 shares."""
    return decimal(usd6, PPM, 2)


def rate(index: int) -> str:
    """A rate of 1e-12 per interval."""
    return decimal(index, INDEX_ONE, 4)


def exact(usd6: int) -> str:
    """The same to the last unit: at least two decimals, at most six."""
    return f"-{price(-usd6, 6)}" if usd6 < 0 else price(usd6, 6)


def price(mantissa: int, price_exp: int) -> str:
    """A price in USD, exactly."""
    text = decimal(mantissa, 10**price_exp, price_exp)
    whole, _, part = text.partition(".")
    part = part.rstrip("0").ljust(2, "0")
    return f"{whole}.{part}"


def state(pool: Pool, symbols: Symbols) -> Json:
    """The live state, with the keys of docs/pool.md and no others."""
    vault = pool.vault
    return {
        "stablecoin": stablecoin(pool),
        "total_liquidity": money(vault.total_liquidity),
        "glp_supply": money(vault.glp_supply),
        "tokens": {symbols[i]: _token(pool, i) for i in pool.tokens},
    }


def _token(pool: Pool, i: int) -> Json:
    token, liquidity = pool.tokens[i], pool.vault.total_liquidity
    long_rate, short_rate = funding_rate(token, pool.token_params[i], pool.params, liquidity)
    used = decimal(100 * token.reserved, liquidity, 1) if liquidity else "0.0"
    return {
        "reserved": money(token.reserved),
        "utilization": f"{used}%",
        "open_interest_long": money(token.oi_long),
        "open_interest_short": money(token.oi_short),
        "funding_rate_long": rate(long_rate),
        "funding_rate_short": rate(short_rate),
    }


def datum(pool: Pool, symbols: Symbols) -> Json:
    """The vault datum by the names of its first description. ``guaranteed_usd`` is the entry
    notional of the shorts; cumulative rates are in ppm of the size."""
    vault, named = pool.vault, [(symbols[i], token) for i, token in pool.tokens.items()]
    return {
        "stablecoin": stablecoin(pool),
        "total_liquidity": money(vault.total_liquidity),
        "available": money(vault.total_liquidity - pool.reserved_total),
        "collateral_total": money(vault.collateral_total),
        "order_escrow": money(vault.order_escrow),
        "protocol_fees": money(vault.protocol_fees),
        "insurance": money(vault.insurance),
        "bad_debt": money(vault.bad_debt),
        "glp_supply": money(vault.glp_supply),
        "position_count": vault.pos_count,
        "time": vault.time,
        "seq": vault.seq,
        "reserved_amounts": {name: money(t.reserved) for name, t in named},
        "open_interest_long": {name: money(t.oi_long) for name, t in named},
        "open_interest_short": {name: money(t.oi_short) for name, t in named},
        "guaranteed_usd": {name: money(t.oi_short) for name, t in named},
        "cumulative_funding_rate_long": {n: _ppm(t.cum_long) for n, t in named},
        "cumulative_funding_rate_short": {n: _ppm(t.cum_short) for n, t in named},
        "last_funding_times": {name: t.last_funding for name, t in named},
        "whitelisted_tokens": [n for n, t in named if t.flags & TokenFlag.WHITELISTED],
        "max_utilization": {
            symbols[i]: params.max_utilization_bps for i, params in pool.token_params.items()
        },
    }


def _ppm(index: int) -> str:
    return decimal(index, INDEX_ONE // PPM, 2)


def position(pool: Pool, found: PositionDatum, symbols: Symbols) -> Json:
    """A trader's position at the prices it would close at; funding and fees are not in the PnL."""
    params = pool.token_params[found.token]
    at = closing_price(pool.quotes[found.token], found.side)
    profit, loss = pnl(found.size, found.base, found.side, at, params)
    state_of = health(found.size, found.base, found.collateral, found.side, at, params)
    average = price(average_price(found, params), params.price_exp)
    return {
        "id": found.id.hex(),
        "owner": found.owner.hex(),
        "index_token": symbols[found.token],
        "position_type": Side(found.side).name.lower(),
        "size": money(found.size),
        "collateral": money(found.collateral),
        "reserve": money(found.reserve),
        "average_price": average,
        "entry_funding_rate": _ppm(found.entry_funding),
        "leverage": f"{decimal(found.size, found.collateral, 1)}x",
        "pnl": money(min(profit, found.reserve) - loss),
        "health": state_of.name,
        "nonce": found.nonce,
    }


def order(found: OrderDatum, pool: Pool, symbols: Symbols) -> Json:
    """An order that waits."""
    exp = pool.token_params[found.token].price_exp
    return {
        "owner": found.owner.hex(),
        "order_nonce": found.nonce,
        "kind": OrderKind(found.kind).name.lower(),
        "action": "decrease" if found.flags & OrderFlag.DECREASE else "increase",
        "reduce_only": bool(found.flags & OrderFlag.REDUCE_ONLY),
        "index_token": symbols[found.token],
        "position_type": Side(found.side).name.lower(),
        "deposit": money(found.deposit),
        "size": money(found.size),
        "collateral": money(found.collateral),
        "trigger_price": price(found.trigger_price, exp),
        "expiry": found.expiry,
        "commit_seq": found.commit_seq,
    }


def provider(pool: Pool, owner: bytes) -> Json:
    """An LP's shares and what they would bring if burnt now, before caps and fee."""
    vault, account = pool.vault, pool.account(owner)
    value = min(assets_under_management(pool, is_max=False), vault.total_liquidity)
    worth = account.glp * value // vault.glp_supply if vault.glp_supply else 0
    return {
        "owner": owner.hex(),
        "glp": money(account.glp),
        "share_bps": account.glp * BPS // vault.glp_supply if vault.glp_supply else 0,
        "value": money(worth),
        "last_added": account.last_added,
    }
