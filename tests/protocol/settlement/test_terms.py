"""Claim terms: known bytes, round trips, errors that name the field; contract ids and images."""

from dataclasses import replace
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import EncodingError, ProtocolError, TermsError
from protocol.options.instrument import OptionKind
from protocol.oracle.expiry import ExpirySlot, Rule
from protocol.settlement.terms import (
    TERMS_HEAD_SIZE,
    ClaimTerms,
    contract_id,
    grace_rounds_min,
    settlement_image,
    template_hash,
    terms_page,
)
from protocol.units import E8, U32_MAX, U64_MAX
from riscv_vm.guest import elf_path
from riscv_vm.image import load_elf
from tests.builders.claims import (
    CONFIG,
    FEED_ID,
    ROUND,
    T_BITS,
    T_COLLATERAL,
    T_KEYS,
    T_KIND,
    T_MAGIC,
    T_ORACLES,
    T_QUORUM,
    T_RULE,
    T_STRIKE,
    T_UNIT,
    T_WINDOW,
    claim_terms,
    patched,
)

TERMS = claim_terms()


def test_known_encoding() -> None:
    expected = b"".join(
        [
            b"TRM1",
            CONFIG.digest,
            FEED_ID,
            bytes(32),
            (ROUND - 9).to_bytes(8),
            ROUND.to_bytes(8),
            (20).to_bytes(4),
            b"\x01",
            bytes(4),
            (4).to_bytes(4),
            b"\x01",
            (50_000 * E8).to_bytes(8),
            E8.to_bytes(8),
            E8.to_bytes(8),
            (1525).to_bytes(8),
            b"\x10",
            b"\x02",
            b"\x03",
            *CONFIG.oracles,
        ]
    )
    assert TERMS.encode() == expected
    assert len(expected) == TERMS_HEAD_SIZE + 96 == T_KEYS + 96
    assert (TERMS.unit_sats, TERMS.payout_sats(3)) == (1525, 4575)


@st.composite
def every_terms(draw: st.DrawFn) -> ClaimTerms:
    """Any terms that can be honoured."""
    start = draw(st.integers(0, U64_MAX - 1000))
    target = draw(st.integers(start, min(start + 10**6, U64_MAX)))
    rule = draw(st.sampled_from(Rule))
    rounds = st.integers(1, target - start + 1)
    digests = st.binary(min_size=32, max_size=32)
    roster = tuple(draw(st.lists(digests, min_size=1, max_size=8, unique=True)))
    quantity, bits = draw(st.integers(1, U64_MAX)), draw(st.integers(8, 20))
    return ClaimTerms(
        slot=ExpirySlot(
            config_digest=draw(digests),
            feed_id=draw(digests),
            subject=draw(digests),
            start_round=start,
            target_round=target,
            rule=rule,
            window=draw(rounds) if rule is Rule.TWAP else 0,
        ),
        roster=roster,
        quorum=draw(st.integers(1, len(roster))),
        grace_rounds=draw(st.integers(0, U32_MAX)),
        min_rounds=draw(rounds),
        kind=draw(st.sampled_from(OptionKind)),
        strike_e8=draw(st.integers(1, U64_MAX)),
        quantity_sats=quantity,
        collateral_sats=draw(st.integers(max(quantity, 1000 * 2**bits), U64_MAX)),
        payout_bits=bits,
    )


@given(every_terms())
def test_decode_inverts_encode(terms: ClaimTerms) -> None:
    assert ClaimTerms.decode(terms.encode()) == terms


@given(
    st.binary(max_size=450) | every_terms().map(ClaimTerms.encode),
    st.integers(0, 500),
    st.binary(max_size=8),
)
def test_any_bytes_are_terms_that_encode_to_them_or_an_error(
    data: bytes, offset: int, patch: bytes
) -> None:
    data = patched(data, min(offset, len(data)), patch)
    try:
        terms = ClaimTerms.decode(data)
    except ProtocolError:
        return
    assert terms.encode() == data


@pytest.mark.parametrize("size", [0, 164, 165, 260, 262, 293])
def test_wrong_length(size: int) -> None:
    with pytest.raises(EncodingError, match="terms"):
        ClaimTerms.decode((TERMS.encode() * 2)[:size])


