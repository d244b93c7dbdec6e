"""Price text to integers: exact, strict, and the inverse of rendering."""

import re
from decimal import ROUND_HALF_EVEN, Context, Decimal, localcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.feeds.price_text import get_price, has_size, price_e8
from actors.feeds.strict_json import Literal
from protocol.errors import EncodingError
from protocol.units import E8, U64_MAX

prices = st.integers(0, 10**12 * E8 - 1).filter(lambda p: p <= U64_MAX)


def rendered(value_e8):
    return f"{value_e8 // E8}.{value_e8 % E8:08d}"


@given(prices)
def test_text_and_number_give_back_the_price(value_e8):
    text = rendered(value_e8)
    assert price_e8(text) == value_e8
    assert price_e8(Literal(text)) == value_e8
    assert price_e8(text.rstrip("0") + "0") == value_e8


@given(st.integers(0, 10**11))
def test_a_json_integer_is_whole_dollars(dollars):
    assert price_e8(dollars) == dollars * E8
    assert price_e8(str(dollars)) == dollars * E8


@given(st.integers(0, 10**28), st.integers(0, 18), st.integers(-9, 9))
def test_rounding_is_half_even_as_decimal_has_it(digits, places, exponent):
    text = f"{digits // 10**places}.{digits % 10**places:0{places}d}" if places else str(digits)
    literal = Literal(f"{text}e{exponent}")
    with localcontext() as context:
        context.prec = 60
        exact = Decimal(literal).scaleb(8).to_integral_value(ROUND_HALF_EVEN)
    if len(text.partition(".")[0]) > 20 or exact > U64_MAX:
        with pytest.raises(EncodingError):
            price_e8(literal)
    else:
        assert price_e8(literal) == int(exact)


@given(st.text("0123456789.-+e _١²", max_size=24))
def test_exactly_the_rule_of_the_fixtures_is_accepted(text):
    rule = re.fullmatch(r"[0-9]{1,12}(\.[0-9]{1,18})?", text)
    exact = rule and Decimal(text).scaleb(8, Context(prec=60)).to_integral_value(ROUND_HALF_EVEN)
    if rule is None or exact > U64_MAX:
        with pytest.raises(EncodingError):
            price_e8(text)
    else:
        assert price_e8(text) == int(exact)


@pytest.mark.parametrize(
    ("text", "value_e8"),
    [
        ("0.000000005", 0),
        ("0.000000015", 2),
        ("0.0000000150000000001", None),
        ("83744.299999999996", 8_374_430_000_000),
        ("184467440737.09551615", U64_MAX),
        ("184467440737.09551616", None),
    ],
)
def test_the_ninth_decimal_and_the_last_u64(text, value_e8):
    if value_e8 is None:
        with pytest.raises(EncodingError):
            price_e8(text)
    else:
        assert price_e8(text) == value_e8


@pytest.mark.parametrize(
    "value",
    [
        "",
        ".",
        "1.",
        ".5",
        "+1",
        "-1",
        "1_000",
        "1,000",
        " 1",
        "1 ",
        "1\n",
        "0x10",
        "1e3",
        "NaN",
        "Infinity",
        "١٢",
        "１２",
        "1" * 13,
        "1." + "1" * 19,
        True,
        False,
        None,
        -1,
        [],
        {},
        b"1",
        Literal("-1.5"),
        Literal("1e400"),
        Literal("1e-999999999"),
        2**64,
    ],
)
def test_anything_else_is_refused(value):
    with pytest.raises(EncodingError):
        price_e8(value)


def test_a_field_fault_names_the_field():
    with pytest.raises(EncodingError, match="field bid"):
        get_price({"bid": "x"}, "bid")
    with pytest.raises(EncodingError, match="field bid is missing"):
        get_price({}, "bid")


@pytest.mark.parametrize(
    ("size", "some"),
    [
        ("0.00000000", False),
        ("0", False),
        (0, False),
        ("0.00000001", True),
        (7, True),
        (Literal("1e-9"), True),
        (Literal("0.0"), False),
    ],
)
def test_sizes(size, some):
    assert has_size({"q": size}, "q") is some
    assert has_size({}, "q")
