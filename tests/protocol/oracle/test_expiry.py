"""The expiry that contracts settle on: known answers, hostile bytes, and the history behind it."""

import json
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol import errors
from protocol.errors import EncodingError, QuorumError
from protocol.oracle.config import OracleConfig
from protocol.oracle.expiry import (
    SIZE,
    Expiry,
    ExpiryCertificate,
    ExpirySlot,
    Rule,
    expiry_of,
)
from protocol.oracle.report import Report
from protocol.units import U64_MAX
from tests.builders import expiry_vectors

VECTORS = json.loads(expiry_vectors.TARGET.read_text(encoding="utf-8"))
CONFIG = OracleConfig.decode(bytes.fromhex(VECTORS["config_bytes"]))
FEED_ID = bytes.fromhex(VECTORS["feed_id"])
CHAIN = [Report.decode(bytes.fromhex(data)) for data in VECTORS["chain"]]
FIRST = CHAIN[0].round


def test_the_file_is_what_its_script_writes() -> None:
    assert expiry_vectors.TARGET.read_text(encoding="utf-8") == expiry_vectors.source()


def slot_of(known: dict[str, Any]) -> ExpirySlot:
    return ExpirySlot(
        config_digest=CONFIG.digest,
        feed_id=FEED_ID,
        subject=bytes.fromhex(known["subject"]),
        start_round=known["start_round"],
        target_round=known["target_round"],
        rule=Rule(known["rule"]),
        window=known["window"],
    )


@pytest.mark.parametrize("row", VECTORS["positive"], ids=lambda row: row["name"])
def test_known_expiry(row: dict[str, Any]) -> None:
    known = row["expiry"]
    expiry = expiry_of(slot_of(known), row["grace_rounds"], CHAIN)
    assert expiry.encode().hex() == row["bytes"]
    assert len(expiry.encode()) == SIZE
    assert expiry.hash.hex() == row["msg"]
    assert Expiry.decode(bytes.fromhex(row["bytes"])) == expiry
    for name in ("end_round", "price_e8", "high_e8", "low_e8", "rounds"):
        assert getattr(expiry, name) == known[name]


@pytest.mark.parametrize("row", VECTORS["positive"], ids=lambda row: row["name"])
def test_known_certificate(row: dict[str, Any]) -> None:
    data = bytes.fromhex(row["certificate"])
    certificate = ExpiryCertificate.decode(data)
    assert certificate.encode() == data
    assert certificate.expiry.encode().hex() == row["bytes"]
    assert [[i, s.hex()] for i, s in certificate.signatures] == row["sigs"]
    certificate.check(CONFIG, len(row["sigs"]))
    with pytest.raises(QuorumError, match="signatures, needed are"):
        certificate.check(CONFIG, len(row["sigs"]) + 1)


@pytest.mark.parametrize("row", VECTORS["negative"], ids=lambda row: row["name"])
def test_refused_certificate(row: dict[str, str]) -> None:
    with pytest.raises(getattr(errors, row["error"]), match=row["match"]):
        ExpiryCertificate.decode(bytes.fromhex(row["certificate"])).check(CONFIG)


HONEST = bytes.fromhex(VECTORS["positive"][0]["certificate"])


