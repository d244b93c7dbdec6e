"""One operation on a pool: all of it, or nothing and a code (docs/pool.md, "Order of checks")."""

from collections.abc import Callable
from typing import Any, Final

from protocol.pool.closing import close_at_cap, liquidate
from protocol.pool.draft import Accepted, Draft, Rejected
from protocol.pool.liquidity import add_liquidity, remove_liquidity
from protocol.pool.operation import (
    AddLiquidity,
    CancelOrder,
    CloseAtCap,
    CreateOrder,
    Decrease,
    FillOrder,
    Increase,
    Liquidate,
    Operation,
    OwnerOperation,
    RemoveLiquidity,
    SignedOperation,
)
from protocol.pool.orders import bump_nonce, cancel_order, create_order, fill_order
from protocol.pool.pool import Pool
from protocol.pool.reject import RejectCode, RejectError
from protocol.pool.state import VaultFlag
from protocol.pool.trade import decrease, increase


def apply(pool: Pool, operation: Operation, funds: int | None = None) -> Accepted | Rejected:
    """Applies an operation whose owner is known to have signed it.

    The pool has been advanced to the batch's prices. ``funds`` is what the owner has paid in for
    this batch and not used yet, micro-USDC; None: no limit. A Rejected changes nothing.
    """
    draft = Draft(pool, funds)
    try:
        _authorise(draft, operation)
        _RULES[operation.kind](draft, operation)
        draft.commit()
    except RejectError as refusal:
        return Rejected(refusal.code)
    return draft.result


def apply_signed(
    pool: Pool, signed: SignedOperation, funds: int | None = None
) -> Accepted | Rejected:
    """``apply`` after the signature: code SIGNATURE if it is not the owner's for this pool."""
    if not signed.is_authentic(pool.pool_id):
        return Rejected(RejectCode.SIGNATURE)
    return apply(pool, signed.operation, funds)


def _authorise(draft: Draft, operation: Operation) -> None:
    """Nonce and deadline of what is signed, then what the pool's flags allow."""
    if isinstance(operation, OwnerOperation):
        if operation.nonce != draft.pool.account(operation.owner).nonce:
            raise RejectError(RejectCode.NONCE)
        if draft.vault.time > operation.deadline:
            raise RejectError(RejectCode.DEADLINE)
    flags = draft.vault.flags
    if not flags:
        return
    if flags & VaultFlag.HALTED:
        raise RejectError(RejectCode.HALTED)
    if flags & VaultFlag.CLOSE_ONLY:
        if operation.kind not in _CLOSING:
            raise RejectError(RejectCode.CLOSE_ONLY)
    elif flags & VaultFlag.ORDERS_ONLY and operation.kind in _DIRECT:
        raise RejectError(RejectCode.ORDER_REQUIRED)


def _increase(draft: Draft, operation: Increase) -> None:
    increase(draft, operation)
    bump_nonce(draft, operation.owner)


def _decrease(draft: Draft, operation: Decrease) -> None:
    decrease(draft, operation)
    bump_nonce(draft, operation.owner)


_RULES: Final[dict[int, Callable[[Draft, Any], None]]] = {
    AddLiquidity.kind: add_liquidity,
    RemoveLiquidity.kind: remove_liquidity,
    Increase.kind: _increase,
    Decrease.kind: _decrease,
    Liquidate.kind: liquidate,
    CloseAtCap.kind: close_at_cap,
    CreateOrder.kind: create_order,
    CancelOrder.kind: cancel_order,
    FillOrder.kind: fill_order,
}
_CLOSING: Final = {
    kind.kind for kind in (Decrease, Liquidate, CloseAtCap, RemoveLiquidity, CancelOrder)
}
_DIRECT: Final = (Increase.kind, Decrease.kind)
