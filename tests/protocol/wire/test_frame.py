"""The signed envelope: what an attacker can do to it, and that none of it passes."""

import secrets
from dataclasses import replace

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol import wire
from protocol.crypto.tagged import tagged_hash
from protocol.errors import EncodingError, SignatureError
from protocol.wire.frame import MAX_SIZE, TAG, Notice, peek, require_successor
from tests.builders.messages import CERTIFICATE, VOTE
from tests.builders.oracles import AUX, CONFIG, KEYS, T0

KIND, BODY = wire.encode(VOTE)
FRAME = wire.Frame(
    config=CONFIG.digest, sender=2, counter=T0 << 20, time_ms=T0, kind=KIND, body=BODY
)
PUBLIC = KEYS[2].public


def sign(message):
    return KEYS[2].sign(message, AUX)


def sealer(envelope):
    return sign(wire.digest(envelope))


def signed(envelope):
    """Any bytes as an envelope with a good signature: what a dishonest operator can send."""
    return envelope + sign(tagged_hash(TAG, envelope))


def altered(**changes):
    fields = msgpack.unpackb(SEALED[:-64])
    return signed(msgpack.packb(fields | changes))


SEALED = wire.seal(FRAME, sealer)


def test_round_trip():
    assert wire.unseal(SEALED, PUBLIC) == FRAME
    assert peek(SEALED) == FRAME
    assert wire.decode(FRAME.kind, FRAME.body) == VOTE


def test_known_layout():
    keys = list(msgpack.unpackb(SEALED[:-64]))
    assert keys == ["version", "config", "sender", "counter", "time_ms", "kind", "body"]
    assert SEALED[:-64] == msgpack.packb(
        {
            "version": 1,
            "config": CONFIG.digest,
            "sender": 2,
            "counter": T0 << 20,
            "time_ms": T0,
            "kind": "vote",
            "body": BODY,
        }
    )


@settings(max_examples=50)
@given(st.integers(0, len(SEALED) * 8 - 1))
def test_every_flipped_bit_breaks_the_signature(bit):
    data = bytearray(SEALED)
    data[bit // 8] ^= 1 << bit % 8
    with pytest.raises(SignatureError):
        wire.unseal(bytes(data), PUBLIC)


@settings(max_examples=50)
@given(st.binary(max_size=200))
def test_any_bytes_are_no_frame(data):
    with pytest.raises(SignatureError):
        wire.unseal(data, PUBLIC)
    with pytest.raises(EncodingError):
        peek(data)


@settings(max_examples=50)
@given(st.binary(max_size=200))
def test_any_signed_bytes_are_no_frame(data):
    with pytest.raises(EncodingError):
        wire.unseal(signed(data), PUBLIC)


def test_impersonation():
    for other in (0, 1, 3):
        with pytest.raises(SignatureError):
            wire.unseal(SEALED, KEYS[other].public)
    forged = wire.seal(FRAME, lambda e: KEYS[0].sign(wire.digest(e), AUX))
    with pytest.raises(SignatureError):
        wire.unseal(forged, PUBLIC)


@pytest.mark.parametrize(
    "signer",
    [
        lambda envelope: sign(tagged_hash("btcfi/oracle/observation/v1", envelope)),
        lambda envelope: sign(tagged_hash("btcfi/wire/frame/v2", envelope)),
        lambda envelope: bytes(64),
        lambda envelope: b"",
        lambda envelope: sign(tagged_hash(TAG, envelope)) + b"\0",
    ],
)
def test_a_signature_of_something_else(signer):
    envelope = SEALED[:-64]
    with pytest.raises(SignatureError):
        wire.unseal(envelope + signer(envelope), PUBLIC)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"version": 2}, "version 2: this program speaks 1"),
        ({"version": "1"}, "version unknown"),
        ({"version": None}, "version"),
        ({"config": bytes(31)}, "config"),
        ({"config": "0" * 32}, "config"),
        ({"sender": 256}, "sender"),
        ({"sender": -1}, "sender"),
        ({"sender": 1.0}, "float"),
        ({"sender": float("nan")}, "float"),
        ({"counter": -1}, "counter"),
        ({"time_ms": "now"}, "time_ms"),
        ({"kind": "x" * 33}, "kind"),
        ({"kind": "vo\nte"}, "kind"),
        ({"kind": b"vote"}, "kind"),
        ({"body": "text"}, "body"),
        ({"body": [[[[[]]]]]}, "inside each other"),
        ({"body": msgpack.ExtType(1, b"")}, "ExtType"),
        ({"more": 1}, "must have the fields"),
    ],
    ids=str,
)
def test_a_signed_frame_that_breaks_the_rules(changes, message):
    with pytest.raises(EncodingError, match=message):
        wire.unseal(altered(**changes), PUBLIC)


def test_a_signed_frame_in_another_encoding():
    fields = msgpack.unpackb(SEALED[:-64])
    for envelope in (
        msgpack.packb(dict(reversed(fields.items()))),
        SEALED[:-64] + b"\xc0",
        b"\xde\x00\x07" + SEALED[1:-64],  # the same map with a longer head
        msgpack.packb(list(fields.values())),
        msgpack.packb(None),
        b"\x88" + msgpack.packb("version") + b"\x01" + SEALED[1:-64],  # a key twice
    ):
        with pytest.raises(EncodingError):
            wire.unseal(signed(envelope), PUBLIC)


def test_size_limit():
    head = len(wire.seal(replace(FRAME, body=bytes(MAX_SIZE - 300)), sealer)) - (MAX_SIZE - 300)
    largest = wire.seal(replace(FRAME, body=bytes(MAX_SIZE - head)), sealer)
    assert len(largest) == MAX_SIZE
    assert len(wire.unseal(largest, PUBLIC).body) == MAX_SIZE - head
    with pytest.raises(EncodingError, match="more than 1048576"):
        wire.seal(replace(FRAME, body=bytes(MAX_SIZE - head + 1)), sealer)
    for read in (peek, lambda data: wire.unseal(data, PUBLIC)):
        with pytest.raises(EncodingError, match="1048577 bytes are more"):
            read(largest + b"\0")


def test_successors():
    require_successor(replace(FRAME, counter=FRAME.counter + 1, body=b""), FRAME)
    for counter in (FRAME.counter, FRAME.counter - 1, 0):
        with pytest.raises(SignatureError, match="replayed"):
            require_successor(replace(FRAME, counter=counter), FRAME)
    with pytest.raises(SignatureError, match="sender"):
        require_successor(replace(FRAME, sender=1, counter=FRAME.counter + 1), FRAME)
    with pytest.raises(SignatureError, match="configuration"):
        require_successor(replace(FRAME, config=bytes(32), counter=FRAME.counter + 1), FRAME)


def test_fresh_randomness_changes_the_signature_alone():
    entropy = secrets.token_bytes(32)
    again = wire.seal(FRAME, lambda e: KEYS[2].sign(wire.digest(e), entropy))
    assert again[:-64] == SEALED[:-64]
    assert again != SEALED
    assert wire.unseal(again, PUBLIC) == FRAME


def test_notices():
    notice = Notice(*wire.encode(CERTIFICATE))
    assert Notice.decode(notice.encode()) == notice
    assert wire.decode(notice.kind, notice.body) == CERTIFICATE
    for data in (b"", SEALED, SEALED[:-64], notice.encode() + b"\0", msgpack.packb({"version": 2})):
        with pytest.raises(EncodingError):
            Notice.decode(data)
