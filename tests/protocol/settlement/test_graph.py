"""The graph hangs together: every move spends its parent, under the leaf that both signed for."""

import pytest

from protocol.bitcoin.tx import outpoint, parse_tx, serialize, txid
from protocol.errors import ScriptError, TermsError
from protocol.settlement.graph import Graph
from protocol.settlement.terms import Role
from tests.builders.contracts import NOWHERE, contract_of, contract_terms, deal

GRAPH = Graph.of(contract_of(contract_terms()), NOWHERE)


def test_every_move_spends_output_0_of_its_parent() -> None:
    points = {"FUND": NOWHERE}
    for name, move in GRAPH.moves.items():
        (spends,) = move.tx.vin
        assert spends.prevout == points[move.spends]
        assert spends.nSequence == (move.path.blocks or 0xFFFFFFFD)
        assert move.tx.nLockTime == move.path.height
        points[name] = outpoint(txid(move.tx), 0)
    for move in GRAPH.moves.values():
        if move.spends != "FUND":
            parent = GRAPH.moves[move.spends]
            assert move.spent == parent.tx.vout[0]
            assert move.lock is parent.locks[0]
        assert move.spent.scriptPubKey == move.lock.script_pubkey
        assert move.lock.path(move.name) is move.path


def test_who_signs_what() -> None:
    terms = GRAPH.contract.terms
    for name, move in GRAPH.moves.items():
        if name == "REFUND":
            assert move.signers == {role: terms.party(role).key for role in Role}
            continue
        assert move.prover is not None and name.startswith(move.prover.value)
        prover, other = terms.party(move.prover), terms.party(move.prover.other)
        assert dict(move.signers) == {
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
        ("holder:SETTLE", chain.challenge_window)
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


def test_moves_travel_as_bytes() -> None:
    made = deal(contract_terms())
    for prover in Role:
        for tx in [*made.claim(prover, 9), made.settle(prover), made.signed("REFUND")]:
            assert parse_tx(serialize(tx)) == tx


def test_names_that_are_not_here() -> None:
    with pytest.raises(TermsError, match="holder:CHALLENGE: this contract has REFUND, holder:IN"):
        GRAPH.move("holder:CHALLENGE")
    with pytest.raises(ScriptError, match="not spent by VERDICT"):
        GRAPH.contract.lock.path("VERDICT")
