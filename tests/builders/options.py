"""Random options and markets for the properties of prices."""

from hypothesis import strategies as st

from protocol.options.instrument import OptionKind
from protocol.options.pricing.option import Barrier, BarrierKind, Market

KINDS = st.sampled_from(OptionKind)
STRIKES = st.floats(20_000, 120_000)
YEARS = st.floats(1 / 365, 3.0)


@st.composite
def markets(draw: st.DrawFn) -> Market:
    """Of bitcoin, rates from 0 to 12 %, volatility from 20 % to 150 %."""
    rate, dividend = draw(st.floats(0.0, 0.12)), draw(st.floats(0.0, 0.12))
    return Market(draw(st.floats(40_000, 80_000)), rate, dividend, draw(st.floats(0.2, 1.5)))


@st.composite
def barriers(draw: st.DrawFn, spot: float) -> Barrier:
    """On the living side, knocking in or out."""
    kind = draw(st.sampled_from(BarrierKind))
    factor = draw(st.floats(1.02, 2.0))
    return Barrier(kind, spot * factor if kind.up > 0 else spot / factor)
