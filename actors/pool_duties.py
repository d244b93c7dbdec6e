"""What a sequencer owes everybody: the operations that became due at a batch's prices.

In this order, each by ascending key, orders by the batch that committed them first: unhealthy
positions are liquidated, positions at their cap are closed, orders are filled. They come before the
operations of the batch, so nobody trades ahead of a liquidation. Anybody who has the state and the
certificate finds the same list.
"""

from collections.abc import Iterator

from actors.pool_snapshot import copy
from protocol.pool.draft import Accepted
from protocol.pool.operation import CloseAtCap, FillOrder, Liquidate, Operation, SignedOperation
from protocol.pool.order import OrderDatum, OrderKind
from protocol.pool.pool import Pool
from protocol.pool.prices import BatchPrices
from protocol.pool.transition import apply


def duties(pool: Pool, prices: BatchPrices) -> list[SignedOperation]:
    """What is due in a batch with these prices, each of which the transition accepts. PriceError if
    they are not later than the pool's last; the pool is not changed."""
    trial = copy(pool)
    trial.advance(prices)
    return [
        SignedOperation(operation)
        for operation in _candidates(trial)
        if isinstance(apply(trial, operation), Accepted)
    ]


def _candidates(trial: Pool) -> Iterator[Operation]:
    """Whatever may be due; each is tried on what those before it have left."""
    for found in [*trial.open_positions()]:
        yield Liquidate(owner=found.owner, token=found.token, side=found.side)
    for found in [*trial.open_positions()]:
        yield CloseAtCap(owner=found.owner, token=found.token, side=found.side)
    orders = [order for order in trial.open_orders() if _may_fill(order, trial.vault.seq)]
    for order in sorted(orders, key=lambda order: (order.commit_seq, order.key)):
        yield FillOrder(owner=order.owner, order_nonce=order.nonce)


def _may_fill(order: OrderDatum, seq: int) -> bool:
    """A market order has one batch to fill in, the one after it was committed."""
    return order.kind != OrderKind.MARKET or order.commit_seq + 1 == seq
