"""A position closed whole: by its owner, by liquidation, or at the cap of its profit.

A fee is never more than what is left to take it from, so nothing is ever credited that is not
there; what remains goes to the owner; what is missing is bad debt, which the insurance pays first.
"""

from protocol.pool.draft import Draft
from protocol.pool.funding import Settlement, settle
from protocol.pool.muldiv import add, less, sub
from protocol.pool.operation import CloseAtCap, Liquidate
from protocol.pool.pnl import Health, closing_price, health, is_at_cap, pnl, position_fee
from protocol.pool.position import PositionDatum
from protocol.pool.reject import RejectCode, RejectError


def liquidate(draft: Draft, operation: Liquidate) -> None:
    """Closes an unhealthy position. The liquidation fee comes from what is left of its collateral,
    goes to the insurance, and is not taken where only the leverage was too high (GMX)."""
    old = _load(draft, operation)
    settled = settle(draft.vault, draft.token, old, old.collateral, draft.free)
    price = closing_price(draft.quote, old.side)
    collateral = sub(old.collateral + settled.received, settled.paid)
    state = health(old.size, old.base, collateral, old.side, price, draft.params)
    if state == Health.HEALTHY and not settled.unpaid:
        raise RejectError(RejectCode.HEALTHY)
    is_underwater = state == Health.UNDERWATER or settled.unpaid
    close(draft, old, settled, draft.params.liquidation_fee if is_underwater else 0)


def close_at_cap(draft: Draft, operation: CloseAtCap) -> None:
    """Closes a position whose profit has reached its reserve: from there it has only downside, and
    it blocks liquidity."""
    old = _load(draft, operation)
    price = closing_price(draft.quote, old.side)
    if not is_at_cap(old, price, draft.params):
        raise RejectError(RejectCode.NOT_AT_CAP)
    settled = settle(draft.vault, draft.token, old, old.collateral, draft.free)
    close(draft, old, settled, liquidation_fee=0)


def require_solvent(draft: Draft, old: PositionDatum, settled: Settlement) -> None:
    """LOSS_EXCEEDS_COLLATERAL for a position that its owner cannot close."""
    price = closing_price(draft.quote, old.side)
    _, loss = pnl(old.size, old.base, old.side, price, draft.params)
    if settled.unpaid or loss > sub(old.collateral + settled.received, settled.paid):
        raise RejectError(RejectCode.LOSS_EXCEEDS_COLLATERAL)


def close(draft: Draft, old: PositionDatum, settled: Settlement, liquidation_fee: int) -> None:
    """Pays profit or loss, then what is owed and the collateral did not cover, then the fees from
    what is left, then the owner."""
    vault, params, result = draft.vault, draft.params, draft.result
    price = closing_price(draft.quote, old.side)
    profit, loss = pnl(old.size, old.base, old.side, price, params)
    collateral = sub(old.collateral + settled.received, settled.paid)
    result.profit = min(profit, old.reserve)
    result.loss = min(loss, collateral)
    arrears = min(settled.unpaid, result.profit)
    vault.total_liquidity = sub(add(vault.total_liquidity, result.loss + arrears), result.profit)
    out = collateral - result.loss + result.profit - arrears
    fee = min(position_fee(old.size, params), out)
    draft.share_fee(fee)
    result.liquidation_fee = min(liquidation_fee, out - fee)
    vault.insurance = add(vault.insurance, result.liquidation_fee)
    result.outflow = out - fee - result.liquidation_fee
    result.funding_paid, result.funding_received = settled.paid + arrears, settled.received
    _write_off(draft, add(less(loss, collateral), settled.unpaid - arrears))
    draft.consume(old)


def _write_off(draft: Draft, debt: int) -> None:
    """What a position closed below zero still owed: the insurance pays, the rest is the LPs'."""
    vault = draft.vault
    paid = min(debt, vault.insurance)
    vault.insurance -= paid
    vault.total_liquidity = add(vault.total_liquidity, paid)
    vault.bad_debt = add(vault.bad_debt, debt - paid)
    draft.result.bad_debt = debt


def _load(draft: Draft, operation: Liquidate | CloseAtCap) -> PositionDatum:
    draft.load(operation.token)
    old = draft.pool.position(operation.owner, operation.token, operation.side)
    if old is None:
        raise RejectError(RejectCode.NO_POSITION)
    return old
