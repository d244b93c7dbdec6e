"""What players keep of their games, and what they refuse because of it after they were started
anew. That they go on: tests/fault/test_committee_crash.py."""

from dataclasses import replace

import pytest

from actors.pool_chain import PoolChain, retrace
from protocol.dispute.sides import HONEST
from protocol.errors import EncodingError, TermsError
from protocol.settlement.pool import record
from protocol.settlement.pool.batch import Batch
from protocol.settlement.pool.graph import Plan
from protocol.settlement.pool.player import FINAL_BLOCKS
from protocol.settlement.pool.record import Memory
from protocol.settlement.pool.sequencer import Sequencer
from tests.builders.pool_batches import (
    AUX,
    IDLE,
    OWNER,
    Pledged,
    next_batch,
    small_image,
)


def proposed(pool: PoolChain, batch: Batch, memory: Memory, sequencer=None) -> Plan:
    """A plan of the sequencer and its members' answers."""
    height = pool.chain.height + 50
    _, members = pool.roles(batch)
    answers = [member.join(pool.chain, batch, height) for member in members]
    own, *coins = (pool.purses[name].coins() for name in pool.keys)
    sequencer = sequencer or pool.sequencer(batch, memory)
    return sequencer.propose(batch, height, answers, own, coins)


def test_a_plan_is_its_bytes(pool: PoolChain) -> None:
    batch = next_batch(pool, pool.deposit(OWNER.public, 40_000), pays=10_000)
    plan = proposed(pool, batch, Memory())
    data = plan.encode()
    assert Plan.decode(data, small_image()) == plan
    assert Plan.decode(data, small_image()).batch.digest == batch.digest
    for wrong in (data[:-1], data + b"\0", data + bytes(4), batch.encode(), b""):
        with pytest.raises(EncodingError):
            Plan.decode(wrong, small_image())
    with pytest.raises(EncodingError, match="another program"):
        Plan.decode(data, small_image(2))


def test_a_plan_in_pieces(pool: PoolChain, monkeypatch) -> None:
    """Who dies between two of them begins with the first one again."""
    monkeypatch.setattr(record, "PIECE_BYTES", 10_000)
    kept: list[bytes] = []
    plan = proposed(pool, next_batch(pool), Memory([], kept.append))
    assert len(kept) > 2
    assert not Memory(kept[:-1]).plans
    again = Memory([*kept[:-1], *kept])
    assert list(again.plans_of(small_image())) == [plan]
    again.keep_plan(plan)
    assert len(again.plans) == 1


def test_a_second_plan_is_refused_after_a_restart(pool: PoolChain) -> None:
    """By the sequencer and by a member: one-time keys are of one plan."""
    batch, kept, signed = next_batch(pool), [], []
    plan = proposed(pool, batch, Memory([], kept.append))
    own = plan.members[0]
    first = pool.member(batch, 0, Memory([], signed.append)).sign_game(pool.chain, plan, own, AUX)
    again = pool.sequencer(batch, Memory(kept))
    assert again.plan == plan
    with pytest.raises(TermsError, match="name the program"):
        Sequencer(pool.vault, pool.keys["sequencer"], retrace, memory=Memory(kept))
    others = (plan.members[0], plan.members[2], plan.members[1])
    answers = [theirs for _, theirs in plan.bundles]
    with pytest.raises(TermsError, match="another plan for this batch"):
        again.propose(batch, plan.refund_height, answers, plan.sequencer, others)
    member = pool.member(batch, 0, Memory(signed))
    with pytest.raises(TermsError, match="another plan for this batch was signed"):
        member.sign_game(pool.chain, replace(plan, members=others), own, AUX)
    assert member.sign_game(pool.chain, plan, own, bytes([1]) * 32) == first


def test_nothing_leaves_before_it_is_on_disk(pool: PoolChain) -> None:
    """Where nothing can be written nothing is signed."""

    def full(_: bytes) -> None:
        raise OSError("no space left")

    batch = next_batch(pool)
    plan = proposed(pool, batch, Memory())
    member = pool.member(batch, 0, Memory([], full))
    with pytest.raises(OSError):
        member.sign_game(pool.chain, plan, plan.members[0], AUX)
    with pytest.raises(TermsError, match="no plan was signed"):
        member.lend(pool.chain, AUX)
    with pytest.raises(OSError):
        proposed(pool, batch, Memory([], full))


def test_a_member_that_has_not_signed_accepts_nothing(pool: PoolChain) -> None:
    """It knows the plan, and died before its signatures were kept."""
    batch, kept = next_batch(pool), []
    memory = Memory([], kept.append)
    sequencer = pool.sequencer(batch, memory)
    plan = proposed(pool, batch, memory, sequencer)
    member = pool.member(batch, 0, Memory(kept))
    theirs = member.sign_game(pool.chain, plan, plan.members[0], AUX)
    with pytest.raises(TermsError, match="sign_games comes first"):
        sequencer.accept(0, theirs)
    half = pool.member(batch, 0, Memory(kept))
    with pytest.raises(TermsError, match="has not signed its game"):
        half.accept(sequencer.sign_games(AUX)[0])


def test_a_game_that_is_over_is_not_built_again(pool: PoolChain) -> None:
    """Its end is FINAL_BLOCKS deep; until then a reorganisation may undo it."""
    batch, kept = next_batch(pool, right=False), []
    sequencer, members = pool.roles(batch, HONEST, {1: IDLE, 2: IDLE})
    members[0] = pool.member(batch, 0, Memory([], kept.append))
    pool.pledge(batch, sequencer, members)
    Pledged(pool, batch, sequencer, members).play()
    assert not list(members[0].due(pool.chain, AUX))
    assert pool.member(batch, 0, Memory(kept)).player is not None
    pool.chain.mine(FINAL_BLOCKS)
    assert not list(members[0].due(pool.chain, AUX))
    assert pool.member(batch, 0, Memory(kept)).player is None


def test_records_of_another_program_are_refused() -> None:
    for wrong in (b"", bytes(4), record._record("plan"), record._record("news", b"1")):
        with pytest.raises(EncodingError, match="record of kind"):
            Memory([wrong])
    with pytest.raises(EncodingError, match="rows of 3"):
        Memory([record._record("heard", bytes(32), record.pack_parts([b"1"]))])
