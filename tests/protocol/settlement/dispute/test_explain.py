"""Transactions in words: every field of every move, verdicts with their numbers, and what is
next."""

from dataclasses import replace
from functools import lru_cache
from random import Random

import pytest

from protocol.dispute.assertion import Assertion
from protocol.dispute.fragment import UNUSED, Fragment, Slot
from protocol.dispute.leaves import catalog, moves
from protocol.dispute.leaves.verdict_assert import path, refute_leaves, shapes
from protocol.dispute.opening import Place
from protocol.dispute.play import Play
from protocol.dispute.premises import Premises
from protocol.dispute.verdicts import Accusation, OpenVerdict, Predicate
from protocol.errors import DisputeError
from protocol.settlement.dispute.explain import Explanation, explain
from protocol.settlement.dispute.shown import shown_by
from protocol.settlement.dispute.story import Story
from protocol.settlement.dispute.words import address_words, pc_words, slot_words
from protocol.settlement.terms import Role
from riscv_vm.isa import HALT, INPUT_BASE
from riscv_vm.record import absorbing, register_address
from tests.builders.dispute_chain import honest_challenger, setting
from tests.builders.ledger import read, seated
from tests.protocol.settlement.dispute.test_audit import deep_lie, lied

SMALL = 3


@lru_cache(maxsize=1)
def story() -> Story:
    """A game that ends in ROM."""
    about = setting(SMALL)
    table = seated(about)
    table.play_out(lied("wrong_opcode", about).move, honest_challenger)
    return read(table)


def told(name: str) -> Explanation:
    (act,) = (act for act in story().acts if act.name.startswith(name))
    return explain(story(), act)


def test_the_story_is_in_order_and_every_transaction_has_a_name() -> None:
    names = [act.name for act in story().acts]
    assert names[:4] == ["FUND", "holder:INPUT_1", "holder:KICKOFF", "holder:CHALLENGE"]
    assert names[4:10] == [
        f"holder:{kind}_{turn}" for turn in (1, 2, 3) for kind in ("REVEAL", "PICK")
    ]
    assert names[10].startswith("holder:EXECUTE_") and "ROM" in names[11]
    assert all(act.objection == "" for act in story().acts)
    parents = [act.parent for act in story().acts]
    assert parents[1:5] == ["FUND", "holder:INPUT_1", "holder:KICKOFF", "holder:CHALLENGE"]


def test_a_move_names_who_signed_and_what_may_follow() -> None:
    kickoff = told("holder:KICKOFF")
    assert kickoff.signers == ("holder", "writer")
    assert kickoff.answers == "holder:INPUT_1"
    assert dict(kickoff.fields)["root"] == story().play.said.root.hex()
    height, chain = kickoff.height, story().graph.contract.terms.chain
    following = {after.name: after for after in kickoff.next}
    challenge, settle = following["holder:CHALLENGE"], following["holder:SETTLE"]
    assert (challenge.who, challenge.opens) == ("writer", height + 1)
    assert challenge.until == height + chain.challenge_window - 1
    assert (settle.who, settle.opens) == ("either", height + chain.challenge_window)


def test_fund_may_be_closed_claimed_or_refunded() -> None:
    following = {after.name: after for after in told("FUND").next}
    assert set(following) == {"CLOSE", "REFUND", "holder:INPUT_1", "writer:INPUT_1"}
    refund = story().graph.contract.terms.chain.refund_height
    assert following["REFUND"].opens == refund + 1
    assert following["writer:INPUT_1"].who == "writer"


def test_nodes_and_records_are_shown_with_their_steps() -> None:
    nodes = dict(told("holder:REVEAL_1").fields)
    first = story().play.said.rounds[0]
    assert nodes["node 0"] == f"{first[0].hex()}, steps 0 to 15"
    assert nodes["node 3"].endswith("steps 48 to 63")
    block = told("holder:REVEAL_3")
    index = story().play.said.executed.index
    assert f"step {index}" in dict(block.fields)
    assert dict(told("holder:PICK_3").fields)["digit"] == f"{index % 4}, step {index}"


