"""The claim: known bytes, round trips, and what a contract pays on an expiry."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.errors import EncodingError, ProtocolError, TermsError
from protocol.options.instrument import Barrier, KnockOut, OptionKind
from protocol.oracle.expiry import ExpiryCertificate
from protocol.settlement.claim import (
    Check,
    Claim,
    claim_of,
    claim_size,
    failed_check,
    payout_units,
)
from protocol.units import E8, PriceE8
from tests.builders.claims import (
    C_SIGNATURES,
    E_MAGIC,
    certify,
    claim_at,
    expiry_at,
    patched,
)
from tests.builders.terms import AMERICAN, CONFIG, ROUND, contract_terms

TERMS = contract_terms()
BARRIER = Barrier(KnockOut.UP, PriceE8(70_000 * E8))
HONEST = claim_at(TERMS)


def test_known_encoding() -> None:
    certificate = certify(expiry_at(TERMS))
    data = (26_422).to_bytes(4) + certificate.encode()  # 40,294,408 sats in units of 1525
    assert HONEST.encode() == data
    assert Claim.decode(data) == HONEST
    assert len(data) == claim_size(2) == C_SIGNATURES + 130
    assert data[E_MAGIC:C_SIGNATURES] == certificate.expiry.encode()
    assert failed_check(TERMS, data) is None


@given(st.binary(max_size=400) | st.just(HONEST.encode()), st.integers(0, 400), st.binary())
def test_any_bytes_are_a_claim_that_encodes_to_them_or_an_error(
    data: bytes, offset: int, patch: bytes
) -> None:
    data = patched(data, min(offset, len(data)), patch)
    try:
        claim = Claim.decode(data)
    except ProtocolError:
        return
    assert claim.encode() == data


@pytest.mark.parametrize("units", [-1, 2**32])
def test_units_that_have_no_encoding(units: int) -> None:
    with pytest.raises(EncodingError, match="claim units"):
        replace(HONEST, units=units)


@pytest.mark.parametrize("size", [0, 3, 4, 193, 194, 323])
def test_a_claim_cut_short(size: int) -> None:
    with pytest.raises(EncodingError, match=r"claim|certificate length"):
        Claim.decode(HONEST.encode()[:size])


@pytest.mark.parametrize(
    ("kind", "price_e8", "units"),
    [
        (OptionKind.CALL, 50_000 * E8, 0),
        (OptionKind.CALL, 50_001 * E8, 1),  # 1999 sats
        (OptionKind.CALL, 10**18, 65_535),  # 99,999,500 sats would fill 65,573
        (OptionKind.PUT, 50_000 * E8, 0),
        (OptionKind.PUT, 40_000 * E8, 16_393),  # 25,000,000 sats
        (OptionKind.PUT, 1, 65_535),
    ],
)
def test_units_of_an_expiry(kind: OptionKind, price_e8: int, units: int) -> None:
    terms = contract_terms(kind=kind)
    assert payout_units(terms, expiry_at(terms, price_e8)) == units
    assert terms.claim.payout_sats(units) <= terms.claim.collateral_sats


@pytest.mark.parametrize(
    ("change", "high_e8", "units"),
    [
        ({"is_binary": True, "quantity_sats": E8 // 2}, 10**18, 32_786),
        ({"barrier": BARRIER}, 70_000 * E8 - 1, 10_928),
        ({"barrier": BARRIER}, 70_000 * E8, 0),
        ({"barrier": BARRIER, **AMERICAN}, 70_000 * E8, 0),
        (AMERICAN, 10**18, 10_928),
    ],
)
def test_units_of_every_option(change: dict[str, Any], high_e8: int, units: int) -> None:
    terms = contract_terms(**change)
    claim = claim_at(terms, 60_000 * E8, high_e8=high_e8)
    assert claim.units == units
    assert failed_check(terms, claim.encode()) is None


def test_an_american_contract_settles_under_its_own_subject_in_the_round_of_its_exercise() -> None:
    terms = contract_terms(**AMERICAN)
    for settled in range(ROUND - 6, ROUND + 1):
        claim = claim_at(terms, exercise_round=settled)
        assert failed_check(terms, claim.encode()) is None
    slots = (
        replace(terms.expiry_slot(), target_round=ROUND - 1),
        contract_terms(**AMERICAN, bond_sats=400_001).expiry_slot(),
        terms.claim.slot,
    )
    for slot in slots:
        lie = certify(expiry_at(terms, slot=slot), (0, 1, 2))
        with pytest.raises(TermsError, match="another slot"):
            claim_of(terms, lie)
        assert failed_check(terms, replace(claim, certificate=lie).encode()) is Check.SUBJECT


def test_an_expiry_that_does_not_settle_the_contract() -> None:
    expiry = expiry_at(TERMS)
    other = replace(expiry, slot=replace(expiry.slot, subject=b"\x01" * 32))
    for wrong, match, check in (
        (other, "another slot", Check.SUBJECT),
        (replace(expiry, end_round=ROUND + 21), rf"{ROUND + 20} was the last", Check.END),
        (replace(expiry, rounds=3), "rests on 3 rounds: the terms want 4", Check.ROUNDS),
    ):
        with pytest.raises(TermsError, match=match):
            claim_of(TERMS, certify(wrong))
        assert failed_check(TERMS, replace(HONEST, certificate=certify(wrong)).encode()) is check


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 8 * 324 - 1), st.integers(0, 2))
def test_what_the_guest_accepts_is_the_claim_of_on_a_certified_expiry(bit: int, other: int) -> None:
    """The checks in Python hold exactly where decoding, certificate and payout do."""
    terms = contract_terms(kind=OptionKind.PUT, strike_e8=90_000 * E8)
    data = claim_at(terms, signers=((0, 1), (0, 2), (1, 2))[other]).encode()
    assert failed_check(terms, data) is None
    Claim.decode(data).certificate.check(CONFIG, terms.claim.quorum)
    lie = patched(data, bit // 8, bytes([data[bit // 8] ^ 1 << bit % 8]))
    assert failed_check(terms, lie) is not None
    try:
        claim = Claim.decode(lie)
        claim.certificate.check(CONFIG, terms.claim.quorum)
        assert claim.units != payout_units(terms, claim.certificate.expiry)
    except ProtocolError:
        pass


def test_a_claim_may_lie() -> None:
    lie = Claim(ExpiryCertificate(expiry_at(TERMS), ((0, bytes(64)), (1, bytes(64)))), 7)
    assert Claim.decode(lie.encode()) == lie
    assert failed_check(TERMS, lie.encode()) is Check.SIGNATURE
