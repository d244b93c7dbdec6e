"""The graph hangs together: every move spends its parent, under the leaf that both signed for."""

import pytest

from protocol.bitcoin.tx import outpoint, outpoint_key, parse_tx, serialize, txid
from protocol.errors import ScriptError, TermsError
from protocol.settlement.graph import Graph
from protocol.settlement.terms import Role
from tests.builders.contracts import NOWHERE, contract_of, contract_terms, deal

GRAPH = Graph.of(contract_of(contract_terms()), NOWHERE)


def test_every_move_spends_the_first_outputs_of_its_parent() -> None:
    ids = {"FUND": bytes(NOWHERE.hash)}
    for name, move in GRAPH.moves.items():
        assert [p.prevout for p in move.tx.vin] == [
            outpoint(ids[move.spends], index) for index in range(len(move.inputs))
        ]
        for number, way in move.ways:
            assert move.tx.vin[number].nSequence == (way.blocks or 0xFFFFFFFD)
            assert move.tx.nLockTime == way.height
            assert move.spent_locks[number].path(way.name) is way
        ids[name] = txid(move.tx)
    assert len(set(ids.values())) == len(ids)
    for move in GRAPH.moves.values():
        if move.spends != "FUND":
            parent, taken = GRAPH.moves[move.spends], len(move.inputs)
            assert list(move.spent) == list(parent.tx.vout[:taken])
            assert all(a is b for a, b in zip(move.spent_locks, parent.locks, strict=False))
        assert [bytes(out.scriptPubKey) for out in move.spent] == [
            lock.script_pubkey for lock in move.spent_locks
        ]


def test_who_signs_what() -> None:
    terms = GRAPH.contract.terms
    for name, move in GRAPH.moves.items():
        signers = [dict(way.signers) for _, way in move.ways]
        assert all(signers[0] == others for others in signers)
        if name == "REFUND":
            assert signers[0] == {role: terms.party(role).key for role in Role}
            continue
        assert move.prover is not None and name.startswith(move.prover.value)
        prover, other = terms.party(move.prover), terms.party(move.prover.other)
        assert signers[0] == {
            move.prover: prover.prover_key,
            move.prover.other: other.challenger_key,
        }


def test_which_locks_hold_what() -> None:
    chain = GRAPH.contract.terms.chain
    first = GRAPH.move("holder:INPUT_1")
    assert [(p.name, p.blocks) for p in first.locks[0].paths] == [
        ("holder:KICKOFF", 1),
        ("holder:TIMEOUT", chain.move_window),
    ]
    kickoff = GRAPH.move("holder:KICKOFF")
    assert [(p.name, p.blocks) for p in kickoff.locks[0].paths] == [
        ("holder:SETTLE", chain.challenge_window),
        ("holder:CHALLENGE", 1),
    ]
    settle = GRAPH.settle(Role.HOLDER)
    assert len(settle.locks) == 9 and len(settle.tx.vout) == 12
    for lock in settle.locks:
        assert [(p.name, p.blocks) for p in lock.paths] == [
            ("holder:SWEEP_WRITER", 1),
            ("holder:SWEEP_HOLDER", chain.sweep_delay),
        ]
    assert [int(out.nValue) for out in settle.tx.vout[:9]] == [
        *(1_000 << bit for bit in range(8)),
        chain.claim_fee_sats,
    ]


def test_the_outpoint_changes_ids_and_nothing_else() -> None:
    other = Graph.of(GRAPH.contract, outpoint(b"\x08" * 32, 3))
    for name, move in GRAPH.moves.items():
        assert other.moves[name].tx.vout == move.tx.vout
        assert txid(other.moves[name].tx) != txid(move.tx)


def test_a_claim_is_the_first_moves() -> None:
    assert [move.name for move in GRAPH.forward(Role.WRITER)] == [
        "writer:INPUT_1",
        "writer:KICKOFF",
    ]


def test_every_way_and_every_locked_output_is_found() -> None:
    names = [way.name for _, _, way in GRAPH.ways()]
    assert len(set(names)) == len(names)
    for move, number, way in GRAPH.ways():
        assert move.way(way.name) == (number, way)
    for point, move, number, lock in GRAPH.locked():
        assert bytes(point.hash) == txid(move.tx) and move.locks[number] is lock
        assert GRAPH.locks[outpoint_key(point)] == (move.name, lock)
        assert GRAPH.names[txid(move.tx)] == move.name


def test_moves_travel_as_bytes() -> None:
    made = deal(contract_terms())
    for prover in Role:
        for tx in [*made.claim(prover, 9), made.settle(prover), made.signed("REFUND")]:
            assert parse_tx(serialize(tx)) == tx


def test_names_that_are_not_here() -> None:
    with pytest.raises(TermsError, match="holder:VERDICT: this contract has no such"):
        GRAPH.move("holder:VERDICT")
    with pytest.raises(ScriptError, match="not spent by VERDICT"):
        GRAPH.contract.lock.path("VERDICT")
