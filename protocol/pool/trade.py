"""Increase and decrease: GMX's, both sides as GMX's shorts, fee on top (docs/pool.md).

The checks of an increase come in the order token, leverage, utilisation, deposit, fee, then GMX's
remaining ones; the first that fails decides.
"""

from typing import Protocol

from protocol.pool import closing
from protocol.pool.draft import Draft
from protocol.pool.funding import Settlement, entry_funding, settle
from protocol.pool.layout import AMOUNT_MAX
from protocol.pool.muldiv import BPS, add, less, mul_div, mul_div_up, sub
from protocol.pool.params import FULL_RESERVE, TokenParams
from protocol.pool.pnl import (
    Health,
    base_left,
    base_of,
    closing_price,
    health,
    is_at_cap,
    max_size,
    pnl,
    position_fee,
)
from protocol.pool.position import PositionDatum, Side
from protocol.pool.reject import RejectCode, RejectError
from protocol.pool.state import TokenFlag
from protocol.units import U32_MAX


class IncreaseTerms(Protocol):
    """What an Increase and an order say alike; amounts in micro-USDC."""

    @property
    def owner(self) -> bytes: ...
    @property
    def token(self) -> int: ...
    @property
    def side(self) -> int: ...
    @property
    def deposit(self) -> int: ...
    @property
    def size(self) -> int: ...
    @property
    def acceptable_price(self) -> int: ...


class DecreaseTerms(Protocol):
    """What a Decrease and an order say alike; amounts in micro-USDC."""

    @property
    def owner(self) -> bytes: ...
    @property
    def token(self) -> int: ...
    @property
    def side(self) -> int: ...
    @property
    def size(self) -> int: ...
    @property
    def collateral(self) -> int: ...
    @property
    def acceptable_price(self) -> int: ...


def increase(draft: Draft, terms: IncreaseTerms, is_escrowed: bool = False) -> None:
    """Opens a position or adds to it. The deposit is brought now, or comes out of escrow."""
    draft.load(terms.token)
    token, params, vault = draft.token, draft.params, draft.vault
    _require_tradable(token.flags, terms.side)
    price = entry_price(draft, terms.side, terms.size)
    old = draft.pool.position(terms.owner, terms.token, terms.side)
    held = old or PositionDatum(terms.owner, terms.token, terms.side, *[0] * 9)
    settled = settle(vault, token, held, add(held.collateral, terms.deposit), draft.free)
    fee = position_fee(terms.size, params)
    means = sub(held.collateral + terms.deposit + settled.received, settled.paid)
    new = PositionDatum(
        terms.owner,
        terms.token,
        terms.side,
        next_nonce(held),
        held.size + terms.size,
        add(held.base, base_of(terms.size, price, terms.side, params)),
        less(means, fee),
        held.reserve + reserve_of(less(terms.deposit, fee), terms.size, params),
        entry_funding(token, terms.side),
        token.cum_borrow,
        held.opened or vault.time,
        vault.time,
    )
    _check_brief(draft, held, new)
    if not is_escrowed:
        draft.receive(terms.deposit)
    if new.collateral < params.min_collateral:
        raise RejectError(RejectCode.MIN_COLLATERAL)
    if means < fee:
        raise RejectError(RejectCode.FEE)
    draft.share_fee(fee)
    if old:
        draft.consume(old)
    draft.create(new)
    if terms.size and is_worse(price, terms.acceptable_price, terms.side == Side.LONG):
        raise RejectError(RejectCode.PRICE)
    if not terms.size and not terms.deposit:
        raise RejectError(RejectCode.EMPTY)
    check_open(draft, new)
    if terms.size:
        _check_caps(draft, new.side)
        # A larger reserve would revive the profit that the one of before had cut off.
        if old and is_at_cap(old, closing_price(draft.quote, old.side), params):
            raise RejectError(RejectCode.AT_CAP)
    _note(draft, settled)


def decrease(draft: Draft, terms: DecreaseTerms) -> None:
    """Closes a part of a position, or all of it, and takes collateral out."""
    draft.load(terms.token)
    old = draft.pool.position(terms.owner, terms.token, terms.side)
    if old is None:
        raise RejectError(RejectCode.NO_POSITION)
    if terms.size > old.size:
        raise RejectError(RejectCode.SIZE_TOO_LARGE)
    if terms.collateral > old.collateral:
        raise RejectError(RejectCode.COLLATERAL_TOO_LARGE)
    price = closing_price(draft.quote, terms.side)
    if terms.size and is_worse(price, terms.acceptable_price, terms.side == Side.SHORT):
        raise RejectError(RejectCode.PRICE)
    if not terms.size and not terms.collateral:
        raise RejectError(RejectCode.EMPTY)
    settled = settle(draft.vault, draft.token, old, old.collateral, draft.free)
    if terms.size == old.size:
        closing.require_solvent(draft, old, settled)
        closing.close(draft, old, settled, liquidation_fee=0)
    else:
        _reduce(draft, old, settled, terms)
    _note(draft, settled)


