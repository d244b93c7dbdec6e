"""One expiry a slot and one round a contract, whoever asks, whatever he asks, whenever he asks."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.errors import GuardError, QuorumError
from protocol.oracle.evidence import of_certificates
from protocol.oracle.exercise import American, NoticeBook
from protocol.oracle.expiry import ExpiryCertificate, ExpirySlot, Rule, assemble
from protocol.oracle.expiry_signer import ExpirySigner
from protocol.oracle.messages import ExpiryAnswer, ExpiryRefused, ExpiryRequest
from protocol.oracle.report import Report
from tests.builders.epochs import EPOCHS, NEXT, history, notice, preimage
from tests.builders.oracles import (
    AUX,
    CONFIG,
    FEED_ID,
    KEYS,
    PRICE,
    ROUND,
    T0,
    MemoryGuard,
)

PRICES = {0: PRICE, 3: PRICE + 300, 7: PRICE - 700, 12: PRICE + 1200, 13: PRICE, 20: PRICE + 5}
REPORTS = [c.report for c in history(PRICES)]
EXERCISE, EXPIRY = ROUND + 7, ROUND + 12
CONTRACT = preimage(EXPIRY)
EARLY = T0 - 100_000
"""When a notice for any of these rounds is in time."""


class Oracle:
    """A signer on a guard of its own; ``restarted`` is another one on the same guard."""

    def __init__(self, index: int = 0, guard: MemoryGuard | None = None) -> None:
        self.guard = guard or MemoryGuard()
        self.signed: list[bytes] = []
        self.notices = NoticeBook(CONFIG, self.guard)
        self.signer = ExpirySigner(CONFIG, index, self._sign, self.guard, self.notices)
        self.index = index

    def _sign(self, message: bytes) -> bytes:
        self.signed.append(message)
        return KEYS[self.index].sign(message, AUX)

    def restarted(self) -> "Oracle":
        return Oracle(self.index, self.guard)

    def hear(self, exercise_round: int, contract: bytes = CONTRACT) -> "Oracle":
        assert self.notices.receive(notice(contract, exercise_round), EARLY)
        return self

    def sign(self, request: ExpiryRequest, reports: list[Report] = REPORTS) -> ExpiryAnswer:
        return self.signer.sign(request, reports)


def slot(start: int, target: int, **changes: Any) -> ExpirySlot:
    fields: dict[str, Any] = {
        "config_digest": CONFIG.digest,
        "feed_id": FEED_ID,
        "start_round": ROUND + start,
        "target_round": ROUND + target,
    }
    return ExpirySlot(**(fields | changes))


def european(start: int = 0, target: int = 7, **changes: Any) -> ExpiryRequest:
    return ExpiryRequest(slot(start, target, **changes), 600)


def american(target: int, contract: bytes = CONTRACT, **changes: Any) -> ExpiryRequest:
    subject = American(contract).subject(ROUND + target)
    return ExpiryRequest(slot(0, target, **({"subject": subject} | changes)), 600, contract)


def test_the_first_answer_is_the_only_one() -> None:
    oracle = Oracle()
    first = oracle.sign(european())
    assert first.expiry.price_e8 == PRICE - 700
    assert oracle.guard.log == [first.expiry.encode()]
    assert oracle.sign(european()) == first
    assert oracle.restarted().sign(european(), []) == first, "not even the history is needed again"
    assert len(oracle.guard.log) == 1


def test_a_rewritten_history_gets_no_second_expiry() -> None:
    oracle = Oracle()
    first = oracle.sign(european())
    fork = [c.report for c in history({0: PRICE, 7: PRICE + 9_999})]
    assert oracle.sign(european(), fork) == first
    assert oracle.restarted().sign(european(), fork) == first
    assert {first.expiry.hash} == set(oracle.signed)


def test_every_question_is_a_slot_of_its_own() -> None:
    oracle = Oracle()
    questions = [
        european(),
        european(1),
        european(0, 12),
        european(rule=Rule.TWAP, window=8),
        european(rule=Rule.TWAP, window=5),
    ]
    answers = [oracle.sign(question) for question in questions]
    assert [a.expiry.slot for a in answers] == [q.slot for q in questions]
    assert len(oracle.guard.log) == len(questions)


def test_nothing_is_signed_before_it_is_on_disk() -> None:
    class Full(MemoryGuard):
        def record_once(self, kind: bytes, slot_id: bytes, message: bytes) -> None:
            raise GuardError("no space left on device")

    oracle = Oracle(guard=Full())
    for request in (european(), american(12)):
        with pytest.raises(GuardError):
            oracle.sign(request)
    assert oracle.signed == []


def test_another_epochs_expiry_is_not_this_keys() -> None:
    with pytest.raises(QuorumError, match=r"this key signs for .* oracles of the contract's epoch"):
        Oracle().sign(european(config_digest=NEXT.digest))


def test_a_retired_key_signs_over_rounds_of_the_next_epoch() -> None:
    assert EPOCHS.at(ROUND + 12) == NEXT
    answer = Oracle().sign(european(0, 12))
    assert answer.expiry.slot.config_digest == CONFIG.digest
    assert answer.expiry.end_round == ROUND + 12
    assert answer.expiry.report_hash == REPORTS[3].hash


def test_a_refusal_tells_what_to_do() -> None:
    oracle = Oracle(1)
    waiting = oracle.signer.answer(european(0, 21), REPORTS)
    assert isinstance(waiting, ExpiryRefused)
    assert (waiting.oracle, waiting.slot) == (1, european(0, 21).slot)
    assert f"wait for the first from {ROUND + 21} on" in waiting.reason
    gap = oracle.signer.answer(european(), [REPORTS[0], *REPORTS[2:]])
    assert isinstance(gap, ExpiryRefused)
    assert "fetch the missing certificates" in gap.reason
    assert isinstance(oracle.signer.answer(european(), REPORTS), ExpiryAnswer)


# American contracts


def test_an_exercised_contract_is_settled_in_the_round_of_its_notice() -> None:
    oracle = Oracle().hear(EXERCISE)
    assert oracle.sign(american(7)).expiry.price_e8 == PRICE - 700
    for target in (3, 12, 13):
        with pytest.raises(QuorumError, match=rf"settled in round {EXERCISE}: ask for that"):
            oracle.restarted().sign(american(target))


def test_without_a_notice_it_is_settled_at_expiry_and_nobody_looks_back() -> None:
    """The holder asks for the best round of the past; the writer for the worst."""
    oracle = Oracle()
    for target in (3, 7, 13):
        with pytest.raises(QuorumError, match=rf"no notice for round {ROUND + target} came"):
            oracle.sign(american(target))
    assert oracle.signed == [] == oracle.guard.log
    assert oracle.sign(american(12)).expiry.price_e8 == PRICE + 1200
    late = oracle.notices.receive(notice(CONTRACT, EXERCISE), EARLY)
    assert not late, "even if the oracle's clock went back"
    with pytest.raises(QuorumError, match=rf"settled in round {EXPIRY}"):
        oracle.restarted().sign(american(7))


def test_asking_too_early_takes_nobodys_exercise_away() -> None:
    oracle = Oracle()
    with pytest.raises(QuorumError, match="wait for the first"):
        oracle.sign(american(12), REPORTS[:2])
    oracle.hear(EXERCISE)
    assert oracle.sign(american(7)).expiry.end_round == EXERCISE


def test_a_wrong_question_about_a_contract_does_not_spend_it() -> None:
    """Whoever knows the terms can ask for another start or rule; no contract is settled by that,
    and the right question is still answered."""
    oracle = Oracle().hear(EXERCISE)
    oracle.sign(american(7, start_round=ROUND + 7))
    right = oracle.sign(american(7, rule=Rule.TWAP, window=8))
    assert right.expiry.price_e8 == (3 * PRICE - 400) // 3


@pytest.mark.parametrize(
    ("request_", "match"),
    [
        (replace(american(12), contract=b""), "send the preimage of the contract id along"),
        (american(12, subject=b"\1" * 32), "is not that of the contract in target_round"),
        (american(12, subject=American(CONTRACT).subject(EXERCISE)), "is not that of the contract"),
        (replace(american(12), contract=preimage(EXPIRY, rest=b"x")), "is not that of"),
    ],
)
def test_a_subject_must_be_shown(request_: ExpiryRequest, match: str) -> None:
    oracle = Oracle()
    with pytest.raises(QuorumError, match=match):
        oracle.sign(request_)
    assert oracle.signed == []


def test_a_foreign_preimage_is_an_answer_and_no_crash() -> None:
    answer = Oracle().signer.answer(replace(american(12), contract=b"short"), REPORTS)
    assert isinstance(answer, ExpiryRefused)
    assert "preimage: 5 bytes" in answer.reason


def test_contracts_are_settled_one_by_one() -> None:
    oracle, other = Oracle().hear(EXERCISE), preimage(EXPIRY, rest=b"other")
    assert oracle.sign(american(12, other)).expiry.end_round == EXPIRY
    assert oracle.sign(american(7)).expiry.end_round == EXERCISE


@settings(max_examples=40)
@given(st.lists(st.sampled_from([3, 7, 12, 13, 20, "n3", "n7", "n12"]), max_size=10))
def test_a_contract_gets_one_expiry_whatever_is_asked_in_whatever_order(events: list[Any]) -> None:
    oracle = Oracle()
    signed = set()
    for event in events:
        if isinstance(event, str):
            oracle.notices.receive(notice(CONTRACT, ROUND + int(event[1:])), EARLY)
        else:
            answer = oracle.signer.answer(american(event), REPORTS)
            if isinstance(answer, ExpiryAnswer):
                signed.add(answer.expiry.encode())
        oracle = oracle.restarted()
    assert len(signed) <= 1


def certified(
    oracles: list[Oracle], request: ExpiryRequest, quorum: int
) -> ExpiryCertificate | None:
    """What an aggregator can assemble of the oracles' answers."""
    answers = {}
    for oracle in oracles:
        answer = oracle.signer.answer(request, REPORTS)
        if isinstance(answer, ExpiryAnswer):
            answers[oracle.index] = (answer.expiry.encode(), answer.signature)
    try:
        return assemble(CONFIG, request.slot, answers, quorum)
    except QuorumError:
        return None


