"""The exchange of signatures before FUND: every one is made, checked, and bound to its move."""

import time
from dataclasses import replace

import pytest

from protocol.bitcoin.tx import outpoint, transaction
from protocol.errors import SignatureError
from protocol.settlement.contract import Contract
from protocol.settlement.graph import Graph
from protocol.settlement.presign import assemble, presign, require_signatures
from protocol.settlement.terms import ContractTerms, Role
from tests.builders.contracts import AUX, KEYS, NOWHERE, STRANGER, contract_terms, deal

MADE = deal(contract_terms())
GRAPH = MADE.graph


def signatures(role: Role) -> dict[str, bytes]:
    return {name: both[role] for name, both in MADE.signatures.items()}


@pytest.mark.parametrize("role", Role, ids=lambda role: role.value)
@pytest.mark.parametrize("name", GRAPH.moves)
def test_every_signature_counts(role: Role, name: str) -> None:
    right = signatures(role)
    require_signatures(GRAPH, role, right)
    other = next(move for move in right if move != name)
    for wrong in (bytes(64), right[name] + b"\x01", right[other], signatures(role.other)[name]):
        with pytest.raises(SignatureError, match=f"{role.value}'s signature does not fit {name}"):
            require_signatures(GRAPH, role, {**right, name: wrong})
    missing = {move: signature for move, signature in right.items() if move != name}
    with pytest.raises(SignatureError, match=f"has not signed {name}: do not fund"):
        require_signatures(GRAPH, role, missing)


def test_signatures_that_nobody_asked_for() -> None:
    with pytest.raises(SignatureError, match="signed VERDICT, which this contract has not"):
        require_signatures(GRAPH, Role.HOLDER, {**signatures(Role.HOLDER), "VERDICT": bytes(64)})


def test_a_signature_is_for_one_outpoint_and_one_leaf() -> None:
    elsewhere = Graph.of(GRAPH.contract, outpoint(bytes(NOWHERE.hash), 1))
    with pytest.raises(SignatureError, match="does not fit REFUND"):
        require_signatures(elsewhere, Role.WRITER, signatures(Role.WRITER))
    longer = deal(contract_terms(challenge_window=4)).graph
    with pytest.raises(SignatureError):
        require_signatures(longer, Role.WRITER, signatures(Role.WRITER))


def test_foreign_keys_do_not_sign() -> None:
    with pytest.raises(SignatureError, match="no key of this party"):
        presign(GRAPH, Role.HOLDER, STRANGER, AUX)
    with pytest.raises(SignatureError, match="no key of this party"):
        presign(GRAPH, Role.HOLDER, KEYS[Role.WRITER], AUX)


def test_nothing_is_assembled_that_a_block_would_refuse() -> None:
    move = GRAPH.moves["holder:KICKOFF"]
    both = MADE.signatures[move.name]
    messages = MADE.messages(Role.HOLDER, 9)
    assert assemble(move, both, messages).vout == move.tx.vout
    with pytest.raises(SignatureError, match="lacks the signature of the writer"):
        assemble(move, {Role.HOLDER: both[Role.HOLDER]}, messages)
    with pytest.raises(SignatureError, match="holder's signature does not fit"):
        assemble(move, {**both, Role.HOLDER: bytes(64)}, messages)
    with pytest.raises(SignatureError, match="reveals input 5"):
        assemble(move, both)
    label = next(iter(move.messages))
    digits = messages[label].digits
    forged = replace(messages[label], digits=(*digits[:-1], digits[-1] ^ 1))
    with pytest.raises(SignatureError, match="reveals input 5"):
        assemble(move, both, {**messages, label: forged})


def test_a_changed_transaction_is_not_what_was_signed() -> None:
    move = GRAPH.moves["REFUND"]
    holder, writer, anchor = move.tx.vout
    swapped = transaction(
        move.tx.vin, [writer, holder, anchor], locktime=move.tx.nLockTime, version=3
    )
    with pytest.raises(SignatureError, match="does not fit REFUND"):
        assemble(replace(move, tx=swapped), MADE.signatures["REFUND"])


def test_a_whole_contract_takes_less_than_a_second() -> None:
    """Both sides: keys, scripts, transactions, signatures, verification of the other's."""
    terms = contract_terms(premium_sats=7_777)
    best = min(_seconds(terms) for _ in range(3))
    assert best < 1.0, f"{best:.2f} s"


def _seconds(terms: ContractTerms) -> float:
    started = time.perf_counter()
    for role in Role:
        publics = {each: KEYS[each].one_time(terms, each).public for each in Role}
        graph = Graph.of(Contract(terms, publics), NOWHERE)
        require_signatures(graph, role, presign(graph, role, KEYS[role], AUX))
    return time.perf_counter() - started
