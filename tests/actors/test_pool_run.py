"""``oracle-vm pool run``: the scenarios of docs/examples to the unit, and what no file may say."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from actors.cli import app
from actors.pool_play import play
from actors.pool_scenario import Scenario, load_scenario
from protocol.errors import ConfigError
from protocol.pool.batch import Batch, run_batch
from protocol.pool.pool import Pool

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
VECTORS = Path(__file__).parents[1] / "vectors" / "pool" / "gmx_v1.json"
STATED = json.loads(VECTORS.read_text())["user_statements"]
NAMES = sorted(file.stem for file in EXAMPLES.glob("*.json"))


def told(name):
    done = CliRunner().invoke(app, ["pool", "run", str(EXAMPLES / f"{name}.json"), "--json"])
    assert done.exit_code == 0, done.exception
    return json.loads(done.stdout)


def micro(text):
    """A shown amount, in micro-USDC."""
    whole, _, part = text.partition(".")
    return int(whole + part.ljust(6, "0"))


@pytest.mark.parametrize(("number", "token", "side"), [(1, "BTC", "long"), (2, "ETH", "short")])
def test_the_scenarios_to_the_unit(number, token, side):
    """Numbers of the pool's first description (tests/vectors/pool: ``user_statements``)."""
    stated, found = STATED[f"scenario_{number}"], told(f"scenario-{number}")
    step = found["steps"][-1]
    before, after = stated["total_liquidity"]
    assert step["accepted"]
    assert micro(step["paid_in"]) == stated["deposit"]
    assert micro(step["fees"]) == stated["margin_fee"]
    assert micro(step["state"]["total_liquidity"]) == after
    earlier = found["steps"][-2]["state"] if number == 2 else found["initial"]
    assert micro(earlier["total_liquidity"]) == before
    rows = step["state"]["tokens"]
    assert {n: micro(r["reserved"]) for n, r in rows.items() if micro(r["reserved"])} == (
        stated["reserved"]
    )
    interest = stated[f"open_interest_{side}"]
    assert {token: micro(rows[token][f"open_interest_{side}"])} == interest
    (position,) = [p for p in found["final"]["positions"] if p["index_token"] == token]
    assert micro(position["collateral"]) == stated["collateral"]
    assert micro(position["size"]) == stated["size"]
    assert micro(position["average_price"]) * 100 == stated["price_1e8"]
    guaranteed = found["final"]["vault"]["guaranteed_usd"]
    assert micro(guaranteed[token]) == stated.get("guaranteed_usd", {}).get(token, 0)


def test_the_live_state_to_the_unit():
    """What follows from a state, utilisation and rates, is what the example says it is."""
    asked = json.loads((EXAMPLES / "live-state.json").read_text())["state"]
    found = told("live-state")
    assert found["initial"] == asked
    stated = STATED["json_example"]
    for token, row in found["initial"]["tokens"].items():
        assert row["utilization"] == f"{stated['utilisation_bps'][token] / 100:.1f}%"
        for side in ("long", "short"):
            ppm = stated[f"funding_rate_{side}_ppm"][token]
            assert row[f"funding_rate_{side}"] == f"{ppm / 10**6:.4f}"
    rates = found["final"]["vault"]["cumulative_funding_rate_long"]
    assert rates == {"BTC": "1200.00", "ETH": "-800.00", "ADA": "500.00"}


def test_a_state_whose_rates_do_not_follow_is_refused(tmp_path):
    text = (EXAMPLES / "live-state.json").read_text().replace('"15.0%"', '"15.1%"')
    file = tmp_path / "state.json"
    file.write_text(text)
    with pytest.raises(ConfigError, match=r"BTC\.utilization: 15\.1%, but it follows 15\.0%"):
        play(load_scenario(file))


@pytest.mark.parametrize("name", NAMES)
def test_a_scenario_s_batches_are_the_pool_s(name):
    """Operation by operation or as a batch: the same root; and the story is printed."""
    roots = []

    def judge(pool: Pool, batch: Batch):
        roots.append(run_batch(pool, batch).journal.new_root)
        return {"root": roots[-1].hex()}

    played = play(load_scenario(EXAMPLES / f"{name}.json"), judge)
    assert [batch.new_root for batch in played.batches] == roots
    done = CliRunner().invoke(app, ["pool", "run", str(EXAMPLES / f"{name}.json")])
    assert done.exit_code == 0
    assert played.batches[-1].new_root.hex() in done.stdout.replace("\n", "")


