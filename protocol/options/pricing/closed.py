"""Closed formulas for European options, continuous barriers and touches, in jets.

    w       +1 for a call, -1 for a put
    up      +1 for a barrier above the spot, -1 for one below it
    k, h    strike and barrier, in the unit of the spot s
    asset, cash   the payoff is asset * S + cash where w (S - k) > 0: a vanilla call is (1, -k), a
            vanilla put (-1, k), a binary option (0, amount) or (1, 0)

Without time or volatility left the forward is certain and its path runs straight: each formula is
then that of the certain path.

Black and Scholes (1973), Merton (1973); Reiner and Rubinstein, "Breaking Down the Barriers" and
"Unscrambling the Binary Code" (Risk, 1991), in the notation of Haug, "The Complete Guide to Option
Pricing Formulas", 2nd ed. (2007), sections 4.17.1 and 4.19.
"""

from typing import Final

from protocol.options.pricing.jets import (
    Jet,
    add,
    constant,
    div,
    exp,
    log,
    mul,
    over,
    scale,
    sqrt,
    sub,
    tilted_cdf,
)
from protocol.options.pricing.special import inline

_FAR: Final = 1e3
"""Standard deviations beyond which the normal distribution is 0 or 1."""


@inline
def _deviation(t: Jet, vol: Jet) -> Jet:
    """vol sqrt(t), the standard deviation of the log of the spot at expiry; a plain 0 at 0."""
    return mul(vol, sqrt(t)) if t[0] * vol[0] > 0.0 else constant(0.0)


@inline
def _distance(side: float, ratio: Jet, t: Jet, r: Jet, q: Jet, sd: Jet) -> Jet:
    """The logarithm ``ratio`` in standard deviations, drift and half the variance included: Haug's
    x. Where all is certain, far enough to make N(side x) 1 or 0."""
    mean = add(ratio, mul(sub(r, q), t))
    if sd[0] > 0.0:
        return add(div(mean, sd), scale(0.5, sd))
    return constant(side * _FAR if side * mean[0] > 0.0 else -side * _FAR)


@inline
def _part(
    side: float, x: Jet, lift: Jet, power: Jet, s: Jet, t: Jet, r: Jet, q: Jet, sd: Jet,
    asset: float, cash: float,
) -> Jet:  # fmt: skip
    """asset S e^(lift + power - q t) N(side x) + cash e^(power - r t) N(side (x - sd))."""
    own = mul(s, tilted_cdf(sub(add(lift, power), mul(q, t)), scale(side, x)))
    paid = tilted_cdf(sub(power, mul(r, t)), scale(side, sub(x, sd)))
    return add(scale(asset, own), scale(cash, paid))


@inline
def european(
    w: float, asset: float, cash: float, k: float, s: Jet, t: Jet, r: Jet, q: Jet, vol: Jet
) -> Jet:
    """An option without a barrier."""
    sd = _deviation(t, vol)
    none = constant(0.0)
    x = _distance(w, log(over(s, k)), t, r, q, sd)
    return _part(w, x, none, none, s, t, r, q, sd, asset, cash)


@inline
def knock_out(
    w: float, up: float, asset: float, cash: float, k: float, h: float, shift: Jet,
    s: Jet, t: Jet, r: Jet, q: Jet, vol: Jet,
) -> Jet:  # fmt: skip
    """The payoff at expiry unless the barrier at h e^shift was touched, now or later.

    In Haug's letters, A and B being the plain option with strikes k and h, C and D their images
    behind the barrier: A - C or B - D where the payoff lies away from the barrier, and towards it
    A - B + C - D, or nothing if all of it lies beyond.
    """
    none = constant(0.0)
    to_k = scale(-1.0, log(over(s, k)))
    to_h = sub(shift, log(over(s, h)))
    is_beyond = w * (to_k[0] - to_h[0]) >= 0.0
    if up * to_h[0] <= 0.0 or (w == up and is_beyond):
        return none
    sd = _deviation(t, vol)
    lift = scale(2.0, to_h)
    power = mul(lift, sub(div(sub(r, q), mul(vol, vol)), constant(0.5)))
    level = to_k if w == up or is_beyond else to_h
    x = _distance(w, scale(-1.0, level), t, r, q, sd)
    y = _distance(w, sub(lift, level), t, r, q, sd)
    plain = _part(w, x, none, none, s, t, r, q, sd, asset, cash)
    behind = scale(w * up, _part(-up, y, lift, power, s, t, r, q, sd, asset, cash))
    if w == up:
        x = _distance(w, scale(-1.0, to_h), t, r, q, sd)
        y = _distance(w, to_h, t, r, q, sd)
        plain = sub(plain, _part(w, x, none, none, s, t, r, q, sd, asset, cash))
        behind = sub(behind, _part(-up, y, lift, power, s, t, r, q, sd, asset, cash))
    return add(plain, behind) if sd[0] > 0.0 else plain


@inline
def paid_at_touch(
    up: float, amount: float, h: float, s: Jet, t: Jet, r: Jet, q: Jet, vol: Jet
) -> Jet:
    """``amount`` at the moment the barrier is touched: a one-touch, or a knock-out's rebate.

    Not a number where r < 0 makes the discount of a late touch grow without bound."""
    to_h = scale(-1.0, log(over(s, h)))
    if up * to_h[0] <= 0.0:
        return constant(amount)
    sd = _deviation(t, vol)
    carry = sub(r, q)
    if sd[0] == 0.0:
        is_touched = up * (to_h[0] - carry[0] * t[0]) <= 0.0
        when = div(to_h, carry)
        return scale(amount, exp(scale(-1.0, mul(r, when)))) if is_touched else constant(0.0)
    variance = mul(vol, vol)
    mu = sub(div(carry, variance), constant(0.5))
    lam = sqrt(add(mul(mu, mu), scale(2.0, div(r, variance))))
    z = add(div(to_h, sd), mul(lam, sd))
    far = tilted_cdf(mul(to_h, add(mu, lam)), scale(-up, z))
    near = tilted_cdf(mul(to_h, sub(mu, lam)), scale(-up, sub(z, scale(2.0, mul(lam, sd)))))
    return scale(amount, add(far, near))


@inline
def paid_untouched(
    up: float, amount: float, h: float, s: Jet, t: Jet, r: Jet, q: Jet, vol: Jet
) -> Jet:
    """``amount`` at expiry unless the barrier was touched: a no-touch, or a knock-in's rebate."""
    return knock_out(-up, up, 0.0, amount, h, h, constant(0.0), s, t, r, q, vol)
