"""From transactions to the game and back, where nothing but the graph is known."""

from dataclasses import replace
from functools import lru_cache

import pytest

from protocol.bitcoin.tx import outpoint, transaction, txin, txout, with_witness
from protocol.dispute.assertion import Assertion, BlockRefutation
from protocol.dispute.claim import Fault
from protocol.dispute.fragment import UNUSED, Fragment
from protocol.dispute.opening import Place
from protocol.dispute.play import Challenge, Execute, Play, Take, Wait
from protocol.dispute.verdicts import Accusation, NearVerdict, Predicate
from protocol.errors import DisputeError, SignatureError
from protocol.settlement.dispute.course import Course
from protocol.settlement.dispute.reading import fault_of, move_of
from protocol.settlement.dispute.spends import Spend, spends_of, timeout_spend
from protocol.settlement.graph import Graph
from protocol.settlement.presign import assemble, presign
from protocol.settlement.reading import Reader, name_of
from protocol.settlement.spending import alone_tx
from protocol.settlement.terms import Role
from riscv_vm.record import Record
from tests.builders.contracts import AUX, KEYS, NOWHERE
from tests.builders.dispute_chain import setting


def course() -> Course:
    return setting(3).course


@lru_cache(maxsize=1)
def graph() -> Graph:
    return Graph.of(setting(3).contract, NOWHERE)


@lru_cache(maxsize=1)
def challenged():
    signatures = {role: presign(graph(), role, KEYS[role], AUX) for role in Role}
    return assemble(graph().move("holder:CHALLENGE"), signatures)


def test_a_challenge_is_read() -> None:
    seen = Reader(graph()).read(challenged())
    assert (seen.move, seen.parent) == ("holder:CHALLENGE", "holder:KICKOFF")
    assert move_of(course(), seen) == Challenge()
    assert seen.messages == {}


def test_a_timeout_is_read_and_a_strange_transaction_is_not() -> None:
    reader = Reader(graph())
    spend = Spend("holder:CHALLENGE", "holder:TIMEOUT", output=0)
    tx = alone_tx(graph(), Role.WRITER, [spend], KEYS[Role.WRITER], AUX)
    seen = reader.read(tx)
    assert (seen.move, seen.parent, fault_of(seen)) == (None, "holder:CHALLENGE", Fault.TIMEOUT)
    assert name_of(graph(), tx) == "holder:TIMEOUT"
    strange = transaction([txin(outpoint(b"\x33" * 32, 0))], [txout(1_000, b"\x51")])
    assert reader.read(strange) is None
    close = with_witness(transaction([txin(NOWHERE)], [txout(1_000, b"\x51")]), [[bytes(64)]])
    assert reader.read(close) is None
    other = with_witness(close, [[bytes(64), b"\x51", bytes(33)]])
    with pytest.raises(SignatureError, match="not the contract's"):
        reader.read(other)


def test_where_no_leaf_says_a_move() -> None:
    play = Play(course().premises)
    absurd = Fragment(0, 0x1_0000, 0xFFFF_FFFF, (UNUSED,) * 3, Record(0, 0, 0))
    with pytest.raises(DisputeError, match="no EXECUTE leaf is for opcode 0xffffffff"):
        spends_of(course(), play, Execute(absurd))
    with pytest.raises(DisputeError, match="no assertion to take or to refute"):
        spends_of(course(), play, Take())
    with pytest.raises(DisputeError, match="no assertion to take or to refute"):
        spends_of(course(), play, BlockRefutation((), ()))
    with pytest.raises(DisputeError, match="child 0, 1 or 2"):
        place = Place(1, 3, (0, 0))
        false = Assertion(Accusation(Predicate.PC), place, Record(0, 0, 0), ())
        spends_of(course(), play, false)


def test_a_selector_out_of_range_has_no_leaf() -> None:
    fragment = setting(3).run().fragment(5)
    play = replace(Play(course().premises), wait=Wait.VERDICT)
    play = replace(play, said=replace(play.said, fragment=fragment))
    with pytest.raises(DisputeError, match="no leaf is for this NearVerdict"):
        spends_of(course(), play, NearVerdict(Accusation(Predicate.PC), 3))


def test_whose_silence_ends_what() -> None:
    play = Play(course().premises)
    assert timeout_spend(course(), play, "holder:INPUT_1").way == "holder:TIMEOUT"
    window = replace(play, wait=Wait.WINDOW)
    assert timeout_spend(course(), window, "x") == Spend("holder:SETTLE", "holder:SETTLE")
    digit = replace(play, wait=Wait.DIGIT)
    assert timeout_spend(course(), digit, "x").move == "holder:SETTLE_round_1"
    verdict = replace(play, wait=Wait.VERDICT)
    assert timeout_spend(course(), verdict, "x").move == "holder:SETTLE_execute"
    refute = replace(play, wait=Wait.REFUTE)
    with pytest.raises(DisputeError, match="ends the game"):
        timeout_spend(course(), refute, "x")
