"""Our pool against GMX v1's exact integers: ours pays at most two micro-USDC less, and never more;
on random amounts less than three, one for each rounding of an action.

``tests.builders.gmx_twin`` does each action on both and compares payout, fee, collateral and what
it did to the liquidity: there the same two micro-USDC are the LPs'.
"""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.pool.params import FULL_RESERVE
from tests.builders import gmx
from tests.builders import gmx_vectors as vectors
from tests.builders.gmx_twin import UNIT, Twin, comparable_config
from tests.builders.pool import ALICE, BTC, E8, SHORT, USDC, World

FAMILIES = ("short", "short-fuzz", "long-usdc-patched", "glp")
"""Not ``long-btc``: its collateral is the token itself, which our pool does not hold."""
OTHER = {"view", "updateFunding", "addLiquidity", "removeLiquidity", "directDeposit"}
"""Actions of the file that move no position; liquidity has its own tests."""


BELOW_OUR_UNIT = {"S06-rounding-05", "S06-rounding-06", "S06-rounding-07"}
"""Amounts with fractions of a micro-USDC, which our operations cannot say."""
NAMES = [name for name in vectors.scenarios(*FAMILIES) if name != "P03-unbounded"]
"""P03 is GMX's: a profit that no reserve covers. Ours pays the reserve; see the last test."""


def replay(name: str) -> tuple[int, Twin]:
    """A scenario of the file on both, with the file's amounts; how many actions both did."""
    steps = vectors.scenarios(*FAMILIES)[name]
    pool = max(int(steps[0]["pre"]["poolAmount_usdc"]), 100_000 * USDC)
    twin, done = Twin(comparable_config(steps[0]), pool), 0
    for vector in steps:
        action = vector["action"]
        if action["type"] in OTHER or vector["id"] in BELOW_OUR_UNIT:
            continue
        prices = {k: int(v) for k, v in vector["prices_1e8"].items() if k != "USDC"}
        twin.price(prices)
        key, size = vectors.key_of(vector), int(action.get("sizeDelta", 0)) // UNIT
        if action["type"] == "increase":
            done += twin.increase(key, int(action["collateralIn_tokens"]), size)
        elif action["type"] == "decrease":
            done += twin.decrease(key, int(action["collateralDelta"]) // UNIT, size)
        else:
            done += twin.liquidate(key)
    return done, twin


@pytest.mark.parametrize("name", NAMES)
def test_the_file_s_actions(name):
    done, twin = replay(name)
    assert done > 0
    assert twin.worst["payout"] >= -2


def trade(twin: Twin, rng: Random) -> bool:
    """One random action of a few users on three tokens."""
    index = rng.choice(("BTC", "ETH", "ADA"))
    key = gmx.Key(rng.randint(1, 3), "USDC", index, rng.random() < 0.5)
    position = twin.vault.positions.get(key)
    kind = rng.random()
    if position is None or kind < 0.25:
        amount = rng.randint(10 * USDC, 900 * USDC)
        return twin.increase(key, amount, amount * rng.randint(0, 40) + rng.randint(0, 999_999))
    size, collateral = position.size // UNIT, position.collateral // UNIT
    if kind < 0.35:
        return twin.liquidate(key)
    if kind < 0.6:
        return twin.decrease(key, 0, size)
    return twin.decrease(key, rng.choice((0, rng.randint(0, collateral))), rng.randint(0, size))


@settings(max_examples=40)
@given(st.integers(0, 2**32), st.integers(10**7, 10**13), st.integers(0, 60))
def test_random_trades(seed, eth, fee_bps):
    twin = Twin(comparable_config(margin_fee_bps=fee_bps), 10**12, slack=3, same_average=True)
    rng, spot = Random(seed), {"BTC": 40_000 * E8, "ETH": eth, "ADA": E8 // 2}
    for _ in range(12):
        spot = {name: max(p * rng.randint(960, 1_040) // 1_000, 1) for name, p in spot.items()}
        twin.price(spot)
        trade(twin, rng)


@pytest.mark.slow
def test_many_random_trades():
    done = 0
    for seed in range(400):
        twin, rng = Twin(comparable_config(), 10**12, slack=3, same_average=True), Random(seed)
        spot = {"BTC": 40_000 * E8, "ETH": 2_500 * E8, "ADA": E8 // 2}
        for _ in range(40):
            spot = {name: max(p * rng.randint(960, 1_040) // 1_000, 1) for name, p in spot.items()}
            twin.price(spot)
            done += trade(twin, rng)
    assert done > 8_000


def test_s23_closes_where_gmx_reverts():
    """A full close whose remainder is exactly the fee: GMX refuses it, ours closes and pays 0."""
    world = World(token={"funding_ppm": 0, "liquidation_fee": 0})
    world.ok(world.increase(ALICE, 103 * USDC, 1_000 * USDC, BTC, SHORT))
    world.advance(BTC=43_880 * E8)
    closed = world.ok(world.close(ALICE, BTC, SHORT))
    assert (closed.outflow, closed.fee) == (0, 3 * USDC)


def test_p03_is_paid_up_to_its_reserve():
    """GMX cannot close a 10x long at +125 %, "poolAmount exceeded": ours pays 100 % of the size."""
    world = World(
        liquidity=12_500 * USDC,
        token={"funding_ppm": 0, "max_profit_bps": FULL_RESERVE, "max_utilization_bps": 10_000},
    )
    world.ok(world.increase(ALICE, 1_030 * USDC, 10_000 * USDC))
    world.advance(BTC=90_000 * E8)
    closed = world.ok(world.close(ALICE))
    assert (closed.profit, closed.outflow) == (10_000 * USDC, 10_970 * USDC)


def test_every_action_of_the_file_is_compared_or_named():
    """No vector is left out in silence: each is replayed, of another kind, or listed above."""
    left = {v["id"] for v in vectors.vectors() if v["action"]["type"] not in OTHER}
    replayed = {v["id"] for name in NAMES for v in vectors.scenarios(*FAMILIES)[name]}
    rest = {i for i in left - replayed if not i.startswith(("P03", "L01"))}
    assert not rest and replayed >= BELOW_OUR_UNIT
