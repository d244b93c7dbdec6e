"""What must hold of a pool after every operation, worked out from its datums alone.

I1 to I13 are those of docs/pool.md, "Invariants". Nothing here calls the pool's formulas: sums are
taken over positions, money is counted in fractions, and the root is hashed from the bytes.
"""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor
from typing import Any

from protocol.crypto.tagged import tagged_hash
from protocol.pool.account import AccountDatum
from protocol.pool.draft import Accepted, Rejected
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
    RemoveLiquidity,
)
from protocol.pool.order import OrderDatum, order_key
from protocol.pool.pool import Pool
from protocol.pool.position import PositionDatum, position_key
from protocol.pool.reject import RejectCode
from protocol.pool.state import TokenState, VaultDatum
from tests.builders.pool import LONG, SHORT, World, code

U64 = 2**64
BPS = 10_000
INDEX = 10**12
DEAD_SHARES = 1_000
"""What the first mint burns."""


def th(tag: str, data: bytes) -> bytes:
    return tagged_hash(f"btcfi/pool/{tag}/v1", data)


def tree_root(buckets: dict[int, list[tuple[bytes, bytes]]]) -> bytes:
    """The root of a bucket tree from (key, tag and datum) by bucket, the plain way."""
    level = {i: th("bucket", b"".join(d for _, d in sorted(rows))) for i, rows in buckets.items()}
    empty = th("bucket", b"")
    for _ in range(16):
        level = {
            i: th("node", level.get(2 * i, empty) + level.get(2 * i + 1, empty))
            for i in {j >> 1 for j in level}
        }
        empty = th("node", empty + empty)
    return level.get(0, empty)


def buckets_of(datums: Any) -> dict[int, list[tuple[bytes, bytes]]]:
    found: dict[int, list[tuple[bytes, bytes]]] = {}
    for datum in datums:
        kind = {PositionDatum: 1, OrderDatum: 2, AccountDatum: 3}[type(datum)]
        row = datum.key, bytes([kind]) + datum.encode()
        found.setdefault(int.from_bytes(datum.key[:2]), []).append(row)
    return found


def state_root(pool: Pool) -> bytes:
    """The root of the state as docs/pool.md defines it, from nothing but the datums."""
    vault = pool.vault.copy()
    tokens = [pool.tokens[i] for i in sorted(pool.tokens)]
    vault.tokens_root = th("tokens", b"".join(token.encode() for token in tokens))
    vault.positions_root = tree_root(buckets_of(pool.positions))
    vault.lp_root = tree_root(buckets_of(pool.accounts))
    return th("state", vault.encode())


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A pool's whole state, for comparing before and after."""

    vault: VaultDatum
    tokens: dict[int, TokenState]
    positions: dict[bytes, PositionDatum | OrderDatum]
    accounts: dict[bytes, AccountDatum]
    root: bytes


def snapshot(pool: Pool) -> Snapshot:
    root = pool.root()
    return Snapshot(
        pool.vault.copy(),
        {i: token.copy() for i, token in pool.tokens.items()},
        {datum.key: datum for datum in pool.positions},
        {datum.key: datum for datum in pool.accounts},
        root,
    )


def check_state(world: World) -> None:
    """I1, I2, I3, I6 and the root, of the state as it is."""
    pool, vault = world.pool, world.pool.vault
    positions, orders = [*pool.open_positions()], [*pool.open_orders()]
    owed = vault.total_liquidity + vault.collateral_total + vault.order_escrow
    assert world.cash == owed + vault.protocol_fees + vault.insurance
    assert vault.collateral_total == sum(token.collateral for token in pool.tokens.values())
    assert vault.order_escrow == sum(order.deposit for order in orders)
    assert vault.pos_count == len(positions)
    for i, token in pool.tokens.items():
        check_token(token, [p for p in positions if p.token == i])
    shares = sum(account.glp for account in pool.accounts)
    assert vault.glp_supply - shares in (0, DEAD_SHARES)
    assert pool.reserved_total <= vault.total_liquidity
    assert VaultDatum.decode(vault.encode()) == vault
    for position in positions:
        assert position.size > 0 and position.collateral > 0, position
        assert max(position.base, position.reserve, position.collateral) < U64
        assert PositionDatum.decode(position.encode()) == position
    assert pool.root() == state_root(pool)


