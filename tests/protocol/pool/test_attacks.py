"""Every failure of docs/pool.md, "Known failures", played against the pool: each test is an attack
that worked somewhere, or the reason why it does not work here. Here are those of traders on the
liquidity; shares, funding, prices, bounds and owners are in ``test_attacks_on_the_pool``."""

from fractions import Fraction

import pytest

from protocol.pool.draft import Rejected
from protocol.pool.order import OrderKind
from protocol.pool.params import FULL_RESERVE
from protocol.pool.reject import RejectCode
from tests.builders.pool import (
    ADA,
    ALICE,
    BOB,
    BTC,
    CAROL,
    E8,
    ETH,
    LONG,
    MALLORY,
    PRICES,
    SHORT,
    USDC,
    World,
    code,
)
from tests.builders.pool_laws import check_state, judged, plain_value

NO_FUNDING = {"funding_ppm": 0}


def aum(world: World) -> Fraction:
    value = plain_value(world)
    assert value is not None
    return value * world.pool.vault.glp_supply


# Global average price; the re-entrancy of July 2025


@pytest.mark.parametrize("side", [LONG, SHORT])
def test_closing_leaves_no_stale_average(side):
    """GMX's S19: a closed short stayed in the global average, and the AUM was off by its profit."""
    world = World(token={"fee_bps": 0})
    for user in (ALICE, BOB):
        world.ok(world.increase(user, 2_000 * USDC, 10_000 * USDC, BTC, side))
        world.advance(BTC=world.prices[BTC] * 105 // 100)
    before = aum(world)
    world.ok(judged(world, lambda: world.close(ALICE, BTC, side)))
    assert 0 <= aum(world) - before <= 2
    world.ok(judged(world, lambda: world.close(BOB, BTC, side)))
    assert aum(world) == world.liquidity
    assert not world.token(BTC).base_long + world.token(BTC).base_short


def test_no_operation_moves_the_aum_by_more_than_its_fees():
    """July 2025: shorts opened past the tracker drove the average price from 108,757 to 1,913, the
    AUM up and the shares out. Here no trade changes what a share is worth but by fees, at any
    size and in any order, and opening at one price and closing at it leaves the AUM as it was."""
    world = World()
    for user, token, side in ((ALICE, BTC, SHORT), (BOB, BTC, LONG), (CAROL, ETH, SHORT)) * 2:
        before = aum(world)
        result = judged(
            world,
            lambda u=user, t=token, s=side: world.increase(u, 1_300 * USDC, 10_000 * USDC, t, s),
        )
        assert 0 <= aum(world) - before - world.ok(result).fee <= 2
        world.advance(BTC=world.prices[BTC] * 98 // 100)
        before = aum(world)
        fee = world.ok(
            judged(world, lambda u=user, t=token, s=side: world.decrease(u, 3 * USDC, 0, t, s))
        ).fee
        assert 0 <= aum(world) - before - fee <= 2


def test_a_loser_cannot_shrink_the_average_with_dust():
    """The tiny base of that attack: thousands of dust trades move neither sum from the truth."""
    world = World(token={"min_collateral": 1, "liquidation_fee": 0})
    world.ok(world.increase(ALICE, 1_030 * USDC, 10_000 * USDC, BTC, SHORT))
    for step in range(300):
        world.increase(MALLORY, 1_000 + step, 1_000 + step, BTC, SHORT)
        world.decrease(MALLORY, 1 + step % 7, 0, BTC, SHORT)
    check_state(world)


# AVAX, September 2022: size at the oracle's price


def test_open_interest_is_capped_on_each_side():
    caps = {"oi_cap_long": 20_000 * USDC, "oi_cap_short": 10_000 * USDC}
    world = World(token=caps)
    world.ok(world.increase(ALICE, 2_100 * USDC, 20_000 * USDC))
    world.ok(world.increase(BOB, 2_100 * USDC, 10_000 * USDC, BTC, SHORT))
    for side in (LONG, SHORT):
        result = judged(
            world, lambda s=side: world.increase(MALLORY, 20 * USDC, 100 * USDC, BTC, s)
        )
        assert code(result) == RejectCode.OPEN_INTEREST_CAP
    assert judged(world, lambda: world.increase(MALLORY, 20 * USDC, 100 * USDC, ETH))


def test_impact_grows_with_the_skew_that_a_trade_leaves():
    """With impact a larger trade gets a worse price, and balancing the sides costs none of it."""
    prices = []
    for size in (7_000, 20_000, 50_000):
        world = World(token={"impact_bps": 100})
        world.ok(world.increase(ALICE, 6_000 * USDC, size * USDC, ADA))
        position = world.position(ALICE, ADA)
        prices.append(Fraction(position.size, position.base))
    assert prices == sorted(prices) and prices[0] < prices[1] < prices[2]
    world.ok(world.increase(BOB, 6_000 * USDC, 40_000 * USDC, ADA, SHORT))
    short = world.position(BOB, ADA, SHORT)
    fair = Fraction(PRICES[ADA], world.params(ADA).unit)
    assert abs(Fraction(short.size, short.base) / fair - 1) < Fraction(1, 10**9)


def test_zero_impact_trade_and_move_is_bounded_by_the_reserve():
    """A trader that moves the market after a free entry takes at most what was reserved for it."""
    world = World()
    world.ok(world.increase(MALLORY, 1_030 * USDC, 10_000 * USDC))
    world.advance(BTC=10 * PRICES[BTC])
    assert world.ok(judged(world, lambda: world.close(MALLORY))).profit == 1_000 * USDC


# Latency and front-running


def test_a_market_order_fills_at_the_first_price_after_its_commitment():
    world = World()
    nonce = world.nonce(ALICE)
    world.ok(judged(world, lambda: world.order(ALICE, 10_000 * USDC, 1_030 * USDC)))
    assert code(judged(world, lambda: world.fill(ALICE, nonce))) == RejectCode.NOT_DUE
    world.advance(BTC=41_000 * E8)
    world.ok(judged(world, lambda: world.fill(ALICE, nonce)))
    position = world.position(ALICE)
    assert position.base == position.size * world.params(BTC).unit // (41_000 * E8)


def test_a_market_order_is_no_option():
    """Seeing the price, its owner can neither take it back nor keep it for another one."""
    world = World()
    nonce = world.nonce(ALICE)
    world.ok(world.order(ALICE, 10_000 * USDC, 1_030 * USDC))
    assert code(judged(world, lambda: world.cancel(ALICE, nonce))) == RejectCode.PENDING
    world.advance(BTC=39_000 * E8)
    assert code(judged(world, lambda: world.cancel(ALICE, nonce))) == RejectCode.PENDING
    world.advance(BTC=45_000 * E8)
    assert code(judged(world, lambda: world.fill(ALICE, nonce))) == RejectCode.NOT_DUE
    assert world.ok(judged(world, lambda: world.cancel(ALICE, nonce))).outflow == 1_030 * USDC
    assert code(judged(world, lambda: world.fill(ALICE, nonce))) == RejectCode.NO_ORDER


def test_no_order_fills_at_a_price_that_was_known_when_it_was_made():
    world = World()
    for kind in (OrderKind.LIMIT, OrderKind.STOP):
        nonce = world.nonce(ALICE)
        trigger = PRICES[BTC]
        world.ok(world.order(ALICE, 5_000 * USDC, 600 * USDC, kind=kind, trigger_price=trigger))
        assert code(judged(world, lambda n=nonce: world.fill(ALICE, n))) == RejectCode.NOT_DUE
    world.advance()
    world.ok(judged(world, lambda: world.fill(ALICE, nonce)))


def test_a_pool_by_orders_only_refuses_trades_at_a_known_price():
    world = World(pool={"orders_only": True})
    result = judged(world, lambda: world.increase(MALLORY, 1_030 * USDC, 10_000 * USDC))
    assert code(result) == RejectCode.ORDER_REQUIRED


def test_slippage_beyond_what_was_accepted_is_refused():
    world = World(token={"spread_bps": 10})
    for side, price in ((LONG, PRICES[BTC]), (SHORT, PRICES[BTC])):
        result = judged(
            world,
            lambda s=side, p=price: world.increase(ALICE, 1_030 * USDC, 10_000 * USDC, BTC, s, p),
        )
        assert code(result) == RejectCode.PRICE


def test_confidence_is_paid_by_who_trades():
    """Price -+ confidence: opening and closing in one batch costs the whole band."""
    world = World(token={"fee_bps": 0})
    world.conf = 40 * E8
    world.advance(ETH=PRICES[ETH], ADA=PRICES[BTC])
    world.ok(judged(world, lambda: world.increase(ALICE, 1_000 * USDC, 10_000 * USDC)))
    lost = 1_000 * USDC - world.ok(judged(world, lambda: world.close(ALICE))).outflow
    assert abs(lost - Fraction(2 * 40 * 10_000 * USDC, 40_040)) < 2


# Solvency


@pytest.mark.parametrize("profit_bps", [10_000, 90_000, FULL_RESERVE])
def test_all_positions_win(profit_bps):
    """P03: all tokens times twenty, all longs closed, every reserve paid in full, LPs left."""
    world = World(token={"max_profit_bps": profit_bps, "funding_ppm": 0})
    winners = ((ALICE, BTC), (BOB, ETH), (CAROL, ADA), (MALLORY, BTC))
    for at in winners:
        world.ok(world.increase(at[0], 1_030 * USDC, 10_000 * USDC, at[1]))
    world.advance(BTC=20 * PRICES[BTC], ETH=20 * PRICES[ETH], ADA=20 * PRICES[ADA])
    for at in winners:
        reserve = world.position(*at).reserve
        spare = world.liquidity - world.pool.reserved_total
        closed = world.ok(judged(world, lambda a=at: world.close(*a)))
        assert closed.profit == reserve
        assert world.liquidity - world.pool.reserved_total == spare + closed.fee
    assert world.liquidity > 0 == world.pool.reserved_total


def test_funding_receipts_stop_at_the_reserve():
    """Receivers settle before the payers, who may be bankrupt: nothing reserved is paid out."""
    world = World(
        liquidity=3_000 * USDC,
        token={"funding_ppm": 1_000_000, "max_utilization_bps": 10_000, "fee_bps": 0},
        pool={"max_rate_ppm": 1_000_000, "global_cap_bps": 10_000, "max_elapsed_s": 30 * 86_400},
    )
    world.ok(world.increase(ALICE, 2_000 * USDC, 20_000 * USDC, BTC, LONG))
    world.ok(world.increase(BOB, 1_000 * USDC, 10_000 * USDC, BTC, SHORT))
    world.advance(20 * 86_400)
    closed = world.ok(judged(world, lambda: world.close(BOB, BTC, SHORT)))
    assert closed.funding_received == 0
    liquidated = world.ok(judged(world, lambda: world.liquidate(ALICE)))
    assert liquidated.funding_paid == 2_000 * USDC and liquidated.bad_debt > 0
    check_state(world)


def test_what_a_position_receives_pays_what_it_owes():
    """A position that is paid more funding than it owes for its reserve is healthy: it is neither
    liquidated nor forgiven what it owes, however small its collateral."""
    world = World(
        liquidity=10**6 * USDC,
        token={"funding_ppm": 1_000_000, "borrow_ppm": 300_000, "max_profit_bps": 90_000},
        pool={"max_rate_ppm": 1_000_000, "max_elapsed_s": 30 * 86_400},
    )
    world.ok(world.increase(ALICE, 70_000 * USDC, 500_000 * USDC))
    world.ok(world.increase(BOB, 130 * USDC, 1_000 * USDC, BTC, SHORT))
    world.advance(28_800)
    position, token = world.position(BOB, BTC, SHORT), world.token(BTC)
    due = -(-position.reserve * token.cum_borrow // 10**12)
    gained = -position.size * token.cum_short // 10**12
    assert gained > due > position.collateral
    assert code(judged(world, lambda: world.liquidate(BOB, BTC, SHORT))) == RejectCode.HEALTHY
    closed = world.ok(judged(world, lambda: world.close(BOB, BTC, SHORT)))
    assert (closed.funding_paid, closed.funding_received) == (due, gained)
    assert closed.outflow == position.collateral + gained - due - closed.fee


@pytest.mark.parametrize(
    ("percent", "rate_ppm", "left", "debt"), [(104, 100_000, 0, 200), (105, 90_000, 195, 0)]
)
def test_profit_pays_what_collateral_cannot(percent, rate_ppm, left, debt):
    """Funding beyond the collateral comes out of the profit before anybody else pays it."""
    world = World(token={"funding_ppm": 1_000_000, "fee_bps": 0}, pool={"max_rate_ppm": rate_ppm})
    world.ok(world.increase(ALICE, 1_000 * USDC, 20_000 * USDC))
    world.advance(28_800, BTC=PRICES[BTC] * percent // 100)
    before = world.liquidity
    closed = world.ok(judged(world, lambda: world.liquidate(ALICE)))
    assert closed.profit == (percent - 100) * 200 * USDC
    assert closed.funding_paid == 20_000 * rate_ppm - debt * USDC
    assert (closed.bad_debt, closed.outflow) == (debt * USDC, left * USDC)
    assert world.liquidity == before + closed.funding_paid - closed.profit


def test_fees_are_never_more_than_there_is():
    """S21: 50x, 20 USDC of collateral, long overdue funding, a loss above the collateral. GMX
    credits 111 USDC of fees that do not exist; here what is left is all that is credited."""
    world = World(
        token={"borrow_ppm": 100_000, "min_collateral": 1},
        pool={"max_elapsed_s": 30 * 86_400, "max_rate_ppm": 100_000},
    )
    world.ok(world.increase(ALICE, 23 * USDC, 800 * USDC, BTC, SHORT))
    world.advance(30 * 86_400, BTC=42_000 * E8)
    before = world.liquidity
    closed = world.ok(judged(world, lambda: world.liquidate(ALICE, BTC, SHORT)))
    assert closed.outflow == 0
    assert world.liquidity - before + world.pool.vault.insurance <= 23 * USDC


def test_bad_debt_is_said_and_the_keeper_is_not_paid_by_the_pool():
    """S15: a gap of 500 on 100 of collateral. The pool gets the 100, nobody gets a fee, and the
    missing 400 are on the books; GMX pays the keeper 5 out of the pool on top."""
    world = World(token=NO_FUNDING)
    world.ok(world.increase(ALICE, 103 * USDC, 1_000 * USDC, BTC, SHORT))
    before = world.liquidity
    world.advance(BTC=60_000 * E8)
    closed = world.ok(judged(world, lambda: world.liquidate(ALICE, BTC, SHORT)))
    assert (closed.loss, closed.bad_debt) == (100 * USDC, 400 * USDC)
    assert closed.fee == closed.liquidation_fee == closed.outflow == 0
    assert world.liquidity == before + 100 * USDC
    assert world.pool.vault.bad_debt == 400 * USDC


def test_insurance_pays_before_the_lps():
    world = World(token=NO_FUNDING, pool={"lp_fee_share_bps": 0, "insurance_fee_share_bps": 10_000})
    world.ok(world.increase(BOB, 4_150 * USDC, 50_000 * USDC, ETH))
    world.ok(world.increase(ALICE, 103 * USDC, 1_000 * USDC, BTC, SHORT))
    before, fund = world.liquidity, world.pool.vault.insurance
    assert fund == (150 + 3) * USDC
    world.advance(BTC=60_000 * E8)
    world.ok(judged(world, lambda: world.liquidate(ALICE, BTC, SHORT)))
    assert world.pool.vault.insurance == 0
    assert world.liquidity == before + 100 * USDC + fund
    assert world.pool.vault.bad_debt == 400 * USDC - fund


@pytest.mark.parametrize(
    ("price", "fee", "liquidation_fee", "left"),
    [(43_300, 3, 0, 14_500_000), (43_700, 3, 4_500_000, 0), (43_680 + 100, 3, 2_500_000, 0)],
)
def test_a_victim_gets_what_is_left(price, fee, liquidation_fee, left):
    """S13: GMX keeps what remains of a liquidated owner and pays the keeper from the pool. Here the
    fees come out of the victim's collateral alone, and the owner gets the rest."""
    world = World(token=NO_FUNDING)
    world.ok(world.increase(ALICE, 103 * USDC, 1_000 * USDC, BTC, SHORT))
    before = world.liquidity
    world.advance(BTC=price * E8)
    closed = world.ok(judged(world, lambda: world.liquidate(ALICE, BTC, SHORT)))
    assert (closed.fee, closed.liquidation_fee) == (fee * USDC, liquidation_fee)
    assert closed.outflow == left
    assert closed.loss + closed.fee + closed.liquidation_fee + closed.outflow == 100 * USDC
    assert world.liquidity == before + closed.loss + closed.fee


def test_a_winner_cannot_lift_its_own_cap():
    """Topping up collateral buys no profit that was cut off: the net result is the same."""

    def net(top_up: int) -> int:
        world = World(token=NO_FUNDING)
        world.ok(world.increase(ALICE, 1_030 * USDC, 10_000 * USDC))
        world.advance(BTC=60_000 * E8)
        if top_up:
            world.ok(judged(world, lambda: world.increase(ALICE, top_up, 0)))
        return world.ok(judged(world, lambda: world.close(ALICE))).outflow - top_up

    assert net(0) == net(1_000 * USDC) == 1_970 * USDC


def test_a_winner_at_its_cap_cannot_lift_it_with_size():
    """Nor does a larger position revive the profit beyond the reserve that it had."""
    world = World(token=NO_FUNDING)
    world.ok(world.increase(ALICE, 1_030 * USDC, 10_000 * USDC))
    world.advance(BTC=43_999 * E8)
    world.ok(judged(world, lambda: world.increase(ALICE, 51 * USDC, 500 * USDC)))
    world.advance(BTC=60_000 * E8)
    result = judged(world, lambda: world.increase(ALICE, 1_003 * USDC, 1_000 * USDC))
    assert code(result) == RejectCode.AT_CAP
    assert world.ok(judged(world, lambda: world.close(ALICE))).profit == 1_049_500_000


def test_anybody_closes_a_position_at_its_cap():
    world = World(token=NO_FUNDING)
    world.ok(world.increase(ALICE, 1_030 * USDC, 10_000 * USDC))
    world.advance(BTC=44_000 * E8 - E8 // 100)
    assert code(judged(world, lambda: world.close_at_cap(ALICE))) == RejectCode.NOT_AT_CAP
    world.advance(BTC=44_000 * E8)
    closed = world.ok(judged(world, lambda: world.close_at_cap(ALICE)))
    assert closed.profit == 1_000 * USDC
    assert closed.outflow == 1_970 * USDC
    assert not world.pool.reserved_total


# Dust and rounding


def test_dust_positions_are_refused():
    """S07: a position of 333 millionths whose fee rounds down to nothing."""
    world = World()
    assert code(judged(world, lambda: world.increase(MALLORY, 334, 333))) in (
        RejectCode.MIN_COLLATERAL,
        RejectCode.LIQUIDATABLE,
    )
    world = World(token={"min_collateral": 1, "liquidation_fee": 0})
    assert world.ok(judged(world, lambda: world.increase(MALLORY, 334, 333))).fee == 1


@pytest.mark.parametrize("side", [LONG, SHORT])
def test_splitting_drains_nothing(side):
    """401 decreases of one position give at most what one gives."""

    def closed(parts: int) -> int:
        world = World(token={"min_collateral": 1, "liquidation_fee": 0, "fee_bps": 1})
        world.ok(world.increase(ALICE, 101 * USDC, 1_000_000_001, BTC, side))
        world.advance(BTC=PRICES[BTC] * 1_001 // 1_000 + 7)
        size, got = world.position(ALICE, BTC, side).size // 500, 0
        for _ in range(parts):
            got += world.ok(world.decrease(ALICE, size, 0, BTC, side)).outflow
        check_state(world)
        return got + world.ok(world.close(ALICE, BTC, side)).outflow

    assert closed(400) <= closed(0)


def test_a_thousand_round_trips_of_liquidity_drain_nothing():
    world = World()
    world.ok(world.increase(ALICE, 1_030 * USDC, 10_000 * USDC))
    world.advance(BTC=40_123 * E8)
    value, cash = plain_value(world), world.cash
    for amount in range(1, 1_000):
        if not isinstance(world.add(MALLORY, amount * 777), Rejected):
            world.remove(MALLORY, world.glp(MALLORY))
        assert world.cash >= cash
    after = plain_value(world)
    assert after is not None and value is not None and after >= value
