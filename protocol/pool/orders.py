"""Orders: committed now, filled at a price that nobody knew then (docs/pool.md, "Orders").

A market order fills in the very next batch or never; the others in any later batch whose price
meets the trigger. Filling is anybody's, and an order that the pool's rules refuse stays where it
is until its owner cancels it.
"""

from dataclasses import replace
from typing import Final

from protocol.pool.account import AccountDatum
from protocol.pool.draft import Draft
from protocol.pool.operation import CancelOrder, CreateOrder, FillOrder
from protocol.pool.order import OrderDatum, OrderFlag, OrderKind
from protocol.pool.position import Side
from protocol.pool.reject import RejectCode, RejectError
from protocol.pool.trade import decrease, increase

_FALLING: Final = (OrderKind.LIMIT, OrderKind.TAKE_PROFIT)
"""A buy of this kind waits for a price at or below its trigger, a sale for one at or above."""


def create_order(draft: Draft, operation: CreateOrder) -> None:
    """Writes the order and takes its deposit into escrow."""
    if operation.token not in draft.pool.tokens:
        raise RejectError(RejectCode.TOKEN)
    draft.receive(operation.deposit)
    if not (operation.size or operation.deposit or operation.collateral):
        raise RejectError(RejectCode.EMPTY)
    draft.put_order(
        OrderDatum(
            operation.owner,
            operation.nonce,
            operation.token,
            operation.order_kind,
            operation.side,
            operation.flags,
            operation.deposit,
            operation.size,
            operation.collateral,
            operation.trigger_price,
            operation.acceptable_price,
            operation.expiry,
            draft.vault.seq,
        )
    )
    bump_nonce(draft, operation.owner)


def cancel_order(draft: Draft, operation: CancelOrder) -> None:
    """Gives the escrow back. A market order can be taken back only once it can fill no more, or its
    owner could see the price first."""
    order = _load(draft, operation.owner, operation.order_nonce)
    if order.kind == OrderKind.MARKET and draft.vault.seq <= order.commit_seq + 1:
        raise RejectError(RejectCode.PENDING)
    draft.take_order(order)
    draft.result.outflow = order.deposit
    bump_nonce(draft, operation.owner)


def fill_order(draft: Draft, operation: FillOrder) -> None:
    """Executes an order that is due, as its owner's increase or decrease."""
    order = _load(draft, operation.owner, operation.order_nonce)
    if draft.vault.time > order.expiry:
        raise RejectError(RejectCode.EXPIRED)
    if not is_due(draft, order):
        raise RejectError(RejectCode.NOT_DUE)
    draft.take_order(order)
    if not order.flags & OrderFlag.DECREASE:
        increase(draft, order, is_escrowed=True)
        return
    position = draft.pool.position(order.owner, order.token, order.side)
    if order.flags & OrderFlag.REDUCE_ONLY and position and order.size > position.size:
        order = replace(order, size=position.size)
    decrease(draft, order)


def is_due(draft: Draft, order: OrderDatum) -> bool:
    """Whether an order may fill at this batch's price."""
    if order.kind == OrderKind.MARKET:
        return draft.vault.seq == order.commit_seq + 1
    if draft.vault.seq <= order.commit_seq:
        return False
    quote = draft.pool.quotes[order.token]
    is_decrease = bool(order.flags & OrderFlag.DECREASE)
    is_buy = (order.side == Side.LONG) != is_decrease
    price = quote.max_price if is_buy else quote.min_price
    if (order.kind in _FALLING) == is_buy:
        return price <= order.trigger_price
    return price >= order.trigger_price


def bump_nonce(draft: Draft, owner: bytes) -> None:
    """Uses up the owner's nonce."""
    account = draft.pool.account(owner)
    draft.put_account(AccountDatum(owner, account.nonce + 1, account.glp, account.last_added))


def _load(draft: Draft, owner: bytes, nonce: int) -> OrderDatum:
    order = draft.pool.order(owner, nonce)
    if order is None:
        raise RejectError(RejectCode.NO_ORDER)
    return order
