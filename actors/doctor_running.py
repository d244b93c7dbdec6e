"""What a node that runs says of itself, over its control socket and its metrics."""

import asyncio
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from actors.control import call
from actors.doctor import Finding, fail, findings_of, ok, warn
from actors.loopback import get_page
from actors.operator import Operator
from protocol.errors import ProtocolError

ANSWER_S: Final = 5.0
STALE: Final = 3
"""Times of the schedule without a certificate."""
OFFSET_WARN_MS: Final = 250
OFFSET_FAIL_MS: Final = 1_000
_SAMPLE: Final = re.compile(r"(\w+)(?:\{([^}]*)\})? (\S+)")

Metrics = Mapping[tuple[str, str], float]
"""By name and labels, as they are written."""


def running(operator: Operator) -> Iterator[Finding]:
    """The checks of a node that has its folder: it answers, hears, signs, and knows the time."""
    try:
        status = asyncio.run(call(operator.folder / "control.sock", "status", ANSWER_S))
        metrics = _metrics(operator.metrics.host, status["metrics"])
    except (ProtocolError, OSError) as error:
        remedy = "it is starting or stuck: the end of its log; then `systemctl restart` it"
        yield fail("answers", str(error), remedy)
        return
    yield ok("answers", f"process {status['pid']}")
    yield from findings_of(
        (
            ("peers", lambda: _peers(operator, status)),
            ("price", lambda: _price(operator, status, metrics)),
            ("refused", lambda: _refused(status)),
            ("signer", lambda: _signer(status)),
        )
    )
    if operator.role == "oracle":
        checks = (
            ("venues", lambda: _venues(operator, status)),
            ("venue clocks", lambda: _venue_clocks(metrics)),
            ("signing", lambda: _signing(status)),
        )
        yield from findings_of(checks)


def _metrics(host: str, port: int) -> Metrics:
    text = get_page(port, "/metrics", ANSWER_S, host).decode()
    rows = (_SAMPLE.fullmatch(row) for row in text.splitlines() if not row.startswith("#"))
    return {(row[1], row[2] or ""): float(row[3]) for row in rows if row is not None}


def _peers(operator: Operator, status: Mapping[str, Any]) -> Finding:
    missing = {name: fault or "never connected" for name, fault in status["faults"].items()}
    count = len(operator.network.peers) - 1
    said = "; ".join(f"{name}: {fault}" for name, fault in sorted(missing.items()))
    detail = f"{count - len(missing)} of {count} connected" + (f", not {said}" if said else "")
    oracles = len([address for address in status["connected"] if address < count])
    needed = operator.network.config.quorum - (operator.role == "oracle")
    clock = "; set this clock by NTP" if "clocks differ" in said else ""
    if oracles < needed:
        return fail("peers", detail, f"open the firewall, call their operators{clock}")
    if missing:
        return warn("peers", detail, f"their operators; it is dialled again by itself{clock}")
    return ok("peers", detail)


def _price(operator: Operator, status: Mapping[str, Any], metrics: Metrics) -> Finding:
    age_s = metrics.get(("cert_age_seconds", ""))
    remedy = "are a quorum of oracles up, connected, and their venues? doctor on each says it"
    if status["round"] is None or age_s is None:
        return fail("price", "no certificate yet", remedy)
    detail = f"round {status['round']} is {age_s:.1f} s old"
    schedule = operator.network.schedule
    if 1000 * age_s > STALE * schedule.schedule_ms + schedule.takeover_ms:
        return fail("price", detail, remedy)
    return ok("price", detail)


def _refused(status: Mapping[str, Any]) -> Finding:
    counts = {reason: count for reason, count in status["refused"].items() if count}
    detail = ", ".join(f"{count} {reason}" for reason, count in sorted(counts.items())) or "nothing"
    if counts.keys() & {"equivocation", "signature"}:
        return warn("refused", detail, "its log names the oracle: docs/runbooks.md, a liar")
    return ok("refused", detail)


def _signer(status: Mapping[str, Any]) -> Finding:
    signer = status["signer"]
    if signer["fault"] is not None:
        return fail("signer", signer["fault"], "start it: `oracle-vm signer run`; its log says why")
    return ok("signer", f"process {signer['pid']}, {signer['reconnects']} reconnects")


def _venues(operator: Operator, status: Mapping[str, Any]) -> Finding:
    venues: Mapping[str, bool] = status["venues"]
    lost = sorted(name for name, subscribed in venues.items() if not subscribed)
    detail = f"{len(venues) - len(lost)} of {len(venues)} subscribed"
    detail += f", not {', '.join(lost)}" if lost else ""
    if len(venues) - len(lost) < operator.network.config.min_venues:
        return fail("venues", detail, "this machine's own network first, then the venues' status")
    return (
        warn("venues", detail, "the venue's status page; the others are enough")
        if lost
        else (ok("venues", detail))
    )


def _venue_clocks(metrics: Metrics) -> Finding:
    offsets = {
        labels.split('"')[1]: value
        for (name, labels), value in metrics.items()
        if name == "clock_offset_ms"
    }
    detail = ", ".join(f"{venue} {value:+.0f} ms" for venue, value in sorted(offsets.items()))
    sizes = sorted(abs(value) for value in offsets.values())
    if not sizes:
        return ok("venue clocks", "none heard yet")
    median, remedy = sizes[len(sizes) // 2], "set the clock: `chronyc tracking`, then makestep"
    if median > OFFSET_FAIL_MS:
        return fail("venue clocks", detail, remedy)
    return (
        warn("venue clocks", detail, remedy)
        if median > OFFSET_WARN_MS
        else (ok("venue clocks", detail))
    )


def _signing(status: Mapping[str, Any]) -> Finding:
    if status["waits"]:
        remedy = "have the other oracles up and connected; it asks them until they answer"
        return fail("signing", status["waits"], remedy)
    floor = status["floor"]
    if status["round"] is not None and status["round"] <= floor:
        remedy = f"wait: it was restored, and signs again behind round {floor}"
        return warn("signing", f"round {status['round']}, not before {floor}", remedy)
    return ok("signing", "peers have said what they have seen")