@pytest.mark.parametrize(
    ("offset", "patch", "error", "field"),
    [
        (T_MAGIC, b"TRM2", EncodingError, "terms begin with b'TRM2'"),
        (T_RULE, b"\x00", EncodingError, "rule 0"),
        (T_RULE, b"\x03", EncodingError, "rule 3"),
        (T_WINDOW, b"\x01", EncodingError, "window 16777216"),
        (T_KIND, b"\x00", EncodingError, "kind 0"),
        (T_KIND, b"\x03", EncodingError, "kind 3"),
        (T_STRIKE, bytes(8), TermsError, "strike_e8 0"),
        (T_COLLATERAL, bytes(8), TermsError, "collateral_sats 0"),
        (T_COLLATERAL, (E8 - 1).to_bytes(8), TermsError, "quantity_sats 100000000 of a call"),
        (T_UNIT, (1524).to_bytes(8), EncodingError, "unit_sats 1524: .* in 16 bits gives 1525"),
        (T_BITS, b"\x11", TermsError, "a unit of 762 sats .* use 16 bits"),
        (T_QUORUM, b"\x00", TermsError, "quorum 0"),
        (T_QUORUM, b"\x04", TermsError, "quorum 4"),
        (T_ORACLES, b"\x02", EncodingError, "terms of 2 oracles must be 229 bytes"),
        (T_KEYS, CONFIG.oracles[1], TermsError, "roster"),
    ],
)
def test_wrong_terms(offset: int, patch: bytes, error: type[Exception], field: str) -> None:
    with pytest.raises(error, match=field):
        ClaimTerms.decode(patched(TERMS.encode(), offset, patch))


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"roster": ()}, TermsError),
        ({"roster": (bytes(31),)}, EncodingError),
        ({"roster": tuple(bytes([i]) * 32 for i in range(9))}, TermsError),
        ({"quorum": 0}, TermsError),
        ({"min_rounds": 0}, TermsError),
        ({"min_rounds": 11}, TermsError),
        ({"grace_rounds": 2**32}, EncodingError),
        ({"strike_e8": 2**64}, EncodingError),
        ({"quantity_sats": -1}, EncodingError),
        ({"collateral_sats": 2**64}, EncodingError),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_terms_that_cannot_be(change: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error, match=next(iter(change))):
        replace(TERMS, **change)


def test_terms_of_a_configuration() -> None:
    TERMS.require_config(CONFIG)
    assert grace_rounds_min(CONFIG) == 20
    for change, match in (
        ({"roster": CONFIG.oracles[::-1]}, "other oracles"),
        ({"slot": replace(TERMS.slot, config_digest=bytes(32))}, "other oracles"),
        ({"quorum": 1}, "with 1 liars it takes 2"),
        ({"grace_rounds": 19}, "at least 20, ten minutes"),
    ):
        with pytest.raises(TermsError, match=match):
            replace(TERMS, **change).require_config(CONFIG)


def test_the_contract_id_names_terms_and_program() -> None:
    tag = sha256(b"btcfi/contract/v1").digest()
    assert template_hash() == sha256(elf_path("settle").read_bytes()).digest()
    assert contract_id(TERMS) == sha256(tag + tag + TERMS.encode() + template_hash()).digest()
    assert contract_id(claim_terms(strike_e8=1)) != contract_id(TERMS)


def test_the_image_of_a_contract_holds_its_terms() -> None:
    template, image = load_elf(elf_path("settle").read_bytes()), settlement_image(TERMS)
    base = template.symbols["terms"].address
    page = b"".join(
        (image.initial_word(base + i) or 0).to_bytes(4, "little") for i in range(0, 4096, 4)
    )
    assert base % 4096 == 0
    assert page == (TERMS.encode() + contract_id(TERMS)).ljust(4096, b"\0")
    assert page.startswith(terms_page(TERMS))
    assert image.hash != template.hash
    assert (image.text, image.symbols) == (template.text, template.symbols)
    assert all(template.initial_word(base + i) == 0 for i in range(0, 4096, 4))
