"""American options: the exercise boundary as a fixed point, interpolated in Chebyshev nodes.

A put is worth the European one and what exercising early adds, an integral over the boundary B;
B itself solves an integral equation, B = f(B), in n + 1 nodes at once. With time in units of the
life, nodes and interpolation are the same for all options: ``Scheme`` has them as tables. A call is
the put with spot and strike, and rate and yield, exchanged.

Andersen, Lake and Offengenden, "High performance American option pricing" (Journal of Computational
Finance 20, 2016): systems FP-A and FP-B of section 4, nodes of
section 5; McDonald and Schroder, "A parity
result for American options" (1998).
"""

import math
from typing import Final, NamedTuple

import numpy as np

from protocol.options.pricing import kernels, special
from protocol.options.pricing.jets import Jet
from protocol.options.pricing.kernels import ROWS, put_row
from protocol.options.pricing.quadrature import Floats, Rule, gauss_legendre, tanh_sinh
from protocol.options.pricing.special import compiled, inline_sum

BUMP: Final = 1e-3
"""Relative for the volatility, absolute for the rates, where a Greek is a five-point difference."""
_LOWEST: Final = -30.0
"""ln(B / top) is kept above it."""


class Scheme(NamedTuple):
    """How finely, as tables. Node i lies at time tau_i = (roots[i])^2 of the life, and the series
    is one of ln(B / top)^2, which is nearly linear in sqrt(tau) and 0 at the last node, expiry."""

    steps: int
    roots: Floats
    left: Floats
    """Of tau_i, what is left at each node of the integral in the boundary's equation."""
    weights: Floats
    boundary: Floats
    """[i, m, j]: the weight of node m in the boundary at node j of the integral of tau_i."""
    price_left: Floats
    price_weights: Floats
    price_boundary: Floats
    """[m, j], likewise for the integral of the price over the whole life."""


def scheme(nodes: int, steps: int, equation: Rule, price: Rule) -> Scheme:
    """``nodes`` of the boundary before expiry, ``steps`` of the iteration, and two rules on
    [-1, 1], used with the square of time left as variable."""
    left, weights = _in_root(equation)
    price_left, price_weights = _in_root(price)
    angles = np.arange(nodes + 1) * np.pi / nodes
    roots = (1 + np.cos(angles[:nodes])) / 2
    at = 2 * roots[:, None] * np.sqrt(1 - left) - 1
    boundary = np.array([_lagrange(angles, z) for z in at])
    price_boundary = _lagrange(angles, 2 * np.sqrt(1 - price_left) - 1)
    return Scheme(steps, roots, left, weights, boundary, price_left, price_weights, price_boundary)


def _in_root(rule: Rule) -> Rule:
    """Nodes and weights over [0, 1] of u, for an integral with singular slope at 0: u = z^2."""
    half = (1 + rule[0]) / 2
    return half * half, rule[1] * half


def _lagrange(angles: Floats, z: Floats) -> Floats:
    """[m, j]: what a value at the Chebyshev node cos(angles[m]) adds to the polynomial at z[j]; but
    for the last node, where the value is 0."""
    n = len(angles) - 1
    series = np.cos(np.outer(np.arange(n + 1), angles)) * (2 / n)
    series[[0, n], :] /= 2
    series[:, [0, n]] /= 2
    table: Floats = (np.polynomial.chebyshev.chebvander(z, n) @ series).T[:n].copy()
    return table


Schemes = tuple[Scheme, Scheme]
"""For either equation of the boundary: FP-A where volatility rules, FP-B where drift does."""

FAST: Final = (
    scheme(8, 5, gauss_legendre(16), gauss_legendre(24)),
    scheme(10, 10, gauss_legendre(32), gauss_legendre(32)),
)
"""Within 1e-5 of the strike, mostly 1e-6."""
ACCURATE: Final = (
    scheme(16, 10, gauss_legendre(40), tanh_sinh(96)),
    scheme(20, 20, gauss_legendre(40), tanh_sinh(96)),
)
"""Within 1e-6 of the strike over five years at any volatility, mostly 1e-8."""
_DRIFTING: Final = 0.5
"""Standard deviations of drift over the life from which the second is used."""


@inline_sum
def _boundary(h: Floats, table: Floats, g: Floats) -> None:
    """-ln(B / top) at the columns of ``table``."""
    for j in range(len(g)):
        g[j] = 0.0
    for m in range(len(h)):
        for j in range(len(g)):
            g[j] += table[m, j] * h[m]
    for j in range(len(g)):
        g[j] = math.sqrt(g[j] if g[j] > 0.0 else 0.0)


