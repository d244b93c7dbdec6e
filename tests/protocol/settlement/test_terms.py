"""Contract terms: known bytes, round trips, errors that name the field; contract ids and images."""

from dataclasses import replace
from hashlib import sha256
from itertools import combinations
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.crypto.keys import SecretKey
from protocol.errors import EncodingError, ProtocolError, TermsError
from protocol.options.instrument import Barrier, KnockOut, OptionKind, parse_instrument
from protocol.oracle.expiry import Rule, exercise_subject
from protocol.oracle.layout import ZERO32
from protocol.settlement.terms import (
    ClaimTerms,
    ContractTerms,
    Role,
    claim_published_from,
    claim_size,
    contract_id,
    grace_rounds_min,
    settlement_image,
    steps_max,
    template_hash,
    terms_page,
)
from protocol.units import E8, PriceE8, Sats
from riscv_vm.guest import elf_path
from riscv_vm.image import load_elf
from tests.builders import claims as at
from tests.builders.any_terms import contracts
from tests.builders.claims import patched
from tests.builders.terms import (
    AMERICAN,
    CONFIG,
    FEED_ID,
    HOLDER,
    ROUND,
    SMALL,
    WRITER,
    claim_terms,
    contract_terms,
    party_terms,
    seeded_keys,
)

TERMS = contract_terms()
CLAIM = TERMS.claim
DATA = TERMS.encode()
UP = Barrier(KnockOut.UP, PriceE8(80_000 * E8))


def u64(value: int) -> bytes:
    return value.to_bytes(8)


def test_known_encoding() -> None:
    claim = [
        *(CONFIG.digest, FEED_ID, u64(ROUND - 9), (20).to_bytes(4)),
        *(b"\x01", bytes(4), (4).to_bytes(4), b"\x00\x01\x00\x00"),
        *(bytes(8), u64(50_000 * E8), u64(E8), u64(E8), u64(1525), b"\x10\x02\x03"),
        *CONFIG.oracles,
    ]
    holder, writer = TERMS.holder, TERMS.writer
    parties = [
        *(holder.prover_key, holder.challenger_key, holder.nonce, b"\x22", holder.script),
        *(*writer.keys, writer.nonce, b"\x22", writer.script),
    ]
    chain = [
        *(u64(100_000), u64(3_000_000), u64(20_000), (2).to_bytes(4), (10).to_bytes(4)),
        *((150).to_bytes(4), (200).to_bytes(4), b"\x00\x06\x00\x0c\x00\x0c", b"\x0c\x14\x01"),
    ]
    head = b"TRM2" + holder.key + u64(ROUND) + len(DATA).to_bytes(2)
    assert b"".join([head, *claim, *parties, *chain]) == DATA
    assert len(DATA) == at.T_KEYS + 96 + 115 + 147 + 49
    assert (CLAIM.unit_sats, CLAIM.payout_sats(3)) == (1525, 4575)


@settings(max_examples=50, deadline=None)
@given(contracts())
def test_decode_inverts_encode(terms: ContractTerms) -> None:
    data = terms.encode()
    assert ContractTerms.decode(data) == terms
    assert len(data) < 1000
    assert (data[4:36], data[36:44]) == (terms.party(Role.HOLDER).key, u64(terms.expiry_round))


@settings(max_examples=50, deadline=None)
@given(
    st.binary(max_size=700) | st.just(DATA) | contracts().map(ContractTerms.encode),
    st.integers(0, 600),
    st.binary(max_size=8),
)
def test_any_bytes_are_terms_that_encode_to_them_or_an_error(
    data: bytes, offset: int, patch: bytes
) -> None:
    data = patched(data, min(offset, len(data)), patch)
    try:
        terms = ContractTerms.decode(data)
    except ProtocolError:
        return
    assert terms.encode() == data


