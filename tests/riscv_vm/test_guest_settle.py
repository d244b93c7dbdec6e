"""The settlement guest: right claims halt with 0, a lie with its check's number, as in Python."""

import struct
from dataclasses import replace
from functools import lru_cache
from itertools import combinations
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.crypto.keys import CURVE_ORDER, SecretKey
from protocol.crypto.tagged import tagged_hash
from protocol.errors import ProtocolError
from protocol.options.instrument import Barrier, KnockOut, OptionKind
from protocol.oracle.expiry import ExpiryCertificate, Rule, exercise_subject
from protocol.settlement.claim import Check, Claim, claim_of, failed_check
from protocol.settlement.terms import (
    ContractTerms,
    contract_id,
    settlement_image,
    steps_max,
    terms_page,
)
from protocol.units import E8, U32_MAX, U64_MAX, PriceE8
from riscv_vm import fast, machine
from riscv_vm.guest import guest_elf
from riscv_vm.image import ProgramImage, load_elf, with_terms
from riscv_vm.isa import A0, HALT, TRAP
from tests.builders import claims as at
from tests.builders.any_terms import NUMBERS, contracts
from tests.builders.claims import (
    KEYS,
    SPOT_E8,
    certify,
    claim_at,
    expiry_at,
    patched,
    sign,
    signed_again,
)
from tests.builders.terms import AMERICAN, CONFIG, ROUND, contract_terms
from tests.builders.unicorn_guest import INPUT_BASE, UnicornGuest, padded_input, patched_elf

CALL, PUT = OptionKind.CALL, OptionKind.PUT
TEMPLATE = load_elf(guest_elf("settle"))
TERMS_AT = 0x10_0000
TERMS = contract_terms()
PAGE = terms_page(TERMS)
HONEST = claim_at(TERMS).encode()
LIMIT = machine.step_limit(12)
STEPS_A_SIGNATURE = 3_000_000
EXERCISED = contract_terms(is_american=True)
EXERCISED_PAGE = terms_page(EXERCISED)


def u64(value: int) -> bytes:
    return struct.pack(">Q", value)


def u32(value: int) -> bytes:
    return struct.pack(">I", value)


@lru_cache(maxsize=8)
def image_of(page: bytes) -> ProgramImage:
    return with_terms(TEMPLATE, page)


def ended(page: bytes, claim: bytes) -> fast.Machine:
    """The guest's run on the fast machine; it must end within the default limit."""
    run = fast.Machine(image_of(page), claim)
    run.run(LIMIT)
    assert run.pc == (HALT if run.register(A0) == 0 else TRAP)
    return run


def code_of(claim: bytes, page: bytes = PAGE) -> int:
    return ended(page, claim).register(A0)


def python_code(claim: bytes, terms: ContractTerms = TERMS) -> int:
    return failed_check(terms, claim) or 0


@lru_cache(maxsize=4)
def on_unicorn(page: bytes = PAGE, *, strict: bool = False) -> UnicornGuest:
    elf = patched_elf(guest_elf("settle"), TERMS_AT, page)
    return UnicornGuest(elf, strict=strict)


@pytest.mark.parametrize("kind", OptionKind)
@pytest.mark.parametrize("strike_e8", [SPOT_E8 - 1, SPOT_E8, SPOT_E8 + 1, 50_000 * E8, 1, U64_MAX])
def test_an_claim_of_halts_with_0(kind: OptionKind, strike_e8: int) -> None:
    terms = contract_terms(kind=kind, strike_e8=strike_e8)
    assert code_of(claim_at(terms).encode(), terms_page(terms)) == 0


def roster(n: int) -> tuple[SecretKey, ...]:
    return tuple(SecretKey(bytes([7] * 31 + [i + 1])) for i in range(n))


def signed_by(
    terms: ContractTerms,
    keys: tuple[SecretKey, ...],
    signers: tuple[int, ...],
    price_e8: int = SPOT_E8,
) -> bytes:
    """The honest claim with signatures of a roster of the test's own."""
    expiry = expiry_at(terms, price_e8)
    entries = tuple((i, keys[i].sign(expiry.hash, bytes(32))) for i in signers)
    return claim_of(terms, ExpiryCertificate(expiry, entries)).encode()


