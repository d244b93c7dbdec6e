"""Batches without a quorum of re-runs, where the sequencer is right: in real blocks."""

from dataclasses import replace

import pytest

from actors.pool_chain import PoolChain, Route
from protocol.bitcoin.taproot import key_path_script
from protocol.bitcoin.tx import txid, vsize, with_witness, witness_stack
from protocol.dispute.sides import HONEST
from protocol.errors import GuardError, SignatureError, TermsError
from protocol.settlement.pool.game import ADVANCE_LATE, ADVANCE_OPEN, CLOSE, REFUND
from protocol.settlement.pool.member import SignedGame
from protocol.settlement.pool.terms import MEMBER, SEQUENCER
from protocol.settlement.presign import assemble, presign
from tests.builders.contracts import NONFINAL, SPENT
from tests.builders.pool_batches import (
    AUX,
    IDLE,
    OWNER,
    SHAM,
    WINDOW,
    Pledged,
    next_batch,
    paid_to,
)


def test_unchallenged_it_advances_after_the_window(pool: PoolChain) -> None:
    """Not a block earlier; the bonds come back, and the vault pays no fee."""
    batch = next_batch(pool, pool.deposit(OWNER.public, 40_000), pays=10_000)
    made = Pledged.of(pool, batch)
    opened, late = made.advances()
    assert made.reason(opened) == SPENT
    for tx in made.sequencer.kickoffs():
        pool.chain.broadcast(tx)
    pool.chain.mine()
    for _ in range(WINDOW - 1):
        assert made.reason(opened) == NONFINAL
        pool.chain.mine()
    assert made.reason(late) == NONFINAL
    pool.chain.broadcast(opened)
    pool.chain.mine()
    state = made.sequencer.graph.open.state(batch)
    assert pool.chain.utxo(state.outpoint).sats == state.sats == 130_330
    assert paid_to(opened, key_path_script(OWNER.public)) == 10_000
    for member in pool.vault.members:
        assert paid_to(opened, member.script) == pool.vault.bond_sats
    fee = made.sequencer.graph.open.fee_sats
    held = sum(game.game.sats - game.kickoff.fee_sats - 240 for game in made.games)
    own = paid_to(opened, pool.vault.sequencer.script)
    assert own == held - 3 * pool.vault.bond_sats - fee - 240
    assert 0 <= fee - 2 * vsize(opened) <= 8
    assert made.reason(late) == SPENT
    pool._state = state


@pytest.mark.parametrize("others", [{0: SHAM}, {0: SHAM, 1: SHAM, 2: SHAM}])
def test_a_false_challenge_loses_and_the_batch_is_late(pool: PoolChain, others) -> None:
    batch = next_batch(pool, pool.deposit(OWNER.public, 40_000), pays=10_000)
    made = Pledged.of(pool, batch, HONEST, others)
    settled = made.play()
    assert settled.route is Route.LATE
    names = [row.name for row in settled.txs]
    assert ADVANCE_OPEN not in names
    assert names.count("holder:SETTLE_round_1") == len(others)
    kicked = next(row.height for row in settled.txs if row.name == "KICKOFF_1")
    assert settled.txs[-1].height == kicked + pool.vault.late_window
    tx = made.tx(settled, ADVANCE_LATE)
    assert paid_to(tx, key_path_script(OWNER.public)) == 10_000
    assert int(tx.vout[0].nValue) == 130_330
    assert 0 <= made.sequencer.graph.late.fee_sats - 2 * vsize(tx) <= 8
    won = made.tx(settled, "holder:SETTLE_round_1")
    assert paid_to(won, pool.vault.sequencer.script) > 2 * pool.vault.bond_sats - 30_000
    assert paid_to(won, pool.vault.members[0].script) == 0


def test_who_did_not_challenge_has_its_bond_back(pool: PoolChain) -> None:
    """After the late window, beside ADVANCE_LATE."""
    made = Pledged.of(pool, next_batch(pool), HONEST, {0: SHAM})
    assert made.play().route is Route.LATE
    pool.chain.mine()
    for member in made.members[1:]:
        for _, tx in member.due(pool.chain, AUX):
            pool.chain.broadcast(tx)
            assert paid_to(tx, pool.vault.members[member.number].script) == pool.vault.bond_sats
            assert paid_to(tx, pool.vault.sequencer.script) >= pool.vault.bond_sats
    assert len(pool.chain.mempool()) == 2
    pool.chain.mine()


def test_a_game_that_was_not_kicked_off_stops_it(pool: PoolChain) -> None:
    made = Pledged.of(pool, next_batch(pool))
    first, second, third = made.sequencer.kickoffs()
    for tx in (first, second):
        pool.chain.broadcast(tx)
    pool.chain.mine(pool.vault.late_window + 1)
    assert [made.reason(tx) for tx in made.advances()] == [SPENT, SPENT]
    pool.chain.broadcast(third)
    pool.chain.mine()
    assert [made.reason(tx) for tx in made.advances()] == [NONFINAL, NONFINAL]


