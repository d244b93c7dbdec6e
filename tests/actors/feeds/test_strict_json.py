"""The JSON decoder: what ``json`` would let through, and what it would die of."""

import json
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.feeds.strict_json import MAX_BYTES, MAX_DEPTH, Literal, decode, get_int, get_text, shown
from protocol.errors import EncodingError

LONE_SURROGATE = chr(0xDC00)

plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text(),
    lambda children: st.lists(children) | st.dictionaries(st.text(), children),
    max_leaves=20,
)


@settings(max_examples=50)
@given(plain)
def test_what_json_writes_is_read(value):
    try:
        text = json.dumps(value, ensure_ascii=False)
        data = text.encode()
    except UnicodeEncodeError:
        with pytest.raises(EncodingError, match="UTF-8"):
            decode(text)
        return
    assert decode(text) == value
    assert decode(data) == value


def test_numbers_keep_their_text():
    value = decode("[83744.20, 1e5, -0.0, 18125794168470749634]")
    assert value == ["83744.20", "1e5", "-0.0", 18125794168470749634]
    assert [type(v) for v in value] == [Literal, Literal, Literal, int]


@pytest.mark.parametrize(
    "raw",
    [
        "",
        " ",
        "nan",
        "NaN",
        "-Infinity",
        "[NaN]",
        "{",
        "{}}",
        "{}{}",
        "[1,]",
        "01",
        "'a'",
        "\ufeff{}",
        '{"a":1,"a":1}',
        '{"b":{"a":1,"a":2}}',
        '"\t"',
        f'"{LONE_SURROGATE}"',
        "1" * 22,
        "1" * 5000,
        b"\xff",
        b'"\xc3"',
        b"\xef\xbb\xbf{}",
        b"\xed\xa0\x80",
    ],
)
def test_refused(raw):
    with pytest.raises(EncodingError):
        decode(raw)


@pytest.mark.parametrize("opening", ["[", '{"a":', '[{"a":', '[["[",'])
def test_nesting_bombs(opening):
    with pytest.raises(EncodingError, match="nested"):
        decode(opening * 100_000)


def test_depth_counts_structure_not_text():
    deepest = "[" * MAX_DEPTH + "]" * MAX_DEPTH
    assert decode(deepest)
    with pytest.raises(EncodingError, match="nested"):
        decode(f"[{deepest}]")
    assert decode(json.dumps(["[" * 1000, '\\"[[[[' * 50, "{" * 1000])) is not None
    assert len(decode(json.dumps([[]] * 1000))) == 1000


def test_depth_check_needs_no_stack():
    limit = sys.getrecursionlimit()
    frames = 0
    frame = sys._getframe()
    while frame:
        frames, frame = frames + 1, frame.f_back
    sys.setrecursionlimit(frames + 60)
    try:
        with pytest.raises(EncodingError, match="nested"):
            decode("[" * 1_000_000)
    finally:
        sys.setrecursionlimit(limit)


def test_size_limit_is_in_bytes():
    assert decode('"' + "a" * (MAX_BYTES - 2) + '"')
    for raw in ('"' + "a" * (MAX_BYTES - 1) + '"', '"' + "é" * (MAX_BYTES // 2) + '"'):
        with pytest.raises(EncodingError, match="1 MiB"):
            decode(raw)
        with pytest.raises(EncodingError, match="1 MiB"):
            decode(raw.encode())


@pytest.mark.parametrize("value", [True, "1", Literal("1.0"), -1, None, [1]])
def test_an_integer_field_is_an_integer(value):
    with pytest.raises(EncodingError, match="field n"):
        get_int({"n": value}, "n")


@pytest.mark.parametrize("value", [1, Literal("1.0"), None, [], True])
def test_a_text_field_is_text(value):
    with pytest.raises(EncodingError, match="field t"):
        get_text({"t": value}, "t")


def test_messages_are_short_ascii():
    assert shown("\ud800" + "é" * 1000).isascii()
    assert len(shown("x" * 10**6)) < 100
