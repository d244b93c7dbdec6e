"""The oracle network as four processes: latency, certificates and feed updates a second.

python -m tests.bench.oracle [--json]      oracle-vm bench oracle --json
"""

import statistics
import sys
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from actors.feeds.products import VENUES
from actors.feeds.simulated.exchanges import SimulatedExchanges
from actors.feeds.simulated.path import PricePath
from protocol.units import E8
from tests.bench import feeds
from tests.bench._batch import batch_cost
from tests.bench._differential import differential

# from tests.bench._differential import differential
from tests.bench._network import AGGREGATOR, ORACLES, Network, plain, running
from tests.bench._report import finish, hardware, say

# from tests.bench.feeds import measure as measure_feeds

LATENCY_S = 60.0
THROUGHPUT_S = 10.0
BATCH_FEEDS = 500
BATCH_S = 10.0
STEP_MS = 40
STEP_BPS = 20

METHODS = {
    "latency_ms": (
        "simulated venues move every 40 ms by 20 bps, beyond deviation_bps = 5; interval_ms = 5."
        " A sample is one certificate: from the arrival of the newest frame behind the observation"
        " that was signed first, at that oracle, to the certificate on the aggregator's disk"
        " (SQLite, synchronous = FULL), after two fsynced guard records at each signer. Times are"
        " of the machine's monotonic clock; the simulators run on the same cores."
    ),
    "latency_one_dead_ms": "the same after SIGKILL of one oracle; collect_ms = 20 is in it",
    "certificates_per_second": "interval_ms = schedule_ms = 5: every round is due",
    "feed_updates_per_second": (
        "500 synthetic feeds in Merkle batches, interval_ms = schedule_ms: certified reports a"
        " second on the aggregator's disk, everything but the venues real"
    ),
    "batch": "CPU time in one process, every message encoded and decoded, no sockets, no disk",
    "adapter_messages_per_second": "one core, ticker frames; see the benchmark `feeds`",
}

SETTINGS = {
    "interval_ms": 5,
    "schedule_ms": 30_000,
    "deviation_bps": 5,
    "collect_ms": 20,
    "takeover_ms": 500,
    "max_age_ms": 5_000,
}


class SteppingPath(PricePath):
    """A price that steps up and down, so that every step is a deviation."""

    def price_e8(self, product: str, at_ms: int) -> int:
        if product == "USDT-USD":
            return E8
        up = at_ms // STEP_MS % 2
        return 84_000 * E8 + up * 84_000 * E8 * STEP_BPS // 10_000


def latency() -> dict[str, Any]:
    """Quantiles with all oracles alive, then with one killed."""
    with SimulatedExchanges(1, tick_ms=5) as exchanges:
        for venue in exchanges.venues:
            venue.path = SteppingPath(1)
        with running(SETTINGS, exchanges.endpoints, plain) as network:
            alive = _latencies(network, ORACLES, LATENCY_S)
            network.kill(ORACLES[0])
            dead = _latencies(network, ORACLES[1:], LATENCY_S)
    return {"latency_ms": _quantiles(alive), "latency_one_dead_ms": _quantiles(dead)}


def _latencies(network: Network, oracles: Sequence[str], seconds: float) -> list[float]:
    time.sleep(2.0)  # what was under way when this phase began is not of it
    begin_ns = time.monotonic_ns()
    time.sleep(seconds)
    published = {r: at_ns for r, _, at_ns in network.ask(AGGREGATOR, "certificates")}
    first: dict[int, tuple[int, int]] = {}
    for name in oracles:
        for round_id, frame_ns, signed_ns in network.ask(name, "sights"):
            first[round_id] = min(first.get(round_id, (signed_ns, frame_ns)), (signed_ns, frame_ns))
    return [
        (published[round_id] - frame_ns) / 1e6
        for round_id, (_, frame_ns) in first.items()
        if round_id in published and frame_ns >= begin_ns
    ]


def _quantiles(samples: Sequence[float]) -> dict[str, Any]:
    ordered = sorted(samples)
    at = {name: min(int(q * len(ordered)), len(ordered) - 1) for name, q in _QUANTILES.items()}
    return {
        **{name: round(ordered[index], 3) for name, index in at.items()},
        "max": round(ordered[-1], 3),
        "samples": len(ordered),
    }


_QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99, "p99.9": 0.999}


def throughput() -> dict[str, Any]:
    """Certificates a second on one feed, and how many rounds were FULL."""
    settings = SETTINGS | {"schedule_ms": 5}
    with (
        SimulatedExchanges(1, tick_ms=50) as exchanges,
        running(settings, exchanges.endpoints, plain) as network,
    ):
        rate, grades = _rate(network, THROUGHPUT_S)
    return {"certificates_per_second": rate, "certificates_full_share": grades}


def updates() -> dict[str, Any]:
    """Feed updates a second in batches, the best of several round lengths."""
    found = {}
    for interval_ms in (50, 25, 20):
        settings = SETTINGS | {"interval_ms": interval_ms, "schedule_ms": interval_ms}

        def command(role: str, file: Path) -> list[str]:
            child = [sys.executable, "-m", "tests.bench._batch_node", role, str(file)]
            return [*child, str(BATCH_FEEDS)]

        with (
            SimulatedExchanges(1) as exchanges,
            running(settings, exchanges.endpoints, command) as network,
        ):
            rate, _ = _rate(network, BATCH_S)
        found[f"interval_{interval_ms}_ms"] = rate * BATCH_FEEDS
    return {"feed_updates_per_second": max(found.values()), "feed_updates_by_interval": found}


def _rate(network: Network, seconds: float) -> tuple[float, float]:
    """Certificates a second on the aggregator's disk, and the share of FULL ones."""
    time.sleep(2.0)
    begin_ns = time.monotonic_ns()
    time.sleep(seconds)
    rows = [row for row in network.ask(AGGREGATOR, "certificates") if row[2] >= begin_ns]
    rounds = [row[0] for row in rows]
    assert all(a < b for a, b in pairwise(rounds)), "a round was certified twice"
    span_s = (rows[-1][2] - rows[0][2]) / 1e9
    return (len(rows) - 1) / span_s, statistics.fmean(row[1] == "FULL" for row in rows)


def measure() -> dict[str, Any]:
    result: dict[str, Any] = {"hardware": hardware()}
    say("latency, three alive and then one dead")
    result |= latency()
    say("certificates a second")
    result |= throughput()
    say("feed updates a second in batches")
    result |= updates()
    say("the cost of a batch without sockets and disk")
    cost = batch_cost()
    result["batch"] = {
        "update_us": cost.update_us,
        "updates_per_core_second": cost.updates_per_core_second,
    }
    say("adapters")
    result["adapter_messages_per_second"] = {
        venue: feeds.adapter_rate(venue, feeds.frames(venue)) for venue in VENUES
    }
    say("the quorum against an independent model")
    result["differential"] = differential()
    return result | {"methods": METHODS}


if __name__ == "__main__":
    finish("oracle", measure)
