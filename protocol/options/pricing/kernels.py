"""The closed formulas compiled: one price with its Greeks, or a block of rows of them.

A kernel takes plain floats, in the letters of ``closed``, and returns (price, delta, gamma, vega,
theta, rho, dividend_rho) in the units of ``Greeks``. It checks nothing: ``value`` and ``batch`` do.
``european`` is the fast path for one quote, a third of a microsecond from Python.

A block is flat: field f of row i is ``x[f * ROWS + i]``. The compiler sees that fields cannot
overlap and makes vector instructions of the loop.
"""

from typing import Final

from protocol.options.pricing import closed
from protocol.options.pricing.jets import Jet, variables
from protocol.options.pricing.quadrature import Floats
from protocol.options.pricing.special import compiled, inline

ROWS: Final = 4096
"""Of a block; both blocks of a kernel fit the second-level cache."""

GREEKS: Final = 7
"""Columns of an answer."""


@inline
def _ordered(v: Jet) -> Jet:
    """In the order of ``Greeks``: a derivative by time to expiry is minus theta."""
    return (v[0], v[1], v[2], v[3], -v[4], v[5], v[6])


@inline
def _european(
    w: float, asset: float, cash: float, k: float,
    s: float, t: float, r: float, q: float, vol: float,
) -> Jet:  # fmt: skip
    js, jt, jr, jq, jv = variables(s, t, r, q, vol)
    return _ordered(closed.european(w, asset, cash, k, js, jt, jr, jq, jv))


@inline
def _knock_out(
    w: float, up: float, asset: float, cash: float, k: float, h: float, spread: float,
    s: float, t: float, r: float, q: float, vol: float,
) -> Jet:  # fmt: skip
    js, jt, jr, jq, jv = variables(s, t, r, q, vol)
    shift = (spread * vol, 0.0, 0.0, spread, 0.0, 0.0, 0.0)
    return _ordered(closed.knock_out(w, up, asset, cash, k, h, shift, js, jt, jr, jq, jv))


@compiled
def european(
    w: float, asset: float, cash: float, k: float,
    s: float, t: float, r: float, q: float, vol: float,
) -> Jet:  # fmt: skip
    """``closed.european``."""
    return _european(w, asset, cash, k, s, t, r, q, vol)


@compiled
def knock_out(
    w: float, up: float, asset: float, cash: float, k: float, h: float, spread: float,
    s: float, t: float, r: float, q: float, vol: float,
) -> Jet:  # fmt: skip
    """``closed.knock_out``, its barrier moved to h e^(spread vol)."""
    return _knock_out(w, up, asset, cash, k, h, spread, s, t, r, q, vol)


@compiled
def paid_at_touch(
    up: float, amount: float, h: float, s: float, t: float, r: float, q: float, vol: float
) -> Jet:
    """``closed.paid_at_touch``."""
    js, jt, jr, jq, jv = variables(s, t, r, q, vol)
    return _ordered(closed.paid_at_touch(up, amount, h, js, jt, jr, jq, jv))


@compiled
def paid_untouched(
    up: float, amount: float, h: float, s: float, t: float, r: float, q: float, vol: float
) -> Jet:
    """``closed.paid_untouched``."""
    js, jt, jr, jq, jv = variables(s, t, r, q, vol)
    return _ordered(closed.paid_untouched(up, amount, h, js, jt, jr, jq, jv))


@inline
def put_row(y: Floats, i: int, v: Jet) -> None:
    """Write an answer as row i of a block."""
    y[i] = v[0]
    y[i + ROWS] = v[1]
    y[i + 2 * ROWS] = v[2]
    y[i + 3 * ROWS] = v[3]
    y[i + 4 * ROWS] = v[4]
    y[i + 5 * ROWS] = v[5]
    y[i + 6 * ROWS] = v[6]


@compiled
def european_rows(x: Floats, y: Floats, n: int) -> None:
    """``european`` for the first n rows; fields w, asset, cash, k, s, t, r, q, vol."""
    for i in range(n):
        v = _european(
            x[i], x[i + ROWS], x[i + 2 * ROWS], x[i + 3 * ROWS], x[i + 4 * ROWS],
            x[i + 5 * ROWS], x[i + 6 * ROWS], x[i + 7 * ROWS], x[i + 8 * ROWS],
        )  # fmt: skip
        put_row(y, i, v)


@compiled
def knock_out_rows(x: Floats, y: Floats, n: int) -> None:
    """``knock_out`` likewise; fields w, up, asset, cash, k, h, spread, s, t, r, q, vol."""
    for i in range(n):
        v = _knock_out(
            x[i], x[i + ROWS], x[i + 2 * ROWS], x[i + 3 * ROWS], x[i + 4 * ROWS],
            x[i + 5 * ROWS], x[i + 6 * ROWS], x[i + 7 * ROWS], x[i + 8 * ROWS],
            x[i + 9 * ROWS], x[i + 10 * ROWS], x[i + 11 * ROWS],
        )  # fmt: skip
        put_row(y, i, v)