def test_a_second_kickoff_is_refused_twice(pool: PoolChain) -> None:
    """By the sequencer's own guard, and, where it has none, by consensus."""
    made = Pledged.of(pool, next_batch(pool))
    player = made.sequencer.players[0]
    first = next(made.sequencer.kickoffs())
    made.sequencer.strategy = replace(HONEST, root=lambda _, root: bytes(len(root)))
    with pytest.raises(GuardError):
        next(made.sequencer.kickoffs())
    player.guard.clear()
    second = next(made.sequencer.kickoffs())
    assert txid(first) == txid(second)
    assert witness_stack(first, 0) != witness_stack(second, 0)
    pool.chain.mine(txs=[first])
    assert made.reason(second) == "bad-txns-BIP30"  # it is the same transaction


def test_the_graph_of_a_batch_that_was_overtaken_is_dead(pool: PoolChain) -> None:
    """Another batch spends STATE; CLOSE brings the bonds back at once."""
    made = Pledged.of(pool, next_batch(pool, pays=1_000))
    pool.settle(next_batch(pool, pays=2_000))
    kickoffs = list(made.sequencer.kickoffs())
    pool.chain.mine(txs=kickoffs[:1])
    pool.chain.mine(pool.vault.late_window)
    assert {made.reason(tx) for tx in made.advances()} == {SPENT}
    game = made.games[1]
    closing = game.closing
    both = {
        role: presign(closing, role, pool.keys[name], AUX)
        for role, name in ((SEQUENCER, "sequencer"), (MEMBER, "member 2"))
    }
    close = assemble(closing.moves[CLOSE], both)
    alone = with_witness(close, [[b"", *witness_stack(close, 0)[1:]]])
    assert made.reason(alone) != ""
    assert paid_to(close, pool.vault.members[1].script) == pool.vault.bond_sats
    pool.chain.broadcast(close)
    pool.chain.mine()
    assert made.reason(kickoffs[1]) == SPENT


def test_a_pledge_is_refunded_after_silence(pool: PoolChain) -> None:
    made = Pledged.of(pool, next_batch(pool))
    height = made.sequencer.plan.refund_height
    assert not list(made.members[0].due(pool.chain, AUX))
    refund = assemble(made.games[0].move(REFUND), made.members[0].player.signatures)
    pool.chain.mine(height - 1 - pool.chain.height)
    assert made.reason(refund) == NONFINAL
    assert not list(made.members[0].due(pool.chain, AUX))
    pool.chain.mine()
    assert [name for name, _ in made.members[0].due(pool.chain, AUX)] == [REFUND]
    pool.chain.broadcast(refund)
    pool.chain.mine()
    assert paid_to(refund, pool.vault.members[0].script) == pool.vault.bond_sats
    assert made.reason(next(made.sequencer.kickoffs())) == SPENT


def test_nothing_is_lent_before_the_member_can_convict(pool: PoolChain) -> None:
    """Neither without the sequencer's signatures and consents, nor before PLEDGE is in a block."""
    batch = next_batch(pool)
    sequencer, members = pool.roles(batch, HONEST, {0: IDLE})
    height = pool.chain.height + 50
    sequencer.offer(batch, height)
    member, own = members[0], pool.purses["member 1"].coins()
    with pytest.raises(TermsError, match="no plan"):
        member.lend(pool.chain, AUX)
    answers = [each.join(pool.chain, batch, height) for each in members]
    mine, *coins = (pool.purses[name].coins() for name in pool.keys)
    plan = sequencer.propose(batch, height, answers, mine, coins)
    for wrong, reason in (
        (replace(plan, refund_height=height + 1), "did not|not of a batch and keys"),
        (replace(plan, members=(coins[1], coins[0], coins[2])), "other coins"),
        (replace(plan, bundles=tuple(reversed(plan.bundles))), "keys that this member joined"),
    ):
        with pytest.raises(TermsError, match=reason):
            member.sign_game(pool.chain, wrong, own, AUX)
    member.sign_game(pool.chain, plan, own, AUX)
    ours = sequencer.sign_games(AUX)[0]
    name, *_ = ours.consents
    torn = bytes([ours.signatures[0] ^ 1]) + ours.signatures[1:]
    for wrong_signed in (
        replace(ours, signatures=torn),
        replace(ours, consents={}),
        replace(ours, consents={**ours.consents, name: bytes(64) + b"\x02"}),
        replace(ours, consents={**ours.consents, name: ours.consents[name][:64]}),
        replace(ours, consents={**ours.consents, "KICKOFF": ours.consents[name]}),
        SignedGame(sequencer.sign_games(AUX)[1].signatures, ours.consents),
    ):
        with pytest.raises(SignatureError):
            member.accept(wrong_signed)
        with pytest.raises(TermsError, match="has not signed this member's game"):
            member.lend(pool.chain, AUX)
    member.accept(ours)
    with pytest.raises(TermsError, match="PLEDGE is not confirmed"):
        member.lend(pool.chain, AUX)
    with pytest.raises(TermsError, match="has not lent"):
        next(sequencer.kickoffs())
