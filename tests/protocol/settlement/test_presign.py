"""The exchange of signatures before FUND: every one is made, checked, and bound to its move."""

import time
from collections.abc import Mapping
from dataclasses import replace

import pytest

from protocol.bitcoin.tx import outpoint, transaction
from protocol.errors import EncodingError, ScriptError, SignatureError
from protocol.settlement.contract import Contract
from protocol.settlement.graph import Graph
from protocol.settlement.messages import PIECE_BYTES
from protocol.settlement.onetime import OneTimePublics
from protocol.settlement.presign import (
    assemble,
    decode_signatures,
    encode_signatures,
    presign,
    require_signatures,
)
from protocol.settlement.terms import ContractTerms, Role
from tests.builders.contracts import AUX, KEYS, NOWHERE, STRANGER, contract_terms, deal

MADE = deal(contract_terms())
GRAPH = MADE.graph


def signatures(role: Role) -> Mapping[str, bytes]:
    return MADE.signatures[role]


@pytest.mark.parametrize("role", Role, ids=lambda role: role.value)
@pytest.mark.parametrize(
    "name",
    [
        "REFUND",
        "holder:INPUT_1",
        "writer:SETTLE",
        "holder:CHALLENGE",
        "writer:PICK_12",
        "holder:EXECUTE_addi",
        "writer:EXECUTE_absorb",
        "holder:TAKE_1_CONNECTOR",
        "writer:SETTLE_assert_8",
    ],
)
def test_every_signature_counts(role: Role, name: str) -> None:
    right = signatures(role)
    other = "holder:EXECUTE_add"
    for wrong in (bytes(64), right[name] + b"\x01", right[other], signatures(role.other)[name]):
        with pytest.raises(SignatureError, match=f"{role.value}'s signature does not fit {name}"):
            require_signatures(GRAPH, role, {**right, name: wrong})
    missing = {move: signature for move, signature in right.items() if move != name}
    with pytest.raises(SignatureError, match=f"has not signed {name}: do not fund"):
        require_signatures(GRAPH, role, missing)


def test_a_signature_for_each_leaf() -> None:
    names = [way.name for _, _, way in GRAPH.ways()]
    for role in Role:
        require_signatures(GRAPH, role, signatures(role))
        assert list(signatures(role)) == names
        assert len(set(signatures(role).values())) == len(names)
    executes = [name for name in names if name.startswith("holder:EXECUTE_")]
    assert len(executes) == 58


def test_signatures_travel_as_bytes() -> None:
    data = encode_signatures(GRAPH, signatures(Role.WRITER))
    assert len(data) == 64 * len(list(GRAPH.ways())) < PIECE_BYTES
    assert decode_signatures(GRAPH, data) == signatures(Role.WRITER)
    for wrong in (data[:-1], data[64:], data + bytes(64), b""):
        with pytest.raises(EncodingError, match="ways take 64 each"):
            decode_signatures(GRAPH, wrong)


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
    both = MADE.signatures
    messages = MADE.messages(Role.HOLDER, 9)
    assert assemble(move, both, messages).vout == move.tx.vout
    with pytest.raises(SignatureError, match="lacks the signature of the writer"):
        assemble(move, {Role.HOLDER: both[Role.HOLDER]}, messages)
    with pytest.raises(SignatureError, match="holder's signature does not fit"):
        assemble(move, {**both, Role.HOLDER: {move.name: bytes(64)}}, messages)
    with pytest.raises(SignatureError, match="shows input 5"):
        assemble(move, both)
    label = next(iter(move.messages))
    digits = messages[label].digits
    forged = replace(messages[label], digits=(*digits[:-1], digits[-1] ^ 1))
    with pytest.raises(SignatureError, match="shows input 5"):
        assemble(move, both, {**messages, label: forged})


def test_one_of_many_leaves_is_named() -> None:
    execute = GRAPH.moves["holder:EXECUTE"]
    with pytest.raises(ScriptError, match="not reached by holder:EXECUTE_nop"):
        assemble(execute, MADE.signatures, way="holder:EXECUTE_nop")
    with pytest.raises(ScriptError, match="not reached by None"):
        assemble(execute, MADE.signatures)
    with pytest.raises(SignatureError, match="takes 0 unsigned numbers"):
        assemble(execute, MADE.signatures, way="holder:EXECUTE_addi", hints=(1,))


def test_a_changed_transaction_is_not_what_was_signed() -> None:
    move = GRAPH.moves["REFUND"]
    holder, writer, anchor = move.tx.vout
    swapped = transaction(
        move.tx.vin, [writer, holder, anchor], locktime=move.tx.nLockTime, version=3
    )
    with pytest.raises(SignatureError, match="does not fit REFUND"):
        assemble(replace(move, tx=swapped), MADE.signatures)


def test_a_whole_contract_takes_little_time() -> None:
    """All that one side does once it has made a contract: its keys, scripts, transactions,
    signatures, the other side's verified. It takes about a third of a second of one core."""
    terms = contract_terms(premium_sats=7_777)
    publics = {role: KEYS[role].one_time(terms, role).public for role in Role}
    best = min(_seconds(terms, publics) for _ in range(3))
    assert best < 2.0, f"{best:.2f} s"


def _seconds(terms: ContractTerms, publics: Mapping[Role, OneTimePublics]) -> float:
    started = time.process_time()
    KEYS[Role.HOLDER].one_time(terms, Role.HOLDER)
    graph = Graph.of(Contract(terms, publics), NOWHERE)
    signed = presign(graph, Role.HOLDER, KEYS[Role.HOLDER], AUX)
    require_signatures(graph, Role.HOLDER, signed)
    return time.process_time() - started
