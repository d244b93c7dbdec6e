"""Implied volatility: the one that gives a European option its price, to rounding.

In normalised terms, with x = -|ln(F/K)| <= 0 and the total volatility v = vol sqrt(t), an
out-of-the-money option is worth b(v) = e^{x/2} N(x/v + v/2) - e^{-x/2} N(x/v - v/2), between 0 and
e^{x/2}. Below the inflection at sqrt(2|x|) the equation is solved for 1/ln b, which is nearly
linear in v^2; above it for b, and near the upper bound for ln(e^{x/2} - b).

Jaeckel, "Let's be rational" (Wilmott 75, 2015), sections 2 and 4; Halley's steps instead of his.
"""

import math
from typing import Final

from protocol.options.pricing import special
from protocol.options.pricing.kernels import ROWS
from protocol.options.pricing.quadrature import Floats
from protocol.options.pricing.special import DENSITY, compiled, inline

STEPS: Final = 5
"""Each cubes the error; a fixed number, so that rows advance together."""
_TINY: Final = 1e-150
"""Keeps the inflection of an option at the money above 0."""


@inline
def _normalised(
    w: float, price: float, k: float, s: float, t: float, r: float, q: float
) -> tuple[float, float]:
    """x and the out-of-the-money value b; nan outside the bounds of no arbitrage."""
    x = w * (special.log(s / k) + (r - q) * t)
    paid = special.exp(-r * t)
    forward_part, strike_part = s * special.exp(-q * t), k * paid
    inner = w * (forward_part - strike_part)
    beta = (price - (inner if inner > 0.0 else 0.0)) / math.sqrt(forward_part * strike_part)
    x = -abs(x)
    is_below = price < (forward_part if w > 0.0 else strike_part) and beta < special.exp(0.5 * x)
    is_inside = beta >= 0.0 and is_below and t > 0.0
    return x, beta if is_inside else math.nan


@inline
def _black(x: float, v: float) -> tuple[float, float, float]:
    """b(v), e^{x/2} - b(v), the smaller of them to full relative precision, and b'(v)."""
    h, half = x / v, 0.5 * v
    slope = DENSITY * special.exp(-0.5 * (h * h + half * half))
    near, far = slope * special.mills(abs(h + half)), slope * special.mills(half - h)
    top = special.exp(0.5 * x)
    if h + half > 0.0:
        return top - (near + far), near + far, slope
    return near - far, top - (near - far), slope


@inline
def _first(x: float, beta: float) -> float:
    """A v to begin with: above the inflection along its tangent, below it by ln b ~ -x^2 / (2 v^2)
    or, near the money, by b ~ n(0) v + x / 2."""
    bend = math.sqrt(-2.0 * x)
    value, _, slope = _black(x, bend + _TINY)
    if beta < value:
        deep = bend * math.sqrt(special.log(value) / special.log(beta))
        near = (beta - 0.5 * x) / DENSITY
        return deep if deep < near else near
    return bend + (beta - value) / slope + _TINY


@inline
def _nearer(x: float, beta: float, v: float) -> float:
    """One of Halley's steps from v."""
    value, rest, slope = _black(x, v)
    bend = x * x / (v * v * v) - 0.25 * v
    top = special.exp(0.5 * x)
    is_low, is_high = v * v < -2.0 * x and beta < 0.5 * top, beta > 0.5 * top
    level = special.log(value if is_low else rest)
    goal = special.log(beta if is_low else top - beta)
    if is_low:
        newton = (1.0 / goal - 1.0 / level) * -level * level * value / slope
        bend -= (1.0 + 2.0 / level) * slope / value
    elif is_high:
        newton = (level - goal) * rest / slope
        bend += slope / rest
    else:
        newton = (beta - value) / slope
    damping = 1.0 + 0.5 * newton * bend
    step = newton / (damping if damping > 0.25 else 0.25)
    lowest = -0.75 * v
    return v + (step if step > lowest else lowest)


@compiled
def implied_vol(w: float, price: float, k: float, s: float, t: float, r: float, q: float) -> float:
    """The volatility per root year of a call (w = 1) or put (w = -1); nan outside the bounds of no
    arbitrage, 0 on the lower one."""
    x, beta = _normalised(w, price, k, s, t, r, q)
    v = _first(x, beta)
    for _ in range(STEPS):
        v = _nearer(x, beta, v)
    return v / math.sqrt(t) if beta != 0.0 else 0.0


@compiled
def implied_rows(a: Floats, y: Floats, n: int) -> None:
    """``implied_vol`` for the first n rows of a block; fields w, price, k, s, t, r, q. The answer
    is the first column of y; the next two are overwritten."""
    for i in range(n):
        x, beta = _normalised(
            a[i], a[i + ROWS], a[i + 2 * ROWS], a[i + 3 * ROWS], a[i + 4 * ROWS],
            a[i + 5 * ROWS], a[i + 6 * ROWS],
        )  # fmt: skip
        y[i], y[i + ROWS], y[i + 2 * ROWS] = _first(x, beta), x, beta
    for _ in range(STEPS):
        for i in range(n):
            y[i] = _nearer(y[i + ROWS], y[i + 2 * ROWS], y[i])
    for i in range(n):
        y[i] = y[i] / math.sqrt(a[i + 4 * ROWS]) if y[i + 2 * ROWS] != 0.0 else 0.0
