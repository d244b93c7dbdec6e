"""Which code a refused operation gets: every code once, and the order in which checks decide."""

from dataclasses import replace
from hashlib import sha256

import pytest

from protocol.errors import ProtocolError
from protocol.pool import operation as ops
from protocol.pool.order import OrderFlag, OrderKind
from protocol.pool.reject import RejectCode
from protocol.pool.state import TokenFlag, VaultFlag
from protocol.pool.transition import apply, apply_signed
from tests.builders.pool import (
    ALICE,
    BOB,
    BTC,
    E8,
    ETH,
    FOREVER,
    LONG,
    LP,
    SHORT,
    USDC,
    World,
    code,
    sign,
)

GOOD = {"deposit": 1_030 * USDC, "size": 10_000 * USDC}


# Failures of an increase in the order in which they decide; each is made by a change of the world
# or of the operation, and all after it in the list are made as well.
STAGES = [
    ("TOKEN", {"token": 9}),
    ("LEVERAGE", {"size": 60_000 * USDC}),
    ("UTILIZATION", {"max_utilization_bps": 99}),
    ("DEPOSIT", {"funds": 1_029 * USDC}),
    ("MIN_COLLATERAL", {"min_collateral": 1_001 * USDC}),
    ("PRICE", {"price": 40_000 * E8 - 1}),
    ("LIQUIDATABLE", {"liquidation_fee": 971 * USDC}),
    ("GLOBAL_CAP", {"global_cap_bps": 99}),
    ("OPEN_INTEREST_CAP", {"oi_cap_long": 9_999 * USDC}),
]
OF_TOKEN = ("max_utilization_bps", "min_collateral", "liquidation_fee", "oi_cap_long")


@pytest.mark.parametrize("first", range(len(STAGES)), ids=[name for name, _ in STAGES])
def test_the_first_check_that_fails_decides(first):
    changes = {}
    for _, change in STAGES[first:]:
        changes |= change
    # A size that fails by leverage needs no other one; the rest is about the good size.
    world = World(
        token={name: value for name, value in changes.items() if name in OF_TOKEN},
        pool={name: changes[name] for name in ("global_cap_bps",) if name in changes},
    )
    asked = GOOD | {
        name: changes[name] for name in ("size", "token", "price", "funds") if name in changes
    }
    root = world.pool.root()
    assert code(world.increase(ALICE, **asked)).name == STAGES[first][0]
    assert world.pool.root() == root


def test_without_any_of_them_it_is_accepted():
    world = World()
    done = world.ok(world.increase(ALICE, **GOOD, funds=1_030 * USDC, price=40_000 * E8))
    assert (done.inflow, done.fee) == (1_030 * USDC, 30 * USDC)


def test_a_token_that_is_off_the_list():
    world = World()
    world.pool.tokens[BTC].flags = int(TokenFlag.SHORTABLE)
    assert code(world.increase(ALICE, **GOOD)) == RejectCode.TOKEN
    world.pool.tokens[BTC].flags = int(TokenFlag.WHITELISTED)
    assert code(world.increase(ALICE, **GOOD, side=SHORT)) == RejectCode.NOT_SHORTABLE
    world.ok(world.increase(ALICE, **GOOD))


def test_leverage_is_that_of_size_and_collateral():
    """50x to the unit, at a price where nothing is lost by rounding."""
    world = World(token={"liquidation_fee": 0})
    assert code(world.increase(ALICE, 230 * USDC - 1, 10_000 * USDC)) == RejectCode.LEVERAGE
    world.ok(world.increase(ALICE, 230 * USDC, 10_000 * USDC))


def test_utilisation_is_reserved_over_liquidity():
    world = World()
    assert code(world.increase(ALICE, 81_000 * USDC, 100_000 * USDC)) == RejectCode.UTILIZATION
    world.ok(world.increase(ALICE, 80_300 * USDC, 100_000 * USDC))
    assert world.token(BTC).reserved == 80_000 * USDC
    top_up = world.increase(ALICE, 1 * USDC, 0)
    assert code(top_up) is None  # reserves nothing, so the full token is not in its way
    world.ok(world.increase(BOB, 1_006 * USDC, 2_000 * USDC, ETH, SHORT))


