"""Random and hostile operations on a pool, each judged by ``tests.builders.pool_laws``.

``Choose(low, high)`` is where every decision comes from: hypothesis draws it, a benchmark takes a
seeded generator.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from protocol.errors import EncodingError, PriceError
from protocol.pool.draft import Accepted, Rejected
from protocol.pool.layout import AMOUNT_MAX
from protocol.pool.operation import (
    AddLiquidity,
    Decrease,
    Operation,
    RemoveLiquidity,
    decode,
)
from protocol.pool.order import OrderKind
from protocol.pool.params import FULL_RESERVE
from protocol.pool.position import PositionDatum
from protocol.pool.prices import BatchPrices
from protocol.pool.reject import RejectCode
from protocol.pool.transition import apply_signed
from tests.builders.pool import (
    ADA,
    BTC,
    ETH,
    LONG,
    PRICES,
    SHORT,
    USDC,
    World,
    code,
    owner_of,
    sign,
)
from tests.builders.pool_laws import check_state, judged, snapshot

Choose = Callable[[int, int], int]
USERS: Final = 6
WORLDS: Final[tuple[dict[str, Any], ...]] = (
    {},
    {"token": {"borrow_ppm": 500, "spread_bps": 10, "impact_bps": 30, "max_profit_bps": 90_000}},
    {"pool": {"orders_only": True}, "token": {"spread_bps": 4}},
    {"token": {"max_profit_bps": FULL_RESERVE, "borrow_ppm": 50_000, "funding_ppm": 900_000}},
    {
        "pool": {
            "lp_fee_share_bps": 5_000,
            "insurance_fee_share_bps": 3_000,
            "liquidity_fee_bps": 10,
            "cooldown_s": 900,
        }
    },
    {
        "liquidity": 2_000 * USDC,
        "token": {"funding_ppm": 1_000_000, "max_utilization_bps": 10_000},
        "pool": {"max_rate_ppm": 1_000_000, "global_cap_bps": 10_000},
    },
    {
        "token": {
            "oi_cap_long": 30_000 * USDC,
            "oi_cap_short": 20_000 * USDC,
            "min_collateral": 1,
            "liquidation_fee": 0,
            "fee_bps": 0,
            "spread_bps": 5,
        }
    },
)
"""Parameters with caps, borrow fees, insurance, free trades, orders only, a pool nearly empty."""


def make_world(choose: Choose) -> World:
    fields = WORLDS[choose(0, len(WORLDS) - 1)]
    return World(**fields, signed=True)


def pick(choose: Choose, *options: Any) -> Any:
    return options[choose(0, len(options) - 1)]


def user(choose: Choose) -> int:
    return choose(0, USERS - 1)


def market(choose: Choose) -> tuple[int, int]:
    """(token, side)"""
    return pick(choose, BTC, ETH, ADA), pick(choose, LONG, SHORT)


def amount(choose: Choose, most: int) -> int:
    """Mostly ordinary, sometimes a unit, zero or all of it."""
    kind = choose(0, 9)
    if kind == 0:
        return choose(0, 3)
    if kind == 1:
        return most
    return choose(0, max(most, 1))


def number_of(who: bytes) -> int:
    return next(i for i in range(USERS) if owner_of(i) == who)


# Moves. Each leaves the world judged.


def tick(world: World, choose: Choose) -> None:
    """The next certified prices: a walk, sometimes a jump, sometimes long after the last."""
    seconds = pick(choose, 1, 60, 3_600, 28_800, 100_000)
    for token in (BTC, ETH, ADA):
        spot, low = world.prices[token], PRICES[token] // 100
        jump = choose(0, 7)
        if jump == 0:
            spot = spot * choose(5_000, 20_000) // 10_000
        elif jump < 5:
            spot = spot * choose(9_700, 10_300) // 10_000
        world.prices[token] = min(max(spot, low), PRICES[token] * 100)
    world.conf = pick(choose, 0, 0, 1, min(world.prices.values()) // 500)
    before = snapshot(world.pool)
    world.advance(seconds)
    check_state(world)
    after = snapshot(world.pool)
    assert after.positions == before.positions and after.accounts == before.accounts
    assert after.vault.liabilities == before.vault.liabilities


def stale_prices(world: World, choose: Choose) -> None:
    """Prices that are no later than the last, or lack a token, change nothing."""
    before = snapshot(world.pool)
    prices = dict(world.prices)
    now = world.now - choose(0, 10)
    if choose(0, 1):
        prices.pop(pick(choose, BTC, ETH, ADA))
        now = world.now + 1
    try:
        world.pool.advance(BatchPrices.plain(now, prices))
    except PriceError:
        assert snapshot(world.pool) == before
    else:
        raise AssertionError("the pool took prices that it must not take")


def add(world: World, choose: Choose) -> None:
    judged(world, lambda: world.add(user(choose), amount(choose, 50_000 * USDC)))


def remove(world: World, choose: Choose) -> None:
    who = user(choose)
    judged(world, lambda: world.remove(who, amount(choose, world.glp(who))))


def increase(world: World, choose: Choose) -> None:
    token, side = market(choose)
    deposit = amount(choose, 3_000 * USDC)
    size = amount(choose, max(deposit, USDC) * choose(1, 55))
    judged(world, lambda: world.increase(user(choose), deposit, size, token, side))


def some_position(world: World, choose: Choose) -> PositionDatum | None:
    positions = [*world.pool.open_positions()]
    return positions[choose(0, len(positions) - 1)] if positions else None


def decrease(world: World, choose: Choose) -> None:
    """Of a position that is there: a part, all of it, only collateral, or too much."""
    position = some_position(world, choose)
    if position is None:
        return
    size = pick(choose, position.size, 0, choose(0, position.size), position.size + 1)
    collateral = pick(choose, 0, 0, choose(0, position.collateral), position.collateral + 1)
    who, at = number_of(position.owner), (position.token, position.side)
    judged(world, lambda: world.decrease(who, size, collateral, *at))


def of_some(
    world: World, choose: Choose, act: Callable[[int, int, int], Accepted | Rejected]
) -> None:
    """Anybody does ``act`` to any position, or to one that is not there."""
    position = some_position(world, choose)
    if position is None or choose(0, 9) == 0:
        who, at = user(choose), market(choose)
    else:
        who, at = number_of(position.owner), (position.token, position.side)
    judged(world, lambda: act(who, *at))


def liquidate(world: World, choose: Choose) -> None:
    of_some(world, choose, world.liquidate)


def close_at_cap(world: World, choose: Choose) -> None:
    of_some(world, choose, world.close_at_cap)


def create_order(world: World, choose: Choose) -> None:
    token, side = market(choose)
    kind = choose(OrderKind.MARKET, OrderKind.TAKE_PROFIT)
    is_decrease = kind == OrderKind.TAKE_PROFIT or choose(0, 1) == 1
    deposit = 0 if is_decrease else amount(choose, 2_000 * USDC)
    fields = {
        "flags": pick(choose, 1, 3) if is_decrease else 0,
        "trigger_price": world.prices[token] * choose(9_000, 11_000) // 10_000,
        "expiry": world.now + pick(choose, 1_000, 10**6, 10**8),
    }
    size = amount(choose, max(deposit, 100 * USDC) * choose(1, 20))
    judged(world, lambda: world.order(user(choose), size, deposit, token, side, kind, **fields))


def some_order(world: World, choose: Choose) -> tuple[int, int]:
    """(user, nonce) of an order, or of none."""
    orders = [*world.pool.open_orders()]
    if not orders or choose(0, 9) == 0:
        return user(choose), choose(0, 20)
    order = orders[choose(0, len(orders) - 1)]
    return number_of(order.owner), order.nonce


def cancel_order(world: World, choose: Choose) -> None:
    judged(world, lambda: world.cancel(*some_order(world, choose)))


def fill_order(world: World, choose: Choose) -> None:
    """As a sequencer does: the next batch, then everything that is due."""
    if choose(0, 1):
        tick(world, choose)
    judged(world, lambda: world.fill(*some_order(world, choose)))


def forge(world: World, choose: Choose) -> None:
    """What nobody signed: another's key, another pool, an old operation again, an altered byte."""
    victim, thief = user(choose), user(choose)
    token, side = market(choose)
    operation: Operation = pick(
        choose,
        Decrease(**world.head(victim), token=token, side=side, size=1, acceptable_price=0),
        RemoveLiquidity(**world.head(victim), glp=world.glp(victim)),
        AddLiquidity(**world.head(victim), amount=USDC),
    )
    kind = choose(0, 3)
    if kind == 0 and thief == victim:
        return
    pool_id = bytes(32) if kind == 1 else world.pool.pool_id
    signed = sign(operation, pool_id, thief if kind == 0 else victim)
    expected = RejectCode.SIGNATURE
    if kind == 2:
        old = replace(operation, nonce=world.nonce(victim) + pick(choose, 1, 7, 2**63))
        signed, expected = sign(old, pool_id, victim), RejectCode.NONCE
    if kind == 3:
        data = bytearray(signed.encode())
        data[choose(0, len(data) - 1)] ^= 1 << choose(0, 7)
        try:
            signed = decode(bytes(data))
        except EncodingError:
            return
    before = snapshot(world.pool)
    result = apply_signed(world.pool, signed)
    if signed.operation.is_signed:
        assert code(result) == expected
        assert snapshot(world.pool) == before


