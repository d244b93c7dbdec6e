"""Listed instruments as what is priced."""

import pytest

from protocol.errors import PriceError
from protocol.options.instrument import OptionKind, parse_instrument
from protocol.options.pricing.listed import option_of, years_left
from protocol.options.pricing.option import Barrier, BarrierKind, Option, Payoff

DAY_MS = 86_400_000
EXPIRY_MS = parse_instrument("BTC-27DEC26-50000-C").expiry_ms


@pytest.mark.parametrize(
    ("suffix", "option"),
    [
        ("50000-C", Option(OptionKind.CALL, 50_000.0)),
        ("0d25-P", Option(OptionKind.PUT, 0.25)),
        ("50000-P-A", Option(OptionKind.PUT, 50_000.0, is_american=True)),
        ("50000-C-B", Option(OptionKind.CALL, 50_000.0, Payoff.ASSET)),
        (
            "50000-C-UO80000",
            Option(
                OptionKind.CALL,
                50_000.0,
                barrier=Barrier(BarrierKind.UP_AND_OUT, 80_000.0, dates=1440),
            ),
        ),
        (
            "50000-P-DO40000-A",
            Option(
                OptionKind.PUT,
                50_000.0,
                is_american=True,
                barrier=Barrier(BarrierKind.DOWN_AND_OUT, 40_000.0),
            ),
        ),
    ],
)
def test_each_type_a_day_before_expiry_in_rounds_of_a_minute(suffix, option):
    assert (
        option_of(parse_instrument(f"BTC-27DEC26-{suffix}"), EXPIRY_MS - DAY_MS, 60_000) == option
    )


def test_the_last_round_is_looked_at():
    instrument = parse_instrument("BTC-27DEC26-50000-C-UO80000")
    assert option_of(instrument, EXPIRY_MS - 61_000, 60_000).barrier.dates == 2
    assert option_of(instrument, EXPIRY_MS, 60_000).barrier.dates == 1


def test_time_left():
    instrument = parse_instrument("BTC-27DEC26-50000-C")
    assert years_left(instrument, EXPIRY_MS - 73 * DAY_MS) == 0.2
    assert years_left(instrument, EXPIRY_MS) == 0.0
    with pytest.raises(PriceError, match="expired 60 s before"):
        years_left(instrument, EXPIRY_MS + 60_000)
