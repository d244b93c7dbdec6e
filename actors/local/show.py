"""What ``up`` and ``status`` print for a person."""

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

STYLES: Final = {"running": "green", "failed": "bold red", "stopped": "red"}

Found = Mapping[str, Any]


def table(found: Found) -> RenderableType:
    """The answer of ``status.look``: where all of it stands, a line an operator if there are
    several, then a line a program."""
    parts: list[RenderableType] = [Text("\n".join(head(found)))]
    if any(group["name"] for group in found["groups"]):
        parts.append(_operators(found))
    parts.append(_programs(found))
    return Group(*parts, Text("\n".join(faults(found))))


def _operators(found: Found) -> Table:
    rows = _table(
        ("operator", "state", "oracle key", "identity", "health"),
        ("group", "round", "signed", "peers"),
    )
    for group in found["groups"]:
        (node,) = oracles(found, group["name"]) or ({},)
        rows.add_row(
            group["name"],
            Text(group["phase"], STYLES.get(group["phase"], "yellow")),
            short(node.get("oracle_key")),
            short(node.get("identity_key")),
            _health(node),
            _or_dash(group["pgid"]),
            _or_dash(node.get("round")),
            f"{node['signed']}/{node['recent']}" if node else "-",
            f"{len(node['connected'])}/{node['peers']}" if node else "-",
        )
    return rows


def _programs(found: Found) -> Table:
    rows = _table(("program", "state", "health"), ("pid", "up", "restarts", "round", "peers"))
    for row in found["programs"]:
        rows.add_row(
            row["name"],
            Text(row["state"], STYLES.get(row["state"], "yellow")),
            _health(row),
            _or_dash(row["pid"]),
            "-" if row["uptime_s"] is None else str(timedelta(seconds=row["uptime_s"])),
            str(row["restarts"]),
            _or_dash(row.get("round")),
            f"{len(row['connected'])}/{row['peers']}" if "peers" in row else "-",
        )
    return rows


def _table(left: Sequence[str], right: Sequence[str]) -> Table:
    """Columns of text, then of numbers."""
    rows = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in left:
        rows.add_column(name)
    for name in right:
        rows.add_column(name, justify="right")
    return rows


def oracles(found: Found, operator: str) -> list[Found]:
    """The rows of the oracles in an operator's group."""
    rows = (row for row in found["programs"] if row["operator"] == operator)
    return [row for row in rows if row.get("oracle_key")]


def short(key: str | None) -> str:
    """The two ends of a key in hex: enough to tell it from others."""
    return "-" if key is None else f"{key[:8]}..{key[-4:]}"


def head(found: Found) -> Iterator[str]:
    """Phase, price, chain and contracts in few lines."""
    remedy = {
        "unkept": ": the keeper was killed, programs run on; `oracle-vm up` takes them over",
        "down": ": `oracle-vm up` starts everything",
        "incomplete": ": `oracle-vm up` starts what is missing",
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
    """What is missing: of each group that is not up, and of each program that does not run."""
    for group in found["groups"]:
        missing = [
            row["name"]
            for row in found["programs"]
            if row["operator"] == group["name"] and row["state"] != "running"
        ]
        if group["name"] and missing:
            yield f"{group['name']} is {group['phase']}; missing: {', '.join(missing)}"
        if group["fault"]:
            yield group["fault"]
    yield from (row["fault"] for row in found["programs"] if row["fault"])


def places(found: Found) -> Iterator[str]:
    """Where to look: URLs of the gateways and of the nodes' metrics."""
    url = found["url"]
    yield f"dashboard  {url}/"
    yield f"API        {url}/openapi.json"
    for group in found["groups"]:
        if group["url"] not in (None, url):
            yield f"           {group['url']}/openapi.json ({group['name']}, prices)"
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


def _health(row: Found) -> Text:
    """Of a node; the other programs say nothing of it."""
    return Text(row.get("health", "-") or "ok", "green" if row.get("health") == "" else "")


def _or_dash(value: object) -> str:
    return "-" if value is None else str(value)
