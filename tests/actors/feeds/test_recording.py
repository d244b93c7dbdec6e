"""Recordings: what is written is read, a cut last line is left out, anything else is refused."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.feeds.recording import Heard, Recorder, Recording
from protocol.errors import EncodingError

HEARD = Heard(at_ms=1_790_358_506_900, venue="kraken", frame=b"{}", connection=3)


def record(path, *heard, products=("BTC-USD",), venues=("kraken",)):
    with path.open("wb") as file:
        recorder = Recorder(file, products, venues)
        for one in heard:
            recorder.write(one)
    return path


def read(path):
    warnings = []
    recording = Recording(path, warnings.append)
    return list(recording.rows()), warnings


@given(
    frame=st.binary(max_size=60) | st.text(max_size=30).map(lambda t: t.encode("utf-8", "ignore")),
    transport=st.sampled_from(["ws", "rest"]),
    offset_ms=st.integers(-(10**6), 10**6),
    symbols=st.lists(st.sampled_from(["BTC-USD", "USDT-USD"]), max_size=2).map(tuple),
)
def test_what_is_written_is_read(tmp_path_factory, frame, transport, offset_ms, symbols):
    heard = Heard(
        at_ms=1,
        venue="kraken",
        frame=frame,
        transport=transport,
        offset_ms=offset_ms,
        symbols=symbols,
    )
    path = record(tmp_path_factory.mktemp("recording") / "file", heard)
    assert read(path) == ([heard], [])


def test_the_form_of_a_row(tmp_path):
    lines = record(
        tmp_path / "r", HEARD, Heard(at_ms=2, venue="binance", frame=b"\xff")
    ).read_text()
    header, first, second = map(json.loads, lines.splitlines())
    assert (header["format"], header["version"]) == ("oracle-vm feeds recording", 1)
    assert first == {
        "at_ms": 1_790_358_506_900,
        "venue": "kraken",
        "transport": "ws",
        "frame": "{}",
        "connection": 3,
    }
    assert second == {"at_ms": 2, "venue": "binance", "transport": "ws", "frame_b64": "/w=="}


def test_a_last_line_that_is_cut_short_is_left_out_with_a_warning(tmp_path):
    path = record(tmp_path / "r", HEARD, HEARD)
    path.write_bytes(path.read_bytes()[:-5])
    rows, warnings = read(path)
    assert rows == [HEARD]
    assert len(warnings) == 1
    assert ":3: the last line is cut short" in warnings[0]


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ("{", "truncated"),
        ("[]", "array"),
        ('{"at_ms":1,"venue":"kraken","transport":"ws"}', "`frame`"),
        ('{"at_ms":1,"venue":"kraken","transport":"ws","frame":"","frame_b64":""}', "`frame`"),
        ('{"at_ms":1,"venue":"kraken","transport":"ws","frame_b64":"?"}', "base64|alphabet"),
        ('{"at_ms":1,"venue":"kraken","transport":"udp","frame":""}', "udp"),
        ('{"at_ms":"1","venue":"kraken","transport":"ws","frame":""}', "at_ms"),
        ('{"at_ms":-1,"venue":"kraken","transport":"ws","frame":""}', "at_ms"),
        (f'{{"at_ms":{2**70},"venue":"kraken","transport":"ws","frame":""}}', "at_ms"),
        ('{"at_ms":1,"venue":"kraken","transport":"ws","frame":"","x":1}', "x"),
    ],
)
def test_a_line_in_the_middle_that_is_no_row_is_named(tmp_path, line, names):
    path = record(tmp_path / "r", HEARD)
    path.write_text(path.read_text() + line + "\n" + path.read_text().splitlines()[1] + "\n")
    with pytest.raises(EncodingError, match=":3: no row of a recording") as caught:
        read(path)
    assert re.search(names, str(caught.value))


@pytest.mark.parametrize(
    ("header", "names"),
    [
        ("", "no header"),
        ("{}", "no header"),
        ('{"at_ms":1}', "no header"),
        ('{"version":2,"products":["BTC-USD"],"venues":["kraken"]}', "version 2"),
        ('{"format":"x","products":["BTC-USD"],"venues":["kraken"]}', "'x'"),
        ('{"products":["BTC-USD"],"venues":["nasdaq"]}', "no venue 'nasdaq'"),
        ('{"products":["DOGE-USD"],"venues":["kraken"]}', "no product 'DOGE-USD'"),
        ('{"products":[],"venues":["kraken"]}', "names no venue or no product"),
        ('{"products":["BTC-USD"],"venues":[]}', "names no venue or no product"),
    ],
)
def test_a_header_that_is_none_is_named(tmp_path, header, names):
    path = tmp_path / "r"
    path.write_text(header + "\n")
    with pytest.raises(EncodingError, match=re.escape(names)):
        read(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(EncodingError, match="cannot be read"):
        read(tmp_path / "none")