QUORUMS = [(3, pair) for pair in combinations(range(3), 2)]
QUORUMS += [(1, (0,)), (3, (0, 1, 2)), (4, (0, 2, 3)), (8, (7,)), (8, tuple(range(8)))]


@pytest.mark.parametrize(("n", "signers"), QUORUMS)
def test_any_quorum_of_any_roster(n: int, signers: tuple[int, ...]) -> None:
    keys = roster(n)
    terms = contract_terms(roster=tuple(key.public for key in keys), quorum=len(signers))
    claim = signed_by(terms, keys, signers)
    assert code_of(claim, terms_page(terms)) == 0
    assert python_code(claim, terms) == 0


# Offset in the claim, bytes written there, the check that must fail. The oracles sign whatever the
# expiry then says, so that each check is reached on its own.
LIES = [
    (at.E_MAGIC, b"RPT1", Check.EXPIRY_MAGIC),
    (at.E_MAGIC + 3, b"2", Check.EXPIRY_MAGIC),
    (at.E_CONFIG, b"\x00", Check.CONFIG),
    (at.E_CONFIG + 31, b"\x00", Check.CONFIG),
    (at.E_FEED, b"\x00", Check.FEED),
    (at.E_FEED + 31, b"\x00", Check.FEED),
    (at.E_SUBJECT, b"\x01", Check.SUBJECT),
    (at.E_SUBJECT + 31, b"\x01", Check.SUBJECT),
    (at.E_START, u64(ROUND - 10), Check.START),
    (at.E_START, u64(ROUND - 8), Check.START),
    (at.E_TARGET, u64(ROUND + 1), Check.TARGET),
    (at.E_TARGET, u64(ROUND - 1), Check.TARGET),
    (at.E_END, u64(ROUND - 1), Check.END),
    (at.E_END, u64(0), Check.END),
    (at.E_END, u64(ROUND + 21), Check.END),
    (at.E_END, u64(U64_MAX), Check.END),
    (at.E_PRICE, u64(0), Check.PRICE),
    (at.E_PRICE, u64(SPOT_E8 + 1), Check.PRICE),
    (at.E_PRICE, u64(SPOT_E8 - 1), Check.PRICE),
    (at.E_PRICE, u64(0) * 3, Check.PRICE),
    (at.E_HIGH, u64(SPOT_E8 - 1), Check.PRICE),
    (at.E_LOW, u64(SPOT_E8 + 1), Check.PRICE),
    (at.E_LOW, u64(0), Check.PRICE),
    (at.E_ROUNDS, u32(3), Check.ROUNDS),
    (at.E_ROUNDS, u32(0), Check.ROUNDS),
    (at.E_ROUNDS, u32(11), Check.ROUNDS),
    (at.E_ROUNDS, b"\xff" * 4, Check.ROUNDS),
    (at.E_EXPO, b"\x08", Check.EXPO),
    (at.E_EXPO, b"\xf7", Check.EXPO),
    (at.E_RULE, b"\x00", Check.RULE),
    (at.E_RULE, b"\x02", Check.RULE),
    (at.E_WINDOW, u32(1), Check.WINDOW),
    (at.E_PRICE, u64(SPOT_E8 + E8) * 3, Check.PAYOUT),
    (at.C_UNITS, u32(26423), Check.PAYOUT),
    (at.C_UNITS, u32(26421), Check.PAYOUT),
    (at.C_UNITS, u32(0), Check.PAYOUT),
    (at.C_UNITS, u32(65535), Check.PAYOUT),
    (at.C_UNITS, u32(65536), Check.UNITS_RANGE),
    (at.C_UNITS, u32(26422 | 1 << 31), Check.UNITS_RANGE),
]


@pytest.mark.parametrize(("offset", "patch", "check"), LIES)
def test_each_lie_exits_with_the_number_of_its_check(
    offset: int, patch: bytes, check: Check
) -> None:
    lie = signed_again(patched(HONEST, offset, patch))
    assert lie != HONEST
    assert code_of(lie) == python_code(lie) == check