def test_trades_that_change_nothing_or_the_wrong_thing():
    world = World()
    assert code(world.increase(ALICE, 0, 0)) == RejectCode.MIN_COLLATERAL
    world.ok(world.increase(ALICE, **GOOD))
    assert code(world.increase(ALICE, 0, 0)) == RejectCode.EMPTY
    assert code(world.increase(ALICE, 9_001 * USDC, 0)) == RejectCode.SIZE_BELOW_COLLATERAL
    assert code(world.increase(ALICE, 0, 41_000 * USDC)) == RejectCode.LEVERAGE
    assert code(world.decrease(ALICE, 0)) == RejectCode.EMPTY
    assert code(world.decrease(ALICE, 10_001 * USDC)) == RejectCode.SIZE_TOO_LARGE
    assert code(world.decrease(ALICE, 0, 1_001 * USDC)) == RejectCode.COLLATERAL_TOO_LARGE
    assert code(world.decrease(ALICE, 1 * USDC, price=40_000 * E8 + 1)) == RejectCode.PRICE
    assert code(world.decrease(ALICE, 9_500 * USDC)) == RejectCode.SIZE_BELOW_COLLATERAL
    assert code(world.decrease(ALICE, 0, 995 * USDC)) == RejectCode.MIN_COLLATERAL
    assert code(world.decrease(ALICE, 0, 850 * USDC)) == RejectCode.LIQUIDATABLE
    assert code(world.decrease(BOB, 1 * USDC)) == RejectCode.NO_POSITION
    assert code(world.liquidate(ALICE)) == RejectCode.HEALTHY
    assert code(world.close_at_cap(ALICE)) == RejectCode.NOT_AT_CAP
    assert code(world.liquidate(BOB)) == RejectCode.NO_POSITION


def test_a_fee_that_nothing_can_pay():
    """A part of a position at a loss: nothing comes out and the collateral is below the fee."""
    world = World(token={"fee_bps": 1_000, "liquidation_fee": 0, "min_collateral": 1})
    world.ok(world.increase(ALICE, 2_100 * USDC, 10_000 * USDC))
    world.advance(BTC=36_000 * E8)
    assert code(world.decrease(ALICE, 9_900 * USDC)) == RejectCode.FEE


def test_a_loss_beyond_the_collateral_is_not_its_owner_s_to_close():
    world = World()
    world.ok(world.increase(ALICE, **GOOD))
    world.advance(BTC=35_000 * E8)
    assert code(world.close(ALICE)) == RejectCode.LOSS_EXCEEDS_COLLATERAL
    assert code(world.decrease(ALICE, 9_000 * USDC)) == RejectCode.LOSS_EXCEEDS_COLLATERAL
    world.ok(world.liquidate(ALICE))