def test_two_rounds_of_one_contract_need_two_liars_at_the_agreement_quorum() -> None:
    """The holder tells two oracles two rounds; the third forgets what it has signed. At 2 of 3 both
    rounds are certified, and the pair convicts the third; at 3 of 3 neither is."""
    honest = [Oracle(0).hear(ROUND + 3), Oracle(1).hear(EXERCISE)]

    def ask(target: int, quorum: int) -> ExpiryCertificate | None:
        forgetful = Oracle(2).hear(ROUND + target)
        return certified([*honest, forgetful], american(target), quorum)

    first, second = ask(3, 2), ask(7, 2)
    assert first is not None and second is not None
    proofs = of_certificates(CONFIG, first, second, American(CONTRACT).contract_id)
    assert [proof.check(CONFIG) for proof in proofs] == [2]
    assert of_certificates(CONFIG, first, second) == (), "only the contract's id joins them"
    assert ask(3, 3) is None
    assert ask(7, 3) is None


def test_the_quorum_of_an_assembled_certificate_is_the_contracts() -> None:
    oracles = [Oracle(i).hear(EXERCISE) for i in range(3)]
    certificate = certified(oracles, american(7), 3)
    assert certificate is not None
    assert certificate.signers == (0, 1, 2)
    certificate.check(CONFIG, 3)
    with pytest.raises(QuorumError, match="needed are 2"):
        certificate.check(CONFIG)