def test_fields_that_the_terms_leave_open() -> None:
    for offset, patch in (
        (at.E_END, u64(ROUND + 20)),
        (at.E_HIGH, u64(U64_MAX)),
        (at.E_LOW, u64(1)),
        (at.E_ROUNDS, u32(10)),
        (at.E_REPORT, bytes(32)),
    ):
        claim = signed_again(patched(HONEST, offset, patch))
        assert code_of(claim) == python_code(claim) == 0


EXPIRY, FIRST, SECOND = HONEST[:194], HONEST[194:259], HONEST[259:]
THIRD = b"\x02" + sign(2, HONEST[4:194])
OTHER_TAG = b"\x01" + KEYS[1].sign(tagged_hash("btcfi/oracle/report/v1", EXPIRY[4:]), bytes(32))
FORGERIES = [
    ("same signer twice", FIRST + FIRST, Check.SIGNER),
    ("wrong order", SECOND + FIRST, Check.SIGNER),
    ("index 3 of 3", FIRST + b"\x03" + SECOND[1:], Check.SIGNER),
    ("index 255", FIRST + b"\xff" + SECOND[1:], Check.SIGNER),
    ("another oracle's index", FIRST + b"\x02" + SECOND[1:], Check.SIGNATURE),
    ("two indexes, one signature", FIRST + b"\x01" + FIRST[1:], Check.SIGNATURE),
    ("swapped signatures", b"\x00" + SECOND[1:] + b"\x01" + FIRST[1:], Check.SIGNATURE),
    ("another tag", FIRST + OTHER_TAG, Check.SIGNATURE),
    ("zeros", FIRST + b"\x01" + bytes(64), Check.SIGNATURE),
    ("r not below p", FIRST + b"\x01" + b"\xff" * 32 + SECOND[33:], Check.SIGNATURE),
    ("s = n", FIRST + SECOND[:33] + CURVE_ORDER.to_bytes(32), Check.SIGNATURE),
    (
        "s negated",
        FIRST + SECOND[:33] + (CURVE_ORDER - int.from_bytes(SECOND[33:])).to_bytes(32),
        Check.SIGNATURE,
    ),
    ("one signature", FIRST, Check.LENGTH),
    ("none", b"", Check.LENGTH),
    ("three signatures", FIRST + SECOND + THIRD, Check.LENGTH),
]


@pytest.mark.parametrize(
    ("signatures", "check"), [row[1:] for row in FORGERIES], ids=[row[0] for row in FORGERIES]
)
def test_no_other_signatures_do(signatures: bytes, check: Check) -> None:
    forged = EXPIRY + signatures
    assert code_of(forged) == python_code(forged) == check


@pytest.mark.parametrize("offset", [at.E_PRICE - 1, at.E_HIGH, at.E_REPORT, at.E_REPORT + 31])
def test_an_expiry_that_was_not_signed(offset: int) -> None:
    lie = patched(HONEST, offset, bytes([HONEST[offset] ^ 1]))
    assert code_of(lie) == python_code(lie) == Check.SIGNATURE


def test_every_third_bit_of_a_claim_matters() -> None:
    for bit in range(0, 8 * len(HONEST), 3):
        offset = bit // 8
        claim = patched(HONEST, offset, bytes([HONEST[offset] ^ 1 << bit % 8]))
        code = code_of(claim)
        assert code == python_code(claim) != 0, bit


