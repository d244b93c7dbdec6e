"""The settlement guest on unicorn: right claims halt with 0, a lie with its check's number."""

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.errors import TermsError
from protocol.options.instrument import OptionKind
from protocol.settlement.claim import CLAIM_SIZE, Check, ClaimTerms
from protocol.units import E8, U64_MAX
from riscv_vm.guest import guest_elf
from tests.builders.claims import (
    C_HASH,
    C_PAYOUT,
    R_CONF,
    R_CONFIG,
    R_EXPO,
    R_FEED,
    R_GRADE,
    R_MAGIC,
    R_PRICE,
    R_ROUND,
    R_TIME,
    SPOT_E8,
    T_COLLATERAL,
    T_CONFIG,
    T_FEED,
    T_MAGIC,
    T_OPTION,
    T_QUANTITY,
    T_ROUND,
    T_STRIKE,
    claim_terms,
    honest_claim,
    patched,
    rehashed,
)
from tests.builders.unicorn_guest import UnicornGuest

CALL, PUT = OptionKind.CALL, OptionKind.PUT
GUEST = UnicornGuest(guest_elf("settle"))
STRICT_GUEST = UnicornGuest(guest_elf("settle"), strict=True)
HONEST = honest_claim(claim_terms()).encode()


def u64(value: int) -> bytes:
    return struct.pack(">Q", value)


def code_of(claim: bytes) -> int | None:
    ended = STRICT_GUEST.run(claim)
    assert not ended.fault
    return ended.code


@pytest.mark.parametrize("kind", OptionKind)
@pytest.mark.parametrize("strike_e8", [SPOT_E8 - 1, SPOT_E8, SPOT_E8 + 1, 50_000 * E8, 1, U64_MAX])
def test_an_honest_claim_halts_with_0(kind: OptionKind, strike_e8: int) -> None:
    assert code_of(honest_claim(claim_terms(kind, strike_e8)).encode()) == 0


# offset, bytes written there, the check that must fail; the report hash is made right again
# after the change, so that each check is reached on its own.
LIES = [
    (T_MAGIC, b"TRM0", Check.TERMS_MAGIC),
    (T_MAGIC + 3, b"\x00", Check.TERMS_MAGIC),
    (T_OPTION, b"\x00", Check.OPTION),
    (T_OPTION, b"\x03", Check.OPTION),
    (T_OPTION, b"\xff", Check.OPTION),
    (T_OPTION, b"\x02", Check.PAYOUT),
    (T_STRIKE, u64(0), Check.TERMS_RANGE),
    (T_STRIKE, u64(50_000 * E8 + 1000_000), Check.PAYOUT),
    (T_QUANTITY, u64(0), Check.TERMS_RANGE),
    (T_QUANTITY, u64(E8 + 1), Check.TERMS_RANGE),
    (T_QUANTITY, u64(E8 - 3), Check.PAYOUT),
    (T_COLLATERAL, u64(0), Check.TERMS_RANGE),
    (T_COLLATERAL, u64(E8 - 1), Check.TERMS_RANGE),
    (R_MAGIC, b"OBS1", Check.REPORT_MAGIC),
    (T_CONFIG, b"\x00", Check.CONFIG),
    (R_CONFIG, b"\x00", Check.CONFIG),
    (R_CONFIG + 31, b"\x00", Check.CONFIG),
    (T_FEED + 31, b"\x00", Check.FEED),
    (R_FEED, b"\x00", Check.FEED),
    (T_ROUND, b"\x80", Check.ROUND),
    (R_ROUND + 7, b"\x00", Check.ROUND),
    (R_EXPO, b"\x08", Check.EXPO),
    (R_EXPO, b"\xf7", Check.EXPO),
    (R_GRADE, b"\x00", Check.GRADE),
    (R_GRADE, b"\x03", Check.GRADE),
    (R_PRICE, u64(0), Check.PRICE),
    (R_PRICE, u64(SPOT_E8 + E8), Check.PAYOUT),
    (C_PAYOUT, u64(40_294_407), Check.PAYOUT),
    (C_PAYOUT, u64(40_294_409), Check.PAYOUT),
    (C_PAYOUT, u64(40_294_408 | 1 << 63), Check.PAYOUT),
]


