"""exp, log and the normal tails against scipy and libm, a vector of them at a time."""

import numpy as np
import pytest
from numba import njit
from scipy import special as scipy_special

from protocol.options.pricing import special

RNG = np.random.default_rng(7)


def mapped(function):
    @njit(error_model="numpy", fastmath={"contract"})
    def over(x, y):
        for i in range(len(x)):
            y[i] = function(x[i])

    def run(x):
        y = np.empty_like(x)
        over(x, y)
        return y

    return run


def mills(x):
    return np.sqrt(np.pi / 2) * scipy_special.erfcx(x / np.sqrt(2))


@pytest.mark.parametrize(
    ("function", "reference", "x"),
    [
        (special.exp, np.exp, RNG.uniform(-707, 707, 20_000)),
        (special.exp, np.exp, RNG.uniform(-1e-9, 1e-9, 1_000)),
        (special.log, np.log, np.exp(RNG.uniform(-700, 700, 20_000))),
        (special.log, np.log, 1 + RNG.uniform(-1e-3, 1e-3, 20_000)),
        (special.mills, mills, RNG.uniform(0, 60, 20_000)),
        (special.mills, mills, 10 ** RNG.uniform(-9, 9, 20_000)),
    ],
    ids=["exp", "exp near 0", "log", "log near 1", "mills", "mills far out"],
)
def test_it_is_right_to_rounding(function, reference, x):
    np.testing.assert_allclose(mapped(function)(x), reference(x), rtol=1.5e-15, atol=0)


def test_the_ends():
    none, huge, nothing = mapped(special.exp)(np.array([-1e300, 1e300, np.nan]))
    assert none == 0
    assert huge == np.inf
    assert np.isnan(nothing)
    assert mapped(special.log)(np.array([1.0]))[0] == 0.0


def test_a_tail_is_right_where_the_normal_distribution_underflows():
    @njit(error_model="numpy")
    def tails(p, x, y):
        for i in range(len(x)):
            y[i], _ = special.tail(p[i], x[i])

    x = RNG.uniform(-45, 45, 20_000)
    p = -scipy_special.log_ndtr(x) + RNG.uniform(-3, 3, x.size)
    y = np.empty_like(x)
    tails(p, x, y)
    np.testing.assert_allclose(y, np.exp(p + scipy_special.log_ndtr(x)), rtol=5e-13)
