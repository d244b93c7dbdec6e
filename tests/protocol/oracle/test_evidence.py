"""Evidence convicts who signed two different messages for one slot, and nobody else."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.errors import EncodingError, ProtocolError, SignatureError
from protocol.oracle.batch import BatchObservation, BatchReport
from protocol.oracle.evidence import KINDS, Evidence, of_certificates, of_observations
from protocol.oracle.expiry import Expiry, ExpiryCertificate, ExpirySlot, Rule, exercise_subject
from tests.builders.epochs import NEW_ROUND, certificate, rotation, signed
from tests.builders.oracles import (
    AUX,
    CONFIG,
    FEED_ID,
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
OTHER_CONFIG = make_config(epoch=2)
CONTRACT_ID = b"\x0c" * 32


def of(a: object, b: object) -> Evidence:
    return of_observations(PUBLIC, a, b)  # type: ignore[arg-type]


def digest(message: Any) -> bytes:
    """What is signed."""
    return message.message if hasattr(message, "message") else message.hash


def pair(a: Any, b: Any, contract_id: bytes = b"", key: int = 1) -> Evidence:
    """Both messages signed by oracle 1, or by another key."""
    first, second = (KEYS[key].sign(digest(message), AUX) for message in (a, b))
    return Evidence(KEYS[key].public, a.encode(), first, b.encode(), second, contract_id)


def expiry(price: int = PRICE, end: int = 0, **changes: Any) -> Expiry:
    fields: dict[str, Any] = {
        "config_digest": CONFIG.digest,
        "feed_id": FEED_ID,
        "start_round": ROUND - 9,
        "target_round": ROUND,
    }
    slot = ExpirySlot(**(fields | changes))
    return Expiry(
        slot=slot,
        end_round=slot.target_round + end,
        price_e8=price,
        high_e8=price,
        low_e8=price,
        rounds=1,
        report_hash=bytes(32),
    )


def exercised(target: int, contract_id: bytes = CONTRACT_ID, **changes: Any) -> Expiry:
    subject = exercise_subject(contract_id, target)
    return expiry(target_round=target, subject=subject, **changes)


def seen(**changes: Any) -> BatchObservation:
    fields = {"config_digest": CONFIG.digest, "round": ROUND, "seq": 1, "n": 3, "root": bytes(32)}
    return BatchObservation(**(fields | changes))


def batch(**changes: Any) -> BatchReport:
    fields: dict[str, Any] = {"config_digest": CONFIG.digest, "round": ROUND, "n": 3}
    fields |= {"root": bytes(32), "prev_batch_hash": bytes(32)}
    return BatchReport(**(fields | changes))


def test_two_observations_convict() -> None:
    proof = of(ONE, TWO)
    assert proof.check(CONFIG) == 1
    assert of(TWO, ONE).check(CONFIG) == 1
    assert len(proof.encode()) == 4 + 32 + 2 * (152 + 64)
    assert Evidence.decode(proof.encode()) == proof


ELEVEN = b"\1" * 32
TWICE: dict[str, tuple[Any, Any]] = {
    "observations": (observation(), observation(price=PRICE + 1)),
    "observations of another seq": (observation(), observation(seq=2)),
    "reports": (REPORT, replace(REPORT, time=REPORT.time + 1)),
    "reports on two chains": (REPORT, replace(REPORT, prev_report_hash=ELEVEN)),
    "observation batches": (seen(), seen(root=ELEVEN)),
    "observation batches of another seq": (seen(), seen(seq=2)),
    "observation batches of fewer feeds": (seen(), seen(n=2)),
    "batches": (batch(), batch(root=ELEVEN)),
    "batches on two chains": (batch(), batch(prev_batch_hash=ELEVEN)),
    "expiries": (expiry(), expiry(PRICE + 1)),
    "expiries of another end": (expiry(), expiry(end=3)),
    "expiries of one contract and round": (exercised(ROUND), exercised(ROUND, price=PRICE + 1)),
    "rotations to two rounds": (rotation(), rotation(round_id=NEW_ROUND + 1)),
    "rotations to other members": (  # of another size
        rotation(),
        rotation(new=make_config(4, epoch=2, quorum=3, faults=1)),
    ),
}


@pytest.mark.parametrize("name", TWICE)
def test_two_messages_of_one_slot_convict(name: str) -> None:
    a, b = TWICE[name]
    for proof in (pair(a, b), pair(b, a)):
        assert proof.check(CONFIG) == 1
        assert Evidence.decode(proof.encode()) == proof
        assert proof.encode()[:4] == b"EVI1"


def test_every_kind_has_a_conviction_among_these() -> None:
    assert {a.encode()[:4] for a, _ in TWICE.values()} == set(KINDS)


LEGAL: dict[str, tuple[Any, Any]] = {
    "observations of two rounds": (observation(), observation(round=ROUND + 1)),
    "observations of two feeds": (observation(), observation(feed_id=ELEVEN)),
    "reports of two rounds": (REPORT, replace(REPORT, round=ROUND + 1)),
    "reports of two feeds": (REPORT, replace(REPORT, feed_id=ELEVEN)),
    "observation batches of two rounds": (seen(), seen(round=ROUND + 1)),
    "batches of two rounds": (batch(), batch(round=ROUND + 1)),
    "a report and a batch": (REPORT, batch()),
    "an observation and a report": (observation(), REPORT),
    "an observation and an expiry": (observation(), expiry()),
    "expiries of two starts": (expiry(), expiry(start_round=ROUND - 8)),
    "expiries of two targets": (expiry(), expiry(target_round=ROUND + 1)),
    "expiries of two feeds": (expiry(), expiry(feed_id=ELEVEN)),
    "expiries of two contracts": (expiry(), expiry(subject=ELEVEN)),
    "expiries of two rules": (expiry(), expiry(rule=Rule.TWAP, window=1)),
    "expiries of two windows": (
        expiry(rule=Rule.TWAP, window=2),
        expiry(rule=Rule.TWAP, window=1),
    ),
    "expiries of two epochs": (expiry(), expiry(config_digest=OTHER_CONFIG.digest)),
    "rotations of two epochs": (rotation(), rotation(old=OTHER_CONFIG)),
    "of two exercises, without the contract": (exercised(ROUND), exercised(ROUND + 1)),
}


@pytest.mark.parametrize("name", LEGAL)
def test_what_an_honest_oracle_signs_convicts_nobody(name: str) -> None:
    a, b = LEGAL[name]
    for proof in (pair(a, b), pair(b, a)):
        assert Evidence.decode(proof.encode()) == proof
        with pytest.raises(SignatureError, match="differ in kind, configuration, feed or round"):
            proof.check(CONFIG)


def test_two_exercise_rounds_of_one_contract_convict_once_its_id_is_shown() -> None:
    proof = pair(exercised(ROUND), exercised(ROUND + 7, rule=Rule.TWAP, window=1), CONTRACT_ID)
    assert proof.check(CONFIG) == 1
    data = proof.encode()
    assert data[:68] == b"EVI2" + PUBLIC + CONTRACT_ID
    assert Evidence.decode(data) == proof
    with pytest.raises(SignatureError, match="differ in kind"):
        Evidence.decode(b"EVI1" + data[4:36] + data[68:]).check(CONFIG)


NO_CONTRACT: dict[str, tuple[str, Any, Any, bytes]] = {
    "the same round": ("in the same round", exercised(ROUND), exercised(ROUND, end=1), CONTRACT_ID),
    "another contract's": ("expiry b", exercised(ROUND), exercised(ROUND + 1, ELEVEN), CONTRACT_ID),
    "a wrong id": ("expiry a", exercised(ROUND), exercised(ROUND + 1), ELEVEN),
    "european": ("expiry a", expiry(), exercised(ROUND + 1), CONTRACT_ID),
    "no expiries": ("two expiries only", observation(), observation(price=1), CONTRACT_ID),
    "one expiry": ("two expiries only", exercised(ROUND), observation(), CONTRACT_ID),
    "another epoch's": (
        "of another configuration",
        exercised(ROUND),
        exercised(ROUND + 1, config_digest=OTHER_CONFIG.digest),
        CONTRACT_ID,
    ),
}


@pytest.mark.parametrize("name", NO_CONTRACT)
def test_a_contract_id_convicts_nobody_by_itself(name: str) -> None:
    match, a, b, contract_id = NO_CONTRACT[name]
    with pytest.raises(SignatureError, match=match):
        pair(a, b, contract_id).check(CONFIG)


def test_both_signatures_must_be_the_convicts() -> None:
    for a, b in TWICE.values():
        ours, theirs = pair(a, b), pair(a, b, key=0)
        with pytest.raises(SignatureError, match="signature a does not"):
            replace(ours, signature_a=theirs.signature_a).check(CONFIG)
        with pytest.raises(SignatureError, match="signature b does not"):
            replace(ours, signature_b=theirs.signature_b).check(CONFIG)


def test_contradicting_certificates_convict_every_common_signer() -> None:
    a, b = certificate(signers=(0, 1)), certificate(price=PRICE + 1, signers=(1, 2))
    assert [proof.check(CONFIG) for proof in of_certificates(CONFIG, a, b)] == [1]
    whole = certificate(price=PRICE + 1, signers=(0, 1))
    assert [proof.check(CONFIG) for proof in of_certificates(CONFIG, a, whole)] == [0, 1]
    assert of_certificates(CONFIG, a, certificate(signers=(1, 2))) == (), "the same report"
    assert of_certificates(CONFIG, a, certificate(round_id=ROUND + 1)) == ()
    assert of_certificates(CONFIG, a, certificate(OTHER_CONFIG)) == ()


def test_contradicting_expiries_and_rotations_convict_too() -> None:
    def certified(answer: Expiry) -> ExpiryCertificate:
        return ExpiryCertificate(answer, tuple((i, KEYS[i].sign(answer.hash, AUX)) for i in (0, 2)))

    proofs = of_certificates(CONFIG, certified(expiry()), certified(expiry(PRICE + 1)))
    assert [proof.check(CONFIG) for proof in proofs] == [0, 2]
    two = certified(exercised(ROUND)), certified(exercised(ROUND + 1))
    assert of_certificates(CONFIG, *two) == ()
    proofs = of_certificates(CONFIG, *two, contract_id=CONTRACT_ID)
    assert [proof.check(CONFIG) for proof in proofs] == [0, 2]
    later = signed(rotation(round_id=NEW_ROUND + 1), (1, 2))
    proofs = of_certificates(CONFIG, signed(rotation()), later)
    assert [proof.check(CONFIG) for proof in proofs] == [1]
    assert of_certificates(CONFIG, certificate(), later) == ()


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
        lambda: of(ONE, observed(1, config=OTHER_CONFIG)),
    ),
    "both of another configuration": (
        "of another configuration",
        lambda: of(
            observed(1, config=OTHER_CONFIG),
            observed(1, PRICE + 1, config=OTHER_CONFIG),
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
    with pytest.raises(EncodingError, match=r"magic b'HBT1' is unknown.* OBS1"):
        replace(of(ONE, TWO), message_a=b"HBT1" + bytes(148))
    with pytest.raises(EncodingError, match="message b must be 168 bytes"):
        replace(of(ONE, TWO), message_b=REPORT.encode()[:152])
    with pytest.raises(EncodingError, match="evidence must be 468 bytes"):
        Evidence.decode(of(ONE, TWO).encode() + b"\0")
    with pytest.raises(EncodingError, match="evidence contract id must be 32"):
        replace(pair(exercised(ROUND), exercised(ROUND + 1)), contract_id=b"\1")


ALL = [of(ONE, TWO), pair(*TWICE["rotations to other members"])]
ALL.append(pair(exercised(ROUND), exercised(ROUND + 1), CONTRACT_ID))


@pytest.mark.parametrize("proof", ALL, ids=("observations", "rotations", "exercises"))
def test_any_altered_byte_convicts_nobody(proof: Evidence) -> None:
    data = proof.encode()
    assert Evidence.decode(data).check(CONFIG) == 1
    for at in range(len(data)):
        altered = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
        with pytest.raises(ProtocolError):
            Evidence.decode(altered).check(CONFIG)
        with pytest.raises(EncodingError):
            Evidence.decode(data[:at])


@settings(max_examples=50)
@given(
    st.sampled_from([b"EVI1" + PUBLIC, b"EVI2" + PUBLIC + CONTRACT_ID]),
    st.sampled_from(sorted(KINDS)),
    st.binary(max_size=500),
)
def test_any_bytes_are_evidence_that_encodes_to_them_or_an_error(
    head: bytes, magic: bytes, rest: bytes
) -> None:
    data = head + magic + rest
    try:
        proof = Evidence.decode(data)
    except EncodingError:
        return
    assert proof.encode() == data
