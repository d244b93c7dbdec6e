"""A sign of life: it says why there is no price, and is never taken for one."""

from dataclasses import replace
from hashlib import sha256
from struct import pack
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.errors import EncodingError
from protocol.oracle import heartbeat as hbt
from protocol.oracle.heartbeat import Heartbeat, SignedHeartbeat, Status, check_heartbeat
from protocol.oracle.observation import SignedObservation
from protocol.oracle.proposal import Reason
from tests.builders.oracles import (
    AUX,
    CONFIG,
    FEED_ID,
    KEYS,
    ROUND,
    T0,
    Network,
    make_config,
    observation,
    reason,
)


def beat(key: int = 1, **changes: Any) -> SignedHeartbeat:
    fields: dict[str, Any] = {
        "config_digest": CONFIG.digest,
        "feed_id": FEED_ID,
        "round": ROUND,
        "status": Status.NO_DATA,
        "time": T0 + 10,
    }
    heartbeat = Heartbeat(**(fields | changes))
    return SignedHeartbeat(1, heartbeat, KEYS[key].sign(heartbeat.message, AUX))


def test_the_bytes_are_what_the_page_says() -> None:
    data = beat(status=Status.HALTED).heartbeat.encode()
    assert data == b"HBT1" + CONFIG.digest + FEED_ID + pack(">QBQ", ROUND, 2, T0 + 10)
    assert len(data) == hbt.SIZE
    tag = sha256(b"btcfi/oracle/heartbeat/v1").digest()
    message = beat(status=Status.HALTED).heartbeat.message
    assert message == sha256(tag + tag + data).digest()


@pytest.mark.parametrize("status", Status)
def test_an_honest_heartbeat_is_heard(status: Status) -> None:
    signed = beat(status=status)
    assert check_heartbeat(CONFIG, (FEED_ID,), signed, T0 + 20) is None
    assert check_heartbeat(CONFIG, (), beat(feed_id=hbt.ALL_FEEDS), T0 + 20) is None
    assert SignedHeartbeat.decode(signed.encode()) == signed


OTHER = make_config(epoch=2)
REFUSED = {
    "no member": (Reason.SIGNER, replace(beat(), oracle=3)),
    "another configuration": (Reason.CONFIG, beat(config_digest=OTHER.digest)),
    "another feed": (Reason.FEED, beat(feed_id=b"\1" * 32)),
    "a future clock": (Reason.FUTURE, beat(time=T0 + 20 + 1001, round=ROUND + 1)),
    "yesterday's": (Reason.STALE, beat(time=T0 - 86_400_000, round=ROUND - 86_400)),
    "a round too early": (Reason.STALE, beat(time=T0 - 4981, round=ROUND - 5)),
    "a round that is not its time's": (Reason.ROUND, beat(round=ROUND + 1)),
    "another oracle's": (Reason.SIGNATURE, replace(beat(), oracle=0)),
    "signed by another": (Reason.SIGNATURE, beat(key=2)),
    "altered": (
        Reason.SIGNATURE,
        replace(beat(), heartbeat=beat(status=Status.HALTED).heartbeat),
    ),
    "an observation's signature": (
        Reason.SIGNATURE,
        replace(beat(), signature=KEYS[1].sign(observation().message, AUX)),
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_refused_heartbeat_has_its_reason(name: str) -> None:
    expected, signed = REFUSED[name]
    assert reason(check_heartbeat(CONFIG, (FEED_ID,), signed, T0 + 20)) is expected


def test_the_age_limits_are_exact() -> None:
    late, early = beat(), beat(time=T0 + 999)
    assert check_heartbeat(CONFIG, (FEED_ID,), late, T0 + 10 + CONFIG.max_age_ms) is None
    assert check_heartbeat(CONFIG, (FEED_ID,), late, T0 + 11 + CONFIG.max_age_ms) is not None
    assert check_heartbeat(CONFIG, (FEED_ID,), early, T0 + 999 - CONFIG.future_ms) is None
    assert check_heartbeat(CONFIG, (FEED_ID,), early, T0 + 998 - CONFIG.future_ms) is not None


def test_two_heartbeats_of_one_round_touch_no_sign_guard_and_convict_nobody() -> None:
    network = Network()
    for status in Status:
        assert check_heartbeat(network.config, (FEED_ID,), beat(status=status), T0 + 20) is None
    assert not any(guard.log for guard in network.guards)
    assert network.run({0: 100, 1: 100, 2: 100}) is not None, "the oracle may still observe"


def test_a_heartbeat_is_no_price() -> None:
    with pytest.raises(EncodingError):
        SignedObservation.decode(beat().encode())
    signed = SignedObservation(1, observation(), beat().signature)
    assert not signed.verify(KEYS[1].public)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"status": 1}, "status 1 is unknown: 1 NO_DATA"),
        ({"round": -1}, "heartbeat round"),
        ({"time": 2**64}, "heartbeat time"),
        ({"feed_id": b""}, "heartbeat feed_id"),
        ({"config_digest": "x" * 32}, "heartbeat config_digest"),
    ],
)
def test_a_wrong_field_is_named(changes: dict[str, Any], match: str) -> None:
    with pytest.raises(EncodingError, match=match):
        beat(**changes)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"oracle": 256}, "signed heartbeat oracle"),
        ({"signature": bytes(63)}, "signed heartbeat signature"),
    ],
)
def test_a_wrong_envelope_is_named(changes: dict[str, Any], match: str) -> None:
    with pytest.raises(EncodingError, match=match):
        replace(beat(), **changes)


@settings(max_examples=50)
@given(st.binary(max_size=160) | st.binary(min_size=150, max_size=150))
def test_any_bytes_are_a_heartbeat_that_encodes_to_them_or_an_error(data: bytes) -> None:
    for candidate in (data, beat().encode()[: len(data)] + data[60:]):
        try:
            signed = SignedHeartbeat.decode(candidate)
        except EncodingError:
            continue
        assert signed.encode() == candidate


def test_a_flipped_bit_is_never_heard() -> None:
    data = beat().encode()
    for bit in range(8 * len(data)):
        altered = bytearray(data)
        altered[bit // 8] ^= 1 << bit % 8
        try:
            signed = SignedHeartbeat.decode(bytes(altered))
        except EncodingError:
            continue
        assert check_heartbeat(CONFIG, (FEED_ID,), signed, T0 + 20) is not None
