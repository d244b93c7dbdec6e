"""The scenarios of docs/pool.md through ``oracle-vm pool run``: numbers worked out here by hand."""

import json
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path

import pytest
from typer.testing import CliRunner

from actors.pool_commands import pool
from tests.builders.gmx_vectors import document

EXAMPLES = Path(__file__).parents[3] / "docs/examples"
FOREVER_DEAD = Decimal("0.001")
"""Shares that the first mint burns."""


@pytest.fixture(scope="module")
def run():
    def played(name):
        result = CliRunner().invoke(pool, ["run", str(EXAMPLES / f"{name}.json"), "--json"])
        assert result.exit_code == 0, result.output
        return json.loads(result.output)

    return played


def money(value: Decimal | int) -> str:
    return str(Decimal(value).quantize(Decimal("0.01"), ROUND_HALF_UP))


def column(state, name):
    """One field of every token, those of zero left out."""
    found = {token: row[name] for token, row in state["tokens"].items()}
    return {token: value for token, value in found.items() if Decimal(value.strip("%"))}


def in_units(amounts):
    return {token: money(Decimal(value) / 10**6) for token, value in amounts.items()}


@pytest.mark.parametrize("name", ["scenario_1", "scenario_2"])
def test_the_two_scenarios_to_the_unit(run, name):
    """Against the numbers of the design brief, as the vectors' file keeps them."""
    told = document()["user_statements"]
    played = run(name.replace("_", "-"))
    expected, step = told[name], played["steps"][-1]
    assert step["accepted"] and step["error"] is None
    assert Decimal(step["fees"]) * 10**6 == expected["margin_fee"]
    assert Decimal(step["paid_in"]) * 10**6 == expected["deposit"]
    state = played["final"]["state"]
    assert state["total_liquidity"] == money(Decimal(expected["total_liquidity"][1]) / 10**6)
    assert column(state, "reserved") == in_units(expected["reserved"])
    position = played["final"]["positions"][-1]
    assert position["size"] == money(Decimal(expected["size"]) / 10**6)
    assert position["collateral"] == money(Decimal(expected["collateral"]) / 10**6)
    assert position["average_price"] == money(Decimal(expected["price_1e8"]) / 10**8)
    both = {**told["scenario_1"], **told[name]}
    assert column(state, "open_interest_long") == in_units(both["open_interest_long"])
    assert column(state, "open_interest_short") == in_units(both.get("open_interest_short", {}))
    guaranteed = {k: v for k, v in played["final"]["vault"]["guaranteed_usd"].items() if Decimal(v)}
    assert guaranteed == in_units(both.get("guaranteed_usd", {}))
    vault = played["final"]["vault"]
    cash = Decimal(vault["total_liquidity"]) + Decimal(vault["collateral_total"])
    assert cash == 100_000 + sum(Decimal(s["paid_in"]) for s in played["steps"])


def test_the_second_scenario_goes_on_from_the_first(run):
    first, second = run("scenario-1"), run("scenario-2")
    assert first["steps"][0]["state"] == second["steps"][0]["state"]
    assert first["final"]["state"]["tokens"]["BTC"] == second["final"]["state"]["tokens"]["BTC"]


def test_the_live_state_s_rates_follow_from_its_open_interest(run):
    """15, 8 and 3 %, +-0.0012, -+0.0008, +-0.0005: exactly, and in exactly these keys."""
    told = document()["user_statements"]["json_example"]
    state = run("live-state")["initial"]
    assert list(state) == ["stablecoin", "total_liquidity", "glp_supply", "tokens"]
    assert state["total_liquidity"] == money(told["total_liquidity"])
    assert state["glp_supply"] == money(told["glp_supply"])
    for token, row in state["tokens"].items():
        ppm = told["funding_rate_long_ppm"][token]
        assert row == {
            "reserved": money(told["reserved"][token]),
            "utilization": f"{Decimal(told['utilisation_bps'][token]) / 100:.1f}%",
            "open_interest_long": money(told["oi_long"][token]),
            "open_interest_short": money(told["oi_short"][token]),
            "funding_rate_long": f"{Decimal(ppm) / 10**6:.4f}",
            "funding_rate_short": f"{-Decimal(ppm) / 10**6:.4f}",
        }
        assert told["funding_rate_short_ppm"][token] == -ppm