def test_execute_shows_the_fragment() -> None:
    executed = dict(told("holder:EXECUTE").fields)
    fragment = story().play.said.executed
    assert executed["step"] == str(fragment.index)
    assert executed["pc"] == pc_words(fragment.pc)
    assert f"(0x{fragment.opcode:08x})" in executed["instruction"]
    assert executed["slot 2"] == "unused"
    assert executed["slot 0"] == slot_words(fragment.slots[0])
    after = {following.name: following for following in told("holder:EXECUTE").next}
    assert after["holder:VERDICT"].who == "writer"
    assert after["holder:SETTLE_execute"].who == "either"


def test_a_verdict_says_what_it_proves() -> None:
    verdict = told("holder:VERDICT")
    fragment = story().play.said.executed
    true = story().play.premises.image.opcode(fragment.pc)
    assert f"0x{true:08x}" in verdict.words and f"0x{fragment.opcode:08x}" in verdict.words
    assert verdict.signers == ("writer",) and verdict.next == ()
    assert "convicts the holder" in verdict.title


def test_an_assertion_says_what_an_earlier_step_wrote() -> None:
    about = setting(5, 20, Role.WRITER, 30, 31)
    table = seated(about)
    table.play_out(deep_lie(about).move, honest_challenger)
    tale = read(table)
    asserted = explain(tale, next(act for act in tale.acts if "ASSERT_1." in act.name))
    nodes = [value for name, value in asserted.fields if name.startswith("signed node")]
    assert f"signs {len(nodes)} nodes" in asserted.words
    assert nodes[-1] in {node.hex() for node in tale.play.said.rounds[0]}
    assert {after.name for after in asserted.next} >= {"writer:TAKE_1", "writer:REFUTE"}
    take = explain(tale, tale.acts[-1])
    assert take.name == "writer:TAKE_1" and "takes the pot" in take.title


def test_addresses_have_names() -> None:
    assert address_words(register_address(10)) == "a0 (0xf0000028)"
    assert address_words(INPUT_BASE).startswith("the input's length")
    assert address_words(INPUT_BASE + 8).startswith("input bytes 4..7")
    assert pc_words(HALT) == "HALT"
    assert slot_words(UNUSED) == "unused"
    assert slot_words(Slot(0x20000, 5, 9, 0)) == "0x00020000 = 0x00000005 (5), written by step 9"


@pytest.mark.parametrize("width", [20, 32])
def test_every_verdict_leaf_is_read_back(width: int) -> None:
    small = setting(SMALL).premises
    premises = Premises(small.image, small.layout, 5, width)
    rng = Random(width)
    kinds = set()
    for template in catalog.verdict_leaves(premises):
        digits = 5 - int(template.name.split()[1][0]) if template.hints else 0
        hints = [rng.randrange(16) for _ in range(template.hints - digits)]
        hints += [rng.randrange(4) for _ in range(digits)]
        verdict = shown_by(premises, template, hints)
        kinds.add(type(verdict).__name__)
        assert template.name.split()[0] == verdict.fault.value
        if isinstance(verdict, OpenVerdict):
            said = Play(premises).said
            fragment = Fragment(0, 0, 0, (UNUSED, UNUSED, UNUSED), verdict.block[0])
            leaf = catalog.leaf_of(premises, replace(said, fragment=fragment), verdict)
            assert (leaf.template.name, list(leaf.hints)) == (template.name, hints)
    assert len(kinds) == 12


@pytest.mark.parametrize("width", [20, 32])
def test_every_refutation_is_read_back(width: int) -> None:
    small = setting(SMALL).premises
    premises = Premises(small.image, small.layout, 12, width)
    rng = Random(width)
    for shape in shapes(12, width):
        for template in refute_leaves(shape):
            hints = tuple(rng.randrange(16) for _ in range(template.hints))
            refutation = shown_by(premises, template, hints)
            nodes = (bytes(width),) * len(path(shape))
            place = Place(shape.turn, shape.child, (0,) * shape.below)
            assertion = Assertion(Accusation(Predicate.PC), place, absorbing(HALT), nodes)
            leaf = catalog.leaf_of_refutation(premises, assertion, refutation)
            assert (leaf.template.name, leaf.hints) == (template.name, hints)


def test_a_forward_leaf_convicts_nobody() -> None:
    small = setting(SMALL).premises
    with pytest.raises(DisputeError, match="convicts nobody"):
        shown_by(small, moves.digit(SMALL, 1), ())