@pytest.mark.parametrize(("offset", "patch", "check"), LIES)
def test_each_lie_exits_with_the_number_of_its_check(
    offset: int, patch: bytes, check: Check
) -> None:
    lie = rehashed(patched(HONEST, offset, patch))
    assert lie != HONEST
    assert code_of(lie) == check


@pytest.mark.parametrize("offset", [R_PRICE, R_CONF, R_TIME, C_HASH - 1, C_HASH, C_PAYOUT - 1])
def test_a_report_that_does_not_hash_to_the_certified_hash(offset: int) -> None:
    lie = patched(HONEST, offset, bytes([HONEST[offset] ^ 1]))
    assert code_of(lie) == Check.REPORT_HASH


def test_fields_that_no_check_names_may_change_together_with_the_hash() -> None:
    assert code_of(rehashed(patched(HONEST, R_CONF, u64(7)))) == 0
    assert code_of(rehashed(patched(HONEST, R_GRADE, b"\x02"))) == 0


def test_a_flipped_bit_is_refused_unless_the_payoff_stays_the_same() -> None:
    for bit in range(0, 8 * CLAIM_SIZE, 7):
        offset = bit // 8
        claim = patched(HONEST, offset, bytes([HONEST[offset] ^ 1 << bit % 8]))
        assert (GUEST.run(claim).code == 0) == is_right_by_python(claim), bit


def is_right_by_python(claim: bytes) -> bool:
    """Terms may change as long as the payoff does not; everything else is as certified."""
    if claim[:T_STRIKE] != HONEST[:T_STRIKE] or claim[R_MAGIC:] != HONEST[R_MAGIC:]:
        return False
    try:
        terms = ClaimTerms.decode(claim[:R_MAGIC])
    except TermsError:
        return False
    return honest_claim(terms).encode() == claim


@pytest.mark.parametrize("size", [0, 1, 2, 3, 4, 5, 100, 307, 308, 310, 311, 312, 313, 5000])
def test_any_other_length_is_refused_without_a_fault(size: int) -> None:
    assert code_of((HONEST * 20)[:size]) == Check.LENGTH


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=700))
def test_any_input_is_memory_safe_and_refused(data: bytes) -> None:
    ended = STRICT_GUEST.run(data, limit=200_000)
    assert not ended.fault
    assert ended.code in set(Check)


CORNERS = st.sampled_from(
    [1, 2, 3, E8, 2**31, 2**32 - 1, 2**32, 2**32 + 1, 2**53, 2**63 - 1, 2**63, U64_MAX - 1, U64_MAX]
)
NUMBERS = CORNERS | st.integers(1, U64_MAX) | st.integers(1, 10**14)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(OptionKind), NUMBERS, NUMBERS, NUMBERS, NUMBERS, st.integers(-2, 2))
def test_the_guest_computes_the_payoff_of_python(
    kind: OptionKind, spot: int, strike: int, quantity: int, collateral: int, near: int
) -> None:
    if kind is CALL:
        collateral = max(quantity, collateral)
    if spot % 3 == 0:
        strike = min(max(spot + near, 1), U64_MAX)
    claim = honest_claim(claim_terms(kind, strike, quantity, collateral), spot).encode()
    payout = int.from_bytes(claim[C_PAYOUT:])
    assert GUEST.run(claim).code == 0
    for other in {payout - 1, payout + 1, payout ^ 1 << 32, 0, collateral} - {payout, -1, 2**64}:
        assert GUEST.run(patched(claim, C_PAYOUT, u64(other))).code == Check.PAYOUT


def test_the_work_stays_far_below_the_smallest_padded_trace() -> None:
    steps = [
        GUEST.run(honest_claim(claim_terms(kind, strike), spot).encode()).steps
        for kind in OptionKind
        for strike in (1, 50_000 * E8, U64_MAX)
        for spot in (1, SPOT_E8, U64_MAX)
    ]
    assert max(steps) < 40_000
