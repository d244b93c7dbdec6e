"""A certificate convinces only with exactly the quorum of this configuration under this report."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from protocol.errors import EncodingError, QuorumError, SignatureError
from protocol.oracle.certificate import Certificate
from protocol.oracle.report import Grade
from tests.builders.oracles import (
    CONFIG,
    FEED_ID,
    KEYS,
    PRICE,
    certify,
    make_config,
    observed,
    proposal_of,
)

REPORT = proposal_of(observed(0), observed(1), observed(2, PRICE + 10)).report
HONEST = certify(REPORT)
P = 2**256 - 2**32 - 977
N = int.from_bytes(
    bytes.fromhex("fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141")
)


@pytest.mark.parametrize("signers", [(0, 1), (0, 2), (1, 2)])
def test_any_quorum_will_do(signers: tuple[int, ...]) -> None:
    certificate = Certificate.decode(certify(REPORT, signers).encode())
    certificate.check(CONFIG, FEED_ID)
    assert certificate.signers == signers


def with_signature(make: Callable[[bytes], bytes]) -> Certificate:
    (first, (index, signature)) = HONEST.signatures
    return Certificate(REPORT, (first, (index, make(signature))))


FORGERIES: dict[str, tuple[type[Exception], str, Callable[[], Certificate]]] = {
    "another epoch": (
        QuorumError,
        "another configuration",
        lambda: certify(replace(REPORT, config_digest=make_config(epoch=2).digest)),
    ),
    "another feed": (
        QuorumError,
        "another feed",
        lambda: certify(replace(REPORT, feed_id=bytes(32))),
    ),
    "too few": (QuorumError, "has 1 signatures", lambda: certify(REPORT, (0,))),
    "too many": (QuorumError, "has 3 signatures", lambda: certify(REPORT, (0, 1, 2))),
    "a stranger": (
        QuorumError,
        "index 3 is not one of 3",
        lambda: certify(REPORT, (0, 3)),
    ),
    "a strange observer": (
        QuorumError,
        "obs_bitmap",
        lambda: certify(replace(REPORT, observers=0b1011)),
    ),
    "FULL of two": (QuorumError, "grade FULL", lambda: certify(replace(REPORT, observers=3))),
    "DEGRADED of three": (
        QuorumError,
        "grade DEGRADED",
        lambda: certify(replace(REPORT, grade=Grade.DEGRADED)),
    ),
    "DEGRADED of one": (
        QuorumError,
        "all may be lies",
        lambda: certify(replace(REPORT, grade=Grade.DEGRADED, observers=1)),
    ),
    "altered report": (
        SignatureError,
        "oracle 0 does not verify",
        lambda: replace(HONEST, report=replace(REPORT, price_e8=PRICE + 1)),
    ),
    "under another index": (
        SignatureError,
        "oracle 1 does not verify",
        lambda: Certificate(REPORT, (HONEST.signatures[0], (1, HONEST.signatures[0][1]))),
    ),
    "over the bare bytes": (
        SignatureError,
        "oracle 1 does not verify",
        lambda: with_signature(lambda _: KEYS[1].sign(REPORT.encode()[:32], bytes(32))),
    ),
    "s negated": (
        SignatureError,
        "oracle 1",
        lambda: with_signature(lambda s: s[:32] + (N - int.from_bytes(s[32:])).to_bytes(32)),
    ),
    "s is the order": (
        SignatureError,
        "oracle 1",
        lambda: with_signature(lambda s: s[:32] + N.to_bytes(32)),
    ),
    "r is the field prime": (
        SignatureError,
        "oracle 1",
        lambda: with_signature(lambda s: P.to_bytes(32) + s[32:]),
    ),
    "all zero": (SignatureError, "oracle 1", lambda: with_signature(lambda _: bytes(64))),
}


@pytest.mark.parametrize("name", FORGERIES)
def test_forgery(name: str) -> None:
    error, message, make = FORGERIES[name]
    with pytest.raises(error, match=message):
        make().check(CONFIG, FEED_ID)


def test_any_altered_byte_is_refused() -> None:
    data = HONEST.encode()
    for at in range(len(data)):
        altered = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
        with pytest.raises((EncodingError, QuorumError, SignatureError)):
            Certificate.decode(altered).check(CONFIG, FEED_ID)


def test_fresh_randomness_gives_another_valid_certificate_of_the_same_report() -> None:
    other = certify(REPORT, aux=b"\7" * 32)
    assert other != HONEST
    assert other.report.hash == HONEST.report.hash
    other.check(CONFIG)


def test_a_final_quorum_of_three_of_four() -> None:
    config = make_config(4, quorum=3)
    seen = [observed(i, config=config) for i in range(4)]
    report = proposal_of(*seen, config=config).report
    certify(report, (0, 1, 3)).check(config, FEED_ID)
    with pytest.raises(QuorumError, match="needed are 3"):
        certify(report, (0, 1)).check(config, FEED_ID)
