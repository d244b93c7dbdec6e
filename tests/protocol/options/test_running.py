"""The running volatility is that of the whole history."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.errors import PriceError
from protocol.options.running import RunningVolatility
from protocol.options.volatility import Sample, ewma
from protocol.units import PriceE8, UnixMs

steps = st.lists(
    st.tuples(st.integers(1, 10**7), st.integers(10**10, 10**13)), min_size=2, max_size=30
)


@settings(max_examples=50)
@given(steps, st.floats(1e3, 1e9))
def test_it_is_ewma(found, half_life_ms):
    at, samples = 0, []
    running = RunningVolatility(half_life_ms)
    for took_ms, price in found:
        at += took_ms
        samples.append(Sample(UnixMs(at), PriceE8(price)))
        running = running.after(samples[-1])
    assert running.moves == len(samples) - 1
    assert running.level == pytest.approx(ewma(samples, half_life_ms), rel=1e-9, abs=1e-12)


def test_what_it_refuses():
    with pytest.raises(PriceError, match="half_life_ms"):
        RunningVolatility(0.0)
    running = RunningVolatility(1e6)
    with pytest.raises(PriceError, match="two prices"):
        _ = running.level
    running = running.after(Sample(UnixMs(5), PriceE8(1)))
    with pytest.raises(PriceError, match="at_ms 5"):
        running.after(Sample(UnixMs(5), PriceE8(1)))
    with pytest.raises(PriceError, match="price_e8"):
        running.after(Sample(UnixMs(6), PriceE8(0)))
