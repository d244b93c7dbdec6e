"""The holder names a round ahead of it, once; nobody looks back and nobody else decides."""

from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.crypto.keys import SecretKey
from protocol.errors import ConfigError, EncodingError, GuardError, TermsError
from protocol.oracle.exercise import (
    PREIMAGE_MAX,
    American,
    ExerciseNotice,
    NoticeBook,
    exercise_subject,
    notice_message,
    require_agreement,
)
from protocol.oracle.proposal import Reason
from protocol.settlement.terms import contract_id, template_hash
from tests.builders.epochs import HOLDER, notice, preimage
from tests.builders.oracles import CONFIG, ROUND, T0, MemoryGuard, make_config, reason
from tests.builders.terms import AMERICAN, contract_terms

EXERCISE, EXPIRY = ROUND + 600, ROUND + 1000
CONTRACT = preimage(EXPIRY)
STRANGER = SecretKey(b"\x22" * 32)
LEAD = 60_000
IN_TIME = CONFIG.starts_ms(EXERCISE) - LEAD


def book(guard: MemoryGuard | None = None, lead_ms: int = LEAD) -> NoticeBook:
    return NoticeBook(CONFIG, guard or MemoryGuard(), lead_ms)


def refusal(ours: NoticeBook, sent: ExerciseNotice, now_ms: int, relayed: bool = False) -> Reason:
    """Why the book refuses the notice: as it counts, and as it says unless its disk is to blame."""
    before, said = ours.refused.copy(), reason(ours.check(sent, now_ms, relayed))
    assert not ours.receive(sent, now_ms, relayed)
    (counted,) = ours.refused - before
    assert said in (counted, None)
    return counted


def tagged(tag: bytes, body: bytes) -> bytes:
    digest = sha256(tag).digest()
    return sha256(digest + digest + body).digest()


def test_the_hashes_are_what_the_page_says() -> None:
    contract = American(CONTRACT)
    cid = tagged(b"btcfi/contract/v1", CONTRACT)
    body = cid + EXERCISE.to_bytes(8)
    assert contract.contract_id == cid
    assert (contract.holder, contract.expiry_round) == (HOLDER.public, EXPIRY)
    assert contract.subject(EXERCISE) == tagged(b"btcfi/exercise/v1", body)
    assert exercise_subject(cid, EXERCISE) == contract.subject(EXERCISE)
    assert notice_message(cid, EXERCISE) == tagged(b"btcfi/exercise-notice/v1", body)
    signed = notice(CONTRACT, EXERCISE)
    assert signed.encode() == b"EXN1" + EXERCISE.to_bytes(8) + signed.signature + CONTRACT


def test_the_contract_id_is_the_settlements() -> None:
    terms = contract_terms(**AMERICAN)
    shown = American(terms.encode() + template_hash())
    assert shown.contract_id == contract_id(terms)
    assert (shown.holder, shown.expiry_round) == (terms.holder.key, terms.expiry_round)
    assert shown.subject(terms.expiry_round) == terms.expiry_slot().subject


def test_a_notice_in_time_is_signed_once_and_counts_for_ever() -> None:
    guard = MemoryGuard()
    ours, signed = book(guard), notice(CONTRACT, EXERCISE)
    assert ours.exercise_round(American(CONTRACT).contract_id) is None
    assert ours.receive(signed, IN_TIME)
    assert not ours.receive(signed, IN_TIME)
    restarted = book(guard)
    late = CONFIG.starts_ms(EXERCISE) + 1
    assert restarted.exercise_round(American(CONTRACT).contract_id) == EXERCISE
    assert not restarted.receive(signed, late, relayed=True), "known: no news, no fault"
    again = notice(CONTRACT, EXERCISE, aux=b"\1" * 32)
    assert not restarted.receive(again, IN_TIME), "another signature is not another notice"
    assert len(guard.log) == 1
    assert not restarted.refused


def test_the_first_of_two_notices_counts() -> None:
    ours = book()
    first, second = notice(CONTRACT, EXERCISE), notice(CONTRACT, EXERCISE + 1)
    assert ours.receive(first, IN_TIME)
    assert refusal(ours, second, IN_TIME) is Reason.DUPLICATE
    assert ours.exercise_round(American(CONTRACT).contract_id) == EXERCISE


def test_contracts_do_not_touch_each_other() -> None:
    ours, other = book(), preimage(EXPIRY, rest=b"another strike")
    assert ours.receive(notice(CONTRACT, EXERCISE), IN_TIME)
    assert ours.receive(notice(other, EXERCISE + 1), IN_TIME)


