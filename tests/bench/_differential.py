"""The rules of aggregation against a second model that was written differently: other algorithms,
other order, no shared code. Random cases and the edges that random ones miss."""

import time
from collections.abc import Sequence
from random import Random
from typing import Any, Final

from protocol.errors import QuorumError
from protocol.oracle import quorum
from protocol.oracle.config import MAX_ORACLES, OracleConfig
from protocol.oracle.layout import ZERO32
from protocol.oracle.observation import Observation, SignedObservation
from protocol.oracle.proposal import propose
from protocol.oracle.report import Grade
from tests.builders.oracles import FEED_ID, ROUND, T0, make_config

CASES: Final = 1_000_000
PROPOSALS: Final = 20
"""One case in so many also builds a whole report, if the encoding holds so many oracles."""
U64: Final = 2**64 - 1
EDGES: Final = (0, 1, 2, 10**8, 2**63, U64 - 1, U64)

# The model: counting instead of sorting, ratios instead of differences


def model_median(values: Sequence[int]) -> int:
    """The value with equally many below and above; between two of them, the floor of the mean."""
    below = max(v for v in values if sum(w < v for w in values) <= (len(values) - 1) // 2)
    above = min(v for v in values if sum(w > v for w in values) <= (len(values) - 1) // 2)
    return (below + above) >> 1


def model_within(a: int, b: int, ppm: int) -> bool:
    """high / low <= 1 + ppm / 10^6, cross-multiplied; zero is only within reach of itself."""
    low, high = (a, b) if a < b else (b, a)
    return high * 10**6 <= low * (10**6 + ppm)


def model_report(
    prices: Sequence[int], confs: Sequence[int], faults: int, ppm: int
) -> tuple[int, int, int] | None:
    """(price, conf, grade), or None where there is no report."""
    if len(prices) <= faults:
        return None
    grade = 1 if len(prices) > 2 * faults else 2
    if grade == 2 and not all(model_within(a, b, ppm) for a in prices for b in prices):
        return None
    spread = max(abs(a - b) for a in prices for b in prices)
    return model_median(prices), max(model_median(confs), spread - spread // 2), grade


# The comparison


def differential(cases: int = CASES, seed: int = 1) -> dict[str, Any]:
    """``cases`` cases; how many differed, and the time it took."""
    random, started, mismatches = Random(seed), time.perf_counter(), 0
    configs = {
        (n, f): make_config(n, faults=f, quorum=f + 1)
        for n in range(1, 9)
        for f in (0, 1, 2, 3)
        if 2 * f < n
    }
    sizes = sorted(configs)
    for case in range(cases):
        n, faults = random.choice(sizes)
        count = random.randint(1, n)
        prices = _values(random, count)
        confs = _values(random, count)
        ppm = random.choice((0, 1, 5_000, 5_000, 10**6, 2**32 - 1))
        expected = model_report(prices, confs, faults, ppm)
        if _answer(prices, confs, faults, ppm) != expected:
            mismatches += 1
        a, b = prices[0], random.choice(prices + confs)
        if quorum.within(a, b, ppm) is not model_within(a, b, ppm):
            mismatches += 1
        if case % PROPOSALS == 0 and n <= MAX_ORACLES:
            config = configs[n, faults]
            mismatches += _proposed(config, random.sample(range(n), count), prices, confs)
    return {
        "cases": cases,
        "mismatches": mismatches,
        "seconds": round(time.perf_counter() - started, 3),
    }


def _values(random: Random, count: int) -> list[int]:
    """Spread over u64, close together, on a limit of delta, or at the edges."""
    kind, base = random.randrange(4), random.getrandbits(random.randint(1, 63))
    if kind == 0:
        return [random.getrandbits(random.randint(1, 64)) for _ in range(count)]
    if kind == 1:
        return [base + random.randint(0, 3) for _ in range(count)]
    if kind == 2:
        limit = base * 5_000 // 10**6
        return [base + random.choice((0, limit, limit + 1)) for _ in range(count)]
    return random.choices(EDGES, k=count)


def _answer(
    prices: Sequence[int], confs: Sequence[int], faults: int, ppm: int
) -> tuple[int, int, int] | None:
    try:
        grade = quorum.grade(prices, faults, ppm)
    except QuorumError:
        return None
    return quorum.median(prices), quorum.confidence(prices, confs), int(grade)


def _proposed(
    config: OracleConfig, oracles: Sequence[int], prices: Sequence[int], confs: Sequence[int]
) -> int:
    """1 if a whole report differs from the model's numbers, its bitmap from the oracles."""
    seen = [
        SignedObservation(oracle, _observation(config, price, conf), bytes(64))
        for oracle, price, conf in zip(oracles, prices, confs, strict=True)
    ]
    expected = model_report(prices, confs, config.faults, config.delta_ppm)
    try:
        report = propose(config, FEED_ID, ROUND, seen, ZERO32, T0)
    except QuorumError:
        return int(expected is not None)
    bitmap = sum(1 << oracle for oracle in oracles)
    found = (report.price_e8, report.conf_e8, int(report.grade))
    return int((found, report.observers) != (expected, bitmap) or report.grade not in Grade)


def _observation(config: OracleConfig, price: int, conf: int) -> Observation:
    return Observation(
        config_digest=config.digest,
        feed_id=FEED_ID,
        round=ROUND,
        seq=1,
        price_e8=price,
        conf_e8=conf,
        venues=7,
        flags=0,
        obs_time=T0,
        venue_time=T0,
        evidence_root=ZERO32,
    )
