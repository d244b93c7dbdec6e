"""What GMX v1 gets wrong: the reference model does it too, as the contracts did; ours does not.

S13, S15 and S21 are scenarios of the vectors' file; S19, which is not in it, is played.
"""

from fractions import Fraction

from protocol.pool.draft import Accepted
from tests.builders import gmx
from tests.builders import gmx_vectors as vectors
from tests.builders.gmx_twin import UNIT, Twin, comparable_config
from tests.builders.pool import ALICE, BTC, E8, SHORT, USDC, World
from tests.builders.pool_laws import check_state, judged, plain_value

KEY = gmx.Key(ALICE, "USDC", "BTC", False)


def last_of(name: str) -> tuple[gmx.Vault, gmx.Vault, gmx.Trade]:
    """The model before and after the last action of a scenario."""
    vector = vectors.scenarios("short")[name][-1]
    before = vectors.vault_before(vector)
    after, trade, error = vectors.attempt(before, vector)
    assert not error and vectors.books_of(after, vector["post"]) == vector["post"]
    return before, after, trade


def short_of_1000(collateral: int, token: dict[str, int] | None = None) -> World:
    """1,000 USDC short of BTC at 40,000, without funding unless ``token`` says so."""
    world = World(token={"funding_ppm": 0, **(token or {})})
    world.ok(world.increase(ALICE, collateral * USDC + 3 * USDC, 1_000 * USDC, BTC, SHORT))
    return world


def liquidated(world: World) -> Accepted:
    return world.ok(judged(world, lambda: world.liquidate(ALICE, BTC, SHORT)))


def test_s13_what_is_left_of_a_victim():
    """7.5 left of 100, 3 of fee: GMX's owner gets nothing, its pool gains 92 and all the rest. Ours
    takes the fee of the liquidation, 5 at most, from the victim alone: the pool gains the loss."""
    before, after, trade = last_of("S13-liqstate1")
    books, was = after.tokens["USDC"], before.tokens["USDC"]
    assert trade.payout == 5 * USDC
    assert books.pool - was.pool == (100 - 3 - 5) * USDC
    world = short_of_1000(100)
    liquidity = world.liquidity
    world.advance(BTC=43_700 * E8)
    closed = liquidated(world)
    assert closed.loss == 92_500_000 and closed.fee == 3 * USDC
    assert closed.liquidation_fee == 4_500_000 and closed.outflow == 0
    assert world.liquidity == liquidity + closed.loss + closed.fee
    world = short_of_1000(100)
    world.advance(BTC=43_300 * E8)
    assert liquidated(world).outflow == 14_500_000


def test_s15_who_pays_the_keeper_of_a_bankrupt():
    """GMX's pool absorbs the gap, and pays 5 on top; ours pays nobody, and says what is missing."""
    before, after, trade = last_of("S15-gap")
    gained = after.tokens["USDC"].pool - before.tokens["USDC"].pool
    assert (gained, trade.payout) == ((100 - 3 - 5) * USDC, 5 * USDC)
    world = short_of_1000(100)
    liquidity = world.liquidity
    world.advance(BTC=60_000 * E8)
    closed = liquidated(world)
    assert world.liquidity - liquidity == 100 * USDC
    assert (closed.fee, closed.liquidation_fee, closed.outflow) == (0, 0, 0)
    assert closed.bad_debt == world.pool.vault.bad_debt == 400 * USDC


def test_s19_the_average_that_closing_does_not_touch():
    """Two shorts at 40,000 and 50,000, the first closed at 50,000: GMX's AUM then counts an average
    that nobody holds. Ours is the liquidity less what is open, exactly."""
    twin = Twin(comparable_config(margin_fee_bps=0), 100_000 * USDC)
    first, second = KEY, gmx.Key(2, "USDC", "BTC", False)
    assert twin.increase(first, 5_000 * USDC, 10_000 * USDC)
    twin.price({"BTC": 50_000 * E8})
    assert twin.increase(second, 5_000 * USDC, 10_000 * USDC)
    true = Fraction(twin.vault.aum(True), UNIT)
    assert twin.decrease(first, 0, 10_000 * USDC)
    wrong = Fraction(twin.vault.aum(True), UNIT)
    assert abs(wrong - true) > 1_000 * USDC
    value = plain_value(twin.world)
    assert value is not None
    assert abs(value * twin.world.pool.vault.glp_supply - true) < 3


def test_s21_fees_that_do_not_exist():
    """60 days of overdue fees on 20 of collateral: GMX credits 111, and its books exceed its
    balance by 91 USDC. Ours credits what there is, and its books are its cash to the unit."""
    before, after, _ = last_of("S21-feeovercredit")
    books = after.tokens["USDC"]
    assert books.fees - before.tokens["USDC"].fees == 111 * USDC
    others_collateral = 5_000 * USDC
    assert books.pool + books.fees + others_collateral - books.balance == 91 * USDC
    world = short_of_1000(30, {"borrow_ppm": 1_000_000, "max_leverage_bps": 500_000})
    start = world.liquidity
    for _ in range(60):
        world.advance(86_400)
    world.advance(BTC=42_000 * E8)
    closed = liquidated(world)
    assert closed.funding_paid + closed.loss + closed.fee + closed.liquidation_fee == 30 * USDC
    assert world.liquidity + world.pool.vault.insurance - start == 30 * USDC
    check_state(world)
