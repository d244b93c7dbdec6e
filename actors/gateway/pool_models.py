"""What clients of the pool send and get. Money is a decimal string of dollars, exact to 10^-6 but
for ``PoolState``, which rounds as people read it; funding is positive where that side pays.
"""

from typing import Annotated, Literal

from pydantic import Field

from actors.gateway.models import Count, Dollars, Model, Ms

OPERATION_MAX = 1_024
"""Bytes of a signed operation, at most."""

Key32 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$", description="32 bytes in hex")]
Side = Literal["long", "short"]
Percent = Annotated[str, Field(pattern=r"^[0-9]+\.[0-9]%$", description="One decimal")]
Rate = Annotated[str, Field(pattern=r"^-?[0-9]+\.[0-9]{4}$", description="Per 8 h; positive pays")]


# In


class OperationIn(Model):
    """An operation under its owner's signature, in the canonical bytes of docs/pool.md."""

    operation: Annotated[
        str,
        Field(
            pattern=r"^([0-9a-f]{2})+$",
            max_length=2 * OPERATION_MAX,
            description="Canonical bytes and BIP340 signature, in hex",
        ),
    ]


# Out


class TokenState(Model):
    """A token of the pool as people read it."""

    reserved: Dollars
    utilization: Percent
    open_interest_long: Dollars
    open_interest_short: Dollars
    funding_rate_long: Rate
    funding_rate_short: Rate


class PoolState(Model):
    """The pool as people read it: two decimals for money, one for percent, four for rates."""

    stablecoin: str
    total_liquidity: Dollars
    glp_supply: Dollars
    tokens: dict[str, TokenState]


class TokenDetails(Model):
    """A token with its limits. ``trader_pnl_usd`` is what closing everything now would bring its
    traders; ``price_*`` are of the newest batch, null before it."""

    id: Count
    price_min_usd: Dollars | None
    price_max_usd: Dollars | None
    reserved_usd: Dollars
    collateral_usd: Dollars
    utilization_bps: Count
    max_utilization_bps: Count
    max_leverage_bps: Count
    fee_bps: Count
    open_interest_long_usd: Dollars
    open_interest_short_usd: Dollars
    funding_rate_long: Rate
    funding_rate_short: Rate
    trader_pnl_usd: Dollars


class PoolDetails(Model):
    """Everything of the newest state. ``aum_usd`` is the liquidity less what traders have won and
    not yet taken; ``glp_price_usd`` that of one share, null before the first; ``pool_id`` is what
    signatures of operations are bound to; ``next_nonce`` lies in /v1/pool/accounts."""

    pool_id: Key32
    stablecoin: str
    profile: str
    seq: Count
    time_ms: Ms
    state_root: Key32
    flags: list[Literal["halted", "close-only", "orders-only"]]
    total_liquidity_usd: Dollars
    aum_usd: Dollars
    glp_supply: Dollars
    glp_price_usd: Dollars | None
    collateral_usd: Dollars
    order_escrow_usd: Dollars
    protocol_fees_usd: Dollars
    insurance_usd: Dollars
    bad_debt_usd: Dollars
    trader_pnl_usd: Dollars
    vault_sats: Count | None = Field(description="On Bitcoin; null where the pool is kept off it")
    positions: Count
    pending: Count = Field(description="Operations that wait for the next batch")
    tokens: dict[str, TokenDetails]


class PoolTransaction(Model):
    """Of Bitcoin, that carried a batch."""

    name: str
    txid: Key32
    height: Count | None


class Batch(Model):
    """A batch: one certificate, one time, one transition. The roots are those of its journal."""

    seq: Count
    round: Count
    time_ms: Ms
    certificate_hash: Key32
    old_root: Key32
    new_root: Key32
    ops_root: Key32
    prices_root: Key32
    payments_root: Key32
    accepted: Count
    rejected: Count
    liquidations: Count
    fees_usd: Dollars
    aum_usd: Dollars
    glp_price_usd: Dollars | None
    transactions: list[PoolTransaction]


class Batches(Model):
    """The newest first."""

    batches: list[Batch]


class Position(Model):
    """``id`` is that of this version of it: every operation consumes one and makes the next.
    ``funding_owed_usd`` and ``borrow_owed_usd`` are due at its next operation (negative funding is
    received); ``liquidation_price_usd`` is null where no price liquidates it."""

    id: Key32
    owner: Key32
    token: str
    side: Side
    size_usd: Dollars
    collateral_usd: Dollars
    reserve_usd: Dollars
    average_price_usd: Dollars
    mark_price_usd: Dollars
    pnl_usd: Dollars
    funding_owed_usd: Dollars
    borrow_owed_usd: Dollars
    leverage_bps: Count | None = Field(description="Of what is left of the collateral; null: none")
    liquidation_price_usd: Dollars | None
    nonce: Count
    opened_ms: Ms


class Positions(Model):
    """By owner, token and side."""

    positions: list[Position]


class Order(Model):
    """An order that waits. Its deposit is in escrow; ``trigger_price_usd`` is null for a market
    order, which fills at the first certified price after batch ``seq``."""

    id: Key32
    owner: Key32
    nonce: Count
    token: str
    side: Side
    kind: Literal["market", "limit", "stop", "take_profit"]
    action: Literal["increase", "decrease"]
    reduce_only: bool
    size_usd: Dollars
    collateral_usd: Dollars
    escrow_usd: Dollars
    trigger_price_usd: Dollars | None
    acceptable_price_usd: Dollars
    seq: Count


class Orders(Model):
    """By owner and nonce."""

    orders: list[Order]


class Account(Model):
    """An owner. As a provider of liquidity: shares, what they are worth, what was put in and taken
    out, and what fees of all tokens have brought; as a trader: the sums over the open positions.
    ``paid_in_usd`` and ``paid_out_usd`` are of all its trades so far; ``next_nonce`` is that of the
    next operation to sign."""

    owner: Key32
    next_nonce: Count
    glp: Dollars
    glp_value_usd: Dollars
    share_bps: Count
    added_usd: Dollars
    removed_usd: Dollars
    fees_earned_usd: Dollars
    last_added_ms: Ms | None
    positions: Count
    collateral_usd: Dollars
    pnl_usd: Dollars
    funding_owed_usd: Dollars
    paid_in_usd: Dollars
    paid_out_usd: Dollars


class Submitted(Model):
    """An operation that is on disk and will be in a batch; ``place`` is its place in the order."""

    id: Key32
    owner: Key32
    kind: str
    nonce: Count
    place: Count


class Operation(Submitted):
    """With what became of it: in which batch, and why not (``code`` as docs/pool.md lists them)."""

    status: Literal["pending", "accepted", "rejected"]
    batch: Count | None
    code: str | None
    inflow_usd: Dollars | None
    outflow_usd: Dollars | None
    fee_usd: Dollars | None
