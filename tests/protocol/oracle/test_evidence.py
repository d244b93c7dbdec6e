"""Evidence convicts who signed two different messages for one slot, and nobody else."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from protocol.errors import EncodingError, ProtocolError, SignatureError
from protocol.oracle.evidence import Evidence, of_observations, of_reports
from tests.builders.oracles import (
    AUX,
    CONFIG,
    KEYS,
    PRICE,
    ROUND,
    make_config,
    observation,
    observed,
    proposal_of,
    sign,
)

PUBLIC = KEYS[1].public
ONE, TWO = observed(1), observed(1, PRICE + 1)
REPORT = proposal_of(observed(0), observed(1), observed(2)).report
OTHER = replace(REPORT, time=REPORT.time + 1)


def of(a: object, b: object) -> Evidence:
    return of_observations(PUBLIC, a, b)  # type: ignore[arg-type]


def report_signature(report: object, key: int = 1) -> bytes:
    return KEYS[key].sign(report.hash, AUX)  # type: ignore[attr-defined]


def test_two_observations_convict() -> None:
    proof = of(ONE, TWO)
    assert proof.check(CONFIG) == 1
    assert of(TWO, ONE).check(CONFIG) == 1
    assert len(proof.encode()) == 4 + 32 + 2 * (152 + 64)
    assert Evidence.decode(proof.encode()) == proof


def test_two_reports_convict() -> None:
    proof = of_reports(PUBLIC, REPORT, report_signature(REPORT), OTHER, report_signature(OTHER))
    assert proof.check(CONFIG) == 1
    assert Evidence.decode(proof.encode()) == proof


INNOCENT: dict[str, tuple[str, Callable[[], Evidence]]] = {
    "the same bytes, other randomness": (
        "signing twice is no lie",
        lambda: of(ONE, replace(ONE, signature=KEYS[1].sign(ONE.observation.message, b"\1" * 32))),
    ),
    "another round": (
        "differ in kind, configuration, feed or round",
        lambda: of(ONE, observed(1, round=ROUND + 1)),
    ),
    "another feed": ("differ in kind", lambda: of(ONE, observed(1, feed_id=bytes(32)))),
    "another configuration": (
        "differ in kind",
        lambda: of(ONE, observed(1, config=make_config(epoch=2))),
    ),
    "both of another configuration": (
        "of another configuration",
        lambda: of(
            observed(1, config=make_config(epoch=2)),
            observed(1, PRICE + 1, config=make_config(epoch=2)),
        ),
    ),
    "another key's first": ("signature a", lambda: of(sign(0, ONE.observation), TWO)),
    "another key's second": ("signature b", lambda: of(ONE, sign(0, TWO.observation))),
    "an altered message": (
        "signature b",
        lambda: of(ONE, replace(TWO, observation=observation(price=PRICE + 2))),
    ),
    "a stranger": (
        "not one of this configuration's oracles",
        lambda: replace(of(ONE, TWO), public=KEYS[5].public),
    ),
}


@pytest.mark.parametrize("name", INNOCENT)
def test_no_conviction(name: str) -> None:
    message, make = INNOCENT[name]
    with pytest.raises(SignatureError, match=message):
        make().check(CONFIG)


@pytest.mark.parametrize("field", ["public", "signature_a", "signature_b"])
def test_field_lengths(field: str) -> None:
    with pytest.raises(EncodingError, match=r"evidence .* must be"):
        replace(of(ONE, TWO), **{field: bytes(31)})


def test_malformed_messages_convict_nobody() -> None:
    bad = TWO.observation.encode()[:103] + b"\x80" + TWO.observation.encode()[104:]
    with pytest.raises(EncodingError, match="flags"):
        replace(of(ONE, TWO), message_b=bad).check(CONFIG)
    with pytest.raises(EncodingError, match="no observation and no report"):
        replace(of(ONE, TWO), message_a=bytes(151))
    with pytest.raises(EncodingError, match="message b must be 152 bytes"):
        replace(of(ONE, TWO), message_b=REPORT.encode())
    with pytest.raises(EncodingError, match="evidence length"):
        Evidence.decode(of(ONE, TWO).encode() + b"\0")


def test_any_altered_byte_convicts_nobody() -> None:
    data = of(ONE, TWO).encode()
    for at in range(len(data)):
        altered = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
        with pytest.raises(ProtocolError):
            Evidence.decode(altered).check(CONFIG)