# Any window of a sparse history


@settings(max_examples=50)
@given(st.integers(0, 20), st.integers(0, 20), st.integers(0, 600), st.data())
def test_any_window_over_a_sparse_history(a: int, b: int, grace: int, data: st.DataObject) -> None:
    start, target = min(a, b), max(a, b)
    window = data.draw(st.integers(0, target - start + 1))
    rule = Rule.TWAP if window else Rule.SPOT
    request = ExpiryRequest(slot(start, target, rule=rule, window=window), grace)
    end = min(offset for offset in PRICES if offset >= target)
    if end > target + grace:
        with pytest.raises(QuorumError, match="was certified, the next is"):
            Oracle().sign(request)
        return
    expiry = Oracle().sign(request).expiry
    seen = [price for offset, price in PRICES.items() if start <= offset <= end]
    last = [price for offset, price in PRICES.items() if end - max(window, 1) < offset <= end]
    assert (expiry.high_e8, expiry.low_e8, expiry.rounds) == (max(seen), min(seen), len(seen))
    assert (expiry.end_round, expiry.price_e8) == (ROUND + end, sum(last) // len(last))


@pytest.mark.parametrize("missing", range(1, 4))
def test_a_gap_in_the_history_is_never_averaged_over(missing: int) -> None:
    gap = [r for i, r in enumerate(REPORTS) if i != missing]
    with pytest.raises(QuorumError, match="fetch the missing certificates"):
        Oracle().sign(european(0, 13, rule=Rule.TWAP, window=14), gap)
