"""Invariants I1 to I13 under random and hostile operations, judged after every one of them.

The laws are in ``tests.builders.pool_laws``, the moves in ``tests.builders.pool_chaos``; the
benchmark ``tests.bench.pool_laws`` makes 10^5 moves.
"""

from fractions import Fraction
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from protocol.pool.draft import Accepted
from tests.builders.pool import ALICE, BTC, ETH, LONG, LP, PRICES, SHORT, USDC, World, code
from tests.builders.pool_chaos import MOVES, WEIGHTS, make_world
from tests.builders.pool_crooks import CROOKED
from tests.builders.pool_laws import judged, plain_value, snapshot

FEW = settings(max_examples=40)


class PoolMachine(RuleBasedStateMachine):
    """Every rule is one move, which judges itself."""

    world: World

    @initialize(data=st.data())
    def start(self, data):
        self.world = make_world(lambda low, high: data.draw(st.integers(low, high)))

    @precondition(lambda self: hasattr(self, "world"))
    @rule(move=st.sampled_from(MOVES), data=st.data())
    def move(self, move, data):
        move(self.world, lambda low, high: data.draw(st.integers(low, high)))


PoolMachine.TestCase.settings = settings(max_examples=30, stateful_step_count=40)
test_machine = PoolMachine.TestCase


@pytest.mark.parametrize("seed", range(6))
def test_long_runs(seed):
    """Longer lives than the machine's: many positions, full caps, old debts."""
    rng = Random(seed)
    world = make_world(rng.randint)
    for _ in range(400):
        rng.choices(MOVES, WEIGHTS)[0](world, rng.randint)


@FEW
@given(
    deposit=st.integers(20 * USDC, 3_000 * USDC),
    leverage=st.integers(2, 20),
    side=st.sampled_from((LONG, SHORT)),
    price=st.integers(10**6, 10**14),
    spread=st.integers(0, 50),
)
def test_in_and_out_never_profits(deposit, leverage, side, price, spread):
    """I10: opening and closing at one price costs at least both fees, and less than three units
    more when there is no spread."""
    world = World(prices=PRICES | {BTC: price}, token={"spread_bps": spread})
    result = judged(world, lambda: world.increase(ALICE, deposit, deposit * leverage, BTC, side))
    if not isinstance(result, Accepted):
        return
    closed = judged(world, lambda: world.close(ALICE, BTC, side))
    if isinstance(closed, Accepted):
        assert closed.outflow <= deposit - result.fee - closed.fee
        if not spread:
            assert closed.outflow >= deposit - result.fee - closed.fee - 3
            assert world.cash == world.liquidity + world.pool.vault.protocol_fees


