"""Who may hand over to whom: a quorum of the old configuration, and nobody else."""

from dataclasses import replace
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.errors import EncodingError, ProtocolError, QuorumError, SignatureError
from protocol.oracle.config import OracleConfig
from protocol.oracle.rotation import Rotation, RotationCertificate
from tests.builders.epochs import (
    NEW_KEYS,
    NEW_ROUND,
    NEXT,
    ROSTER,
    ROTATION,
    rotation,
    signed,
)
from tests.builders.oracles import AUX, CONFIG, KEYS, make_config


def test_the_bytes_are_what_the_page_says() -> None:
    data = rotation().encode()
    assert data == b"ROT1" + CONFIG.digest + ROSTER + NEW_ROUND.to_bytes(8) + NEXT.encode()
    tag = sha256(b"btcfi/keys/rotation/v1").digest()
    assert rotation().hash == sha256(tag + tag + data).digest()
    assert ROTATION.encode() == data + b"".join(bytes([i]) + s for i, s in ROTATION.signatures)
    assert RotationCertificate.decode(ROTATION.encode()) == ROTATION


SUCCESSORS = {
    "a lost key replaced": NEXT,
    "a lost key dropped: n - 1": make_config(2, epoch=2, quorum=2, faults=0),
    "a member more": make_config(4, epoch=2, quorum=3, faults=1),
    "all keys new": make_config(epoch=2, oracles=tuple(k.public for k in KEYS[4:7])),
    "other limits": make_config(epoch=2, delta_ppm=1_000, max_age_ms=2_000),
}


@pytest.mark.parametrize("name", SUCCESSORS)
def test_a_quorum_hands_over(name: str) -> None:
    certificate = signed(rotation(new=SUCCESSORS[name]), (0, 2))
    certificate.check(CONFIG)
    assert RotationCertificate.decode(certificate.encode()) == certificate


NOT_NEXT = {
    "epoch: 1, expected 2": make_config(epoch=1, delta_ppm=1),
    "epoch: 0, expected 2": make_config(epoch=0),
    "epoch: 3, expected 2": make_config(epoch=3),
    "genesis_hash": make_config(epoch=2, genesis_hash=bytes(32)),
    "interval_ms: 30000, expected 1000": make_config(epoch=2, interval_ms=30_000),
}


@pytest.mark.parametrize("match", NOT_NEXT)
def test_not_every_configuration_may_follow(match: str) -> None:
    with pytest.raises(QuorumError, match=f"rotation {match}"):
        signed(rotation(new=NOT_NEXT[match])).check(CONFIG)


def test_a_rotation_of_another_configuration_is_refused() -> None:
    other = make_config(max_age_ms=1)
    with pytest.raises(QuorumError, match=f"rotation of configuration {other.digest.hex()}"):
        signed(rotation(old=other)).check(CONFIG)


def forged(**changes: Any) -> RotationCertificate:
    return replace(ROTATION, **changes)


ONE, TWO, THREE = signed(rotation(), (0, 1, 2)).signatures
FORGERIES: dict[str, tuple[type[ProtocolError], RotationCertificate]] = {
    "has 1 signatures, needed are 2": (QuorumError, forged(signatures=(ONE,))),
    "has 3 signatures, needed are 2": (QuorumError, forged(signatures=(ONE, TWO, THREE))),
    "oracle index 3 is not one of 3": (QuorumError, forged(signatures=(ONE, (3, TWO[1])))),
    "signature of oracle 1 does": (SignatureError, forged(signatures=(ONE, (1, ONE[1])))),
    "signature of oracle 0 does": (SignatureError, forged(rotation=rotation(round_id=1))),
    "signature of oracle 2 does": (  # the new key of oracle 2 does not sign for the old one
        SignatureError,
        signed(rotation(), (0, 2), NEW_KEYS),
    ),
    "of oracle 1 does not verify": (
        SignatureError,
        forged(signatures=(ONE, (1, KEYS[1].sign(NEXT.digest, AUX)))),
    ),
}


@pytest.mark.parametrize("match", FORGERIES)
def test_a_forged_rotation_is_refused(match: str) -> None:
    error, certificate = FORGERIES[match]
    with pytest.raises(error, match=match):
        certificate.check(CONFIG)


def test_one_oracle_is_not_counted_twice() -> None:
    with pytest.raises(EncodingError, match="strictly ascend"):
        forged(signatures=(ONE, ONE))
    with pytest.raises(EncodingError, match="there is none"):
        forged(signatures=())


def patched(offset: int, new: bytes) -> bytes:
    data = ROTATION.encode()
    return data[:offset] + new + data[offset + len(new) :]


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (b"", "rotation version"),
        (patched(0, b"ROT2"), "rotation version: magic b'ROT2'"),
        (ROTATION.encode()[:92], "config: 16 bytes are too few"),
        (patched(76, b"CFG2"), "config version"),
        (patched(116, b"\0"), "rotation length"),
        (patched(116, b"\xff"), "rotation length"),
        (ROTATION.encode() + b"\0", "rotation length"),
        (ROTATION.encode()[:-1], "rotation length"),
        (rotation().encode(), "rotation length"),
        (patched(117, b"\3" * 32), r"oracles\[0\]: 03.* no curve point"),
    ],
)
def test_malformed_bytes_are_named(data: bytes, match: str) -> None:
    with pytest.raises(EncodingError, match=match):
        RotationCertificate.decode(data)


def test_a_rotation_alone_is_exactly_its_bytes() -> None:
    assert Rotation.decode(rotation().encode()) == rotation()
    with pytest.raises(EncodingError, match="rotation must be"):
        Rotation.decode(rotation().encode() + b"\0")


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"old_digest": bytes(31)}, "rotation old config digest must be 32 bytes"),
        ({"roster": bytes(33)}, "rotation roster must be 32 bytes"),
        ({"round": -1}, "rotation round"),
        ({"round": 2**64}, "rotation round"),
    ],
)
def test_a_wrong_field_is_named(changes: dict[str, Any], match: str) -> None:
    with pytest.raises(EncodingError, match=match):
        replace(rotation(), **changes)


@settings(max_examples=50)
@given(st.integers(0, 8 * len(ROTATION.encode()) - 1))
def test_a_flipped_bit_never_hands_over(bit: int) -> None:
    data = bytearray(ROTATION.encode())
    data[bit // 8] ^= 1 << bit % 8
    with pytest.raises(ProtocolError):
        RotationCertificate.decode(bytes(data)).check(CONFIG)


def test_the_size_of_a_configuration_is_read_from_its_head() -> None:
    for n in (1, 3, 8):
        config = make_config(n, quorum=n, faults=0)
        assert OracleConfig.size_of(config.encode() + b"more") == len(config.encode())
