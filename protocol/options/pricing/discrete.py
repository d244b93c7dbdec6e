"""Knock-outs that are looked at on dates: exact quadrature of the transition density.

The barrier is looked at on ``dates`` equally spaced dates, the last of them expiry; the start is
none. Between two dates the log of the spot moves by a normal step, so the value on one date is the
integral of the value on the next over the side of the barrier that lives. Panels of Gauss-Legendre
nodes as wide as 1.5 steps, with a border at the strike, give it to about 1e-12 of the spot; a step
reaches a few panels, so the work grows as dates^1.5.

With more than ``EXACT_DATES`` the continuous formula is used, its barrier moved away from the spot
by 0.5826 standard deviations of a step. What it is wrong by falls as 1 / dates and is measured at
``EXACT_DATES``, until it no longer matters.

Andricopoulos, Widdicks, Duck and Newton, "Universal option valuation using quadrature methods"
(Journal of Financial Economics 67, 2003); Broadie, Glasserman and Kou, "A continuity correction for
discrete barrier options" (Mathematical Finance 7, 1997).
"""

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from protocol.options.pricing import kernels, special
from protocol.options.pricing.jets import Jet
from protocol.options.pricing.quadrature import Floats, gauss_legendre
from protocol.options.pricing.special import compiled, inline, inline_sum

EXACT_DATES: Final = 400
_MANY_DATES: Final = 40_000
BUMP: Final = 1e-3
"""Relative for the volatility, absolute for the carry, where a Greek is a five-point difference."""

SHIFT: Final = 0.5825971579390106
"""-zeta(1/2) / sqrt(2 pi): the correction, in standard deviations of a step."""
_RULE: Final = gauss_legendre(12)
_PANEL: Final = 1.5
"""Width of a panel in standard deviations of a step, at most."""
_REACH: Final = 10.0
"""Standard deviations of the whole life that the quadrature covers around the spot."""
_BAND: Final = 9.0
"""Standard deviations of a step that it reaches."""


def knock_out(
    w: float, up: float, asset: float, cash: float, k: float, h: float, dates: int,
    s: float, t: float, r: float, q: float, vol: float,
) -> Jet:  # fmt: skip
    """A knock-out as ``closed.knock_out``, looked at on ``dates`` dates only; in the order of
    ``Greeks``, theta being that between two dates. t and vol are above 0."""
    if dates <= EXACT_DATES:
        exact: Jet = _greeks(w, up, asset, cash, k, h, dates, s, t, r, q, vol, *_RULE)
        return exact
    many = _corrected(w, up, asset, cash, k, h, dates, s, t, r, q, vol)
    if dates > _MANY_DATES:
        return many
    few = _corrected(w, up, asset, cash, k, h, EXACT_DATES, s, t, r, q, vol)
    exact = _greeks(w, up, asset, cash, k, h, EXACT_DATES, s, t, r, q, vol, *_RULE)
    share = EXACT_DATES / dates
    a, b, c, d, e, f, g = (m + share * (x - y) for m, x, y in zip(many, exact, few, strict=True))
    return a, b, c, d, e, f, g


def _corrected(
    w: float, up: float, asset: float, cash: float, k: float, h: float, dates: int,
    s: float, t: float, r: float, q: float, vol: float,
) -> Jet:  # fmt: skip
    spread = up * SHIFT * math.sqrt(t / dates)
    moved: Jet = kernels.knock_out(w, up, asset, cash, k, h, spread, s, t, r, q, vol)
    return moved


@compiled
def _greeks(
    w: float, up: float, asset: float, cash: float, k: float, h: float, dates: int,
    s: float, t: float, r: float, q: float, vol: float, nodes: Floats, weights: Floats,
) -> Jet:  # fmt: skip
    """The price depends on rate and yield by discount and carry, so both rhos follow from one
    derivative by the carry; theta is that of the Black-Scholes equation."""
    carry = r - q
    price, delta, gamma = _value(
        w, up, asset, cash, k, h, dates, s, t, r, carry, vol, nodes, weights
    )
    vega = by_carry = 0.0
    for n, weight in ((-2, 1.0), (-1, -8.0), (1, 8.0), (2, -1.0)):
        vega += weight * _value(
            w, up, asset, cash, k, h, dates, s, t, r, carry, vol * (1 + n * BUMP), nodes, weights
        )[0]  # fmt: skip
        by_carry += weight * _value(
            w, up, asset, cash, k, h, dates, s, t, r, carry + n * BUMP, vol, nodes, weights
        )[0]  # fmt: skip
    vega /= 12 * BUMP * vol
    by_carry /= 12 * BUMP
    theta = r * price - carry * s * delta - 0.5 * vol * vol * s * s * gamma
    return price, delta, gamma, vega, theta, by_carry - t * price, -by_carry


