"""Estimators find the volatility of a simulated history, with rounds missing."""

import math
from itertools import pairwise

import numpy as np
import pytest

from protocol.errors import PriceError
from protocol.options.volatility import (
    YEAR_MS,
    Bar,
    Sample,
    ewma,
    parkinson,
    rogers_satchell,
)

DAY_MS = 86_400_000


def path(vol, steps, step_ms, seed=1, drift=0.0):
    """(at_ms, price_e8) of a geometric Brownian motion, one step in three left out."""
    rng = np.random.default_rng(seed)
    moves = rng.normal(drift * step_ms / YEAR_MS, vol * math.sqrt(step_ms / YEAR_MS), steps)
    prices = 6e12 * np.exp(np.cumsum(moves))
    kept = rng.random(steps) < 2 / 3
    return [(i * step_ms, round(prices[i])) for i in range(steps) if kept[i]]


def bars(points, width_ms):
    """A bar opens where the one before closed."""
    grouped = {}
    for at_ms, price in points:
        grouped.setdefault(at_ms // width_ms, []).append(price)
    found = []
    for (_, before), (n, prices) in pairwise(sorted(grouped.items())):
        seen = [before[-1], *prices]
        span = (n * width_ms, (n + 1) * width_ms)
        found.append(Bar(*span, seen[0], max(seen), min(seen), seen[-1]))
    return found


@pytest.mark.parametrize("vol", [0.1, 0.6, 3.0])
def test_ewma_of_an_irregular_history(vol):
    samples = [Sample(*point) for point in path(vol, 30_000, 60_000)]
    assert math.isclose(ewma(samples, 30 * DAY_MS), vol, rel_tol=0.02)


def test_ewma_follows_a_change():
    calm = path(0.3, 20_000, 60_000)
    shift = calm[-1][0] + 60_000
    wild = [(at_ms + shift, price) for at_ms, price in path(0.9, 20_000, 60_000, seed=2)]
    wild = [(at_ms, round(price * calm[-1][1] / wild[0][1])) for at_ms, price in wild]
    samples = [Sample(*point) for point in calm + wild]
    assert math.isclose(ewma(samples, DAY_MS), 0.9, rel_tol=0.1)
    assert 0.6 < ewma(samples, 1000 * DAY_MS) < 0.75


def test_one_move_by_hand():
    """1 % in a quarter of a year is 2 % a root year."""
    samples = [Sample(0, 10**10), Sample(YEAR_MS // 4, round(10**10 * math.exp(0.01)))]
    assert math.isclose(ewma(samples, DAY_MS), 0.02, rel_tol=1e-6)
    bar = Bar(0, YEAR_MS // 4, 10**10, round(10**10 * math.exp(0.01)), 10**10, 10**10)
    assert math.isclose(parkinson([bar]), 0.02 / math.sqrt(4 * math.log(2)), rel_tol=1e-6)
    assert math.isclose(rogers_satchell([bar]), 0.02, rel_tol=1e-6)


@pytest.mark.parametrize("estimate", [parkinson, rogers_satchell])
def test_ranges(estimate):
    """Ten-second rounds in bars of a day: the range misses a little."""
    history = bars(path(0.6, 500_000, 10_000), DAY_MS)
    assert math.isclose(estimate(history), 0.6, rel_tol=0.08)


def test_drift_biases_parkinson_alone():
    history = bars(path(0.2, 300_000, 10_000, drift=20.0), DAY_MS)
    assert parkinson(history) > 0.5
    assert math.isclose(rogers_satchell(history), 0.2, rel_tol=0.15)


def test_old_bars_weigh_less():
    def bar(n, percent):
        high = round(10**10 * (1 + percent / 100))
        return Bar(n * DAY_MS, (n + 1) * DAY_MS, 10**10, high, 10**10, 10**10)

    history = [bar(0, 4), bar(1, 1)]
    level = parkinson(history)
    assert parkinson(history[1:]) < parkinson(history, DAY_MS) < level < parkinson(history[:1])


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (lambda: ewma([Sample(0, 1)], 1.0), "two"),
        (lambda: ewma([Sample(0, 1), Sample(0, 1)], 1.0), "at_ms"),
        (lambda: ewma([Sample(0, 1), Sample(1, 0)], 1.0), "price_e8"),
        (lambda: ewma([Sample(0, 1), Sample(1, 2)], 0.0), "half_life_ms"),
        (lambda: ewma([Sample(0, 1), Sample(1, 2)], math.nan), "half_life_ms"),
        (lambda: parkinson([]), "no bars"),
        (lambda: parkinson([Bar(0, 5, 2, 2, 2, 2), Bar(4, 6, 2, 2, 2, 2)]), "start_ms"),
        (lambda: Bar(5, 5, 2, 2, 2, 2), "end_ms"),
        (lambda: Bar(0, 5, 2, 2, 3, 2), "low_e8"),
        (lambda: Bar(0, 5, 3, 2, 1, 2), "high_e8"),
        (lambda: Bar(0, 5, 1, 2, 0, 1), "above 0"),
    ],
)
def test_what_is_refused(make, word):
    with pytest.raises(PriceError, match=word):
        make()