def _reduce(draft: Draft, old: PositionDatum, settled: Settlement, terms: DecreaseTerms) -> None:
    """GMX's decreasePosition without a full close."""
    vault, params, result = draft.vault, draft.params, draft.result
    reserve_delta = mul_div(old.reserve, terms.size, old.size)
    price = closing_price(draft.quote, old.side)
    profit, loss = pnl(old.size, old.base, old.side, price, params)
    result.profit = min(mul_div(profit, terms.size, old.size), reserve_delta)
    result.loss = mul_div_up(loss, terms.size, old.size)
    collateral = sub(old.collateral + settled.received, settled.paid)
    if result.loss > collateral:
        raise RejectError(RejectCode.LOSS_EXCEEDS_COLLATERAL)
    collateral -= result.loss
    if terms.collateral > collateral:
        raise RejectError(RejectCode.COLLATERAL_TOO_LARGE)
    collateral -= terms.collateral
    vault.total_liquidity = sub(add(vault.total_liquidity, result.loss), result.profit)
    out, fee = result.profit + terms.collateral, position_fee(terms.size, params)
    if out > fee:
        out -= fee
    elif collateral < fee:
        raise RejectError(RejectCode.FEE)
    else:
        collateral -= fee
    result.outflow = out
    draft.share_fee(fee)
    new = PositionDatum(
        old.owner,
        old.token,
        old.side,
        next_nonce(old),
        old.size - terms.size,
        base_left(old, terms.size),
        collateral,
        old.reserve - reserve_delta,
        entry_funding(draft.token, old.side),
        draft.token.cum_borrow,
        old.opened,
        old.last_increased,
    )
    draft.consume(old)
    draft.create(new)
    if new.collateral < params.min_collateral:
        raise RejectError(RejectCode.MIN_COLLATERAL)
    check_open(draft, new)


def entry_price(draft: Draft, side: int, size: int) -> int:
    """What an increase pays: the price against it, moved by up to ``impact_bps`` in proportion to
    the skew that it leaves on its own side, over the liquidity."""
    quote, token, params = draft.quote, draft.token, draft.params
    price = quote.max_price if side == Side.LONG else quote.min_price
    liquidity = draft.vault.total_liquidity
    if not params.impact_bps or not liquidity:
        return price
    if side == Side.LONG:
        skew = less(token.oi_long + size, token.oi_short)
    else:
        skew = less(token.oi_short + size, token.oi_long)
    most = mul_div_up(price, params.impact_bps, BPS)
    shift = mul_div_up(most, min(skew, liquidity), liquidity)
    return price + shift if side == Side.LONG else sub(price, shift)


def reserve_of(collateral: int, size: int, params: TokenParams) -> int:
    """What an increase reserves: ``max_profit`` of the collateral that it adds, at most its size;
    with FULL_RESERVE its size."""
    if params.max_profit_bps == FULL_RESERVE:
        return size
    return min(mul_div_up(collateral, params.max_profit_bps, BPS), size)


def is_worse(price: int, acceptable: int, is_buy: bool) -> bool:
    """Whether ``price`` is worse than ``acceptable`` for who buys, or for who sells."""
    return price > acceptable if is_buy else price < acceptable


def next_nonce(position: PositionDatum) -> int:
    """The nonce of the datum that replaces this one."""
    if position.nonce == U32_MAX:
        raise RejectError(RejectCode.OVERFLOW)
    return position.nonce + 1


def check_open(draft: Draft, new: PositionDatum) -> None:
    """What GMX asks of every position that stays open: leverage of at least 1, and health."""
    if new.size < new.collateral:
        raise RejectError(RejectCode.SIZE_BELOW_COLLATERAL)
    price = closing_price(draft.quote, new.side)
    state = health(new.size, new.base, new.collateral, new.side, price, draft.params)
    if state != Health.HEALTHY:
        raise RejectError(RejectCode.LIQUIDATABLE)


def _require_tradable(flags: int, side: int) -> None:
    if not flags & TokenFlag.WHITELISTED:
        raise RejectError(RejectCode.TOKEN)
    if side == Side.SHORT and not flags & TokenFlag.SHORTABLE:
        raise RejectError(RejectCode.NOT_SHORTABLE)


def _check_brief(draft: Draft, held: PositionDatum, new: PositionDatum) -> None:
    """Leverage, then utilisation; a size that no position may have is out of bounds."""
    token, params = draft.token, draft.params
    if new.size > AMOUNT_MAX:
        raise RejectError(RejectCode.OVERFLOW)
    if new.size > max_size(new.collateral, params):
        raise RejectError(RejectCode.LEVERAGE)
    added = new.reserve - held.reserve
    most = mul_div(draft.vault.total_liquidity, params.max_utilization_bps, BPS)
    if added and token.reserved + added > most:
        raise RejectError(RejectCode.UTILIZATION)


def _check_caps(draft: Draft, side: int) -> None:
    """The cap on all reserves, and the token's on open interest, after the increase."""
    token, params, liquidity = draft.token, draft.params, draft.vault.total_liquidity
    if draft.reserved_total > mul_div(liquidity, draft.pool.params.global_cap_bps, BPS):
        raise RejectError(RejectCode.GLOBAL_CAP)
    is_long = side == Side.LONG
    interest = token.oi_long if is_long else token.oi_short
    if interest > (params.oi_cap_long if is_long else params.oi_cap_short):
        raise RejectError(RejectCode.OPEN_INTEREST_CAP)


def _note(draft: Draft, settled: Settlement) -> None:
    draft.result.funding_paid = settled.paid
    draft.result.funding_received = settled.received
