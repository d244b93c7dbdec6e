"""One pool for all tokens against a pool for each: the same operations, the LPs' money split."""

from dataclasses import dataclass
from typing import Any

import msgspec
from rich.console import Console

from actors import pool_scenario as file
from actors.pool_play import Play, play
from actors.pool_scenario import ALL, USD_DECIMALS, Batch, Operation, Scenario, parse
from actors.pool_story import table_of
from protocol.errors import ConfigError
from protocol.pool import view
from protocol.pool.draft import Accepted
from protocol.pool.liquidity import assets_under_management


@dataclass(frozen=True, slots=True)
class Outcome:
    """A pool at the end, micro-USDC. ``value`` is what its LPs' shares are worth, ``put_in`` what
    its LPs have brought and not taken out."""

    name: str
    put_in: int
    value: int
    refused: int
    bad_debt: int

    def to_json(self) -> dict[str, Any]:
        """Its fields; ``result`` in percent of what was put in."""
        gain = self.value - self.put_in
        return {
            "pool": self.name,
            "put_in": view.exact(self.put_in),
            "value": view.exact(self.value),
            "result": view.decimal(100 * gain, max(self.put_in, 1), 2) + "%",
            "refused_operations": self.refused,
            "bad_debt": view.exact(self.bad_debt),
        }


def compare(together: Play) -> list[Outcome]:
    """The pool that was played, and one pool for each of its tokens."""
    scenario = together.scenario
    if scenario.liquidity is None:
        raise ConfigError("compare: begin with `liquidity`, a whole `state` cannot be split")
    alone = [
        _outcome(f"{symbol} alone", play(_alone(scenario, symbol))) for symbol in scenario.tokens
    ]
    return [_outcome("one pool", together), *alone]


def show(outcomes: list[Outcome], console: Console) -> None:
    """Prints the comparison."""
    rows = [outcome.to_json() for outcome in outcomes]
    table = table_of("One pool against one for each token", *rows[0])
    for row in rows:
        table.add_row(*map(str, row.values()))
    console.print(table)


def _outcome(name: str, played: Play) -> Outcome:
    pool = played.pool
    put_in = parse(played.scenario.liquidity or "0", USD_DECIMALS, "liquidity")
    for step in played.steps:
        if isinstance(step.said, file.AddLiquidity | file.RemoveLiquidity) and isinstance(
            step.result, Accepted
        ):
            put_in += step.result.inflow - step.result.outflow
    refused = sum(not isinstance(step.result, Accepted) for step in played.steps)
    value = min(assets_under_management(pool, is_max=False), pool.vault.total_liquidity)
    return Outcome(name, put_in, value, refused, pool.vault.bad_debt)


def _alone(scenario: Scenario, symbol: str) -> Scenario:
    """The same for one token: its operations, and an equal part of the LPs' money."""
    count, liquidity = len(scenario.tokens), scenario.liquidity
    orders = {
        (operation.user, operation.order): operation.token
        for batch in scenario.batches
        for operation in batch.operations
        if isinstance(operation, file.CreateOrder)
    }

    def concerns(operation: Operation) -> bool:
        if isinstance(operation, file.CancelOrder | file.FillOrder):
            return orders.get((operation.user, operation.order)) == symbol
        return getattr(operation, "token", symbol) == symbol

    batches = tuple(
        Batch(
            prices={name: price for name, price in batch.prices.items() if name == symbol},
            conf={name: conf for name, conf in batch.conf.items() if name == symbol},
            time_s=batch.time_s,
            operations=tuple(_part(op, count) for op in batch.operations if concerns(op)),
        )
        for batch in scenario.batches
    )
    return msgspec.structs.replace(
        scenario,
        tokens={symbol: scenario.tokens[symbol]},
        batches=batches,
        liquidity=_split(liquidity or "0", count),
    )


def _part(operation: Operation, count: int) -> Operation:
    match operation:
        case file.AddLiquidity():
            return msgspec.structs.replace(operation, amount=_split(operation.amount, count))
        case file.RemoveLiquidity() if operation.glp != ALL:
            return msgspec.structs.replace(operation, glp=_split(operation.glp, count))
        case _:
            return operation


def _split(text: str, count: int) -> str:
    return view.exact(parse(text, USD_DECIMALS, "liquidity") // count)