@compiled
def _value(
    w: float, up: float, asset: float, cash: float, k: float, h: float, dates: int,
    s: float, t: float, r: float, carry: float, vol: float, nodes: Floats, weights: Floats,
) -> tuple[float, float, float]:  # fmt: skip
    """Price, delta and gamma; logarithms are of the spot over the barrier."""
    dt = t / dates
    sd = vol * math.sqrt(dt)
    drift = (carry - 0.5 * vol * vol) * dt
    x, strike = math.log(s / h), math.log(k / h)
    reach = _REACH * vol * math.sqrt(t) + abs(drift) * dates + vol * vol * t
    low, high = (x - reach, min(x + reach, 0.0)) if up > 0.0 else (max(x - reach, 0.0), x + reach)
    if low >= high:
        return 0.0, 0.0, 0.0
    y, area = _panels(low, high, strike, _PANEL * sd, nodes, weights)
    size = len(y)
    value, other = np.zeros(size), np.empty(size)
    for i in range(size):
        if w * (y[i] - strike) > 0.0:
            value[i] = asset * h * math.exp(y[i]) + cash
    first, kernel = _transition(y, area, drift, sd, math.exp(-r * dt))
    for _ in range(dates - 1):
        for i in range(size):
            other[i] = _dot(kernel[i], value[first[i] :])
        value, other = other, value
    price = slope = bend = 0.0
    for i in range(size):
        z = (y[i] - x - drift) / sd
        paid = special.density(-r * dt, z) / sd * area[i] * value[i]
        price += paid
        slope += paid * z
        bend += paid * (z * z - 1.0)
    slope, bend = slope / sd, bend / (sd * sd)
    return price, slope / s, (bend - slope) / (s * s)


@inline_sum
def _dot(a: Floats, b: Floats) -> float:
    total = 0.0
    for j in range(min(len(a), len(b))):
        total += a[j] * b[j]
    return total


@inline
def _transition(
    y: Floats, area: Floats, drift: float, sd: float, discount: float
) -> tuple[NDArray[np.int64], Floats]:
    """Row i: what the values from node ``first[i]`` on add to the value at node i a date before."""
    size = len(y)
    first, width, end = np.zeros(size, np.int64), 0, 0
    for i in range(size):
        start = first[i - 1] if i > 0 else 0
        while start < size and y[start] < y[i] + drift - _BAND * sd:
            start += 1
        while end < size and y[end] <= y[i] + drift + _BAND * sd:
            end += 1
        first[i] = start
        width = max(width, end - start)
    kernel = np.zeros((size, width))
    for i in range(size):
        for j in range(min(width, size - first[i])):
            z = (y[first[i] + j] - y[i] - drift) / sd
            kernel[i, j] = special.density(0.0, z) / sd * area[first[i] + j] * discount
    return first, kernel


@inline
def _panels(
    low: float, high: float, border: float, width: float, nodes: Floats, weights: Floats
) -> tuple[Floats, Floats]:
    """Nodes and weights over [low, high], with ``border`` between two panels if it lies inside."""
    middle = min(max(border, low), high)
    before = math.ceil((middle - low) / width)
    after = math.ceil((high - middle) / width)
    y, area = np.empty((before + after, len(nodes))), np.empty((before + after, len(nodes)))
    for p in range(before + after):
        if p < before:
            half = 0.5 * (middle - low) / before
            start = low + 2 * half * p
        else:
            half = 0.5 * (high - middle) / after
            start = middle + 2 * half * (p - before)
        for j in range(len(nodes)):
            y[p, j] = start + half * (1.0 + nodes[j])
            area[p, j] = half * weights[j]
    return y.ravel(), area.ravel()
