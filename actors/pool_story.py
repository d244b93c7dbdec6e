"""A played scenario as JSON for programs and as tables for a person."""

from typing import Any

from rich.console import Console
from rich.table import Table

from actors.pool_genesis import FIRST_LP, GENESIS
from actors.pool_play import Play, Played, Step, scenario_key
from protocol.pool import view
from protocol.pool.draft import Accepted

Json = dict[str, Any]

_EFFECTS = (
    "fee",
    "funding_paid",
    "funding_received",
    "profit",
    "loss",
    "liquidation_fee",
    "bad_debt",
    "glp",
)


def to_json(play: Play) -> Json:
    """Everything, as docs/pool.md ("What the command prints") has it."""
    return {
        "scenario": play.scenario.name,
        "profile": play.scenario.profile,
        "pool_id": play.pool.pool_id.hex(),
        "initial": play.initial,
        "steps": [_step(step) for step in play.steps],
        "batches": [_batch(batch) for batch in play.batches],
        "final": final(play),
        "users": _users(play),
    }


def final(play: Play) -> Json:
    """How the pool ended: state, vault datum, positions, orders, and what the LPs' shares are
    worth."""
    pool, symbols = play.pool, play.symbols
    names = {scenario_key(name).public: name for name in _names(play)}
    return {
        "root": pool.root().hex(),
        "state": play.state(),
        "vault": view.datum(pool, symbols),
        "positions": [
            {"user": names[p.owner], **view.position(pool, p, symbols)}
            for p in pool.open_positions()
        ],
        "orders": [
            {"user": names[o.owner], **view.order(o, pool, symbols)} for o in pool.open_orders()
        ],
        "providers": [
            {"user": names[a.owner], **view.provider(pool, a.owner)} for a in pool.accounts if a.glp
        ],
    }


def _names(play: Play) -> list[str]:
    """All users, in the order of the file."""
    found = [FIRST_LP, GENESIS, *play.scenario.users, *(step.user for step in play.steps)]
    return list(dict.fromkeys(found))


def _step(step: Step) -> Json:
    result, error, effects = step.result, None, {}
    if isinstance(result, Accepted):
        effects = {name: view.exact(getattr(result, name)) for name in _EFFECTS}
    else:
        code = result.code
        error = {"code": int(code), "name": code.name, "message": code.message}
    done = result if isinstance(result, Accepted) else Accepted()
    return {
        "batch": step.batch,
        "op": _kind(step),
        "user": step.user,
        "accepted": error is None,
        "error": error,
        "paid_in": view.exact(done.inflow),
        "payout": view.exact(done.outflow),
        "fees": view.exact(done.fee + done.liquidation_fee),
        "effects": effects,
        "root": step.root.hex(),
        "state": step.state,
    }


def _kind(step: Step) -> str:
    return str(step.said.__struct_config__.tag)


def _batch(batch: Played) -> Json:
    shown = {
        "batch": batch.number,
        "time_s": batch.time_s,
        "prices": batch.prices,
        "old_root": batch.old_root.hex(),
        "new_root": batch.new_root.hex(),
    }
    return shown if batch.proof is None else {**shown, "proof": batch.proof}


def _users(play: Play) -> Json:
    rows = {}
    for name in _names(play):
        paid, got = play.paid.get(name, (0, 0))
        rows[name] = {
            "public_key": scenario_key(name).public.hex(),
            "test_key": True,
            "paid_in": view.exact(paid),
            "paid_out": view.exact(got),
        }
    return rows


def show(play: Play, console: Console) -> None:
    """Prints the story."""
    scenario = play.scenario
    console.print(f"[bold]{scenario.name}[/bold]  (profile {scenario.profile}; test keys)")
    if scenario.about:
        console.print(scenario.about)
    console.print(_operations(play))
    for batch in play.batches:
        if batch.proof is not None:
            proof = ", ".join(f"{name} {value}" for name, value in batch.proof.items())
            console.print(f"batch {batch.number} in the guest: {proof}", soft_wrap=True)
    console.print(_tokens(play.state()))
    end = final(play)
    if end["positions"]:
        console.print(_positions(end["positions"]))
    for row in end["providers"]:
        console.print(
            f"LP {row['user']}: {row['glp']} GLP, worth {row['value']} {play.scenario.stablecoin}"
        )
    console.print(f"state root {end['root']}", soft_wrap=True, highlight=False)


def _operations(play: Play) -> Table:
    table = table_of("Operations", "time", "prices", "user", "operation", "result", "liquidity")
    for batch in play.batches:
        steps = [step for step in play.steps if step.batch == batch.number]
        prices = ", ".join(f"{name} {price}" for name, price in batch.prices.items())
        table.add_row(_clock(batch.time_s), prices, "", f"[dim]{batch.note}[/dim]", "", "")
        for step in steps:
            liquidity = step.state["total_liquidity"]
            table.add_row("", "", step.user, _said(step), _came(step), liquidity)
    return table


def _said(step: Step) -> str:
    said = step.said
    parts = [getattr(said, name, None) for name in ("token", "side")]
    for name in ("kind", "action", "size", "deposit", "collateral", "amount", "glp", "order"):
        value = getattr(said, name, None)
        if value not in (None, "0"):
            parts.append(f"{name} {value}" if name not in ("kind", "action") else value)
    return " ".join([_kind(step), *(part for part in parts if part)])


def _came(step: Step) -> str:
    if not isinstance(step.result, Accepted):
        code = step.result.code
        return f"[red]{code.name}[/red]: {code.message}"
    done = step.result
    shown = [("pays in", done.inflow), ("gets", done.outflow)]
    shown += [(name.replace("_", " "), getattr(done, name)) for name in _EFFECTS]
    return ", ".join(f"{name} {view.exact(value)}" for name, value in shown if value) or "done"


def _tokens(state: Json) -> Table:
    liquidity = f"{state['total_liquidity']} {state['stablecoin']}"
    title = f"Pool: liquidity {liquidity}, {state['glp_supply']} GLP"
    table = table_of(title, "token", "reserved", "used", "long", "short", "rate long", "rate short")
    for name, row in state["tokens"].items():
        table.add_row(name, *row.values())
    return table


def _positions(rows: list[Json]) -> Table:
    names = ("user", "index_token", "position_type", "size", "collateral", "average_price", "pnl")
    table = table_of("Open positions", *names)
    for row in rows:
        table.add_row(*(row[name] for name in names))
    return table


def table_of(title: str, *columns: str) -> Table:
    """An empty table."""
    table = Table(title=title, title_justify="left", title_style="bold")
    for column in columns:
        table.add_column(column.replace("_", " "), overflow="fold")
    return table


def _clock(time_s: int) -> str:
    days, rest = divmod(time_s, 86_400)
    return f"{f'day {days} ' if days else ''}{rest // 3600:02}:{rest % 3600 // 60:02}"
