"""The claim's encoding: known bytes, round trips, and errors that name the field."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import EncodingError, ProtocolError, TermsError
from protocol.options.instrument import OptionKind
from protocol.settlement.claim import CLAIM_SIZE, TERMS_SIZE, Claim, ClaimTerms
from protocol.units import E8, U64_MAX, Sats
from tests.builders.claims import (
    C_HASH,
    C_PAYOUT,
    CONFIG_DIGEST,
    FEED_ID,
    REPORT,
    REPORT_HASH,
    ROUND,
    T_COLLATERAL,
    T_MAGIC,
    T_OPTION,
    T_STRIKE,
    claim_terms,
    honest_claim,
    patched,
)

U64 = st.integers(1, U64_MAX)
DIGESTS = st.binary(min_size=32, max_size=32)


def test_known_encoding() -> None:
    claim = honest_claim(claim_terms())
    expected = b"".join(
        [
            b"TRM1",
            CONFIG_DIGEST,
            FEED_ID,
            ROUND.to_bytes(8),
            b"\x01",
            (50_000 * E8).to_bytes(8),
            E8.to_bytes(8),
            E8.to_bytes(8),
            REPORT,
            REPORT_HASH,
            (40_294_408).to_bytes(8),
        ]
    )
    assert claim.encode() == expected
    assert (len(claim.terms.encode()), len(expected)) == (TERMS_SIZE, CLAIM_SIZE) == (101, 309)
    assert expected[C_HASH:C_PAYOUT] == REPORT_HASH


@st.composite
def claims(draw: st.DrawFn) -> Claim:
    """Any claim that can be encoded; most of them lie."""
    quantity = draw(U64)
    terms = ClaimTerms(
        config_digest=draw(DIGESTS),
        feed_id=draw(DIGESTS),
        round=draw(st.integers(0, U64_MAX)),
        kind=draw(st.sampled_from(OptionKind)),
        strike_e8=draw(U64),
        quantity_sats=Sats(quantity),
        collateral_sats=Sats(draw(st.integers(quantity, U64_MAX))),
    )
    report = draw(st.binary(min_size=168, max_size=168))
    return Claim(terms, report, draw(DIGESTS), Sats(draw(st.integers(0, U64_MAX))))


@given(claims())
def test_decode_inverts_encode(claim: Claim) -> None:
    assert Claim.decode(claim.encode()) == claim
    assert ClaimTerms.decode(claim.terms.encode()) == claim.terms


@given(st.binary(max_size=320) | claims().map(Claim.encode), st.integers(0, 400), st.binary())
def test_any_bytes_are_a_claim_that_encodes_to_them_or_an_error(
    data: bytes, offset: int, patch: bytes
) -> None:
    data = patched(data, min(offset, len(data)), patch)
    try:
        claim = Claim.decode(data)
    except ProtocolError:
        return
    assert claim.encode() == data


@pytest.mark.parametrize("size", [0, 1, 308, 310, 618])
def test_wrong_length(size: int) -> None:
    data = (honest_claim(claim_terms()).encode() * 2)[:size]
    with pytest.raises(EncodingError, match=f"claim has {size} bytes: expected 309"):
        Claim.decode(data)


@pytest.mark.parametrize(
    ("offset", "patch", "error", "field"),
    [
        (T_MAGIC, b"TRM2", EncodingError, "terms begin with b'TRM2'"),
        (T_OPTION, b"\x00", EncodingError, "kind 0"),
        (T_OPTION, b"\x03", EncodingError, "kind 3"),
        (T_STRIKE, bytes(8), TermsError, "strike_e8 0"),
        (T_COLLATERAL, bytes(8), TermsError, "collateral_sats 0"),
        (T_COLLATERAL, (E8 - 1).to_bytes(8), TermsError, "quantity_sats 100000000 of a call"),
    ],
)
def test_wrong_terms(offset: int, patch: bytes, error: type[Exception], field: str) -> None:
    data = patched(honest_claim(claim_terms()).encode(), offset, patch)
    with pytest.raises(error, match=field):
        Claim.decode(data)


@pytest.mark.parametrize(
    "change",
    [
        {"config_digest": bytes(31)},
        {"feed_id": bytes(33)},
        {"round": -1},
        {"round": 2**64},
        {"strike_e8": 2**64},
        {"quantity_sats": -1},
        {"collateral_sats": 2**64},
    ],
    ids=lambda change: next(iter(change)),
)
def test_terms_that_have_no_encoding(change: dict[str, bytes | int]) -> None:
    with pytest.raises(EncodingError, match=next(iter(change))):
        replace(claim_terms(), **change)


@pytest.mark.parametrize(
    "change",
    [
        {"report": bytes(167)},
        {"report_hash": bytes(20)},
        {"payout_sats": -1},
        {"payout_sats": 2**64},
    ],
    ids=lambda change: next(iter(change)),
)
def test_claims_that_have_no_encoding(change: dict[str, bytes | int]) -> None:
    with pytest.raises(EncodingError, match=next(iter(change))):
        replace(honest_claim(claim_terms()), **change)