@pytest.mark.parametrize("relayed", [False, True])
@pytest.mark.parametrize("lead_ms", [LEAD, 90_001])
def test_the_last_moment_is_exact(relayed: bool, lead_ms: int) -> None:
    last = CONFIG.starts_ms(EXERCISE) - (lead_ms // 2 if relayed else lead_ms)
    signed = notice(CONTRACT, EXERCISE)
    assert book(lead_ms=lead_ms).receive(signed, last, relayed)
    assert refusal(book(lead_ms=lead_ms), signed, last + 1, relayed) is Reason.STALE


def test_what_one_oracle_takes_in_the_last_moment_its_peers_take_half_the_lead_later() -> None:
    signed, peers = notice(CONTRACT, EXERCISE), [book() for _ in range(3)]
    assert book().receive(signed, IN_TIME)
    assert refusal(peers[0], signed, IN_TIME + LEAD // 2) is Reason.STALE
    for peer in peers:
        assert peer.receive(signed, IN_TIME + LEAD // 2, relayed=True)


NOT_THE_HOLDERS = {
    "a stranger's": notice(CONTRACT, EXERCISE, STRANGER),
    "for another round": ExerciseNotice(
        CONTRACT, EXERCISE, notice(CONTRACT, EXERCISE + 1).signature
    ),
    "for another contract": ExerciseNotice(
        CONTRACT, EXERCISE, notice(preimage(EXPIRY, rest=b"other"), EXERCISE).signature
    ),
    "of the subject": ExerciseNotice(
        CONTRACT,
        EXERCISE,
        HOLDER.sign(American(CONTRACT).subject(EXERCISE), bytes(32)),
    ),
    "zero": ExerciseNotice(CONTRACT, EXERCISE, bytes(64)),
    "of a key that is no point": ExerciseNotice(
        b"TRM2" + b"\3" * 32 + CONTRACT[36:], EXERCISE, bytes(64)
    ),
}


@pytest.mark.parametrize("name", NOT_THE_HOLDERS)
def test_only_the_holder_exercises(name: str) -> None:
    guard = MemoryGuard()
    assert refusal(book(guard), NOT_THE_HOLDERS[name], IN_TIME) is Reason.SIGNATURE
    assert not guard.log


def test_a_holder_cannot_put_his_key_into_anothers_contract() -> None:
    """The id commits to the key: another key is another contract, which nobody has funded."""
    mine = preimage(EXPIRY, STRANGER)
    assert American(mine).contract_id != American(CONTRACT).contract_id


def test_no_round_after_expiry_and_none_in_the_past() -> None:
    signed = notice(CONTRACT, EXPIRY)
    assert book().receive(signed, IN_TIME)
    assert refusal(book(), notice(CONTRACT, EXPIRY + 1), IN_TIME) is Reason.ROUND
    assert refusal(book(), notice(CONTRACT, 2**64 - 1), IN_TIME) is Reason.ROUND
    assert refusal(book(), notice(CONTRACT, ROUND), T0) is Reason.STALE
    assert refusal(book(), notice(CONTRACT, 0), T0, relayed=True) is Reason.STALE


def test_after_the_contract_has_lapsed_no_notice_counts() -> None:
    ours = book()
    ours.lapse(American(CONTRACT))
    assert refusal(ours, notice(CONTRACT, EXERCISE), IN_TIME) is Reason.DUPLICATE
    exercised = book()
    exercised.receive(notice(CONTRACT, EXERCISE), IN_TIME)
    with pytest.raises(GuardError):
        exercised.lapse(American(CONTRACT))


def test_a_notice_that_is_not_on_disk_is_not_signed() -> None:
    class Full(MemoryGuard):
        def record_once(self, kind: bytes, slot: bytes, message: bytes) -> None:
            raise GuardError("no space left on device")

    assert refusal(book(Full()), notice(CONTRACT, EXERCISE), IN_TIME) is Reason.GUARD


def test_the_lead_is_a_minute_at_least() -> None:
    with pytest.raises(ConfigError, match="notice_lead_ms: write 60000 or more"):
        book(lead_ms=LEAD - 1)


@pytest.mark.parametrize(
    ("contract", "exercise_round", "signature", "match"),
    [
        (CONTRACT[:43], EXERCISE, bytes(64), "preimage: 43 bytes"),
        (bytes(PREIMAGE_MAX + 1), EXERCISE, bytes(64), "4097 bytes"),
        (CONTRACT, 2**64, bytes(64), "exercise_round"),
        (CONTRACT, -1, bytes(64), "exercise_round"),
        (CONTRACT, EXERCISE, bytes(63), "signature"),
    ],
)
def test_a_wrong_field_is_named(
    contract: bytes, exercise_round: int, signature: bytes, match: str
) -> None:
    with pytest.raises(EncodingError, match=match):
        ExerciseNotice(contract, exercise_round, signature)


def test_limits_of_the_preimage() -> None:
    for contract in (CONTRACT[:44], CONTRACT[:44] + bytes(PREIMAGE_MAX - 44)):
        signed = notice(contract, EXERCISE)
        assert ExerciseNotice.decode(signed.encode()) == signed
        assert book().receive(signed, IN_TIME)


@settings(max_examples=50)
@given(st.binary(max_size=200), st.booleans())
def test_any_bytes_are_a_notice_that_encodes_to_them_or_an_error(data: bytes, ours: bool) -> None:
    data = b"EXN1" + data if ours else data
    try:
        decoded = ExerciseNotice.decode(data)
    except EncodingError:
        return
    assert decoded.encode() == data


def test_a_flipped_bit_never_exercises() -> None:
    data = notice(CONTRACT, EXERCISE).encode()
    contract_id_ = American(CONTRACT).contract_id
    for bit in range(8 * len(data)):
        altered = bytearray(data)
        altered[bit // 8] ^= 1 << bit % 8
        ours = book()
        try:
            assert not ours.receive(ExerciseNotice.decode(bytes(altered)), IN_TIME), bit
        except EncodingError:
            continue
        assert ours.exercise_round(contract_id_) is None


@pytest.mark.parametrize(
    ("n", "faults", "needed"), [(3, 1, 3), (4, 1, 3), (7, 2, 5), (3, 0, 2), (8, 3, 6)]
)
def test_american_terms_take_a_quorum_of_agreement(n: int, faults: int, needed: int) -> None:
    config = make_config(n, faults=faults, quorum=max(faults + 1, 2))
    require_agreement(config, needed)
    require_agreement(config, n)
    with pytest.raises(TermsError, match=rf"quorum {needed - 1}.* = {needed} of {n}"):
        require_agreement(config, needed - 1)