@inline_sum
def _improve_a(
    b: float, tau: float, log_top: float, r: float, q: float, vol: float,
    left: Floats, weights: Floats, g: Floats,
) -> float:  # fmt: skip
    """ln(f(B) / top) at tau from b = ln(B / top) there, the rest of the boundary being ``g``;
    ``log_top`` is ln(top / k). f is that of smooth pasting: a few steps do, but where drift
    outweighs volatility they lead away."""
    carry = r - q
    sd = vol * math.sqrt(tau)
    x = (b + log_top + carry * tau) / sd
    cdf, d = special.normal(x + 0.5 * sd)
    above = special.density(0.0, x - 0.5 * sd) / sd
    below = cdf + d / sd
    for j in range(len(g)):
        rest = tau * left[j]
        step = vol * math.sqrt(rest)
        x = (b + g[j] + carry * rest) / step
        u = tau - rest
        w = weights[j] * tau
        cdf, d = special.tail(q * u, x + 0.5 * step)
        above += w * r * special.density(r * u, x - 0.5 * step) / step
        below += w * q * (cdf + d / step)
    return special.log(above / below) - carry * tau - log_top


@inline_sum
def _improve_b(
    b: float, tau: float, log_top: float, r: float, q: float, vol: float,
    left: Floats, weights: Floats, g: Floats,
) -> float:  # fmt: skip
    """Likewise, f being that of value matching: slower and always towards the boundary."""
    carry = r - q
    sd = vol * math.sqrt(tau)
    x = (b + log_top + carry * tau) / sd
    above, _ = special.normal(x - 0.5 * sd)
    below, _ = special.normal(x + 0.5 * sd)
    for j in range(len(g)):
        rest = tau * left[j]
        step = vol * math.sqrt(rest)
        x = (b + g[j] + carry * rest) / step
        u = tau - rest
        n_low, _ = special.tail(r * u, x - 0.5 * step)
        n_high, _ = special.tail(q * u, x + 0.5 * step)
        by_r, by_q = weights[j] * tau * r, weights[j] * tau * q
        above += by_r * n_low
        below += by_q * n_high
    return special.log(above / below) - carry * tau - log_top


@inline_sum
def _premium(
    s: float, t: float, k: float, top: float, r: float, q: float, vol: float,
    left: Floats, weights: Floats, g: Floats,
) -> tuple[float, float, float]:  # fmt: skip
    """What early exercise adds, and its first two derivatives by the spot."""
    value = delta = gamma = 0.0
    moneyness = special.log(s / top)
    for j in range(len(g)):
        rest = t * left[j]
        step = vol * math.sqrt(rest)
        x = (moneyness + g[j] + (r - q) * rest) / step
        low, high = x - 0.5 * step, x + 0.5 * step
        by_r, by_q = weights[j] * t * r * k, weights[j] * t * q * s
        n_low, d_low = special.tail(-r * rest, -low)
        n_high, d_high = special.tail(-q * rest, -high)
        value += by_r * n_low - by_q * n_high
        delta += by_q * (d_high / step - n_high) - by_r * d_low / step
        gamma += by_r * d_low / step * (1 + low / step) + by_q * d_high / step * (1 - high / step)
    return value, delta / s, gamma / (s * s)


@compiled
def _seed(root: float, t: float, k: float, r: float, q: float, vol: float, top: float) -> float:
    """ln(B / top) to begin with: from ``top`` at expiry towards the boundary of a perpetual put
    (Barone-Adesi and Whaley 1987, the seed of their equation 20)."""
    variance = vol * vol
    m, n = 2 * r / variance, 2 * (r - q) / variance
    power = (-(n - 1) - math.sqrt((n - 1) * (n - 1) + 4 * m)) / 2
    perpetual = k * power / (power - 1)
    h = ((r - q) * root * root * t - 2 * vol * root * math.sqrt(t)) * k / (k - perpetual)
    b = perpetual + (top - perpetual) * special.exp(min(h, 0.0))
    return float(special.log(b / top))


@compiled
def _straight(s: float, k: float, t: float, r: float, q: float) -> tuple[float, float, float]:
    """``_put`` without uncertainty: the best moment to exercise is now, expiry, or where interest
    on the strike begins to outweigh the yield on the spot."""
    now = max(k - s, 0.0)
    when, best = 0.0, now
    between = 0.0
    if q * s > 0.0 and r * k > 0.0 and r != q:
        between = min(max(special.log(q * s / (r * k)) / (q - r), 0.0), t)
    for u in (between, t):
        paid = k * math.exp(-r * u) - s * math.exp(-q * u)
        if paid > best:
            when, best = u, paid
    if best == 0.0:
        return 0.0, 0.0, 0.0
    return best, -math.exp(-q * when), 0.0