def test_what_bob_gets():
    steps = told("bob-three-positions")["steps"]
    assert [step["accepted"] for step in steps] == [True] * 7
    # 1,000 less 11.986453 of funding, then half of the profit of 500 less the fee of 15.
    assert steps[3]["payout"] == "235.00"
    assert [step["effects"]["profit"] for step in steps[3:]] == [
        "250.00",
        "187.50",
        "50.00",
        "0.00",
    ]


def test_alice_earns_every_token_s_fees():
    found = told("alice-one-deposit")
    fees = sum(micro(step["fees"]) for step in found["steps"])
    funding = sum(
        micro(step["effects"]["funding_paid"]) - micro(step["effects"]["funding_received"])
        for step in found["steps"]
    )
    lost = sum(
        micro(step["effects"]["loss"]) - micro(step["effects"]["profit"]) for step in found["steps"]
    )
    before = found["steps"][-2]["state"]["total_liquidity"]
    assert abs(micro(before) - (100_000 * 10**6 + fees + funding + lost)) <= 5_000  # two decimals


def test_one_pool_offsets_what_three_do_not():
    together, btc, eth, ada = told("btc-crash-offset")["comparison"]
    assert micro(together["put_in"]) == sum(micro(row["put_in"]) for row in (btc, eth, ada))
    assert btc["result"] == "-38.60%" and together["result"] == "-0.53%"
    assert micro(eth["value"]) > micro(eth["put_in"])
    assert micro(ada["value"]) > micro(ada["put_in"])


def test_meme_is_capped_and_btc_is_not():
    steps = told("meme-capped")["steps"]
    refused = [step["error"]["name"] if step["error"] else None for step in steps]
    capped = "UTILIZATION"
    assert refused == [None, capped, None, capped, None, None, None, None]
    assert steps[1]["error"]["code"] == 30
    assert steps[1]["root"] == steps[0]["root"]
    assert steps[5]["effects"]["profit"] == "4000.00"


def test_a_pool_in_another_stablecoin():
    found = told("pool-in-usdt")
    assert found["final"]["state"]["stablecoin"] == "USDT"
    assert [step["accepted"] for step in found["steps"]] == [True, False, True]
    assert found["steps"][1]["error"]["name"] == "DEPOSIT"
    assert micro(found["steps"][2]["payout"]) > 0


SMALL = {
    "name": "small",
    "tokens": {"BTC": {}},
    "liquidity": "1000",
    "batches": [{"prices": {"BTC": "40000"}, "operations": []}],
}
LONG = {"op": "increase", "user": "bob", "token": "BTC", "side": "long", "size": "100"}


def with_operations(*operations, **changes):
    batches = [{"prices": {"BTC": "40000"}, "operations": list(operations)}]
    return {**SMALL, "batches": batches, **changes}


@pytest.mark.parametrize(
    ("scenario", "what"),
    [
        ({}, "name"),
        ({**SMALL, "speed": 1}, "speed"),
        ({**SMALL, "profile": "fast"}, "profile `fast`"),
        ({**SMALL, "liquidity": 1000}, r"\$\.liquidity"),
        ({**SMALL, "liquidity": "1,000"}, r"\$\.liquidity"),
        ({**SMALL, "liquidity": "0.0000001"}, "more than 6 decimals"),
        ({**SMALL, "tokens": {"BTC": {"speed": 1}}}, r"tokens\.BTC.*speed"),
        ({**SMALL, "tokens": {"BTC": {"fee_bps": 5000}}}, r"tokens\.BTC: fee_bps"),
        ({**SMALL, "pool": {"global_cap_bps": 10_001}}, "pool: global_cap_bps"),
        ({**SMALL, "pool": {"backed": True}}, r"pool\.backed"),
        ({**SMALL, "state": None, "liquidity": None}, "either `liquidity` or a whole `state`"),
        ({**SMALL, "batches": []}, r"\$\.batches"),
        ({**SMALL, "batches": [{}]}, r"batches\[0\]\.prices: `BTC` is missing"),
        ({**SMALL, "batches": [{"prices": {"BTC": "0"}}]}, r"batches\[0\]: prices: 0"),
        (
            {**SMALL, "batches": [*SMALL["batches"], {"time_s": 60}]},
            r"batches\[1\]\.time_s: 60 is not after 60",
        ),
        (with_operations({"op": "steal", "user": "bob"}), "steal"),
        (with_operations({**LONG, "deposit": "1", "collateral": "1"}), "either `deposit` or"),
        (
            with_operations({**LONG, "deposit": "1", "token": "ETH"}),
            r"operations\[0\]\.token: `ETH`",
        ),
        (with_operations({**LONG, "deposit": "all"}), r"operations\[0\]: deposit: `all`"),
        (with_operations({**LONG, "deposit": "1", "side": "up"}), "side"),
    ],
    ids=str,
)
def test_a_file_that_is_none_is_refused_in_one_line(tmp_path, scenario, what):
    file = tmp_path / "scenario.json"
    file.write_text(json.dumps(scenario))
    with pytest.raises(ConfigError, match=what) as error:
        play(load_scenario(file))
    assert "\n" not in str(error.value)


