"""Rows of frames in the schema of tests/vectors/feeds/README.md, parsed in order.

A row is one JSON object: a frame or a REST reply of a venue, with the state it assumes. Rows of one
``scenario`` are fed to one adapter, every other row to a fresh one.
"""

import json
import re
from base64 import b64decode
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from actors.feeds.adapter import Adapter, Memory
from actors.feeds.events import Event, Kind, Quote
from actors.feeds.http_reply import HttpReply
from actors.feeds.offset import VenueClock
from actors.feeds.products import ADAPTERS, symbol_at
from actors.feeds.venue_time import NS_PER_MS, unix_ns
from protocol.errors import EncodingError

PRODUCT: Final = "BTC-USD"
DEFAULT_NOW_MS: Final = 1_790_358_506_050
AFTER_VENUE_MS: Final = 50

# Of several events in one frame, the row's class is the one that matters most.
_RANK: Final = (
    Kind.QUOTE,
    Kind.TRADE,
    Kind.ERROR,
    Kind.CONTROL,
    Kind.HEARTBEAT,
    Kind.DROP,
    Kind.REJECT,
    Kind.IGNORE,
)
_TIME: Final = re.compile(r'"(?:T|time|timestamp)":(?:([0-9]{13})\b|"([^"]+)")')
_EVENT_TIME: Final = re.compile(r'"E":([0-9]{13})\b')

Row = Mapping[str, Any]


def parse_rows(rows: Iterable[Row]) -> Iterator[dict[str, Any]]:
    """For each row: its ``id``, its ``class``, and the parsed fields that are not None."""
    scenarios: dict[tuple[str, str], Adapter] = {}
    for row in rows:
        venue = row["venue"]
        if venue not in ADAPTERS:
            raise EncodingError(f"row {row['id']}: no venue {venue!r}")
        if "scenario" in row:
            key = (venue, row["scenario"])
            adapter = scenarios.setdefault(key, _adapter(venue, row))
        else:
            adapter = _adapter(venue, row)
        yield {"id": row["id"], **_parse_row(adapter, row)}


def raw_frame(row: Row) -> str | bytes:
    """The frame of a row: as text, as bytes, or built from its recipe."""
    if "raw" in row:
        return str(row["raw"])
    if "raw_b64" in row:
        return b64decode(row["raw_b64"])
    recipe = row["raw_gen"]
    return f"{recipe['prefix']}{recipe['fill'] * recipe['count']}{recipe['suffix']}"


def _adapter(venue: str, row: Row) -> Adapter:
    context = row.get("ctx", {})
    symbol = symbol_at(venue, PRODUCT)
    good = context.get("last_good_e8")
    memory = Memory(
        last_good={} if good is None else {symbol: good},
        clock=VenueClock(context.get("est_offset_ms", 0)),
    )
    return ADAPTERS[venue](context.get("subscribed", [symbol]), memory)


def _parse_row(adapter: Adapter, row: Row) -> dict[str, Any]:
    raw = raw_frame(row)
    now_ms = row.get("ctx", {}).get("now_ms") or _now_ms(raw)
    if row.get("dir") == "out":
        return {"class": _sent_class(adapter, raw, now_ms)}
    if row["transport"] == "rest":
        http = row["http"]
        reply = HttpReply(http["status"], raw, http.get("headers", {}))
        events = adapter.parse_reply(reply, now_ms)
    else:
        events = adapter.parse(raw, now_ms)
    return _fields(min(events, key=lambda event: _RANK.index(event.kind)))


def _sent_class(adapter: Adapter, raw: str | bytes, now_ms: int) -> str:
    value = json.loads(raw)
    subscribes = value in map(json.loads, adapter.subscriptions())
    sent = subscribes or value == json.loads(adapter.ping(now_ms) or "null")
    return Kind.REQUEST if sent else Kind.REJECT


def _now_ms(raw: str | bytes) -> int:
    """Just after the venue's time in the frame, or a fixed time if it has none."""
    text = raw if isinstance(raw, str) else ""
    match = _TIME.search(text) or _EVENT_TIME.search(text)
    if match is None:
        return DEFAULT_NOW_MS
    if match[1]:
        return int(match[1]) + AFTER_VENUE_MS
    try:
        return unix_ns(match[2]) // NS_PER_MS + AFTER_VENUE_MS
    except EncodingError:
        return DEFAULT_NOW_MS


def _fields(event: Event) -> dict[str, Any]:
    values = {name: getattr(event, name) for name in event.__struct_fields__}
    if isinstance(event, Quote):
        values["mid_e8"] = event.mid_e8
    return {"class": event.kind} | {k: v for k, v in values.items() if v not in (None, ())}
