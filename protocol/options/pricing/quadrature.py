"""Nodes and weights on [-1, 1]."""

from functools import cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Rule = tuple[Floats, Floats]

_REACH = 2.9
"""Beyond it the tanh-sinh rule's weights are below rounding."""


@cache
def gauss_legendre(n: int) -> Rule:
    """The rule that is exact for polynomials of degree 2n - 1."""
    nodes, weights = np.polynomial.legendre.leggauss(n)
    return nodes, weights


@cache
def tanh_sinh(n: int) -> Rule:
    """Takahasi and Mori (1974): for what is singular at an end, like a square root."""
    x, step = np.linspace(-_REACH, _REACH, n, retstep=True)
    y = np.pi / 2 * np.sinh(x)
    return np.tanh(y), step * np.pi / 2 * np.cosh(x) / np.cosh(y) ** 2