def test_bob_holds_three_positions_in_one_pool(run):
    played = run("bob-three-positions")
    steps = played["steps"]
    opened = steps[2]["state"]
    assert column(opened, "open_interest_long") == {"BTC": "10000.00", "ADA": "2000.00"}
    assert column(opened, "open_interest_short") == {"ETH": "2500.00"}
    assert column(opened, "reserved") == {"BTC": "1000.00", "ETH": "500.00", "ADA": "200.00"}
    assert [s["fees"] for s in steps[:3]] == ["30.00", "7.50", "6.00"]
    # +5 % on half of 10,000; then +3.75 % on the other half; +2 % on 2,500; -4 % on 2,000.
    effects = [s["effects"] for s in steps[3:]]
    assert [e["profit"] for e in effects] == ["250.00", "187.50", "50.00", "0.00"]
    assert [e["loss"] for e in effects] == ["0.00", "0.00", "0.00", "80.00"]
    # A day of funding but for its first minute: 4,000 ppm of 10,000 / 100,043.5 on 10,000 in 8 h.
    day = Decimal(86_400 - 60) / 28_800
    exact = Decimal(10_000) * day * Decimal("0.004") * 10_000 / Decimal("100043.5")
    assert 0 <= Decimal(effects[0]["funding_paid"]) - exact < Decimal("0.000002")
    flows = sum(Decimal(s["paid_in"]) - Decimal(s["payout"]) for s in steps)
    assert played["final"]["state"]["total_liquidity"] == money(100_000 + flows)
    assert not played["final"]["positions"]


def test_alice_s_one_deposit_earns_every_fee_and_takes_the_other_side(run):
    played = run("alice-one-deposit")
    steps = {(s["user"], s["op"]): s for s in played["steps"]}
    assert Decimal(steps["alice", "add_liquidity"]["effects"]["glp"]) == 100_000 - FOREVER_DEAD
    traders = [s for s in played["steps"] if s["user"] != "alice"]
    assert len({s["user"] for s in traders}) == 4 and all(s["accepted"] for s in traders)
    opens = {s["user"]: s["fees"] for s in traders if s["op"] == "increase"}
    assert opens == {"bob": "60.00", "carol": "36.00", "dave": "18.00", "erin": "24.00"}
    closes = {s["user"]: s["effects"] for s in traders if s["op"] == "decrease"}
    assert closes["bob"]["profit"] == "200.00"
    assert closes["carol"]["loss"] == "288.00"
    assert closes["dave"]["loss"] == "360.00"
    assert Decimal(closes["erin"]["profit"]) == pytest.approx(
        Decimal("106.666666"), abs=Decimal("2e-6")
    )
    won = sum(Decimal(s["paid_in"]) - Decimal(s["payout"]) for s in traders)
    out = Decimal(steps["alice", "remove_liquidity"]["payout"])
    assert abs(out - (100_000 + won) / 2) < Decimal("0.000002")
    assert out > 50_000


def test_a_btc_crash_is_offset_by_the_other_tokens(run):
    played = run("btc-crash-offset")
    effects = [s["effects"] for s in played["steps"][3:]]
    assert [Decimal(e["profit"]) - Decimal(e["loss"]) for e in effects] == [12_000, -6_000, -4_800]
    results = {
        row["pool"]: Decimal(row["value"]) - Decimal(row["put_in"]) for row in played["comparison"]
    }
    one = results.pop("one pool")
    assert len(results) == 3 and min(results.values()) < -11_000 < one < 0
    fees = sum(Decimal(s["fees"]) + Decimal(s["effects"]["funding_paid"]) for s in played["steps"])
    assert abs(one - (fees - 1_200)) < Decimal("0.01")
    # Three pools together do as well as one: it is the worst LP that one pool protects.
    assert abs(sum(results.values()) - one) < 100


def test_meme_is_capped_at_half_of_the_pool(run):
    steps = run("meme-capped")["steps"]
    refused = [s["error"]["name"] for s in steps if s["error"]]
    assert refused == ["UTILIZATION", "UTILIZATION"]
    for step in steps:
        if step["op"] == "increase" and step["accepted"]:
            assert Decimal(step["state"]["tokens"]["MEME"]["utilization"].strip("%")) <= 50
    # MEME trebles: +200 % of 8,000 and of 2,000, cut off at the reserves of 4,000 and 1,000.
    assert [s["effects"]["profit"] for s in steps if s["op"] == "close_at_cap"] == [
        "4000.00",
        "1000.00",
    ]


def test_a_pool_in_another_stablecoin(run):
    played = run("pool-in-usdt")
    assert played["final"]["state"]["stablecoin"] == "USDT"
    assert played["pool_id"] != run("scenario-1")["pool_id"]
    short, closed = played["steps"][1:]
    assert short["error"]["name"] == "DEPOSIT"
    # -8.25 % on 5,000 of 500 collateral; 15 of fee; over its leverage, so nothing else is taken.
    assert closed["effects"]["loss"] == "412.50" and closed["fees"] == "15.00"
    left = Decimal("72.5") - Decimal(closed["effects"]["funding_paid"])
    assert Decimal(closed["payout"]) == left
