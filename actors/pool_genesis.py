"""How a scenario's pool begins: one LP with all the liquidity, or a whole state from the file.

A whole state says how much is open on each side, not by whom: one test user, ``genesis``, holds a
position for every side that is not empty, so that every sum of the state is a sum of positions.
"""

from collections.abc import Callable
from typing import Final

from actors.pool_scenario import USD_DECIMALS, Scenario, State, TokenRow, parse
from protocol.crypto.keys import SecretKey
from protocol.errors import ConfigError, PriceError
from protocol.pool import view
from protocol.pool.account import AccountDatum
from protocol.pool.draft import Accepted, Draft
from protocol.pool.liquidity import DEAD_SHARES
from protocol.pool.operation import AddLiquidity
from protocol.pool.pnl import base_of
from protocol.pool.pool import Pool
from protocol.pool.position import PositionDatum, Side
from protocol.pool.prices import BatchPrices
from protocol.pool.transition import apply
from protocol.units import U64_MAX

START: Final = 1_767_225_600
"""2026-01-01 00:00 UTC, a whole number of funding intervals: when a scenario's pool begins."""
FIRST_LP: Final = "lp"
GENESIS: Final = "genesis"


def found(
    pool: Pool, scenario: Scenario, prices: BatchPrices, key_of: Callable[[str], SecretKey]
) -> None:
    """Advances an empty pool to ``prices`` and puts in what the scenario begins with. ConfigError
    for a state that no pool can be in."""
    try:
        pool.advance(prices)
    except PriceError as error:
        raise ConfigError(f"batches[0]: {error}") from None
    if scenario.state is not None:
        _restore(pool, scenario, scenario.state, key_of(GENESIS).public)
        return
    amount = parse(scenario.liquidity or "0", USD_DECIMALS, "liquidity")
    if not amount:
        return
    owner = key_of(FIRST_LP).public
    operation = AddLiquidity(owner=owner, nonce=0, deadline=U64_MAX, amount=amount)
    result = apply(pool, operation)
    if not isinstance(result, Accepted):
        raise ConfigError(f"liquidity: {result.code.message}")


def _restore(pool: Pool, scenario: Scenario, state: State, owner: bytes) -> None:
    vault = pool.vault
    vault.total_liquidity = parse(state.total_liquidity, USD_DECIMALS, "state.total_liquidity")
    vault.glp_supply = parse(state.glp_supply, USD_DECIMALS, "state.glp_supply")
    if vault.glp_supply < DEAD_SHARES:
        raise ConfigError(f"state.glp_supply: at least {view.exact(DEAD_SHARES)}")
    account = AccountDatum(owner, glp=vault.glp_supply - DEAD_SHARES)
    pool.accounts.put(account.key, account)
    ids = {symbol: token for token, symbol in scenario.symbols.items()}
    for symbol, row in state.tokens.items():
        _open(pool, ids[symbol], row, owner, f"state.tokens.{symbol}")
    if pool.reserved_total > vault.total_liquidity:
        raise ConfigError("state: the reserves of all tokens exceed the liquidity")
    shown = view.state(pool, scenario.symbols)["tokens"]
    for symbol, row in state.tokens.items():
        for name in ("utilization", "funding_rate_long", "funding_rate_short"):
            said, is_so = getattr(row, name), shown[symbol][name]
            if isinstance(said, str) and said != is_so:
                raise ConfigError(f"state.tokens.{symbol}.{name}: {said}, but it follows {is_so}")


def _open(pool: Pool, token: int, row: TokenRow, owner: bytes, place: str) -> None:
    """A position a side. The reserve is split as the open interest is, and is the collateral of a
    position too, as far as leverage 1 allows."""
    reserved = parse(row.reserved, USD_DECIMALS, f"{place}.reserved")
    sizes = {
        Side.LONG: parse(row.open_interest_long, USD_DECIMALS, f"{place}.open_interest_long"),
        Side.SHORT: parse(row.open_interest_short, USD_DECIMALS, f"{place}.open_interest_short"),
    }
    interest = sum(sizes.values())
    if reserved > interest:
        raise ConfigError(f"{place}.reserved: more than the open interest of both sides")
    quote, params, time = pool.quotes[token], pool.token_params[token], pool.vault.time
    left = reserved
    for side, size in sizes.items():
        if not size:
            continue
        reserve = (
            left if side == Side.SHORT or not sizes[Side.SHORT] else reserved * size // interest
        )
        left -= reserve
        price = quote.max_price if side == Side.LONG else quote.min_price
        base = base_of(size, price, side, params)
        draft = Draft(pool, None)
        draft.load(token)
        draft.create(
            PositionDatum(owner, token, side, 1, size, base, reserve, reserve, 0, 0, time, time)
        )
        draft.commit()