def test_any_flipped_bit_is_an_error_or_other_terms() -> None:
    for bit in range(0, 8 * len(DATA), 3):
        data = patched(DATA, bit // 8, bytes([DATA[bit // 8] ^ 1 << bit % 8]))
        try:
            terms = ContractTerms.decode(data)
        except ProtocolError:
            continue
        assert terms != TERMS, bit
        assert contract_id(terms) != contract_id(TERMS)


@pytest.mark.parametrize("size", [0, 45, 46, 177, 300, len(DATA) - 1, len(DATA) + 1])
def test_wrong_length(size: int) -> None:
    data = (DATA * 2)[:size]
    with pytest.raises(EncodingError, match="terms: "):
        ContractTerms.decode(data)
    with pytest.raises(EncodingError, match="terms: "):
        ContractTerms.decode(patched(data, at.T_SIZE, size.to_bytes(2)))


CHAIN = len(DATA) - 49


@pytest.mark.parametrize(
    ("offset", "patch", "error", "field"),
    [
        (at.T_MAGIC, b"TRM1", EncodingError, "terms begin with b'TRM1'"),
        (at.T_HOLDER, b"\xff" * 32, TermsError, "holder key: no curve point"),
        (at.T_EXPIRY, u64(ROUND - 10), EncodingError, "start_round"),
        (at.T_RULE, b"\x00", EncodingError, "rule 0"),
        (at.T_RULE, b"\x03", EncodingError, "rule 3: expected one of 1, 2"),
        (at.T_WINDOW, b"\x01", EncodingError, "window 16777216"),
        (at.T_AMERICAN, b"\x02", EncodingError, "american 2"),
        (at.T_KIND, b"\x00", EncodingError, "kind 0"),
        (at.T_KIND, b"\x03", EncodingError, "kind 3"),
        (at.T_BINARY, b"\x02", EncodingError, "binary 2"),
        (at.T_BARRIER, b"\x03", EncodingError, "barrier 3"),
        (at.T_BARRIER, b"\x01", TermsError, "barrier level_e8 0"),
        (at.T_LEVEL, u64(1), EncodingError, "level 1: write 0 where there is no barrier"),
        (at.T_STRIKE, bytes(8), TermsError, "strike_e8 0"),
        (at.T_COLLATERAL, bytes(8), TermsError, "collateral_sats 0"),
        (at.T_COLLATERAL, u64(E8 - 1), TermsError, "quantity_sats 100000000 of a call"),
        (at.T_UNIT, u64(1524), EncodingError, "unit_sats 1524: .* in 16 bits gives 1525"),
        (at.T_BITS, b"\x11", TermsError, "a unit of 762 sats .* use 16 bits"),
        (at.T_QUORUM, b"\x00", TermsError, "quorum 0"),
        (at.T_QUORUM, b"\x04", TermsError, "quorum 4"),
        (at.T_ORACLES, b"\x09", TermsError, "roster"),
        (at.T_KEYS, CONFIG.oracles[1], TermsError, "roster"),
        (at.T_KEYS, WRITER.key.public, TermsError, "key: one is used twice"),
        (at.T_KEYS + 96, HOLDER.key.public, TermsError, "key: one is used twice"),
        (at.T_KEYS + 96, b"\xff" * 32, TermsError, "holder prover_key: no curve point"),
        (at.T_KEYS + 96 + 81, b"\x6a", TermsError, "holder script 6a"),
        (CHAIN - 34, b"\x6a", TermsError, "writer script 6a"),
        (CHAIN + 48, b"\x02", EncodingError, "anchored 2"),
        (CHAIN + 47, b"\x15", TermsError, "width 21"),
    ],
)
def test_wrong_terms(offset: int, patch: bytes, error: type[Exception], field: str) -> None:
    with pytest.raises(error, match=field):
        ContractTerms.decode(patched(DATA, offset, patch))


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
        ({"strike_e8": 2**64}, TermsError),
        ({"quantity_sats": -1}, TermsError),
        ({"collateral_sats": 2**64}, TermsError),
        ({"subject": b"\x01" * 32}, TermsError),
        ({"start_round": ROUND, "min_rounds": 1, "barrier": UP}, TermsError),
        ({"start_round": ROUND, "min_rounds": 1, "is_american": True}, TermsError),
        ({"is_american": True, "is_binary": True}, TermsError),
        ({"barrier": UP, "is_binary": True}, TermsError),
        ({"payout_bits": 17}, TermsError),
        ({"payout_bits": 7}, TermsError),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_claims_that_cannot_be(change: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error, match=next(iter(change))):
        claim_terms(**change)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"premium_sats": 329}, "premium_sats 329: write 0, or at least 330"),
        ({"premium_sats": 10**16}, "premium_sats"),
        ({"bond_sats": 0}, "bond_sats 0"),
        ({"claim_fee_sats": 999}, "claim_fee_sats 999"),
        ({"feerate_sat_vb": 0}, "feerate_sat_vb 0"),
        ({"feerate_sat_vb": 11}, "feerate_sat_vb 11: it must lie between 1 and 10"),
        ({"max_feerate_sat_vb": 1001}, "max_feerate_sat_vb 1001"),
        ({"expiry_height": 0}, "expiry_height 0"),
        ({"expiry_height": 200}, "refund_height 200"),
        ({"refund_height": 156}, "refund_height 156: .* give more than 156"),
        ({"refund_height": 500_000_000}, "refund_height 500000000"),
        ({"move_window": 0}, "move_window 0"),
        ({"challenge_window": 0}, "challenge_window 0"),
        ({"sweep_delay": 11}, "sweep_delay 11: .* at least 12"),
        ({"sweep_delay": 2**16}, "sweep_delay 65536"),
        ({"log4_steps": 16}, "log4_steps 16"),
        ({"log4_steps": 10}, "log4_steps 10: .* with 2 signatures"),
        ({"width": 21}, "width 21"),
        ({"quantity_sats": 1, "collateral_sats": 2 * 10**15}, "half of all money"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_contracts_that_cannot_be(change: dict[str, Any], match: str) -> None:
    with pytest.raises(TermsError, match=match):
        contract_terms(**change)


def test_numbers_of_the_chain_are_unsigned_integers() -> None:
    for value in (-1, 1.0, True, 2**64):
        with pytest.raises(EncodingError, match="bond_sats"):
            contract_terms(bond_sats=value)


def test_parties_need_keys_scripts_and_nonces() -> None:
    holder = party_terms(HOLDER)
    for change, error, match in (
        ({"key": bytes(31)}, EncodingError, "key must be 32 bytes"),
        ({"prover_key": b"\xff" * 32}, TermsError, "prover_key: no curve point"),
        ({"nonce": bytes(15)}, EncodingError, "nonce must be 16 bytes"),
        ({"script": b""}, TermsError, "script : give a P2PKH"),
        ({"script": b"\x51\x02\x4e\x73"}, TermsError, "others are nobody's own"),
    ):
        with pytest.raises(error, match=match):
            replace(holder, **change)


def test_no_key_has_two_uses() -> None:
    fields = [(role, name) for role in Role for name in ("key", "prover_key", "challenger_key")]
    for (role, name), (other, twin) in combinations(fields, 2):
        copied = {name: getattr(TERMS.party(other), twin)}
        with pytest.raises(TermsError, match="used twice"):
            replace(TERMS, **{role.value: replace(TERMS.party(role), **copied)})


def test_small_and_large_contracts() -> None:
    assert contract_terms(**SMALL).claim.unit_sats == 1_176
    eight = tuple(SecretKey(bytes([1] * 31 + [i + 1])).public for i in range(8))
    terms = contract_terms(roster=eight, quorum=8)
    assert steps_max(8) < 4**terms.chain.log4_steps
    assert contract_terms(writer=seeded_keys(b"x")).writer != TERMS.writer


def test_terms_of_a_configuration() -> None:
    CLAIM.require_config(CONFIG)
    assert grace_rounds_min(CONFIG) == 20
    for change, match in (
        ({"roster": CONFIG.oracles[::-1]}, "other oracles"),
        ({"config_digest": bytes(32)}, "other oracles"),
        ({"quorum": 1}, "with 1 liars it takes 2"),
        ({"grace_rounds": 19}, "at least 20, ten minutes"),
        ({"is_american": True}, r"an American contract takes floor\(\(n \+ f\) / 2\) \+ 1 = 3"),
    ):
        with pytest.raises(TermsError, match=match):
            claim_terms(**change).require_config(CONFIG)
    claim_terms(**AMERICAN).require_config(CONFIG)


@pytest.mark.parametrize(
    "name",
    [
        *("BTC-27DEC26-50000-C", "BTC-27DEC26-50000-P", "BTC-27DEC26-50000-C-B"),
        *("BTC-27DEC26-50000-P-B", "BTC-27DEC26-50000-C-UO80000", "BTC-27DEC26-50000-C-DO40000"),
        *("BTC-27DEC26-50000-P-UO80000", "BTC-27DEC26-50000-P-DO40000"),
        *("BTC-27DEC26-50000-C-A", "BTC-27DEC26-50000-P-DO40000-A"),
    ],
)
def test_every_listed_option_has_terms(name: str) -> None:
    instrument = parse_instrument(name)
    expiry = CONFIG.round_at(instrument.expiry_ms)
    terms = ClaimTerms.of_instrument(
        instrument, CONFIG, FEED_ID, Sats(E8), Sats(E8), start_round=expiry - 99, twap_rounds=5
    )
    assert (terms.slot.start_round, terms.slot.target_round) == (expiry - 99, expiry)
    assert (terms.slot.rule, terms.slot.window, terms.first_round) == (Rule.TWAP, 5, expiry - 95)
    assert terms.quorum == (3 if instrument.is_american else 2)
    payoff = terms.payoff
    assert (payoff.kind, payoff.strike_e8) == (instrument.kind, 50_000 * E8)
    assert (payoff.is_binary, payoff.barrier) == (instrument.is_binary, instrument.barrier)
    assert terms.is_american is instrument.is_american
    if instrument.is_american or instrument.barrier:
        with pytest.raises(TermsError, match="start_round"):
            ClaimTerms.of_instrument(instrument, CONFIG, FEED_ID, Sats(E8), Sats(E8))


def test_the_slot_of_a_european_contract_is_its_terms() -> None:
    assert TERMS.expiry_slot() == TERMS.expiry_slot(ROUND) == CLAIM.slot
    assert CLAIM.slot.subject == ZERO32
    with pytest.raises(TermsError, match="exercise_round"):
        TERMS.expiry_slot(ROUND - 1)


@pytest.mark.parametrize(
    ("change", "first"),
    [
        ({}, ROUND - 6),
        ({"rule": Rule.TWAP, "window": 8}, ROUND - 2),
        ({"min_rounds": 1}, ROUND - 9),
    ],
)
def test_an_american_contract_is_settled_where_it_is_exercised(
    change: dict[str, Any], first: int
) -> None:
    terms = contract_terms(**AMERICAN, **change)
    for settled in range(first, ROUND + 1):
        slot = terms.expiry_slot(settled)
        assert slot.subject == exercise_subject(contract_id(terms), settled)
        assert replace(slot, subject=ZERO32, target_round=ROUND) == terms.claim.slot
        assert slot.target_round == settled
    assert terms.expiry_slot() == slot
    for settled in (first - 1, ROUND + 1):
        with pytest.raises(TermsError, match=f"exercise_round {settled}"):
            terms.expiry_slot(settled)


def test_the_contract_id_names_terms_and_program() -> None:
    tag = sha256(b"btcfi/contract/v1").digest()
    assert template_hash() == sha256(elf_path("settle").read_bytes()).digest()
    assert contract_id(TERMS) == sha256(tag + tag + DATA + template_hash()).digest()
    for change in ({"strike_e8": 1}, {"bond_sats": 400_001}, {"kind": OptionKind.PUT}):
        assert contract_id(contract_terms(**change)) != contract_id(TERMS)
    again = replace(TERMS, writer=replace(TERMS.writer, nonce=bytes(16)))
    assert contract_id(again) != contract_id(TERMS)


def test_what_the_terms_fix_of_a_claim_is_not_published() -> None:
    american = contract_terms(**AMERICAN)
    assert claim_published_from(TERMS) == at.E_END
    assert claim_published_from(american) == at.E_SUBJECT
    assert (claim_size(2), claim_size(3)) == (324, 389)
    fixed = slice(4, claim_published_from(TERMS))
    claims = {at.claim_at(TERMS, price).encode()[fixed] for price in (1, E8)}
    assert len(claims) == 1
    fixed = slice(4, claim_published_from(american))
    rounds = (ROUND - 3, ROUND)
    claims = {at.claim_at(american, exercise_round=each).encode()[fixed] for each in rounds}
    assert len(claims) == 1


def test_the_image_of_a_contract_holds_its_terms() -> None:
    template, image = load_elf(elf_path("settle").read_bytes()), settlement_image(TERMS)
    base = template.symbols["terms"].address
    page = b"".join(
        (image.initial_word(base + i) or 0).to_bytes(4, "little") for i in range(0, 4096, 4)
    )
    assert base % 4096 == 0
    assert page == (DATA + contract_id(TERMS)).ljust(4096, b"\0")
    assert page.startswith(terms_page(TERMS))
    assert image.hash != template.hash
    assert (image.text, image.symbols) == (template.text, template.symbols)
    assert all(template.initial_word(base + i) == 0 for i in range(0, 4096, 4))
