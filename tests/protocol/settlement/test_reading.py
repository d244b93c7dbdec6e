"""What a transaction is to a contract, and what its witness gives away."""

import pytest

from protocol.bitcoin.tx import (
    outpoint,
    transaction,
    txid,
    txin,
    txout,
    with_witness,
    witness_stack,
)
from protocol.crypto.hashes import hash160
from protocol.errors import SignatureError
from protocol.settlement.closing import assemble_close, close_tx, sign_close
from protocol.settlement.graph import Graph
from protocol.settlement.onetime import published_claim
from protocol.settlement.reading import Reader, name_of, read_messages
from protocol.settlement.spending import sweep_tx, timeout_tx
from protocol.settlement.terms import Role
from tests.builders.contracts import AUX, KEYS, NOWHERE, contract_of, contract_terms, deal

MADE = deal(contract_terms())
GRAPH = MADE.graph
UNITS = 0b0101_0011
ELSEWHERE = transaction([txin(outpoint(b"\x01" * 32, 0))], [txout(1_000, b"\x51")])


@pytest.mark.parametrize("prover", Role, ids=lambda role: role.value)
def test_a_claim_is_read_from_its_transactions(prover: Role) -> None:
    signed = MADE.messages(prover, UNITS)
    shown = {}
    for tx in MADE.claim(prover, UNITS):
        seen = Reader(GRAPH).read(tx)
        assert seen is not None and seen.move is not None
        assert seen.messages == read_messages(GRAPH.moves[seen.move], tx)
        shown |= seen.messages
    assert shown == signed
    claim = published_claim(MADE.terms, prover, {label: m.digits for label, m in shown.items()})
    assert claim.units == UNITS and len(claim.root) == 20 and len(claim.input) == 204


def test_every_transaction_has_a_name() -> None:
    for prover in Role:
        name = prover.value
        for tx, kind in zip(MADE.claim(prover, UNITS), ("INPUT_1", "KICKOFF"), strict=True):
            assert name_of(GRAPH, tx) == f"{name}:{kind}"
        assert name_of(GRAPH, MADE.settle(prover)) == f"{name}:SETTLE"
        payout = MADE.payout(prover, UNITS)
        for role in Role:
            swept = sweep_tx(
                GRAPH, GRAPH.settle(prover), role, (7,), KEYS[role], AUX, payout=payout
            )
            assert name_of(GRAPH, swept) == f"{name}:SWEEP_{role.name}"
        move = GRAPH.moves[f"{name}:INPUT_1"]
        timeout = timeout_tx(GRAPH, move, KEYS[prover.other], AUX)
        assert name_of(GRAPH, timeout) == f"{name}:TIMEOUT"
    assert name_of(GRAPH, MADE.signed("REFUND")) == "REFUND"
    close = close_tx(GRAPH.contract, NOWHERE, 9)
    assert name_of(GRAPH, with_witness(close, [[bytes(64)]])) == "CLOSE"
    signatures = {role: sign_close(GRAPH.contract, close, KEYS[role].key, AUX) for role in Role}
    assert name_of(GRAPH, assemble_close(GRAPH.contract, close, signatures)) == "CLOSE"
    assert name_of(GRAPH, ELSEWHERE) is None and Reader(GRAPH).read(ELSEWHERE) is None
    below = Graph.of(contract_of(contract_terms()), outpoint(txid(ELSEWHERE), 0))
    assert name_of(below, ELSEWHERE) == "FUND"


def test_an_annex_hides_nothing() -> None:
    """A miner may take a transaction with one (BIP341)."""
    payout = MADE.payout(Role.HOLDER, UNITS)
    settle, keys = GRAPH.settle(Role.HOLDER), KEYS[Role.WRITER]
    swept = sweep_tx(GRAPH, settle, Role.WRITER, (7,), keys, AUX, payout=payout)
    hidden = with_witness(swept, [[*witness_stack(swept, 0), b"\x50annex"]])
    seen, plain = Reader(GRAPH).read(hidden), Reader(GRAPH).read(swept)
    assert seen == plain and seen is not None and list(seen.messages.values()) == [payout]
    assert (seen.move, seen.parent, seen.way.name) == (None, "holder:SETTLE", "holder:SWEEP_WRITER")
    kickoff = MADE.claim(Role.HOLDER, UNITS)[-1]
    annexed = with_witness(kickoff, [[*witness_stack(kickoff, 0), b"\x50"]])
    move = GRAPH.moves["holder:KICKOFF"]
    assert read_messages(move, annexed) == read_messages(move, kickoff)


def test_witnesses_that_script_refuses() -> None:
    move = GRAPH.moves["holder:KICKOFF"]
    kickoff = MADE.claim(Role.HOLDER, UNITS)[-1]
    stack = list(witness_stack(kickoff, 0))
    with pytest.raises(SignatureError, match="is not holder:KICKOFF"):
        read_messages(move, ELSEWHERE)
    with pytest.raises(SignatureError, match="shows another leaf"):
        read_messages(move, with_witness(kickoff, [[*stack[:-2], b"\x51", stack[-1]]]))
    with pytest.raises(SignatureError, match="shows another leaf"):
        read_messages(move, with_witness(kickoff, [[]]))
    for place, item in ((6, hash160(stack[6])), (7, b"\x06"), (6, stack[6][:-1])):
        forged = [*stack[:place], item, *stack[place + 1 :]]
        with pytest.raises(SignatureError):
            read_messages(move, with_witness(kickoff, [forged]))
    with pytest.raises(SignatureError, match="witness items"):
        read_messages(move, with_witness(kickoff, [[*stack[:2], *stack[10:]]]))