@FEW
@given(
    parts=st.lists(st.integers(1, 10**9), min_size=2, max_size=6),
    side=st.sampled_from((LONG, SHORT)),
    move=st.integers(-9, 9),
    price=st.integers(10**6, 10**13),
)
def test_split_closes_are_at_most_one(parts, side, move, price):
    """I10: in parts a trader never gets more than at once, whatever the rounding."""

    def trader() -> World:
        world = World(prices=PRICES | {BTC: price}, token={"min_collateral": 1, "fee_bps": 7})
        world.ok(world.increase(ALICE, 1_000 * USDC, 3_000 * USDC, BTC, side))
        world.advance(BTC=max(price * (100 + move) // 100, 1))
        return world

    world = trader()
    whole = world.ok(world.close(ALICE, BTC, side)).outflow
    world, got = trader(), 0
    total = sum(parts)
    size = world.position(ALICE, BTC, side).size
    for part in parts[:-1]:
        result = judged(
            world, lambda s=size * part // total: world.decrease(ALICE, s, 0, BTC, side)
        )
        got += result.outflow if isinstance(result, Accepted) else 0
    got += world.ok(world.close(ALICE, BTC, side)).outflow
    assert got <= whole


@FEW
@given(
    amounts=st.lists(st.integers(1, 10**11), min_size=1, max_size=8),
    move=st.integers(-30, 30),
    fee_bps=st.sampled_from((0, 0, 10)),
)
def test_mint_and_burn_never_profit(amounts, move, fee_bps):
    """I10: shares bought and sold at the same prices never gain, and never cost the others."""
    world = World(pool={"liquidity_fee_bps": fee_bps})
    world.ok(world.increase(ALICE, 1_030 * USDC, 10_000 * USDC))
    world.ok(world.increase(ALICE, 1_030 * USDC, 10_000 * USDC, ETH, SHORT))
    world.advance(40_000, BTC=world.prices[BTC] * (1_000 + move) // 1_000)
    for amount in amounts:
        before = world.cash
        if isinstance(judged(world, lambda a=amount: world.add(5, a)), Accepted):
            judged(world, lambda: world.remove(5, world.glp(5)))
        assert world.cash >= before


@FEW
@given(st.lists(st.integers(1, 40_000), min_size=1, max_size=12), st.integers(1, 30))
def test_accrual_does_not_depend_on_its_steps(steps, leverage):
    """I13: at constant open interest the indices of many batches are those of one, to the unit.

    What an operation in between may shift is one rounding: below one micro-USDC a settlement.
    """

    def opened() -> World:
        world = World(token={"borrow_ppm": 777}, pool={"max_elapsed_s": 30 * 86_400})
        world.ok(world.increase(ALICE, 1_030 * USDC, 900 * leverage * USDC + 10**9))
        return world

    many, one = opened(), opened()
    for step in steps:
        many.advance(step)
    one.advance(sum(steps))
    token, other = many.token(BTC), one.token(BTC)
    assert (token.cum_long, token.cum_borrow) == (other.cum_long, other.cum_borrow)
    assert token.cum_long == -token.cum_short == -other.cum_short
    size, start = many.token(BTC).oi_long, many.position(ALICE).opened
    rate = Fraction(4_000 * 10**6 * size, many.liquidity)
    exact = rate * (many.now - start) / 28_800
    assert abs(token.cum_long - exact) <= 1 + Fraction(many.now - start, 28_800)


@FEW
@given(st.integers(1, 10**6), st.integers(2, 40), st.integers(2, 40), st.booleans())
def test_funding_is_paid_by_one_side_to_the_other_and_the_pool(seconds, longs, shorts, longs_first):
    """I7: what payers pay is what receivers get and what the pool keeps, to the unit."""
    world = World()
    world.ok(world.increase(ALICE, 1_200 * USDC, longs * 1_000 * USDC, BTC, LONG))
    world.ok(world.increase(2, 1_200 * USDC, shorts * 1_000 * USDC, BTC, SHORT))
    world.advance(seconds)
    first, second = ((ALICE, LONG), (2, SHORT)) if longs_first else ((2, SHORT), (ALICE, LONG))
    liquidity, paid, received = world.liquidity, 0, 0
    for user, side in (first, second):
        result = judged(world, lambda u=user, s=side: world.close(u, BTC, s))
        if isinstance(result, Accepted):
            paid, received = paid + result.funding_paid, received + result.funding_received
            gained = result.funding_paid - result.funding_received + result.fee
            assert world.liquidity == liquidity + gained + result.loss - result.profit
            liquidity = world.liquidity
    if longs == shorts:
        assert paid == received == 0
    elif world.pool.vault.pos_count == 0:
        assert paid >= received


@FEW
@given(st.integers(0, 2**63), st.integers(0, 2**63), st.sampled_from((LONG, SHORT)))
def test_a_refused_operation_changes_nothing(deposit, size, side):
    """I8, at amounts of every magnitude."""
    world = World()
    before = snapshot(world.pool)
    deposit, size = deposit % 10**15, size % 10**15
    if code(judged(world, lambda: world.increase(ALICE, deposit, size, BTC, side))) is not None:
        assert snapshot(world.pool) == before


def test_share_value_is_constant_but_for_fees():
    """I10, on known numbers: 30 USDC of fees on 100,000 are 0.03 % for each share."""
    world = World()
    assert plain_value(world) == 1
    judged(world, lambda: world.increase(ALICE, 1_030 * USDC, 10_000 * USDC))
    assert plain_value(world) == Fraction(10_003, 10_000)
    assert world.glp(LP) == 100_000 * USDC - 1_000


BREAKS_A_LAW = (
    "liquidates the healthy",
    "nobody owes funding",
    "shares are worth more",
    "no cap on withdrawals",
    "nonces and deadlines do not matter",
    "anybody signs for anybody",
    "nonces are not used up",
    "deposits are half paid",
    "fees are the prover's",
    "a position stays in the sums",
)


@pytest.mark.parametrize("name", BREAKS_A_LAW)
def test_the_laws_notice(name, monkeypatch):
    """A pool with one rule broken does not live long under these laws."""
    monkeypatch.setattr(*CROOKED[name])
    with pytest.raises(AssertionError):
        for seed in range(12):
            rng = Random(seed)
            world = make_world(rng.randint)
            for _ in range(250):
                rng.choices(MOVES, WEIGHTS)[0](world, rng.randint)
