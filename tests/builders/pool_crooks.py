"""Transitions with one rule broken, for tests that must notice: (where, name, the crooked rule)."""

from collections.abc import Callable
from typing import Any

from protocol.pool import closing, liquidity, orders, pnl, pool, trade, transition
from protocol.pool.draft import Draft
from protocol.pool.funding import Settlement
from protocol.pool.operation import SignedOperation
from protocol.pool.pnl import Health
from tests.builders.pool import LONG


def doubled(rule: Callable[..., tuple[int, int]]) -> Callable[..., tuple[int, int]]:
    return lambda *args: (2 * rule(*args)[0], rule(*args)[1])


def no_loss(rule: Callable[..., tuple[int, int]]) -> Callable[..., tuple[int, int]]:
    return lambda *args: (rule(*args)[0], 0)


def nothing(*_: Any) -> None:
    """A check that checks nothing."""


def half_receive(draft: Draft, amount: int) -> None:
    draft.result.inflow = amount // 2
    draft.vault.protocol_fees += 1


CROOKED: dict[str, tuple[Any, str, Any]] = {
    "opens without a fee": (trade, "position_fee", lambda *_: 0),
    "a fee of one unit less": (trade, "position_fee", lambda s, p: s * p.fee_bps // 10_000),
    "profit counts twice": (trade, "pnl", doubled(pnl.pnl)),
    "nobody loses": (trade, "pnl", no_loss(pnl.pnl)),
    "values are rounded for the trader": (
        pnl,
        "value_of",
        lambda base, price, side, params: base * price // params.unit + (side == LONG),
    ),
    "a better entry price": (trade, "entry_price", lambda d, side, size: d.quote.price),
    "closes at the middle": (trade, "closing_price", lambda quote, side: quote.price),
    "what is left of a base is rounded up": (
        trade,
        "base_left",
        lambda p, size: -(-p.base * (p.size - size) // p.size),
    ),
    "reserves the whole size": (trade, "reserve_of", lambda c, size, p: size),
    "reserves nothing": (trade, "reserve_of", lambda c, size, p: 0),
    "no limit on leverage and utilisation": (trade, "_check_brief", nothing),
    "everything is healthy": (trade, "health", lambda *_: Health.HEALTHY),
    "liquidates the healthy": (closing, "health", lambda *_: Health.UNDERWATER),
    "closes below the cap": (closing, "is_at_cap", lambda *_: True),
    "no funding accrues": (pool, "accrue", nothing),
    "nobody owes funding": (trade, "settle", lambda *_: Settlement(0, 0, 0)),
    "shares are worth more": (liquidity, "assets_under_management", lambda *_, **__: 10**12),
    "no cap on withdrawals": (liquidity, "_check_reserves", nothing),
    "fills what is not due": (orders, "is_due", lambda *_: True),
    "nonces and deadlines do not matter": (transition, "_authorise", nothing),
    "anybody signs for anybody": (SignedOperation, "is_authentic", lambda *_: True),
    "nonces are not used up": (transition, "bump_nonce", nothing),
    "deposits are half paid": (Draft, "receive", half_receive),
    "fees are the prover's": (Draft, "share_fee", lambda d, fee: setattr(d.result, "fee", fee)),
    "a position stays in the sums": (Draft, "consume", nothing),
    "a number is not counted": (Draft, "commit", nothing),
}
