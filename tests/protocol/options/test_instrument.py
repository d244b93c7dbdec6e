"""Instrument names: printing and parsing are inverse, and a wrong part is named."""

from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import EncodingError
from protocol.options.instrument import (
    Barrier,
    Instrument,
    KnockOut,
    OptionKind,
    parse_instrument,
)
from protocol.units import E8, U64_MAX, PriceE8

PRICES = st.one_of(
    st.integers(1, U64_MAX), st.integers(1, U64_MAX // E8).map(lambda dollars: dollars * E8)
).map(PriceE8)


@st.composite
def instruments(draw: st.DrawFn) -> Instrument:
    """Any instrument that the grammar can write."""
    is_binary = draw(st.booleans())
    barriers = st.none() | st.builds(Barrier, st.sampled_from(KnockOut), PRICES)
    return Instrument(
        underlying=draw(st.from_regex(r"[A-Z][A-Z0-9]{1,11}", fullmatch=True)),
        expiry=draw(st.dates(date(2000, 1, 1), date(2099, 12, 31))),
        strike_e8=draw(PRICES),
        kind=draw(st.sampled_from(OptionKind)),
        is_binary=is_binary,
        barrier=None if is_binary else draw(barriers),
        is_american=False if is_binary else draw(st.booleans()),
    )


@given(instruments())
def test_print_then_parse_is_the_identity(instrument: Instrument) -> None:
    assert parse_instrument(instrument.name) == instrument


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "BTC-27DEC26-50000-C",
            Instrument("BTC", date(2026, 12, 27), PriceE8(50_000 * E8), OptionKind.CALL),
        ),
        (
            "ETH-05JAN27-0d25-P-B",
            Instrument(
                "ETH", date(2027, 1, 5), PriceE8(25_000_000), OptionKind.PUT, is_binary=True
            ),
        ),
        (
            "BTC-29FEB28-50000d00000001-C-UO80000-A",
            Instrument(
                "BTC",
                date(2028, 2, 29),
                PriceE8(50_000 * E8 + 1),
                OptionKind.CALL,
                barrier=Barrier(KnockOut.UP, PriceE8(80_000 * E8)),
                is_american=True,
            ),
        ),
        (
            "BTC-27DEC26-60000-P-DO40000d5",
            Instrument(
                "BTC",
                date(2026, 12, 27),
                PriceE8(60_000 * E8),
                OptionKind.PUT,
                barrier=Barrier(KnockOut.DOWN, PriceE8(40_000 * E8 + E8 // 2)),
            ),
        ),
    ],
)
def test_known_names(name: str, expected: Instrument) -> None:
    assert parse_instrument(name) == expected
    assert expected.name == str(expected) == name


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("", "write UNDERLYING-DDMMMYY"),
        ("BTC-27DEC26-50000", "write UNDERLYING-DDMMMYY"),
        ("btc-27DEC26-50000-C", "underlying 'btc'"),
        ("B-27DEC26-50000-C", "underlying 'B'"),
        ("BTC_USDC-27DEC26-50000-C", "underlying 'BTC_USDC'"),
        ("BTC-27Dec26-50000-C", "expiry '27Dec26'"),
        ("BTC-5JAN27-50000-C", "expiry '5JAN27': write two digits"),
        ("BTC-27DEZ26-50000-C", "expiry '27DEZ26'"),
        ("BTC-31FEB26-50000-C", "expiry '31FEB26': there is no such day"),
        ("BTC-29FEB27-50000-C", "expiry '29FEB27': there is no such day"),
        ("BTC-00JAN27-50000-C", "expiry '00JAN27': there is no such day"),
        ("BTC-٢٧DEC26-50000-C", "expiry"),
        ("BTC-27DEC26--C", "strike ''"),
        ("BTC-27DEC26-0-C", "strike 0 "),
        ("BTC-27DEC26-050000-C", "strike '050000'"),
        ("BTC-27DEC26-50000.5-C", "strike '50000.5'"),
        ("BTC-27DEC26-50000d50-C", "strike '50000d50'"),
        ("BTC-27DEC26-50000d-C", "strike '50000d'"),
        ("BTC-27DEC26-1d000000001-C", "strike '1d000000001'"),
        ("BTC-27DEC26-184467440737d09551616-C", "strike 18446744073709551616 "),
        ("BTC-27DEC26-184467440738-C", "strike 18446744073800000000 "),
        ("BTC-27DEC26-1000000000000-C", "strike '1000000000000'"),
        ("BTC-27DEC26-50000-X", "kind 'X'"),
        ("BTC-27DEC26-50000-c", "kind 'c'"),
        ("BTC-27DEC26-50000-C\n", "kind 'C\\n'"),
        ("BTC-27DEC26-50000-C-Z", "suffix 'Z'"),
        ("BTC-27DEC26-50000-C-", "suffix ''"),
        ("BTC-27DEC26-50000-C-UO", "barrier level ''"),
        ("BTC-27DEC26-50000-C-DO0", "barrier level 0 "),
        ("BTC-27DEC26-50000-C-A-UO80000", "suffix 'UO80000'"),
        ("BTC-27DEC26-50000-C-UO80000-DO40000", "suffix 'DO40000'"),
        ("BTC-27DEC26-50000-C-A-A", "suffix 'A'"),
        ("BTC-27DEC26-50000-C-B-A", "-B does not combine"),
        ("BTC-27DEC26-50000-C-B-UO80000", "-B does not combine"),
    ],
)
def test_a_wrong_name_names_the_part(name: str, part: str) -> None:
    with pytest.raises(EncodingError) as caught:
        parse_instrument(name)
    assert part in str(caught.value)


def test_a_strike_of_any_length_is_refused_as_such() -> None:
    with pytest.raises(EncodingError, match="strike '9999"):
        parse_instrument(f"BTC-27DEC26-{'9' * 5000}-C")


@given(st.text(alphabet="BTCUODAP-0123456789dJANEC", max_size=40))
def test_any_text_is_an_instrument_with_this_name_or_an_encoding_error(text: str) -> None:
    try:
        instrument = parse_instrument(text)
    except EncodingError:
        return
    assert instrument.name == text


@given(instruments())
def test_expiry_is_eight_in_the_morning_utc(instrument: Instrument) -> None:
    moment = datetime.fromtimestamp(instrument.expiry_ms // 1000, UTC)
    assert moment == datetime.combine(instrument.expiry, datetime.min.time(), UTC).replace(hour=8)
    assert instrument.expiry_ms % 1000 == 0


def test_expiry_of_a_known_name() -> None:
    assert parse_instrument("BTC-27DEC26-50000-C").expiry_ms == 1_798_358_400_000


def test_years_outside_two_digits_have_no_name() -> None:
    with pytest.raises(EncodingError, match="from 2000 to 2099"):
        Instrument("BTC", date(2100, 1, 1), PriceE8(1), OptionKind.CALL)
