"""The part of msgpack that is spoken: one encoding a value, and no surprises."""

import math

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.errors import EncodingError
from protocol.wire import strict

LEAVES = (
    st.none() | st.integers(-(2**63), 2**64 - 1) | st.text(max_size=40) | st.binary(max_size=40)
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)


def depth(value):
    if isinstance(value, dict | list):
        inner = value.values() if isinstance(value, dict) else value
        return 1 + max(map(depth, inner), default=0)
    return 0


@settings(max_examples=50)
@given(VALUES)
def test_round_trip(value):
    data = strict.pack(value)
    if depth(value) <= strict.MAX_DEPTH:
        assert strict.unpack(data) == value
    else:
        with pytest.raises(EncodingError, match="inside each other"):
            strict.unpack(data)


@pytest.mark.parametrize(
    "value",
    [
        1.0,
        math.nan,
        math.inf,
        True,
        [False],
        {"a": 2.5},
        {1: 2},
        {b"a": 1},
        msgpack.ExtType(5, b""),
        msgpack.ExtType(5, b"x"),
        msgpack.Timestamp(1, 2),
        [[[[[]]]]],
        [0] * (strict.MAX_ITEMS + 1),
    ],
    ids=repr,
)
def test_what_is_not_spoken(value):
    with pytest.raises(EncodingError):
        strict.unpack(msgpack.packb(value))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",  # never used
        b"\x81",  # a map without its entry
        b"\x90\x90",  # two values
        b"\xcc\x05",  # 5 in two bytes
        b"\xd9\x01a",  # "a" in three bytes
        b"\xdc\x00\x00",  # an empty array in three bytes
        b"\x82\xa1a\x01\xa1a\x02",  # a key twice
        b"\x82\xa1a\x01\xa1a\x01",
        b"\x81\x90\x01",  # an array as key
        b"\xa1\xff",  # not UTF-8
        b"\xa3\xed\xa0\x80",  # a surrogate
        b"\xdd\xff\xff\xff\xff",  # four thousand million entries
        b"\xdf\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff",
        b"\xc9\xff\xff\xff\xff\x01",
        b"\xca\x7f\xc0\x00\x00",  # NaN
        b"\x91" * 400 + b"\x90",
        b"\x91" * 100_000,
        b"\x81\xa1a" * 5_000,
    ],
    ids=lambda data: data[:8].hex(),
)
def test_malformed(data):
    with pytest.raises(EncodingError):
        strict.unpack(data)


@settings(max_examples=50)
@given(st.binary(max_size=60))
def test_any_bytes_are_read_as_what_they_encode_or_refused(data):
    try:
        value = strict.unpack(data)
    except EncodingError:
        return
    assert strict.pack(value) == data