# Offset in the terms page, bytes written there, the check that must fail.
WRONG_TERMS = [
    (at.T_MAGIC, b"TRM0", Check.TERMS_MAGIC),
    (at.T_MAGIC, bytes(4), Check.TERMS_MAGIC),
    (at.T_QUORUM, b"\x00", Check.ROSTER),
    (at.T_QUORUM, b"\x04", Check.ROSTER),
    (at.T_ORACLES, b"\x01", Check.ROSTER),
    (at.T_ORACLES, b"\x09", Check.ROSTER),
    (at.T_QUORUM, b"\xff\xff", Check.ROSTER),
    (at.T_SIZE, (at.T_KEYS + 95).to_bytes(2), Check.TERMS_SIZE),
    (at.T_SIZE, (4096 - 31).to_bytes(2), Check.TERMS_SIZE),
    (at.T_SIZE, b"\xff\xff", Check.TERMS_SIZE),
    (at.T_SIZE, (at.T_KEYS + 96).to_bytes(2), None),  # nobody asks a European contract's id
    (at.T_SIZE, (4096 - 32).to_bytes(2), None),
    (at.T_KIND, b"\x00", Check.INSTRUMENT),
    (at.T_KIND, b"\x03", Check.INSTRUMENT),
    (at.T_BINARY, b"\x02", Check.INSTRUMENT),
    (at.T_BARRIER, b"\x03", Check.INSTRUMENT),
    (at.T_AMERICAN, b"\x02", Check.INSTRUMENT),
    (at.T_AMERICAN, b"\x01\x01\x01", Check.INSTRUMENT),  # an American binary
    (at.T_BINARY, b"\x01\x01" + u64(1), Check.INSTRUMENT),  # a binary with a barrier
    (at.T_BARRIER, b"\x01", Check.TERMS_RANGE),
    (at.T_BARRIER, b"\x02", Check.TERMS_RANGE),
    (at.T_LEVEL, u64(1), Check.TERMS_RANGE),
    (at.T_KIND, b"\x02\x01\x00" + u64(0) + u64(1) + u64(E8 + 1), Check.TERMS_RANGE),
    (at.T_STRIKE, u64(0), Check.TERMS_RANGE),
    (at.T_QUANTITY, u64(0), Check.TERMS_RANGE),
    (at.T_QUANTITY, u64(E8 + 1), Check.TERMS_RANGE),
    (at.T_COLLATERAL, u64(0), Check.TERMS_RANGE),
    (at.T_COLLATERAL, u64(E8 - 1), Check.TERMS_RANGE),
    (at.T_START, u64(ROUND + 1), Check.TERMS_RANGE),
    (at.T_MIN_ROUNDS, u32(0), Check.TERMS_RANGE),
    (at.T_UNIT, u64(0), Check.UNIT),
    (at.T_UNIT, u64(1524), Check.UNIT),
    (at.T_UNIT, u64(1526), Check.UNIT),
    (at.T_BITS, b"\x07", Check.UNIT),
    (at.T_BITS, b"\x0f", Check.UNIT),
    (at.T_BITS, b"\x15", Check.UNIT),
    (at.T_BITS, b"\xff", Check.UNIT),
    (at.T_UNIT, u64(E8 // 127) + b"\x07", Check.UNIT),
    (at.T_UNIT, u64(E8 // (2**21 - 1)) + b"\x15", Check.UNIT),
    (at.T_QUANTITY, u64(1) + u64(1) + u64(0), Check.UNIT),
    (at.T_CONFIG, b"\x00", Check.CONFIG),
    (at.T_FEED + 31, b"\x00", Check.FEED),
    (at.T_AMERICAN, b"\x01", Check.SUBJECT),
    (at.T_START, u64(ROUND), Check.START),
    (at.T_EXPIRY, u64(ROUND + 1), Check.TARGET),
    (at.T_MIN_ROUNDS, u32(5), Check.ROUNDS),
    (at.T_RULE, b"\x02", Check.RULE),
    (at.T_WINDOW, u32(1), Check.WINDOW),
    (at.T_ORACLES, b"\x02", None),  # the third oracle did not sign
    (at.T_KEYS + 64, bytes(32), None),
    (at.T_GRACE, u32(0), None),
    (at.T_KEYS, bytes(32), Check.SIGNATURE),
    (at.T_KEYS + 32, b"\xff" * 32, Check.SIGNATURE),
    (at.T_KIND, b"\x02", Check.PAYOUT),
    (at.T_BINARY, b"\x01", Check.PAYOUT),
    (at.T_BARRIER, b"\x01" + u64(SPOT_E8), Check.PAYOUT),
    (at.T_BARRIER, b"\x01" + u64(SPOT_E8 + 1), None),
    (at.T_BARRIER, b"\x02" + u64(SPOT_E8), Check.PAYOUT),
    (at.T_BARRIER, b"\x02" + u64(SPOT_E8 - 1), None),
    (at.T_STRIKE, u64(50_001 * E8), Check.PAYOUT),
    (at.T_QUORUM, b"\x01", Check.LENGTH),
]


@pytest.mark.parametrize(("offset", "patch", "check"), WRONG_TERMS)
def test_another_terms_page(offset: int, patch: bytes, check: Check | None) -> None:
    page = patched(PAGE, offset, patch)
    assert page != PAGE
    assert code_of(HONEST, page) == (check or 0)


def test_the_template_settles_nothing() -> None:
    assert code_of(HONEST, b"") == code_of(b"", b"") == Check.TERMS_MAGIC


def test_a_flipped_bit_of_the_terms_is_judged_as_in_python() -> None:
    """Python refuses more: what the guest does not read, and terms that cannot be honoured."""
    size = len(PAGE) - 32
    judged = 0
    for bit in range(0, 8 * size, 11):
        page = patched(PAGE, bit // 8, bytes([PAGE[bit // 8] ^ 1 << bit % 8]))
        code = code_of(HONEST, page)
        try:
            expected = python_code(HONEST, ContractTerms.decode(page[:size]))
        except ProtocolError:
            continue
        assert code == expected, bit
        judged += 1
    assert judged > 100


@pytest.mark.parametrize("size", [0, 1, 3, 4, 5, 193, 194, 259, 323, 325, 328, 389, 5000])
def test_any_other_length_is_refused_without_a_fault(size: int) -> None:
    result = on_unicorn(strict=True).run((HONEST * 20)[:size])
    assert (result.code, result.fault) == (Check.LENGTH, "")


def test_padding_that_is_not_zero_is_refused() -> None:
    terms = contract_terms(quorum=1)
    claim = claim_at(terms, signers=(0,)).encode()
    guest = on_unicorn(terms_page(terms))
    assert len(claim) % 4 == 3
    assert guest.run(claim, padding=b"\x01").code == Check.PADDING
    assert guest.run(claim).code == 0


OPTIONS = [
    {},
    {"kind": PUT, "strike_e8": 90_000 * E8},
    {"is_binary": True},
    {"is_binary": True, "kind": PUT},
    {"barrier": Barrier(KnockOut.UP, PriceE8(2 * SPOT_E8))},
    {"barrier": Barrier(KnockOut.DOWN, SPOT_E8)},
    {"is_american": True},
    {"is_american": True, "barrier": Barrier(KnockOut.DOWN, PriceE8(1))},
]


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: "-".join(option) or "call")
def test_an_honest_run_is_the_same_on_unicorn_and_reads_every_input_word(
    option: dict[str, Any],
) -> None:
    terms = contract_terms(quorum=1, **option)
    page, honest = terms_page(terms), claim_at(terms).encode()
    result = on_unicorn(page).run(honest)
    assert (result.code, result.fault) == (0, "")
    assert result.steps == ended(page, honest).steps < steps_max(1)
    assert result.input_words == set(range(INPUT_BASE, INPUT_BASE + 4 + len(honest), 4))


@pytest.mark.parametrize("option", [{}, {"is_american": True}])
def test_every_access_of_an_honest_run_is_aligned_and_inside_the_segments(
    option: dict[str, Any],
) -> None:
    terms = contract_terms(quorum=1, **option)
    result = on_unicorn(terms_page(terms), strict=True).run(claim_at(terms, signers=(2,)).encode())
    assert (result.code, result.fault) == (0, "")


def test_the_reference_machine_ends_in_the_same_step_where_a_check_fails_early() -> None:
    for claim in (HONEST[:-1], patched(HONEST, at.E_WINDOW, b"\x01"), EXPIRY + FIRST + FIRST):
        quick, slow = ended(PAGE, claim), machine.Machine(image_of(PAGE), claim)
        while not slow.ended:
            slow.step()
        assert (slow.steps, slow.register(A0), slow.pc) == (quick.steps, quick.register(A0), TRAP)


@settings(max_examples=60, deadline=None)
@given(
    st.binary(max_size=500)
    | st.binary(min_size=194 + 130, max_size=194 + 130)
    | st.binary(max_size=130).map(lambda tail: HONEST[: -len(tail) or None] + tail)
)
def test_any_input_is_memory_safe_and_refused(data: bytes) -> None:
    if data == HONEST:
        return
    assert code_of(data) == python_code(data) != 0


@settings(max_examples=60, deadline=None)
@given(
    st.binary(max_size=300),
    st.binary(max_size=500) | st.just(claim_at(EXERCISED).encode()),
    st.integers(0, 400),
)
def test_any_terms_page_is_memory_safe(patch: bytes, data: bytes, offset: int) -> None:
    page = patched(EXERCISED_PAGE, offset, patch)[: len(PAGE)]
    elf = patched_elf(guest_elf("settle"), TERMS_AT, page)
    result = UnicornGuest(elf, strict=True).run(data, limit=60_000)
    assert not result.fault
    run = fast.Machine(with_terms(TEMPLATE, page), data)
    run.run(LIMIT)
    assert run.register(A0) in {0, *Check}


@pytest.mark.parametrize("size", [0, at.T_KEYS + 95, at.T_KEYS + 96, 4064, 4065, 4096, 0xFFFF])
def test_the_contract_id_is_read_on_the_page_only(size: int) -> None:
    page = patched(EXERCISED_PAGE, at.T_SIZE, size.to_bytes(2)).ljust(4096, b"\0")
    result = on_unicorn(page, strict=True).run(claim_at(EXERCISED).encode())
    on_page = at.T_KEYS + 96 <= size <= 4096 - 32
    expected = Check.SUBJECT if on_page else Check.TERMS_SIZE
    assert (result.code, result.fault) == (expected, "")


@st.composite
def honest_claims(draw: st.DrawFn, terms: ContractTerms) -> Claim:
    """Any claim that is right: prices next to strike and barrier, any exercise, end and rounds."""
    claim, payoff = terms.claim, terms.claim.payoff
    exercise = draw(st.integers(claim.first_round, terms.expiry_round))
    exercise = exercise if claim.is_american else terms.expiry_round
    barrier = payoff.barrier or Barrier(KnockOut.UP, payoff.strike_e8)
    near = st.builds(
        lambda price, step: min(max(price + step, 1), U64_MAX),
        st.sampled_from([payoff.strike_e8, barrier.level_e8]),
        st.integers(-1, 1),
    )
    low, price, high = sorted(draw(near | NUMBERS) for _ in range(3))
    end = draw(st.integers(exercise, min(exercise + claim.grace_rounds, U64_MAX)))
    most = min(end - claim.slot.start_round + 1, U32_MAX)
    return claim_at(
        terms,
        price,
        (0,),
        exercise_round=exercise,
        high_e8=high,
        low_e8=low,
        end_round=end,
        rounds=draw(st.integers(claim.min_rounds, most)),
    )


@settings(max_examples=150, deadline=None)
@given(st.data(), contracts(CONFIG.oracles, quorum=1))
def test_every_contract_settles_as_in_python(data: st.DataObject, terms: ContractTerms) -> None:
    honest = data.draw(honest_claims(terms))
    page, claim = terms_page(terms), honest.encode()
    assert code_of(claim, page) == python_code(claim, terms) == 0
    most = 2**terms.claim.payout_bits - 1
    wrong = {honest.units - 1, honest.units + 1, 0, most} - {honest.units, -1, most + 1}
    for units in wrong:
        assert code_of(replace(honest, units=units).encode(), page) == Check.PAYOUT
    offset = data.draw(st.integers(0, at.C_SIGNATURES - 1))
    patch = data.draw(st.binary(min_size=1, max_size=min(8, at.C_SIGNATURES - offset)))
    lie = signed_again(patched(claim, offset, patch))
    assert code_of(lie, page) == python_code(lie, terms)


FIRST_EXERCISE = ROUND - 6  # of ten rounds four are needed


@pytest.mark.parametrize(
    ("target", "check"),
    [
        (0, Check.TARGET),
        (ROUND - 10, Check.TARGET),
        (FIRST_EXERCISE - 1, Check.TARGET),
        (FIRST_EXERCISE, None),
        (ROUND, None),
        (ROUND + 1, Check.TARGET),
        (U64_MAX, Check.TARGET),
    ],
)
def test_an_american_contract_is_settled_in_the_round_that_the_oracles_name(
    target: int, check: Check | None
) -> None:
    terms = contract_terms(is_american=True, quorum=1)
    subject = exercise_subject(contract_id(terms), target)
    claim = claim_at(terms).encode()
    for offset, field in ((at.E_SUBJECT, subject), (at.E_TARGET, u64(target) * 2)):
        claim = patched(claim, offset, field)
    claim = signed_again(claim)
    assert code_of(claim, terms_page(terms)) == python_code(claim, terms) == (check or 0)


def test_an_american_mean_has_its_window_behind_it() -> None:
    terms = contract_terms(is_american=True, quorum=1, rule=Rule.TWAP, window=9)
    for settled, check in ((ROUND - 2, Check.TARGET), (ROUND - 1, None)):
        subject = exercise_subject(contract_id(terms), settled)
        claim = patched(claim_at(terms).encode(), at.E_SUBJECT, subject)
        claim = signed_again(patched(claim, at.E_TARGET, u64(settled)))
        assert code_of(claim, terms_page(terms)) == python_code(claim, terms) == (check or 0)


def test_an_exercise_of_one_contract_settles_no_other() -> None:
    terms = contract_terms(**AMERICAN)
    claim = claim_at(terms).encode()
    for other in (contract_terms(**AMERICAN, premium_sats=100_001), TERMS):
        assert code_of(claim, terms_page(other)) == python_code(claim, other) != 0
    page = terms_page(terms)
    assert code_of(claim, patched(page, len(page) - 1, bytes([page[-1] ^ 1]))) == Check.SUBJECT
    settled = claim_at(contract_terms(quorum=3)).encode()
    assert code_of(settled, page) == python_code(settled, terms) == Check.SUBJECT


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_any_certificate_is_judged_as_libsecp256k1_judges_it(data: st.DataObject) -> None:
    n = data.draw(st.integers(1, 8))
    signers = tuple(sorted(data.draw(st.sets(st.integers(0, n - 1), min_size=1, max_size=4))))
    secrets = st.integers(1, CURVE_ORDER - 1).map(lambda secret: secret.to_bytes(32))
    keys = tuple(map(SecretKey, data.draw(st.lists(secrets, min_size=n, max_size=n, unique=True))))
    publics = tuple(key.public for key in keys)
    if len(set(publics)) < n:
        return
    terms = contract_terms(kind=PUT, strike_e8=10**13, roster=publics, quorum=len(signers))
    claim = signed_by(terms, keys, signers, data.draw(st.integers(1, 2 * 10**13)))
    page = terms_page(terms)
    assert code_of(claim, page) == 0
    bit = data.draw(st.integers(8 * at.C_SIGNATURES, 8 * len(claim) - 1))
    corrupted = patched(claim, bit // 8, bytes([claim[bit // 8] ^ 1 << bit % 8]))
    assert code_of(corrupted, page) == python_code(corrupted, terms) != 0


def test_an_end_far_before_the_target_is_not_just_after_it() -> None:
    """u64 rounds: end - target must not wrap into the grace."""
    terms = contract_terms(start_round=0, target_round=U64_MAX - 1)
    lie = signed_again(patched(claim_at(terms).encode(), at.E_END, u64(3)))
    assert code_of(lie, terms_page(terms)) == python_code(lie, terms) == Check.END


def test_a_twap_settles_like_a_spot() -> None:
    terms = contract_terms(rule=Rule.TWAP, window=10)
    assert code_of(claim_at(terms).encode(), terms_page(terms)) == 0
    spot = claim_of(TERMS, certify(expiry_at(TERMS))).encode()
    assert code_of(spot, terms_page(terms)) == Check.RULE


def test_a_signature_costs_less_than_its_budget_and_eight_fit_the_default_trace() -> None:
    steps = {}
    keys = roster(8)
    for q in (1, 2, 8):
        terms = contract_terms(roster=tuple(key.public for key in keys), quorum=q)
        steps[q] = ended(terms_page(terms), signed_by(terms, keys, tuple(range(q)))).steps
    assert steps[1] <= STEPS_A_SIGNATURE
    assert steps[2] - steps[1] <= STEPS_A_SIGNATURE
    assert steps[8] < LIMIT
    assert all(steps[q] < steps_max(q) for q in steps)


def test_the_image_is_the_elf_with_its_page_replaced() -> None:
    patched_file = patched_elf(guest_elf("settle"), TERMS_AT, PAGE)
    assert load_elf(patched_file) == settlement_image(TERMS) == image_of(PAGE)
    assert TEMPLATE.symbols["terms"].address == TERMS_AT
    assert len(padded_input(HONEST)) == 4 + 324