def check_token(token: TokenState, positions: list[PositionDatum]) -> None:
    """I2: the row of a token is the sum of its positions."""
    longs = [p for p in positions if p.side == LONG]
    shorts = [p for p in positions if p.side == SHORT]
    assert token.oi_long == sum(p.size for p in longs)
    assert token.oi_short == sum(p.size for p in shorts)
    assert token.base_long == sum(p.base for p in longs)
    assert token.base_short == sum(p.base for p in shorts)
    assert token.reserved == sum(p.reserve for p in positions)
    assert token.collateral == sum(p.collateral for p in positions)
    assert token.basis_long == sum(map(basis, longs))
    assert token.basis_short == sum(map(basis, shorts))
    assert TokenState.decode(token.encode()) == token


def basis(position: PositionDatum) -> int:
    return position.size * position.entry_funding + position.reserve * position.entry_borrow


# One position, exactly


def exact_pnl(world: World, position: PositionDatum, price: int | None = None) -> Fraction:
    """Profit (or, negative, loss) at the price that it would be closed at."""
    quote = world.pool.quotes[position.token]
    if price is None:
        price = quote.min_price if position.side == LONG else quote.max_price
    value = Fraction(position.base * price, world.params(position.token).unit)
    return value - position.size if position.side == LONG else position.size - value


def exact_owed(world: World, position: PositionDatum) -> tuple[Fraction, Fraction]:
    """(funding, borrow) since it was settled last; funding below zero is received."""
    token = world.token(position.token)
    index = token.cum_long if position.side == LONG else token.cum_short
    funding = Fraction(position.size * (index - position.entry_funding), INDEX)
    borrow = Fraction(position.reserve * (token.cum_borrow - position.entry_borrow), INDEX)
    return funding, borrow


def is_healthy(world: World, position: PositionDatum) -> bool | None:
    """The rule of docs/pool.md in fractions; None within three units of a boundary."""
    params, funding = world.params(position.token), exact_owed(world, position)
    if funding[0] < 0 and -funding[0] > free(world) - 3:
        return None
    left = position.collateral - sum(funding) + min(exact_pnl(world, position), 0)
    fees = Fraction(position.size * params.fee_bps, BPS) + params.liquidation_fee
    slack = min(left - fees, left - Fraction(position.size * BPS, params.max_leverage_bps))
    return None if abs(slack) <= 3 else slack > 0


def free(world: World) -> int:
    """The liquidity that nobody's profit is reserved from."""
    return world.liquidity - world.pool.reserved_total


# One operation


def judged(world: World, act: Callable[[], Accepted | Rejected]) -> Accepted | Rejected:
    """Lets ``act`` do one operation and holds it to I1 to I8, I10, I11 and I12."""
    before, value = snapshot(world.pool), plain_value(world)
    healths = {p.key: is_healthy(world, p) for p in world.pool.open_positions()}
    cash = world.cash
    result = act()
    assert world.last is not None
    operation = world.last[0]
    if isinstance(operation, Liquidate):
        key = position_key(operation.owner, operation.token, operation.side)
        if code(result) == RejectCode.OVERFLOW:
            assert overflows(world, before.positions[key])
        else:
            check_duty(healths.get(key), key in healths, result)
    if isinstance(result, Rejected):
        assert snapshot(world.pool) == before and world.cash == cash
        return result
    check_state(world)
    check_accepted(world, before, operation, result)
    grown = plain_value(world)
    if value is not None and grown is not None:
        assert grown >= value, "an operation at one price made a share worth less"
    return result


def check_accepted(world: World, before: Snapshot, operation: Operation, result: Accepted) -> None:
    after = snapshot(world.pool)
    assert min(getattr(result, name) for name in Accepted.__slots__) >= 0
    check_nonces(before, after, operation)
    check_positions(before, after, operation)
    check_flows(world, before, operation, result)
    opens = isinstance(operation, Increase | FillOrder) and grew(before, after)
    if opens or isinstance(operation, RemoveLiquidity):
        check_caps(world, before, isinstance(operation, RemoveLiquidity))


def grew(before: Snapshot, after: Snapshot) -> bool:
    total = sum(t.oi_long + t.oi_short for t in after.tokens.values())
    return total > sum(t.oi_long + t.oi_short for t in before.tokens.values())


def check_nonces(before: Snapshot, after: Snapshot, operation: Operation) -> None:
    """I12: a signed operation uses up its nonce, and nobody else's; others use none."""
    old = {a.owner: a.nonce for a in before.accounts.values()}
    new = {a.owner: a.nonce for a in after.accounts.values()}
    moved = {owner: nonce - old.get(owner, 0) for owner, nonce in new.items()}
    expected = 1 if operation.is_signed else 0
    assert moved.pop(operation.owner, 0) == expected
    assert not any(moved.values())