@given(st.integers(0, 8 * len(HONEST) - 1))
def test_a_flipped_bit_is_never_certified(bit: int) -> None:
    data = bytearray(HONEST)
    data[bit // 8] ^= 1 << bit % 8
    with pytest.raises(errors.ProtocolError):
        ExpiryCertificate.decode(bytes(data)).check(CONFIG)


@given(st.binary(max_size=400) | st.binary(max_size=140).map(lambda tail: HONEST[:190] + tail))
def test_any_bytes_are_a_certificate_that_encodes_to_them_or_an_error(data: bytes) -> None:
    try:
        certificate = ExpiryCertificate.decode(data)
    except EncodingError:
        return
    assert certificate.encode() == data


def slot(start: int, target: int, rule: Rule = Rule.SPOT, window: int = 0) -> ExpirySlot:
    """Rounds counted from the chain's first."""
    return ExpirySlot(
        config_digest=CONFIG.digest,
        feed_id=FEED_ID,
        start_round=FIRST + start,
        target_round=FIRST + target,
        rule=rule,
        window=window,
    )


@pytest.mark.parametrize(
    ("start", "target", "grace", "reports", "match"),
    [
        (1, 8, 20, [], "no certified report yet"),
        (1, 41, 20, CHAIN, rf"last certified round is {FIRST + 40}: wait"),
        (1, 13, 26, CHAIN, rf"no round from {FIRST + 13} to {FIRST + 39} was certified"),
        (1, 8, 20, CHAIN[1:], rf"begins in round {FIRST + 1}, what came before is unknown"),
        (1, 8, 20, CHAIN[:2] + CHAIN[3:], rf"round {FIRST + 4} does not follow .* {FIRST + 1}"),
        (1, 8, 20, CHAIN[::-1], "does not follow"),
        (1, 8, 20, [*CHAIN[:3], CHAIN[2], *CHAIN[3:]], "does not follow"),
        (1, 8, 20, [replace(r, feed_id=bytes(32)) for r in CHAIN], "of another feed"),
    ],
)
def test_what_is_missing_for_an_expiry_is_named(
    start: int, target: int, grace: int, reports: list[Report], match: str
) -> None:
    with pytest.raises(QuorumError, match=match):
        expiry_of(slot(start, target), grace, reports)


def test_a_chain_of_another_round_than_its_links_say_is_refused() -> None:
    fork = replace(CHAIN[3], price_e8=CHAIN[3].price_e8 + 1)
    with pytest.raises(QuorumError, match="does not follow"):
        expiry_of(slot(1, 8), 20, [*CHAIN[:3], fork, *CHAIN[4:]])


def test_one_report_before_the_start_is_enough_and_what_follows_the_end_is_ignored() -> None:
    whole = expiry_of(slot(2, 8), 20, CHAIN)
    assert expiry_of(slot(2, 8), 20, CHAIN[1:6]) == whole
    assert whole.rounds == 4


def test_an_epoch_that_ended_is_still_answered() -> None:
    """The reports may be of a later epoch: the slot's digest is the contract's."""
    old = replace(slot(1, 8), config_digest=bytes(32))
    assert expiry_of(old, 20, CHAIN) == replace(expiry_of(slot(1, 8), 20, CHAIN), slot=old)


@st.composite
def histories(draw: st.DrawFn) -> list[Report]:
    """A feed's first certified rounds with gaps."""
    rounds = sorted(draw(st.sets(st.integers(0, 40), min_size=1, max_size=12)))
    prices = draw(st.lists(st.integers(1, U64_MAX), min_size=len(rounds), max_size=len(rounds)))
    reports: list[Report] = []
    for number, price in zip(rounds, prices, strict=True):
        previous = reports[-1].hash if reports else bytes(32)
        reports.append(replace(CHAIN[0], round=number, price_e8=price, prev_report_hash=previous))
    return reports


@given(
    histories(),
    st.integers(0, 40),
    st.integers(0, 40),
    st.integers(0, 12),
    st.sampled_from(Rule),
    st.data(),
)
def test_an_expiry_is_what_its_definition_says(
    reports: list[Report], a: int, b: int, grace: int, rule: Rule, data: st.DataObject
) -> None:
    start, target = min(a, b), max(a, b)
    window = data.draw(st.integers(1, target - start + 1)) if rule is Rule.TWAP else 0
    question = replace(slot(0, 0), start_round=start, target_round=target, rule=rule, window=window)
    ends = [r for r in reports if target <= r.round <= target + grace]
    if not ends:
        with pytest.raises(QuorumError):
            expiry_of(question, grace, reports)
        return
    expiry = expiry_of(question, grace, reports)
    end = min(r.round for r in ends)
    prices = {r.round: r.price_e8 for r in reports if start <= r.round <= end}
    last = [price for number, price in prices.items() if number > end - max(window, 1)]
    assert (expiry.end_round, expiry.rounds) == (end, len(prices))
    assert expiry.price_e8 == sum(last) // len(last)
    assert expiry.high_e8 == max(prices.values())
    assert expiry.low_e8 == min(prices.values())
    assert expiry.report_hash == next(r.hash for r in reports if r.round == end)
    assert Expiry.decode(expiry.encode()) == expiry


def test_the_known_chain_has_gaps_and_links() -> None:
    assert all(b.prev_report_hash == a.hash for a, b in pairwise(CHAIN))
    assert any(b.round > a.round + 1 for a, b in pairwise(CHAIN))