def test_files_that_are_no_json(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        load_scenario(tmp_path / "none.json")
    (tmp_path / "text.json").write_text("{")
    with pytest.raises(ConfigError, match=r"text\.json"):
        load_scenario(tmp_path / "text.json")


def played(tmp_path, *operations, **changes):
    file = tmp_path / "scenario.json"
    file.write_text(json.dumps(with_operations(*operations, **changes)))
    return play(load_scenario(file))


def codes(found):
    return [getattr(getattr(step.result, "code", None), "name", None) for step in found.steps]


def test_what_a_file_can_show_to_be_refused(tmp_path):
    """Impersonation, a replay, a deadline that has passed, and an order that nobody made."""
    good = {**LONG, "collateral": "20"}
    found = played(
        tmp_path,
        {**good, "signed_by": "mallory"},
        good,
        {**good, "nonce": 0},
        {**good, "deadline_s": 59},
        {"op": "fill_order", "user": "bob", "order": "none"},
        {"op": "decrease", "user": "carol", "token": "BTC", "side": "long", "size": "all"},
    )
    assert codes(found) == ["SIGNATURE", None, "NONCE", "DEADLINE", "NO_ORDER", "NO_POSITION"]


def test_orders_by_name(tmp_path):
    order = {
        "op": "create_order",
        "user": "bob",
        "order": "first",
        "token": "BTC",
        "side": "long",
        "kind": "market",
        "action": "increase",
        "deposit": "20.3",
        "size": "100",
    }
    batches = [
        {"prices": {"BTC": "40000"}, "operations": [order]},
        {
            "prices": {"BTC": "40100"},
            "operations": [{"op": "fill_order", "user": "bob", "order": "first"}],
        },
    ]
    found = played(tmp_path, batches=batches, profile="gtrade")
    assert codes(found) == [None, None]
    (position,) = found.pool.open_positions()
    assert position.collateral == 20 * 10**6
    direct = played(tmp_path, {**LONG, "collateral": "20"}, profile="gtrade")
    assert codes(direct) == ["ORDER_REQUIRED"]


def test_the_same_file_gives_the_same_roots():
    first = told("bob-three-positions")
    assert first == told("bob-three-positions")
    assert isinstance(load_scenario(EXAMPLES / "scenario-1.json"), Scenario)


def test_proved_in_the_guest():
    """Scenario 2 once more on RV32IM: it halts at the same root."""
    done = CliRunner().invoke(
        app, ["pool", "run", str(EXAMPLES / "scenario-2.json"), "--json", "--prove"]
    )
    assert done.exit_code == 0, done.exception
    (batch,) = json.loads(done.stdout)["batches"]
    assert batch["proof"]["halted"]
    assert batch["proof"]["new_root"] == batch["new_root"]
    assert 0 < batch["proof"]["steps"] < 2**30


def test_a_key_that_stands_twice_is_refused(tmp_path):
    file = tmp_path / "twice.json"
    file.write_text('{"name": "a", "name": "b", "batches": []}')
    with pytest.raises(ConfigError, match=r"twice\.json: .*twice"):
        load_scenario(file)
