"""The reference model against the real contracts: every vector, every field, exactly.

All 178 vectors of all five families are replayable: each holds the books, the position, the prices
and the time that its action reads. What no vector shows, BTC's own balance and funding time in
``long-btc``, starts as its scenario began and changes no field of the file.
"""

from typing import Any

import pytest

from tests.builders import gmx_vectors as gmx
from tests.builders.gmx import BPS, NONE, Revert, Trade, Vault

FAMILIES = {"short": 66, "long-btc": 6, "long-usdc-patched": 10, "glp": 18, "short-fuzz": 78}


def ids(vector: gmx.Vector) -> str:
    return str(vector["id"])


def result_of(before: Vault, trade: Trade, error: str, vector: gmx.Vector) -> dict[str, Any]:
    """The result in the file's words: the fields that the vector's has."""
    if error:
        return {"reverted": True, "error": error}
    found: dict[str, Any] = {
        "reverted": False,
        "feeUsd": str(trade.fee),
        "feeTokens": str(trade.fee_tokens),
        "execPrice": str(trade.price),
        "collateralDeltaUsd": str(trade.collateral_usd),
        "payout_tokens": str(trade.payout),
        "pnl": {"hasProfit": trade.pnl[0], "delta": str(trade.pnl[1])},
    }
    if "liquidated" in vector["result"]:
        victim = before.positions[gmx.key_of(vector)]
        found["liquidated"] = {
            "markPrice": str(trade.price),
            "size": str(victim.size),
            "collateral": str(victim.collateral),
        }
    return {name: found[name] for name in vector["result"]}


def views_of(vault: Vault, key: gmx.Key) -> dict[str, Any]:
    position = vault.positions.get(key, NONE)
    has_profit, delta = vault.delta(key, position)
    state, fees = vault.liquidation(key, position, strict=False)
    try:
        vault.liquidation(key, position, strict=True)
        text = None
    except Revert as error:
        text = str(error)
    return {
        "hasProfit": has_profit,
        "delta": str(delta),
        "liquidationState": str(state),
        "marginFees": str(fees),
        "fundingFee": str(vault.funding_fee(key, position)),
        "closeFee": str(vault.position_fee(position.size)),
        "leverageBps": str(position.size * BPS // position.collateral),
        "raise": text,
    }


def glp_of(vault: Vault) -> dict[str, str]:
    return {
        "aumMax": str(vault.aum(True)),
        "aumMin": str(vault.aum(False)),
        "supply": str(vault.glp_supply),
        "priceMax": str(vault.glp_price(True)),
    }


def check(before: Vault, after: Vault, trade: Trade, error: str, vector: gmx.Vector) -> None:
    """Every field that the vector holds."""
    assert gmx.books_of(before, vector["pre"]) == vector["pre"]
    assert gmx.books_of(after, vector["post"]) == vector["post"]
    if vector["action"]["type"] != "view":
        assert result_of(before, trade, error, vector) == vector["result"]
    if "prePosition" in vector:
        key = gmx.key_of(vector)
        assert before.positions.get(key, NONE) == gmx.position_of(vector["prePosition"])
        assert after.positions.get(key, NONE) == gmx.position_of(vector["postPosition"])
    if "views" in vector:
        assert views_of(after, gmx.key_of(vector)) == vector["views"]
    for name in {"glp", "glpPost"} & vector.keys():
        assert glp_of(after) == vector[name]
    if "glpPre" in vector:
        found, expected = glp_of(before), vector["glpPre"]
        assert {name: found[name] for name in expected} == expected
    assert str(trade.minted) == vector.get("minted_glp", "0")
    if "out_usdc" in vector:
        assert str(trade.payout) == vector["out_usdc"]


def test_the_file_is_whole():
    document = gmx.document()
    counts = document["meta"]["counts"]
    assert counts == {"total": 178, "families": FAMILIES}
    found = [v["family"] for v in document["vectors"]]
    assert {family: found.count(family) for family in FAMILIES} == FAMILIES


@pytest.mark.parametrize("vector", gmx.vectors(), ids=ids)
def test_vector(vector):
    before = gmx.vault_before(vector)
    check(before, *gmx.attempt(before, vector), vector)


@pytest.mark.parametrize("name", gmx.scenarios())
def test_scenario_in_one_run(name):
    """Only the first vector's books are read: the model carries the rest itself."""
    steps = gmx.scenarios()[name]
    vault = gmx.vault_before(steps[0])
    for vector in steps:
        gmx.set_scene(vault, vector)
        before, (vault, trade, error) = vault, gmx.attempt(vault, vector)
        check(before, vault, trade, error, vector)


def test_a_wrong_rounding_is_seen(monkeypatch):
    """The comparison is sharp: a fee that rounds down fails on the vector that was made for it."""
    vector = next(v for v in gmx.vectors() if v["id"] == "S06-rounding-05")
    monkeypatch.setattr(Vault, "position_fee", lambda self, size: size * 30 // BPS)
    before = gmx.vault_before(vector)
    with pytest.raises(AssertionError):
        check(before, *gmx.attempt(before, vector), vector)
