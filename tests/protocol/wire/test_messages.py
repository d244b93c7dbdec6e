"""Every message that travels, and what must not pass for one."""

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol import wire
from protocol.errors import EncodingError
from protocol.oracle.messages import HISTORY_LIMIT, HistoryAnswer, HistoryRequest, Send
from protocol.oracle.proposal import Reason
from protocol.wire.fields import TEXT_LIMIT
from protocol.wire.messages import KINDS
from tests.builders.messages import MESSAGES, PROPOSAL, SLOT, VOTE, refused

ENCODED = [wire.encode(message) for message in MESSAGES]


def record(message):
    """A message's kind and its map, to be altered."""
    kind, body = wire.encode(message)
    return kind, msgpack.unpackb(body)


@pytest.mark.parametrize("message", MESSAGES, ids=lambda m: type(m).__name__)
def test_round_trip(message):
    kind, body = wire.encode(message)
    decoded = wire.decode(kind, body)
    assert decoded == message
    assert type(decoded) is type(message)
    assert wire.encode(decoded) == (kind, body)


def test_the_builders_know_every_kind():
    assert {kind for kind, _ in ENCODED} == set(KINDS)


@settings(max_examples=50)
@given(st.sampled_from(ENCODED), st.data())
def test_bit_flips_and_cuts_are_refused_or_another_valid_message(encoded, data):
    kind, body = encoded
    mutated = bytearray(body)
    for _ in range(data.draw(st.integers(0, 3))):
        mutated[data.draw(st.integers(0, len(body) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    cut = data.draw(st.integers(0, len(body) + 2))
    mutated = bytes(mutated[:cut]) + bytes(max(0, cut - len(body)))
    other = data.draw(st.sampled_from((kind, *KINDS)))
    try:
        message = wire.decode(other, mutated)
    except EncodingError:
        return
    assert wire.encode(message) == (other, mutated)


@settings(max_examples=50)
@given(st.sampled_from(KINDS), st.binary(max_size=400))
def test_any_bytes(kind, body):
    try:
        message = wire.decode(kind, body)
    except EncodingError:
        return
    assert wire.encode(message) == (kind, body)


WRONG = (None, -1, 2**64 - 1, "text", b"bytes", [], {}, [[]], {"a": 1})


@pytest.mark.parametrize(
    "message", [m for m in MESSAGES if not hasattr(m, "encode")], ids=lambda m: type(m).__name__
)
@pytest.mark.parametrize("wrong", WRONG, ids=repr)
def test_a_field_of_another_type_is_another_message_or_none(message, wrong):
    kind, fields = record(message)
    for name, value in fields.items():
        if value == wrong:
            continue
        body = msgpack.packb(fields | {name: wrong})
        try:
            decoded = wire.decode(kind, body)
        except EncodingError as error:
            assert name in str(error)
        else:
            assert wire.encode(decoded) == (kind, body)
            assert decoded != message


def test_missing_unknown_and_misplaced_fields():
    kind, fields = record(VOTE)
    for name in fields:
        rest = {key: value for key, value in fields.items() if key != name}
        with pytest.raises(EncodingError, match="must have the fields"):
            wire.decode(kind, msgpack.packb(rest))
        with pytest.raises(EncodingError, match="must have the fields"):
            wire.decode(kind, msgpack.packb(rest | {name: fields[name]} | {"more": 1}))
    with pytest.raises(EncodingError, match="must have the fields"):
        wire.decode(kind, msgpack.packb(dict(reversed(fields.items()))))


def test_a_key_twice():
    kind, body = wire.encode(HistoryRequest(5))
    assert body[0] == 0x81
    with pytest.raises(EncodingError, match="twice"):
        wire.decode(kind, b"\x82" + body[1:] * 2)


@pytest.mark.parametrize(
    ("message", "change", "name"),
    [
        (VOTE, {"oracle": 256}, "oracle"),
        (VOTE, {"round": -1}, "round"),
        (VOTE, {"round": True}, "bool"),
        (VOTE, {"report_hash": bytes(31)}, "report_hash"),
        (VOTE, {"signature": bytes(65)}, "signature"),
        (PROPOSAL, {"observations": [b""] * 9}, "at most 8"),
        (PROPOSAL, {"observations": [b"x"]}, "observation"),
        (PROPOSAL, {"observations": [7]}, r"observations\[0\]"),
        (PROPOSAL, {"report": b""}, "report"),
        (PROPOSAL, {"previous": b"CRT"}, "certificate"),
        (HistoryRequest(0), {"after_round": -2}, "after_round"),
        (HistoryAnswer(()), {"certificates": [b""] * (HISTORY_LIMIT + 1)}, "at most 64"),
        (HistoryAnswer(()), {"certificates": {}}, "certificates"),
        (refused(), {"refusal": {}}, "refusal"),
    ],
    ids=str,
)
def test_fields_out_of_range(message, change, name):
    kind, fields = record(message)
    with pytest.raises(EncodingError, match=name):
        wire.decode(kind, msgpack.packb(fields | change))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("reason", "because"),
        ("reason", 1),
        ("detail", "x" * (TEXT_LIMIT + 1)),
        ("detail", "two\nlines"),
        ("detail", "\x1b[31mred"),
        ("detail", "right\u202eto left"),
        ("detail", "\x00"),
        ("proof", {"vote": b""}),
        ("proof", {}),
        ("proof", {"observation": b"", "certificate": b""}),
        ("proof", {"certificate": b"short"}),
        ("proof", {"evidence": None}),
    ],
)
def test_a_foreign_refusal_is_clean(name, value):
    kind, fields = record(refused())
    fields["refusal"][name] = value
    with pytest.raises(EncodingError, match=name if name != "proof" else None):
        wire.decode(kind, msgpack.packb(fields))


def test_our_refusal_always_travels():
    message = refused(detail="a\nb\x1b" + "é" * 1000)
    decoded = wire.decode(*wire.encode(message))
    assert decoded.refusal.detail.startswith("a?b?éé")
    assert len(decoded.refusal.detail) == TEXT_LIMIT
    assert decoded.refusal.reason is Reason.WITHHELD


def test_a_slot_that_makes_no_sense():
    kind, fields = record(MESSAGES[-1])
    fields["slot"] |= {"start_round": SLOT.target_round + 1}
    with pytest.raises(EncodingError, match="start_round"):
        wire.decode(kind, msgpack.packb(fields))


@pytest.mark.parametrize("message", [Send((0,), VOTE), b"bytes", None, 7, PROPOSAL.report])
def test_what_does_not_travel(message):
    with pytest.raises(EncodingError, match="no message of the network"):
        wire.encode(message)


@pytest.mark.parametrize("kind", ["", "hello", "Vote", "x" * 1000])
def test_unknown_kinds(kind):
    with pytest.raises(EncodingError, match="unknown"):
        wire.decode(kind, b"")
