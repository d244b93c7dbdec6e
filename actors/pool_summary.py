"""What is shown of a batch, kept with it: counts, fees, value, and what became of every token."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from protocol.oracle.batch_certificate import BatchCertificate
from protocol.pool.batch import Batch, BatchResult
from protocol.pool.draft import Accepted
from protocol.pool.funding import funding_rate
from protocol.pool.liquidity import DEAD_SHARES, assets_under_management
from protocol.pool.muldiv import BPS, INDEX_ONE
from protocol.pool.operation import (
    AddLiquidity,
    CloseAtCap,
    Decrease,
    FillOrder,
    Increase,
    Liquidate,
    Operation,
    RemoveLiquidity,
)
from protocol.pool.pnl import closing_price, pnl
from protocol.pool.pool import Pool
from protocol.pool.position import Side

GLP: Final = 1_000_000
"""A share counts in 1e-6, as micro-USDC."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenSummary:
    """A token after a batch. ``price`` and the two that trades got are mantissas; rates of both
    sides in 1e-12 per funding interval, positive pays; ``open_pnl`` is what closing every position
    at once would bring its traders, micro-USDC, before fees and caps; ``realised`` what they have
    won, profit less loss, in all batches so far."""

    price: int
    min_price: int
    max_price: int
    oi_long: int
    oi_short: int
    reserved: int
    rate_long: int
    rate_short: int
    open_pnl: int
    realised: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """``aum`` is the pool's value to its LPs, ``glp_price`` that of a share, micro-USDC, None while
    there is none. ``fee_index`` as of ``fee_indices``, after the last operation."""

    seq: int
    round: int
    time_s: int
    certificate_hash: bytes
    accepted: int
    rejected: int
    liquidations: int
    fees: int
    aum: int
    glp_price: int | None
    fee_index: str
    tokens: dict[int, TokenSummary]


def summary_of(
    pool: Pool,
    certificate: BatchCertificate,
    batch: Batch,
    result: BatchResult,
    found: Pool,
    before: Summary | None,
    indices: Sequence[int],
) -> Summary:
    """Of a batch that ``pool`` has just run. ``found`` is the pool as the batch found it,
    ``before`` the summary of the last one, ``indices`` what ``fee_indices`` gives of it."""
    done = [
        (signed.operation, became)
        for signed, became in zip(batch.operations, result.results, strict=True)
        if isinstance(became, Accepted)
    ]
    realised = {
        token: 0 if before is None else before.tokens[token].realised for token in pool.tokens
    }
    for operation, became in done:
        if became.profit or became.loss:
            realised[_token_of(operation, found)] += became.profit - became.loss
    aum, supply = assets_under_management(pool, is_max=True), pool.vault.glp_supply
    return Summary(
        seq=result.journal.seq,
        round=certificate.round,
        time_s=pool.vault.time,
        certificate_hash=certificate.hash,
        accepted=len(done),
        rejected=len(result.results) - len(done),
        liquidations=sum(isinstance(operation, Liquidate) for operation, _ in done),
        fees=sum(became.fee for _, became in done),
        aum=aum,
        glp_price=aum * GLP // supply if supply else None,
        fee_index=str(indices[-1]),
        tokens={token: token_summary(pool, token, realised[token]) for token in pool.tokens},
    )


def fee_indices(
    found: Pool, batch: Batch, result: BatchResult, before: Summary | None
) -> list[int]:
    """What fees have brought one share (1e-6 GLP) since the pool began, 1e-12 of micro-USDC: when
    the batch begins, then after each of its operations. An owner's part of a stretch is its shares
    times the difference. ``found`` and ``before`` as of ``summary_of``."""
    supply, share = found.vault.glp_supply, found.params.lp_fee_share_bps
    indices = [0 if before is None else int(before.fee_index)]
    for signed, became in zip(batch.operations, result.results, strict=True):
        index = indices[-1]
        if isinstance(became, Accepted):
            if became.fee and supply:
                index += became.fee * share * INDEX_ONE // (BPS * supply)
            if isinstance(signed.operation, AddLiquidity):
                supply += became.glp + (0 if supply else DEAD_SHARES)
            elif isinstance(signed.operation, RemoveLiquidity):
                supply -= became.glp
        indices.append(index)
    return indices


def token_summary(pool: Pool, token: int, realised: int) -> TokenSummary:
    """A token as it is now; the pool has quotes."""
    state, params, quote = pool.tokens[token], pool.token_params[token], pool.quotes[token]
    rates = funding_rate(state, params, pool.params, pool.vault.total_liquidity)
    open_pnl = 0
    for side, size, base in (
        (Side.LONG, state.oi_long, state.base_long),
        (Side.SHORT, state.oi_short, state.base_short),
    ):
        profit, loss = pnl(size, base, side, closing_price(quote, side), params)
        open_pnl += profit - loss
    return TokenSummary(
        price=quote.price,
        min_price=quote.min_price,
        max_price=quote.max_price,
        oi_long=state.oi_long,
        oi_short=state.oi_short,
        reserved=state.reserved,
        rate_long=rates[0],
        rate_short=rates[1],
        open_pnl=open_pnl,
        realised=realised,
    )


def _token_of(operation: Operation, found: Pool) -> int:
    """Which token an operation traded; of a fill the order says it, which was there before."""
    if isinstance(operation, FillOrder):
        order = found.order(operation.owner, operation.order_nonce)
        assert order is not None, "an order fills in a later batch than it came in"
        return order.token
    assert isinstance(operation, Increase | Decrease | Liquidate | CloseAtCap), "it cannot win"
    return operation.token
