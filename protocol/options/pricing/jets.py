"""Numbers that carry their derivatives: a formula written once gives the price and every Greek.

A jet holds a value and, of it, the derivatives by spot (first and second), volatility, time to
expiry, rate and dividend yield (first). Arithmetic on jets is the chain rule, exact to rounding.
All of it is compiled into the formula that uses it; what nobody reads, the compiler drops.

    jet = (value, d/dS, d2/dS2, d/dvol, d/dt, d/dr, d/dq)

Griewank and Walther, "Evaluating Derivatives" (2008), chapter 13 (Taylor arithmetic).
"""

import math

from protocol.options.pricing import special
from protocol.options.pricing.special import inline

Jet = tuple[float, float, float, float, float, float, float]


@inline
def constant(a: float) -> Jet:
    """A number that depends on none of the variables."""
    return (a, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)


@inline
def variables(s: float, t: float, r: float, q: float, vol: float) -> tuple[Jet, Jet, Jet, Jet, Jet]:
    """Spot, time, rate, dividend yield and volatility as jets."""
    return (
        (s, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0),
        (t, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0),
        (r, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0),
        (q, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0),
        (vol, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0),
    )


@inline
def add(a: Jet, b: Jet) -> Jet:
    """a + b."""
    return (
        a[0] + b[0],
        a[1] + b[1],
        a[2] + b[2],
        a[3] + b[3],
        a[4] + b[4],
        a[5] + b[5],
        a[6] + b[6],
    )


@inline
def scale(c: float, a: Jet) -> Jet:
    """c * a for a plain number c."""
    return (c * a[0], c * a[1], c * a[2], c * a[3], c * a[4], c * a[5], c * a[6])


@inline
def over(a: Jet, c: float) -> Jet:
    """a / c for a plain number c."""
    return (a[0] / c, a[1] / c, a[2] / c, a[3] / c, a[4] / c, a[5] / c, a[6] / c)


@inline
def sub(a: Jet, b: Jet) -> Jet:
    """a - b."""
    return add(a, scale(-1.0, b))


@inline
def mul(a: Jet, b: Jet) -> Jet:
    """a * b."""
    return (
        a[0] * b[0],
        a[1] * b[0] + a[0] * b[1],
        a[2] * b[0] + 2.0 * a[1] * b[1] + a[0] * b[2],
        a[3] * b[0] + a[0] * b[3],
        a[4] * b[0] + a[0] * b[4],
        a[5] * b[0] + a[0] * b[5],
        a[6] * b[0] + a[0] * b[6],
    )


@inline
def apply(f: float, slope: float, bend: float, a: Jet) -> Jet:
    """A function of a jet from its value, first and second derivative at a."""
    return (
        f,
        slope * a[1],
        slope * a[2] + bend * a[1] * a[1],
        slope * a[3],
        slope * a[4],
        slope * a[5],
        slope * a[6],
    )


@inline
def exp(a: Jet) -> Jet:
    """e^a."""
    f = special.exp(a[0])
    return apply(f, f, f, a)


@inline
def log(a: Jet) -> Jet:
    """The natural logarithm."""
    inverse = 1.0 / a[0]
    return apply(special.log(a[0]), inverse, -inverse * inverse, a)


@inline
def sqrt(a: Jet) -> Jet:
    """The square root of a jet above 0."""
    f = math.sqrt(a[0])
    return apply(f, 0.5 / f, -0.25 / (f * a[0]), a)


@inline
def reciprocal(a: Jet) -> Jet:
    """1 / a."""
    inverse = 1.0 / a[0]
    return apply(inverse, -inverse * inverse, 2.0 * inverse * inverse * inverse, a)


@inline
def div(a: Jet, b: Jet) -> Jet:
    """a / b."""
    return mul(a, reciprocal(b))


@inline
def tilted_cdf(p: Jet, x: Jet) -> Jet:
    """e^p N(x): a discount or a power times a probability, as one jet."""
    f, d = special.tail(p[0], x[0])
    return (
        f,
        f * p[1] + d * x[1],
        f * (p[2] + p[1] * p[1]) + d * (2.0 * p[1] * x[1] + x[2] - x[0] * x[1] * x[1]),
        f * p[3] + d * x[3],
        f * p[4] + d * x[4],
        f * p[5] + d * x[5],
        f * p[6] + d * x[6],
    )
