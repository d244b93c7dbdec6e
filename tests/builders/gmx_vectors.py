"""Reads ``tests/vectors/pool/gmx_v1.json`` into the reference model and compares with it."""

from copy import deepcopy
from functools import cache
from json import loads
from pathlib import Path
from typing import Any

from tests.builders.gmx import USD, Collateral, Config, Key, Position, Revert, Trade, Vault

PATH = Path(__file__).parents[1] / "vectors/pool/gmx_v1.json"
Vector = dict[str, Any]
_BOOKS = {
    "poolAmount": "pool",
    "reservedAmount": "reserved",
    "feeReserve": "fees",
    "vaultBalance": "balance",
    "guaranteedUsd": "guaranteed",
    "cumulativeFundingRate": "cumulative",
    "lastFundingTime": "last_funding",
}
_POSITION = {
    "size": "size",
    "collateral": "collateral",
    "averagePrice": "average_price",
    "entryFundingRate": "entry_funding",
    "reserveAmount": "reserve",
    "realisedPnl": "realised",
    "lastIncreasedTime": "last_increased",
}


@cache
def document() -> dict[str, Any]:
    """The whole file; its ``meta`` says what made it and explains its fields."""
    data: dict[str, Any] = loads(PATH.read_text())
    return data


def vectors(*families: str) -> list[Vector]:
    """The vectors of these families, in the file's order; all of them if none is named."""
    return [v for v in document()["vectors"] if not families or v["family"] in families]


def scenarios(*families: str) -> dict[str, list[Vector]]:
    """Vectors by scenario (the id without its last part); each continues from the one before."""
    found: dict[str, list[Vector]] = {}
    for vector in vectors(*families):
        found.setdefault(vector["id"].rsplit("-", 1)[0], []).append(vector)
    return found


def config_of(vector: Vector) -> Config:
    raw = vector["config"]
    return Config(
        margin_fee_bps=raw["marginFeeBps"],
        mint_burn_fee_bps=raw["mintBurnFeeBps"],
        liquidation_fee=int(raw["liquidationFeeUsd"]) * USD,
        funding_factor=raw["fundingRateFactor"],
        funding_interval=raw["fundingInterval"],
        max_leverage_bps=raw["maxLeverageBps"],
        min_profit_time=raw["minProfitTime"],
        min_profit_bps=raw["minProfitBps"],
        spread_bps=raw["spreadBps"],
    )


def key_of(vector: Vector) -> Key:
    return Key(vector["user"], vector["collateralToken"], vector["index"], vector["side"] == "long")


def position_of(raw: dict[str, str]) -> Position:
    return Position(**{ours: int(raw[theirs]) for theirs, ours in _POSITION.items()})


def vault_before(vector: Vector) -> Vault:
    """The vault as the vector found it: its books, one position, the prices of the action."""
    vault = Vault(config_of(vector))
    read_books(vault, vector["pre"])
    set_scene(vault, vector)
    if "prePosition" in vector and int(vector["prePosition"]["size"]):
        vault.positions[key_of(vector)] = position_of(vector["prePosition"])
    if "glpPre" in vector:
        vault.glp_supply = int(vector["glpPre"]["supply"])
    elif "glp" in vector:
        vault.glp_supply = int(vector["glp"]["supply"])
    return vault


def set_scene(vault: Vault, vector: Vector) -> None:
    """The time and the prices of the action."""
    vault.now = vector["timestamp"]
    vault.prices = {token: int(price) * 10**22 for token, price in vector["prices_1e8"].items()}


def read_books(vault: Vault, raw: dict[str, Any]) -> None:
    tokens = {name.rsplit("_", 1)[1] for name in raw if "_" in name}
    for token in sorted(tokens):
        values = {
            ours: int(raw[f"{theirs}_{token}"])
            for theirs, ours in _BOOKS.items()
            if f"{theirs}_{token}" in raw
        }
        books = Collateral(**values)
        if token == "btc":
            # The file leaves these two out: funding is initialised together with USDC's.
            books.last_funding = int(raw["lastFundingTime_usdc"])
            books.balance = books.pool + books.fees
        vault.tokens[token.upper()] = books
    vault.short_size = {k: int(v) for k, v in raw["globalShortSize"].items()}
    vault.short_average = {k: int(v) for k, v in raw["globalShortAveragePrice"].items()}


def books_of(vault: Vault, like: dict[str, Any]) -> dict[str, Any]:
    """The vault's books in the file's words: the fields that ``like`` has."""
    found: dict[str, Any] = {}
    for name in like:
        if "_" in name:
            theirs, token = name.rsplit("_", 1)
            found[name] = str(getattr(vault.tokens[token.upper()], _BOOKS[theirs]))
    live = {index: size for index, size in vault.short_size.items() if size}
    found["globalShortSize"] = {index: str(size) for index, size in live.items()}
    averages = {index: str(vault.short_average[index]) for index in live}
    found["globalShortAveragePrice"] = averages
    return found


def act(vault: Vault, vector: Vector) -> Trade:
    """Performs the vector's action; an action that is no trade gives an empty one."""
    action = vector["action"]
    kind = action["type"]
    if kind == "increase":
        amount, size = int(action["collateralIn_tokens"]), int(action["sizeDelta"])
        return vault.increase(key_of(vector), amount, size)
    if kind == "decrease":
        collateral, size = int(action["collateralDelta"]), int(action["sizeDelta"])
        return vault.decrease(key_of(vector), collateral, size)
    if kind == "liquidate":
        return vault.liquidate(key_of(vector))
    if kind == "addLiquidity":
        return vault.add_liquidity(int(action["amount"]))
    if kind == "removeLiquidity":
        return vault.remove_liquidity(int(action["glpAmount"]))
    if kind == "directDeposit":
        vault.direct_deposit(int(action["amount"]))
    elif kind == "updateFunding":
        vault.update_funding("USDC")
    else:
        assert kind == "view"
    return Trade()


def attempt(vault: Vault, vector: Vector) -> tuple[Vault, Trade, str]:
    """(vault after, trade, revert text): a reverted action leaves the vault as it was."""
    after = deepcopy(vault)
    try:
        return after, act(after, vector), ""
    except Revert as error:
        return vault, Trade(), str(error)
