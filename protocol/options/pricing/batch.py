"""Many options at once: prices and Greeks of numpy arrays, by the kernels that price one.

Every argument is a number or an array, and all are broadcast together; spot, strike, levels and
sums in one unit, time in years, rates continuously compounded, volatility per root year. ``sign``
is +1 for a call and -1 for a put, ``up`` +1 for a barrier above the spot and -1 for one below.
Answers have the broadcast shape. A row that ``value`` would refuse is not a number.
"""

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from protocol.options.pricing import kernels
from protocol.options.pricing.american import FAST, Schemes, american_rows
from protocol.options.pricing.discrete import SHIFT
from protocol.options.pricing.greeks import Greeks
from protocol.options.pricing.implied import implied_rows
from protocol.options.pricing.kernels import GREEKS, ROWS
from protocol.options.pricing.quadrature import Floats

_POSITIVE: Final = ("k", "h", "s")
_NOT_NEGATIVE: Final = ("t", "vol")
_SIGNS: Final = ("w", "up")


def european(
    sign: ArrayLike, asset: ArrayLike, cash: ArrayLike, strike: ArrayLike,
    spot: ArrayLike, years: ArrayLike, rate: ArrayLike, dividend: ArrayLike, vol: ArrayLike,
) -> Greeks[Floats]:  # fmt: skip
    """Options that pay asset * S + cash in the money: (0, amount) is cash-or-nothing, (1, 0)
    asset-or-nothing."""
    fields = {
        "w": sign, "asset": asset, "cash": cash, "k": strike,
        "s": spot, "t": years, "r": rate, "q": dividend, "vol": vol,
    }  # fmt: skip
    return Greeks(*_rows(kernels.european_rows, fields, GREEKS))


def vanilla(
    sign: ArrayLike, strike: ArrayLike,
    spot: ArrayLike, years: ArrayLike, rate: ArrayLike, dividend: ArrayLike, vol: ArrayLike,
) -> Greeks[Floats]:  # fmt: skip
    """European calls and puts."""
    cash = -np.multiply(sign, strike)
    return european(sign, sign, cash, strike, spot, years, rate, dividend, vol)


def knock_out(
    sign: ArrayLike, strike: ArrayLike, up: ArrayLike, level: ArrayLike,
    spot: ArrayLike, years: ArrayLike, rate: ArrayLike, dividend: ArrayLike, vol: ArrayLike,
    *, dates: ArrayLike | None = None,
) -> Greeks[Floats]:  # fmt: skip
    """European calls and puts that end at the barrier, which is always watched; with ``dates``, on
    that many equally spaced dates, by the corrected barrier of ``discrete``, however few."""
    spread: ArrayLike = 0.0
    if dates is not None:
        spread = SHIFT * np.multiply(up, np.sqrt(np.divide(years, dates)))
    fields = {
        "w": sign, "up": up, "asset": sign, "cash": -np.multiply(sign, strike), "k": strike,
        "h": level, "spread": spread,
        "s": spot, "t": years, "r": rate, "q": dividend, "vol": vol,
    }  # fmt: skip
    return Greeks(*_rows(kernels.knock_out_rows, fields, GREEKS))


def american(
    sign: ArrayLike, strike: ArrayLike,
    spot: ArrayLike, years: ArrayLike, rate: ArrayLike, dividend: ArrayLike, vol: ArrayLike,
    *, schemes: Schemes = FAST, is_price_alone: bool = False,
) -> Greeks[Floats]:  # fmt: skip
    """American calls and puts. ``is_price_alone`` leaves vega and both rhos 0, which is 13 times
    sooner; delta, gamma and theta come with the price."""
    fields = {
        "w": sign, "k": strike,
        "s": spot, "t": years, "r": rate, "q": dividend, "vol": vol,
    }  # fmt: skip
    return Greeks(*_rows(american_rows, fields, GREEKS, schemes, is_price_alone))


def implied_vol(
    sign: ArrayLike, price: ArrayLike, strike: ArrayLike,
    spot: ArrayLike, years: ArrayLike, rate: ArrayLike, dividend: ArrayLike,
) -> Floats:  # fmt: skip
    """The volatilities of European calls and puts; not a number outside the bounds of no
    arbitrage."""
    fields = {
        "w": sign, "price": price, "k": strike, "s": spot, "t": years, "r": rate, "q": dividend,
    }  # fmt: skip
    (vol,) = _rows(implied_rows, fields, 1)
    return vol


def _rows(
    kernel: Callable[..., None], fields: dict[str, ArrayLike], columns: int, *settings: object
) -> Sequence[Floats]:
    """The first ``columns`` of the kernel's answers, block by block."""
    arrays = [np.asarray(field, np.float64) for field in fields.values()]
    shape = np.broadcast_shapes(*(array.shape for array in arrays))
    flat = [np.broadcast_to(array, shape).reshape(-1) for array in arrays]
    size = flat[0].size
    found = np.empty((columns, size))
    block, answer = np.empty((len(flat), ROWS)), np.empty((GREEKS, ROWS))
    for start in range(0, size, ROWS):
        n = min(ROWS, size - start)
        for row, array in zip(block, flat, strict=True):
            row[:n] = array[start : start + n]
        kernel(block.ravel(), answer.ravel(), n, *settings)
        found[:, start : start + n] = answer[:columns, :n]
        good = _are_good(dict(zip(fields, block[:, :n], strict=True)), block[:, :n])
        if not good.all():
            found[:, start : start + n][:, ~good] = np.nan
    return [column.reshape(shape) for column in found]


def _are_good(named: dict[str, Floats], block: Floats) -> NDArray[np.bool]:
    good: NDArray[np.bool] = np.isfinite(block.sum(axis=0))
    for name, row in named.items():
        if name in _POSITIVE:
            good &= row > 0.0
        elif name in _NOT_NEGATIVE:
            good &= row >= 0.0
        elif name in _SIGNS:
            good &= np.abs(row) == 1.0
    return good
