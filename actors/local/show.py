"""What ``up`` and ``status`` print for a person."""

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

STYLES: Final = {"running": "green", "failed": "bold red", "stopped": "red"}

Found = Mapping[str, Any]


def table(found: Found) -> RenderableType:
    """The answer of ``status.look``: where all of it stands, then a line a program."""
    rows = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("program", "state", "pid", "up", "restarts", "round"):
        rows.add_column(name, justify="left" if name in ("program", "state") else "right")
    for row in found["programs"]:
        style = STYLES.get(row["state"], "yellow")
        rows.add_row(
            row["name"],
            Text(row["state"], style),
            _or_dash(row["pid"]),
            "-" if row["uptime_s"] is None else str(timedelta(seconds=row["uptime_s"])),
            str(row["restarts"]),
            _or_dash(row.get("round")),
        )
    return Group(Text("\n".join(head(found))), rows, Text("\n".join(faults(found))))


def head(found: Found) -> Iterator[str]:
    """Phase, price, chain and contracts in few lines."""
    remedy = {
        "unkept": ": the keeper was killed, programs run on; `oracle-vm up` takes them over",
        "down": ": `oracle-vm up` starts everything",
    }
    yield f"{found['folder']} is {found['phase']}" + remedy.get(found["phase"], "")
    clock = found["clock"]
    if clock["offset_ms"]:
        ahead = timedelta(seconds=abs(clock["offset_ms"]) // 1000)
        side = "ahead of" if clock["offset_ms"] > 0 else "behind"
        yield f"{clock['name']}: {utc(clock['now_ms'])}, {ahead} {side} real time"
    price = found["price_usd"]
    certified = "no certified price" if price is None else f"BTC ${price} in round {found['round']}"
    height = "no chain" if found["height"] is None else f"block {found['height']:,}"
    stages = ", ".join(f"{count} {stage}" for stage, count in found["contracts"].items())
    yield f"{certified}; {height}; contracts: {stages or 'none'}; disputes: {found['disputes']}"


def utc(now_ms: int) -> str:
    """A moment for a person."""
    return f"{datetime.fromtimestamp(now_ms // 1000, UTC):%Y-%m-%d %H:%M:%S} UTC"


def faults(found: Found) -> Iterator[str]:
    """Of the whole and of each program that does not run."""
    if found["fault"]:
        yield found["fault"]
    yield from (row["fault"] for row in found["programs"] if row["fault"])


def places(found: Found) -> Iterator[str]:
    """Where to look: URLs of the gateway and of the nodes' metrics."""
    url = found["url"]
    yield f"dashboard  {url}/"
    yield f"API        {url}/openapi.json"
    yield f"metrics    {url}/metrics"
    for row in found["programs"]:
        if row.get("metrics"):
            yield f"           {row['metrics']} ({row['name']})"


def next_steps(url: str, quote: Found | None, option: str) -> Iterator[str]:
    """What to try, ready to be pasted. ``quote`` is one of the gateway's, if it gave one;
    ``option`` is "--dir DIR" where that is not the default."""
    yield f"curl {url}/v1/index/BTC"
    if quote is not None:
        order = {
            "instrument": quote["instrument"],
            "quantity_sats": quote["quantity_sats"],
            "max_premium_sats": quote["premium_sats"] * 6 // 5,
        }
        yield f"curl '{url}/v1/quote?instrument={quote['instrument']}'"
        yield f"curl {url}/v1/contracts -H 'content-type: application/json' \\"
        yield f"  -H 'Idempotency-Key: first' -d '{json.dumps(order)}'"
        yield f"curl {url}/v1/contracts/1"
    yield f"oracle-vm pool submit add_liquidity amount=100000 --key lp.key --api {url}"
    yield f"curl {url}/v1/pool"
    for command in ("status --watch", "logs -f", "faucet --role holder", "mine 3", "down"):
        yield f"oracle-vm {command} {option}".rstrip()


def _or_dash(value: object) -> str:
    return "-" if value is None else str(value)
