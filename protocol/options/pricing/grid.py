"""American knock-outs: finite differences in the logarithm of the spot.

The holder may exercise up to the instant before the barrier is touched, so on the barrier the
option is worth its intrinsic value. Crank-Nicolson after two fully implicit half steps; early
exercise as a penalty; two grids, the finer with twice the nodes both ways, extrapolated to width 0.

Rannacher, "Finite element solution of diffusion problems with irregular data" (1984); Forsyth and
Vetzal, "Quadratic convergence for valuing American options using a penalty method" (SIAM Journal on
Scientific Computing 23, 2002).
"""

import math
from typing import Final

import numpy as np

from protocol.options.pricing.jets import Jet
from protocol.options.pricing.quadrature import Floats
from protocol.options.pricing.special import compiled, inline

NODES: Final = 400
"""Space and time steps of the coarser grid."""
REACH: Final = 7.0
"""Standard deviations of the whole life that the grid covers beyond the spot."""
BUMP: Final = 1e-3
"""Relative for the volatility, absolute for the rates, where a Greek is a difference."""
PENALTY: Final = 1e8
ROUNDS: Final = 20
"""Of the penalty iteration in a step; two or three are taken."""


@compiled
def knock_out(
    w: float, up: float, k: float, h: float,
    s: float, t: float, r: float, q: float, vol: float,
) -> Jet:  # fmt: skip
    """A call (w = 1) or put (w = -1), the spot on the living side, t and vol above 0; in the order
    of ``Greeks``. Vega and rhos are five-point differences, theta that of the Black-Scholes
    equation, also where the option is to be exercised now."""
    price, delta, gamma = _value(w, up, k, h, s, t, r, q, vol)
    vega = rho = dividend_rho = 0.0
    for n, weight in ((-2, 1.0), (-1, -8.0), (1, 8.0), (2, -1.0)):
        vega += weight * _value(w, up, k, h, s, t, r, q, vol * (1 + n * BUMP))[0]
        rho += weight * _value(w, up, k, h, s, t, r + n * BUMP, q, vol)[0]
        dividend_rho += weight * _value(w, up, k, h, s, t, r, q + n * BUMP, vol)[0]
    by = 1 / (12 * BUMP)
    theta = r * price - (r - q) * s * delta - 0.5 * vol * vol * s * s * gamma
    return price, delta, gamma, vega * by / vol, theta, rho * by, dividend_rho * by


@compiled
def _value(
    w: float, up: float, k: float, h: float,
    s: float, t: float, r: float, q: float, vol: float,
) -> tuple[float, float, float]:  # fmt: skip
    """Price, delta and gamma, extrapolated."""
    a0, a1, a2 = _solve(w, up, k / h, s / h, t, r, q, vol, NODES)
    b0, b1, b2 = _solve(w, up, k / h, s / h, t, r, q, vol, 2 * NODES)
    return h * (4 * b0 - a0) / 3, (4 * b1 - a1) / 3, (4 * b2 - a2) / (3 * h)


@compiled
def _solve(
    w: float, up: float, k: float, s: float, t: float, r: float, q: float, vol: float, n: int
) -> tuple[float, float, float]:
    """On one grid, the barrier at 1: it is node 0, and y the distance from it in logarithms. Not a
    number where a step's drift outweighs its diffusion: the scheme would oscillate."""
    away = -up
    strike, spot = away * math.log(k), away * math.log(s)
    width = spot + REACH * vol * math.sqrt(t) + abs(r - q) * t
    dx = width / n
    if dx < strike < width:  # a node on the strike
        dx = strike / math.ceil(strike / dx)
    size = math.ceil(width / dx) + 1
    pay = np.empty(size)
    for i in range(size):
        pay[i] = max(w * (math.exp(away * i * dx) - k), 0.0)
    v = pay.copy()
    drift = away * (r - q - 0.5 * vol * vol)
    if abs(drift) * dx > vol * vol:
        return math.nan, math.nan, math.nan
    diffusion = 0.5 * vol * vol / (dx * dx)
    low, mid, high = diffusion - 0.5 * drift / dx, -2 * diffusion - r, diffusion + 0.5 * drift / dx
    dt = t / n
    for _ in range(4):
        _step(v, pay, low, mid, high, 0.25 * dt, 1.0)
    for _ in range(n - 1):
        _step(v, pay, low, mid, high, dt, 0.5)
    return _read(v, spot, dx, s, away)


@compiled
def _step(
    v: Floats, pay: Floats, low: float, mid: float, high: float, dt: float, theta: float
) -> None:
    """One step back in time, in place; both ends keep their intrinsic value."""
    size = len(v)
    known, old = np.empty(size), v.copy()
    for i in range(1, size - 1):
        known[i] = v[i] + (1 - theta) * dt * (low * v[i - 1] + mid * v[i] + high * v[i + 1])
    a, b, c = -theta * dt * low, 1 - theta * dt * mid, -theta * dt * high
    slope, value = np.empty(size), np.empty(size)
    for _ in range(ROUNDS):
        slope[0], value[0] = 0.0, pay[0]
        for i in range(1, size - 1):
            held = PENALTY if old[i] < pay[i] else 0.0
            pivot = b + held + a * slope[i - 1]
            slope[i] = -c / pivot
            value[i] = (known[i] + held * pay[i] - a * value[i - 1]) / pivot
        v[size - 1] = pay[size - 1]
        moved = 0.0
        for i in range(size - 2, 0, -1):
            v[i] = value[i] + slope[i] * v[i + 1]
            moved = max(moved, abs(v[i] - old[i]) / max(1.0, abs(v[i])))
            old[i] = v[i]
        v[0] = pay[0]
        if moved < 1e-10:
            break


@inline
def _read(v: Floats, spot: float, dx: float, s: float, away: float) -> tuple[float, float, float]:
    """Value and derivatives by the spot, from the polynomial through the five nearest nodes."""
    i = min(max(int(spot / dx + 0.5), 2), len(v) - 3)
    z = spot / dx - i
    m2, m1, o, p1, p2 = v[i - 2], v[i - 1], v[i], v[i + 1], v[i + 2]
    c1 = (m2 - 8 * m1 + 8 * p1 - p2) / 12
    c2 = (-m2 + 16 * m1 - 30 * o + 16 * p1 - p2) / 24
    c3 = (-m2 + 2 * m1 - 2 * p1 + p2) / 12
    c4 = (m2 - 4 * m1 + 6 * o - 4 * p1 + p2) / 24
    value = o + z * (c1 + z * (c2 + z * (c3 + z * c4)))
    first = away * (c1 + z * (2 * c2 + z * (3 * c3 + z * 4 * c4))) / dx
    second = (2 * c2 + z * (6 * c3 + z * 12 * c4)) / (dx * dx)
    return value, first / s, (second - first) / (s * s)
