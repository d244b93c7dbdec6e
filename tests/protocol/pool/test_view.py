"""The state as people read it."""

import pytest

from protocol.pool import view
from protocol.pool.position import Side
from tests.builders.pool import ALICE, BTC, E8, ETH, LONG, LP, SHORT, USDC, World, owner_of

SYMBOLS = {1: "BTC", 2: "ETH", 3: "ADA"}


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0, "0.00"),
        (4_999, "0.00"),
        (5_000, "0.01"),
        (-4_999, "0.00"),
        (-5_000, "-0.01"),
        (100_037_500_000, "100037.50"),
        (999_999, "1.00"),
    ],
)
def test_money_is_rounded_half_away_from_zero(value, shown):
    assert view.money(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"), [(1, "0.000001"), (7_500_000, "7.50"), (-1_250_000, "-1.25"), (0, "0.00")]
)
def test_exact_amounts(value, shown):
    assert view.exact(value) == shown


def test_prices_and_rates():
    assert view.price(40_000 * E8, 8) == "40000.00"
    assert view.price(12_345_678, 8) == "0.12345678"
    assert view.rate(1_200_000_000) == "0.0012"
    assert view.rate(-49_999_999) == "0.0000"


def test_the_state_has_these_keys_and_no_others():
    world = World()
    world.ok(world.increase(ALICE, 1_030 * USDC, 10_000 * USDC))
    world.ok(world.increase(ALICE, 507_500_000, 2_500 * USDC, ETH, SHORT))
    empty = {
        "reserved": "0.00",
        "utilization": "0.0%",
        "open_interest_long": "0.00",
        "open_interest_short": "0.00",
        "funding_rate_long": "0.0000",
        "funding_rate_short": "0.0000",
    }
    assert view.state(world.pool, SYMBOLS) == {
        "stablecoin": "USDC",
        "total_liquidity": "100037.50",
        "glp_supply": "100000.00",
        "tokens": {
            "BTC": empty
            | {
                "reserved": "1000.00",
                "utilization": "1.0%",
                "open_interest_long": "10000.00",
                "funding_rate_long": "0.0004",
                "funding_rate_short": "-0.0004",
            },
            "ETH": empty
            | {
                "reserved": "500.00",
                "utilization": "0.5%",
                "open_interest_short": "2500.00",
                "funding_rate_long": "-0.0002",
                "funding_rate_short": "0.0002",
            },
            "ADA": empty,
        },
    }


def test_the_vault_by_its_first_names():
    world = World()
    world.ok(world.increase(ALICE, 507_500_000, 2_500 * USDC, ETH, SHORT))
    found = view.datum(world.pool, SYMBOLS)
    assert found["guaranteed_usd"] == found["open_interest_short"]
    assert found["guaranteed_usd"]["ETH"] == "2500.00"
    assert found["reserved_amounts"] == {"BTC": "0.00", "ETH": "500.00", "ADA": "0.00"}
    assert found["available"] == "99507.50"
    assert found["max_utilization"] == {"BTC": 8_000, "ETH": 8_000, "ADA": 7_000}
    assert found["whitelisted_tokens"] == ["BTC", "ETH", "ADA"]
    world.advance(28_800)
    world.advance(1)
    token = world.token(ETH)
    paid = view.datum(world.pool, SYMBOLS)
    assert paid["last_funding_times"]["ETH"] == world.now
    assert paid["cumulative_funding_rate_short"]["ETH"] == view.decimal(token.cum_short, 10**6, 2)
    assert token.cum_short == -token.cum_long > 0


def test_a_position_an_order_and_an_lp():
    world = World()
    world.ok(world.increase(ALICE, 1_030 * USDC, 10_000 * USDC))
    world.ok(world.order(ALICE, 1_000 * USDC, kind=4, flags=3, trigger_price=50_000 * E8))
    world.advance(BTC=42_000 * E8)
    found = world.position(ALICE, BTC, LONG)
    shown = view.position(world.pool, found, SYMBOLS)
    assert shown == {
        "id": found.id.hex(),
        "owner": owner_of(ALICE).hex(),
        "index_token": "BTC",
        "position_type": Side.LONG.name.lower(),
        "size": "10000.00",
        "collateral": "1000.00",
        "reserve": "1000.00",
        "average_price": "40000.00",
        "entry_funding_rate": "0.00",
        "leverage": "10.0x",
        "pnl": "500.00",
        "health": "HEALTHY",
        "nonce": 1,
    }
    (order,) = world.pool.open_orders()
    told = view.order(order, world.pool, SYMBOLS)
    assert (told["kind"], told["action"], told["reduce_only"]) == ("take_profit", "decrease", True)
    assert told["trigger_price"] == "50000.00"
    provider = view.provider(world.pool, owner_of(LP))
    assert (provider["glp"], provider["share_bps"]) == ("100000.00", 9_999)
    assert provider["value"] == "99530.00"  # the trader's open profit is against the LP