@compiled
def _put(
    s: float, k: float, t: float, r: float, q: float, vol: float, schemes: Schemes
) -> tuple[float, float, float]:
    """Price, delta and gamma of a put; r > 0."""
    sd = vol * math.sqrt(t)
    if sd == 0.0:
        return _straight(s, k, t, r, q)
    is_drifting = abs(r - q) * t > _DRIFTING * sd
    tables = schemes[1] if is_drifting else schemes[0]
    x = (special.log(s / k) + (r - q) * t) / sd
    n_low, _ = special.tail(-r * t, 0.5 * sd - x)
    n_high, d_high = special.tail(-q * t, -0.5 * sd - x)
    value, delta, gamma = k * n_low - s * n_high, -n_high, d_high / (s * sd)
    top = k * min(1.0, r / q) if q > 0.0 else k
    n = len(tables.roots)
    b, h, g = np.empty(n), np.empty(n), np.empty(len(tables.left))
    log_top = float(special.log(top / k))
    for i in range(n):
        b[i] = _seed(tables.roots[i], t, k, r, q, vol, top)
    for step in range(tables.steps + 1):
        for i in range(n):
            if step > 0:
                tau = t * tables.roots[i] ** 2
                _boundary(h, tables.boundary[i], g)
                if is_drifting:
                    b[i] = _improve_b(b[i], tau, log_top, r, q, vol, tables.left, tables.weights, g)
                else:
                    b[i] = _improve_a(b[i], tau, log_top, r, q, vol, tables.left, tables.weights, g)
            b[i] = min(max(b[i], _LOWEST), 0.0)
        for i in range(n):
            h[i] = b[i] * b[i]
    if s <= top * special.exp(b[0]):
        return k - s, -1.0, 0.0
    g = np.empty(len(tables.price_left))
    _boundary(h, tables.price_boundary, g)
    more, d_more, g_more = _premium(
        s, t, k, top, r, q, vol, tables.price_left, tables.price_weights, g
    )
    return value + more, delta + d_more, gamma + g_more


@compiled
def _value(
    w: float, k: float, s: float, t: float, r: float, q: float, vol: float, schemes: Schemes
) -> tuple[float, float, float]:
    """Price, delta and gamma of a call or a put. The price is homogeneous in spot and
    strike, which gives a call's derivatives from those of the put with the two exchanged."""
    if w < 0.0:
        return _put(s, k, t, r, q, vol, schemes)
    price, by_strike, bend = _put(k, s, t, q, r, vol, schemes)
    return price, (price - k * by_strike) / s, bend * (k / s) ** 2


@compiled
def american(
    w: float, k: float, s: float, t: float, r: float, q: float, vol: float, schemes: Schemes,
    is_price_alone: bool,
) -> Jet:  # fmt: skip
    """Price and Greeks in the order of ``Greeks``, of a call (w = 1) or put (w = -1).

    Theta is that of the Black-Scholes equation, also where the option is to be exercised now. Vega
    and both rhos are five-point differences, 12 more prices; 0 if ``is_price_alone``. Not a number
    where the exercise region has two borders: for a put at q < r < 0, or q < r = 0, and for a call
    with r and q exchanged.
    """
    gain, loss = (r, q) if w < 0.0 else (q, r)
    if gain <= 0.0:
        if loss < gain or (gain == 0.0 and loss < 0.0):
            return (math.nan, math.nan, math.nan, math.nan, math.nan, math.nan, math.nan)
        return kernels.european(w, w, -w * k, k, s, t, r, q, vol)
    price, delta, gamma = _value(w, k, s, t, r, q, vol, schemes)
    theta = r * price - (r - q) * s * delta - 0.5 * vol * vol * s * s * gamma
    vega = rho = dividend_rho = 0.0
    if not is_price_alone:
        by_vol = BUMP * vol
        by_rate = min(BUMP, 0.25 * gain) if loss < 0.0 else BUMP
        for n, weight in ((-2, 1.0), (-1, -8.0), (1, 8.0), (2, -1.0)):
            if vol > 0.0:
                vega += weight * _value(w, k, s, t, r, q, vol + n * by_vol, schemes)[0]
            rho += weight * _value(w, k, s, t, r + n * by_rate, q, vol, schemes)[0]
            dividend_rho += weight * _value(w, k, s, t, r, q + n * by_rate, vol, schemes)[0]
        vega = vega / (12 * by_vol) if vol > 0.0 else 0.0
        rho /= 12 * by_rate
        dividend_rho /= 12 * by_rate
    return price, delta, gamma, vega, theta, rho, dividend_rho


@compiled
def american_rows(x: Floats, y: Floats, n: int, schemes: Schemes, is_price_alone: bool) -> None:
    """``american`` for the first n rows of a block; fields w, k, s, t, r, q, vol."""
    for i in range(n):
        v = american(
            x[i], x[i + ROWS], x[i + 2 * ROWS], x[i + 3 * ROWS], x[i + 4 * ROWS],
            x[i + 5 * ROWS], x[i + 6 * ROWS], schemes, is_price_alone,
        )  # fmt: skip
        put_row(y, i, v)