def test_liquidity():
    world = World(pool={"cooldown_s": 900})
    assert code(world.add(BOB, 0)) == RejectCode.NO_VALUE
    assert code(world.add(BOB, 100, min_glp=101)) == RejectCode.SLIPPAGE
    assert code(world.remove(LP, 1)) == RejectCode.COOLDOWN
    assert code(world.remove(BOB, 1)) == RejectCode.GLP_BALANCE
    assert code(world.remove(LP, 0)) == RejectCode.NO_VALUE
    world.advance(900)
    glp = world.glp(LP)
    assert code(world.remove(LP, glp, min_out=glp + 1)) == RejectCode.SLIPPAGE
    world.ok(world.increase(ALICE, 60_180 * USDC, 60_000 * USDC, ETH, SHORT))
    assert code(world.remove(LP, glp // 2)) == RejectCode.UTILIZATION
    world.ok(world.increase(BOB, 30_090 * USDC, 30_000 * USDC))
    assert code(world.remove(LP, glp // 10)) == RejectCode.GLOBAL_CAP
    assert world.pool.vault.glp_supply == glp + 1_000


def test_orders():
    world = World()
    assert code(world.order(ALICE, 0)) == RejectCode.EMPTY
    assert code(world.order(ALICE, 1, token=9)) == RejectCode.TOKEN
    world.ok(world.order(ALICE, 10_000 * USDC, 1_030 * USDC))
    assert world.pool.vault.order_escrow == 1_030 * USDC
    assert code(world.fill(ALICE, 0)) == RejectCode.NOT_DUE
    assert code(world.cancel(ALICE, 0)) == RejectCode.PENDING
    assert code(world.fill(ALICE, 1)) == RejectCode.NO_ORDER
    assert code(world.cancel(BOB, 0)) == RejectCode.NO_ORDER
    world.advance()
    world.ok(world.fill(ALICE, 0))
    assert world.pool.vault.order_escrow == 0
    assert code(world.fill(ALICE, 0)) == RejectCode.NO_ORDER
    late = world.order(BOB, 1_000 * USDC, 103 * USDC, kind=OrderKind.LIMIT, expiry=world.now + 1)
    world.ok(late)
    world.advance(2)
    assert code(world.fill(BOB, 0)) == RejectCode.EXPIRED
    assert world.ok(world.cancel(BOB, 0)).outflow == 103 * USDC


@pytest.mark.parametrize(
    ("kind", "side", "flags", "trigger", "is_due"),
    [
        (OrderKind.LIMIT, LONG, 0, 40_000, True),
        (OrderKind.LIMIT, LONG, 0, 39_999, False),
        (OrderKind.LIMIT, SHORT, 0, 40_000, True),
        (OrderKind.LIMIT, SHORT, 0, 40_001, False),
        (OrderKind.STOP, LONG, 0, 40_000, True),
        (OrderKind.STOP, LONG, 0, 40_001, False),
        (OrderKind.STOP, LONG, 1, 40_000, True),
        (OrderKind.STOP, LONG, 1, 39_999, False),
        (OrderKind.STOP, SHORT, 1, 40_001, False),
        (OrderKind.TAKE_PROFIT, LONG, 1, 40_000, True),
        (OrderKind.TAKE_PROFIT, LONG, 1, 40_001, False),
        (OrderKind.TAKE_PROFIT, SHORT, 1, 40_000, True),
        (OrderKind.TAKE_PROFIT, SHORT, 1, 39_999, False),
    ],
)
def test_triggers(kind, side, flags, trigger, is_due):
    world = World()
    if flags & OrderFlag.DECREASE:
        world.ok(world.increase(ALICE, **GOOD, side=side))
    deposit = 0 if flags else 103 * USDC
    nonce = world.nonce(ALICE)
    world.ok(
        world.order(
            ALICE,
            1_000 * USDC,
            deposit,
            side=side,
            kind=kind,
            flags=flags,
            trigger_price=trigger * E8,
        )
    )
    world.advance()
    assert code(world.fill(ALICE, nonce)) == (None if is_due else RejectCode.NOT_DUE)


def test_a_reduce_only_order_closes_all_there_is():
    world = World()
    world.ok(world.increase(ALICE, **GOOD))
    for flags in (1, 3):
        world.ok(world.order(ALICE, 20_000 * USDC, flags=flags))
    world.advance()
    assert code(world.fill(ALICE, 1)) == RejectCode.SIZE_TOO_LARGE
    world.ok(world.fill(ALICE, 2))
    assert not world.has(ALICE)


def increase(world, **changes):
    return ops.Increase(
        **world.head(ALICE) | changes,
        token=BTC,
        side=0,
        **GOOD,
        acceptable_price=FOREVER,
    )


def test_what_authorises_an_operation():
    world = World()
    pool = world.pool
    operation = increase(world)
    for user, pool_id in ((BOB, pool.pool_id), (ALICE, bytes(32))):
        forged = sign(operation, pool_id, user)
        assert code(apply_signed(pool, forged)) == RejectCode.SIGNATURE
    assert code(apply(pool, increase(world, nonce=1))) == RejectCode.NONCE
    assert code(apply(pool, increase(world, deadline=world.now - 1))) == RejectCode.DEADLINE
    signed = sign(increase(world, deadline=world.now), pool.pool_id, ALICE)
    world.ok(apply_signed(pool, signed))
    assert code(apply_signed(pool, signed)) == RejectCode.NONCE
    assert world.nonce(ALICE) == 1


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (VaultFlag.HALTED, RejectCode.HALTED),
        (VaultFlag.CLOSE_ONLY, RejectCode.CLOSE_ONLY),
        (VaultFlag.ORDERS_ONLY, RejectCode.ORDER_REQUIRED),
        (VaultFlag.HALTED | VaultFlag.CLOSE_ONLY, RejectCode.HALTED),
    ],
)
def test_flags_of_the_pool(flags, expected):
    world = World()
    world.ok(world.increase(BOB, **GOOD))
    world.pool.vault.flags = int(flags)
    assert code(world.increase(ALICE, **GOOD)) == expected
    closed = code(world.close(BOB))
    assert closed == (None if flags == VaultFlag.CLOSE_ONLY else expected)


def test_a_close_only_pool_by_orders_still_lets_traders_out():
    world = World()
    world.ok(world.increase(BOB, **GOOD))
    world.pool.vault.flags = int(VaultFlag.CLOSE_ONLY | VaultFlag.ORDERS_ONLY)
    assert code(world.order(ALICE, 1)) == RejectCode.CLOSE_ONLY
    world.ok(world.close(BOB))


NUMBERS = {
    "SIGNATURE": 1,
    "NONCE": 2,
    "DEADLINE": 3,
    "HALTED": 4,
    "CLOSE_ONLY": 5,
    "ORDER_REQUIRED": 6,
    "TOKEN": 10,
    "NOT_SHORTABLE": 11,
    "LEVERAGE": 20,
    "UTILIZATION": 30,
    "DEPOSIT": 40,
    "MIN_COLLATERAL": 41,
    "FEE": 50,
    "PRICE": 60,
    "EMPTY": 61,
    "SIZE_BELOW_COLLATERAL": 62,
    "LIQUIDATABLE": 63,
    "GLOBAL_CAP": 64,
    "OPEN_INTEREST_CAP": 65,
    "AT_CAP": 66,
    "NO_POSITION": 70,
    "SIZE_TOO_LARGE": 71,
    "COLLATERAL_TOO_LARGE": 72,
    "LOSS_EXCEEDS_COLLATERAL": 73,
    "HEALTHY": 80,
    "NOT_AT_CAP": 81,
    "SLIPPAGE": 90,
    "GLP_BALANCE": 91,
    "COOLDOWN": 92,
    "NO_VALUE": 93,
    "NO_ORDER": 100,
    "NOT_DUE": 101,
    "EXPIRED": 102,
    "PENDING": 103,
    "BUCKET_FULL": 110,
    "OVERFLOW": 111,
}


def test_numbers_are_stable_and_errors_are_ours():
    assert {c.name: int(c) for c in RejectCode} == NUMBERS
    world = World()
    with pytest.raises(ProtocolError):
        replace(increase(world), owner=sha256(b"").digest()[:31])
