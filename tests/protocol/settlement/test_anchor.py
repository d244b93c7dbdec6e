"""What an OP_RETURN commits to, and what is not taken for an anchor."""

from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.bitcoin.script import null_data
from protocol.bitcoin.tx import outpoint, transaction, txin, txout
from protocol.errors import EncodingError
from protocol.settlement.anchor import (
    ClaimAnchor,
    HeadAnchor,
    anchor_in,
    anchor_script,
    decode_anchor,
    payloads,
)

HASH = bytes(range(32))
ROOT = b"\x07" * 20


def tagged(tag: bytes, message: bytes) -> bytes:
    """BIP340's, written out."""
    head = sha256(tag).digest()
    return sha256(head + head + message).digest()


def carrying(*scripts: bytes):
    outputs = [txout(1_000, b"\x51"), *(txout(0, script) for script in scripts)]
    return transaction([txin(outpoint(bytes(32), 0))], outputs)


def test_what_they_commit_to() -> None:
    assert ClaimAnchor.of(ROOT, HASH).encode() == tagged(b"btcfi/anchor/v1", ROOT + HASH)
    head = HeadAnchor.of(7, HASH).encode()
    assert head[:12] == b"BFH1" + bytes(7) + b"\x07"
    assert head[12:] == tagged(b"btcfi/anchor/head/v1", bytes(7) + b"\x07" + HASH)
    assert len(head) == 44


@settings(max_examples=30)
@given(st.integers(0, 2**64 - 1), st.binary(min_size=32, max_size=32))
def test_they_come_back_from_a_transaction(round_id: int, digest: bytes) -> None:
    for anchor in (HeadAnchor.of(round_id, digest), ClaimAnchor(digest)):
        assert decode_anchor(anchor.encode()) == anchor
        assert anchor_in(carrying(anchor_script(anchor))) == anchor
        assert anchor_in(carrying(null_data(b"hello"), anchor_script(anchor))) == anchor


def test_a_different_input_gives_a_different_anchor() -> None:
    anchors = {
        ClaimAnchor.of(ROOT, HASH).encode(),
        ClaimAnchor.of(ROOT, bytes(32)).encode(),
        ClaimAnchor.of(bytes(20), HASH).encode(),
        ClaimAnchor.of(bytes(32), HASH).encode(),
        HeadAnchor.of(1, HASH).encode(),
        HeadAnchor.of(2, HASH).encode(),
    }
    assert len(anchors) == 6


@pytest.mark.parametrize("payload", [b"", bytes(31), bytes(33), bytes(44), b"BFH1", b"BFH2" * 11])
def test_other_bytes_are_no_anchor(payload: bytes) -> None:
    with pytest.raises(EncodingError, match="no anchor of ours"):
        decode_anchor(payload)


def test_a_transaction_has_exactly_one() -> None:
    anchor = anchor_script(ClaimAnchor(HASH))
    for scripts, count in (((), 0), ((null_data(b"x"),), 0), ((anchor, anchor), 2)):
        with pytest.raises(EncodingError, match=f"has {count} anchors"):
            anchor_in(carrying(*scripts))


def test_only_single_pushes_are_read() -> None:
    push_twice = b"\x6a\x01\x01\x01\x02"
    assert payloads(carrying(null_data(b"ab"), b"\x6a", push_twice, b"\x6a\x4c\x01\x05")) == (
        b"ab",
    )


def test_sizes_are_checked() -> None:
    for root, report in ((bytes(31), HASH), (ROOT, bytes(31))):
        with pytest.raises(EncodingError):
            ClaimAnchor.of(root, report)
    for round_id, digest in ((-1, HASH), (2**64, HASH), (0, bytes(20))):
        with pytest.raises(EncodingError):
            HeadAnchor.of(round_id, digest)
