"""RFC 3339 as the venues write it."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.feeds.venue_time import unix_ns
from protocol.errors import EncodingError


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("2026-09-25T17:48:26Z", 1_790_358_506 * 10**9),
        ("2026-09-25T17:48:26.061769Z", 1_790_358_506_061_769_000),
        ("2026-09-25T17:48:26.016274911Z", 1_790_358_506_016_274_911),
        ("2026-09-25T17:48:26.5+00:00", 1_790_358_506_500_000_000),
        ("2016-12-31T23:59:60Z", 1_483_228_800 * 10**9),
        ("2024-02-29T00:00:00Z", 1_709_164_800 * 10**9),
    ],
)
def test_known_times(text, ns):
    assert unix_ns(text) == ns


@given(st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1)))
def test_every_microsecond(moment):
    whole = int(moment.replace(tzinfo=UTC, microsecond=0).timestamp())
    assert unix_ns(f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond:06d}Z") == (
        whole * 10**9 + moment.microsecond * 1000
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "yesterday",
        "2026-09-25",
        "2026-09-25T17:48:26",
        "2026-09-25 17:48:26Z",
        "2026-13-25T17:48:26Z",
        "2026-02-30T17:48:26Z",
        "2026-09-25T24:00:00Z",
        "2026-09-25T17:60:00Z",
        "2026-09-25T17:48:61Z",
        "2026-09-25T17:48:26.Z",
        "2026-09-25T17:48:26.1234567890Z",
        "2026-09-25T17:48:26+02:00",
        "0000-01-01T00:00:00Z",
        "1969-12-31T23:59:59Z",
        "２０２６-09-25T17:48:26Z",
        "2026-09-25T17:48:26Z\n",
        "2026-09-25T17:48:26ZZ",
        "2026-09-25T17:48:26.1.2Z",
        "2026-09-25T17:48:26.²Z",
        "2026-09-25T17:48:26.-1Z",
        "2026-09-25T17:48:26+00:00Z",
        "Z",
        ".1Z",
    ],
)
def test_refused(text):
    with pytest.raises(EncodingError):
        unix_ns(text)