def check_positions(before: Snapshot, after: Snapshot, operation: Operation) -> None:
    """An operation touches positions and orders of its owner alone, and counts a touch."""
    keys = before.positions.keys() | after.positions.keys()
    for key in keys:
        old, new = before.positions.get(key), after.positions.get(key)
        if old != new:
            datum = old or new
            assert datum is not None and datum.owner == operation.owner
            if isinstance(old, PositionDatum) and isinstance(new, PositionDatum):
                assert new.nonce == old.nonce + 1 and new.id != old.id
                assert new.opened == old.opened


def check_flows(world: World, before: Snapshot, operation: Operation, result: Accepted) -> None:
    """I5: who may bring money, and what an operation may pay at most."""
    vault = before.vault
    assert result.inflow == 0 or isinstance(operation, AddLiquidity | Increase | CreateOrder)
    if isinstance(operation, RemoveLiquidity):
        assert result.outflow * vault.glp_supply <= operation.glp * vault.total_liquidity
    elif isinstance(operation, Decrease | Liquidate | CloseAtCap):
        key = position_key(operation.owner, operation.token, operation.side)
        position = before.positions[key]
        assert isinstance(position, PositionDatum)
        received = result.funding_received
        assert result.outflow <= position.reserve + position.collateral + received
        check_funding(world, before, position, result)
    elif isinstance(operation, CancelOrder):
        order = before.positions[order_key(operation.owner, operation.order_nonce)]
        assert isinstance(order, OrderDatum) and result.outflow == order.deposit
    elif isinstance(operation, AddLiquidity | Increase | CreateOrder):
        assert result.outflow == 0


def check_funding(
    world: World, before: Snapshot, position: PositionDatum, result: Accepted
) -> None:
    """I7: payers pay rounded up and at most what they have, receivers get rounded down and at most
    what is free; where the rest is, ``check_state`` knows to the unit."""
    funding, borrow = exact_owed(world, position)
    assert result.funding_paid <= ceil(borrow) + ceil(max(funding, 0))
    if result.funding_paid < borrow + max(funding, 0):
        assert result.funding_paid >= position.collateral
    assert result.funding_received <= floor(max(-funding, 0))
    reserved = sum(token.reserved for token in before.tokens.values())
    assert result.funding_received <= before.vault.total_liquidity - reserved


def check_caps(world: World, before: Snapshot, every: bool) -> None:
    """I4: no reserve that an operation has raised, or that lost liquidity, is above its cap."""
    pool, total = world.pool, world.liquidity
    assert pool.reserved_total * BPS <= pool.params.global_cap_bps * total
    for i, token in pool.tokens.items():
        params, old = pool.token_params[i], before.tokens[i]
        if every or token.reserved > old.reserved:
            assert token.reserved * BPS <= params.max_utilization_bps * total
        assert token.oi_long <= max(params.oi_cap_long, old.oi_long)
        assert token.oi_short <= max(params.oi_cap_short, old.oi_short)


def check_duty(healthy: bool | None, is_there: bool, result: Accepted | Rejected) -> None:
    """I11: a liquidation follows the position's health, and is never impossible."""
    if isinstance(result, Rejected):
        assert result.code == (RejectCode.HEALTHY if is_there else RejectCode.NO_POSITION)
    if healthy is not None:
        assert isinstance(result, Rejected) == healthy


def overflows(world: World, datum: PositionDatum | OrderDatum) -> bool:
    """Whether a position is worth more micro-USD than 64 bits: the one reason not to close it."""
    assert isinstance(datum, PositionDatum)
    price = world.pool.quotes[datum.token].max_price
    return datum.base * price // world.params(datum.token).unit > U64 - 2


def plain_value(world: World) -> Fraction | None:
    """I10: the LPs' assets a share, exactly, at the prices that positions close at.

    None while a position has reached a bound (its reserve, or its collateral): there it is worth
    another amount than its profit or loss, so a share may be worth more and not less than this.
    """
    if not world.pool.vault.glp_supply:
        return None
    total = Fraction(world.liquidity)
    for position in world.pool.open_positions():
        pnl, owed = exact_pnl(world, position), exact_owed(world, position)
        if pnl > position.reserve or position.collateral + min(pnl, 0) - sum(owed) < 0:
            return None
        total += sum(owed) - pnl
    return total / world.pool.vault.glp_supply