def extreme(world: World, choose: Choose) -> None:
    """Numbers at the ends of their ranges."""
    token, side = pick(choose, BTC, ETH, ADA, 99, 2**32 - 1), pick(choose, LONG, SHORT)
    big = pick(choose, AMOUNT_MAX, AMOUNT_MAX - 1, 10**12)
    act = pick(
        choose,
        lambda: world.increase(user(choose), big, pick(choose, AMOUNT_MAX, 1, big), token, side),
        lambda: world.decrease(user(choose), big, pick(choose, 0, AMOUNT_MAX), token, side),
        lambda: world.add(user(choose), big),
        lambda: world.remove(user(choose), 2**64 - 1),
        lambda: world.cancel(user(choose), 2**64 - 1),
        lambda: world.fill(user(choose), 2**64 - 1),
        lambda: world.add(user(choose), USDC, 2**64 - 1),
        lambda: world.remove(user(choose), 1, 2**64 - 1),
    )
    judged(world, act)


MOVES: Final[tuple[Callable[[World, Choose], None], ...]] = (
    tick,
    stale_prices,
    add,
    remove,
    increase,
    decrease,
    liquidate,
    close_at_cap,
    create_order,
    cancel_order,
    fill_order,
    forge,
    extreme,
)
WEIGHTS: Final = (6, 1, 2, 2, 8, 6, 4, 2, 4, 2, 4, 1, 1)
"""How often a benchmark takes each: mostly trades, with enough of everything else."""
