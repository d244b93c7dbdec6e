"""What members and the sequencer refuse each other: nobody is robbed by its own signature."""

from dataclasses import replace

import pytest

from actors.pool_chain import PoolChain, Route
from protocol.bitcoin.tx import outpoint, outpoint_key, serialize, txid, txout, witness_stack
from protocol.dispute.play import Reveal, Wait
from protocol.dispute.sides import HONEST, Strategy, prover_move
from protocol.errors import ScriptError, SignatureError, TermsError
from protocol.pool.batch import Deposit
from protocol.settlement.funding import Contribution
from protocol.settlement.pool.batch import Batch, State
from protocol.settlement.pool.record import Memory
from protocol.settlement.pool.terms import MEMBER
from protocol.settlement.pool.vault import state_lock
from protocol.settlement.presign import assemble, presign
from tests.builders.pool_batches import (
    AUX,
    IDLE,
    OWNER,
    Pledged,
    next_batch,
    silent_at,
    small_batch,
)


def test_the_sequencer_cannot_challenge_itself(pool: PoolChain) -> None:
    """A challenge of a true batch costs the member's bond, so the member alone makes it."""
    made = Pledged.of(pool, next_batch(pool))
    for tx in made.sequencer.kickoffs():
        pool.chain.broadcast(tx)
    pool.chain.mine()
    game, player = made.games[0], made.sequencer.players[0]
    challenge = game.move("holder:CHALLENGE")
    with pytest.raises(SignatureError, match="lacks the signature of the writer"):
        assemble(challenge, player.signatures)
    signed = presign(game, MEMBER, pool.keys["member 1"], AUX)
    assert set(signed) - set(player.signatures[MEMBER]) == {"holder:CHALLENGE"}
    both = {**player.signatures, MEMBER: signed}
    assert made.reason(assemble(challenge, both)) == ""


def test_what_is_only_locked_like_a_state_is_none(pool: PoolChain) -> None:
    """Anybody can make such an output, with any root: deposits would go to whom that root owes."""
    deposit = pool.deposit(OWNER.public, 40_000)
    forged = State(outpoint=outpoint(bytes(32), 0), root=b"\x0f" * 32, vault_sats=0)
    output = txout(forged.sats, state_lock(pool.vault, forged.root).script_pubkey)
    tx = pool.purses["owner"].pay(output, 2, AUX)
    pool.chain.mine(txs=[tx])
    forged = replace(forged, outpoint=outpoint(txid(tx), 0))
    batch = small_batch(forged, b"\x0e" * 32, (deposit,))
    _, members = pool.roles(batch)
    fee = pool.purses["sequencer"].coins()
    with pytest.raises(TermsError, match="does not come from the pool's first"):
        members[0].cooperate(pool.chain, batch, fee, AUX)
    with pytest.raises(TermsError, match="does not come from the pool's first"):
        members[0].join(pool.chain, batch, pool.chain.height + 50)
    assert members[0].cooperate(pool.chain, next_batch(pool, deposit), fee, AUX)


def test_a_reorganisation_takes_the_newest_state_back(pool: PoolChain) -> None:
    """Another batch is in the block that replaces the one with the first."""
    sequencer, members = pool.roles(next_batch(pool))
    fee = pool.purses["sequencer"].coins()
    other = next_batch(pool, pays=2_000)
    signed = {each.number: each.cooperate(pool.chain, other, fee, AUX) for each in members[:2]}
    made = sequencer.settle(other, fee, signed)
    own = pool.purses["sequencer"].sign(made.tx, made.spent, AUX)
    tx = made.finish(signed, wallet=[witness_stack(own, len(made.tx.vin) - 1)])
    pool.settle(next_batch(pool, pays=1_000))
    fee = pool.purses["owner"].coins()
    assert members[0].cooperate(pool.chain, next_batch(pool), fee, AUX)
    pool.chain.reorg(1, txs=[tx])
    with pytest.raises(TermsError, match="old root"):
        members[0].cooperate(pool.chain, next_batch(pool), fee, AUX)
    pool._state = made.state(other)
    assert members[0].cooperate(pool.chain, next_batch(pool), fee, AUX)


def test_the_first_state_is_the_one_that_members_know(pool: PoolChain) -> None:
    first, batch = pool.state, next_batch(pool)
    fee = pool.purses["sequencer"].coins()
    for wrong in (replace(first, root=b"\x0f" * 32), replace(first, vault_sats=1)):
        pool._first = wrong
        _, members = pool.roles(batch)
        with pytest.raises(TermsError, match="the chain has no such STATE"):
            members[0].cooperate(pool.chain, batch, fee, AUX)
    pool._first = first
    _, members = pool.roles(batch)
    assert members[0].cooperate(pool.chain, batch, fee, AUX)
    for _ in range(2):
        pool.settle(next_batch(pool))
        assert members[0].cooperate(pool.chain, next_batch(pool), fee, AUX)


@pytest.mark.parametrize("height", [-1, 2**32, 499_999_999])
def test_bonds_do_not_rest_for_ever(pool: PoolChain, height: int) -> None:
    batch = next_batch(pool)
    _, members = pool.roles(batch)
    with pytest.raises(TermsError, match=f"refund_height {height}: so long bonds"):
        members[0].join(pool.chain, batch, height)


def test_the_last_refund_height_that_is_taken(pool: PoolChain) -> None:
    batch = next_batch(pool)
    _, members = pool.roles(batch)
    most = pool.chain.height + pool.vault.deposit_window - pool.vault.late_window
    assert members[0].join(pool.chain, batch, most)
    with pytest.raises(TermsError, match="so long bonds would rest"):
        members[0].join(pool.chain, batch, most + 1)


def proposed(pool: PoolChain, batch: Batch, height: int):
    sequencer, members = pool.roles(batch)
    sequencer.offer(batch, height)
    answers = [each.join(pool.chain, batch, height) for each in members]
    own, *coins = (pool.purses[name].coins() for name in pool.keys)
    return sequencer, members, answers, own, coins


def test_one_time_keys_are_for_one_game(pool: PoolChain) -> None:
    """In a second PLEDGE they would sign a second message: then the other side signs a third."""
    batch, height = next_batch(pool), pool.chain.height + 50
    sequencer, members, answers, own, coins = proposed(pool, batch, height)
    plan = sequencer.propose(batch, height, answers, own, coins)
    other = pool.purses["owner"].coins()
    with pytest.raises(TermsError, match="offer it for another height"):
        sequencer.propose(batch, height, answers, other, coins)
    member = members[0]
    once = member.sign_game(pool.chain, plan, coins[0], AUX)
    with pytest.raises(TermsError, match="propose another height"):
        member.sign_game(pool.chain, replace(plan, sequencer=other), coins[0], AUX)
    assert member.sign_game(pool.chain, plan, coins[0], AUX) == once
    for _ in range(2):
        member.accept(sequencer.sign_games(AUX)[0])
    assert len(member._players) == 1


def test_a_plan_of_another_shape_is_refused(pool: PoolChain) -> None:
    batch, height = next_batch(pool), pool.chain.height + 50
    sequencer, members, answers, own, coins = proposed(pool, batch, height)
    with pytest.raises(TermsError, match="every member joins"):
        sequencer.propose(batch, height, answers[:2], own, coins)
    plan = sequencer.propose(batch, height, answers, own, coins)
    for wrong in (
        replace(plan, bundles=()),
        replace(plan, bundles=plan.bundles[:2]),
        replace(plan, members=()),
    ):
        with pytest.raises(TermsError, match=r"not of a batch|other coins"):
            members[2].sign_game(pool.chain, wrong, coins[2], AUX)
    for wrong in (
        replace(plan, bundles=plan.bundles[:2]),
        replace(plan, members=plan.members[:2]),
    ):
        with pytest.raises(TermsError):
            members[0].sign_game(pool.chain, wrong, coins[0], AUX)
    assert members[0].sign_game(pool.chain, plan, coins[0], AUX)


def test_a_plan_does_not_spend_a_members_coins_as_the_sequencers(pool: PoolChain) -> None:
    """Its wallet would sign them too, and pay the sequencer's bonds."""
    batch, height = next_batch(pool), pool.chain.height + 50
    sequencer, members, answers, _, coins = proposed(pool, batch, height)
    purse = pool.purses["member 1"]
    unspent = [utxo.coin for utxo in pool.chain.unspent(purse.script)]
    mine = {outpoint_key(coin.outpoint) for coin in coins[0].coins}
    stolen = next(coin for coin in unspent if outpoint_key(coin.outpoint) not in mine)
    thief = Contribution((stolen,), pool.purses["sequencer"].script)
    plan = sequencer.propose(batch, height, answers, thief, coins)
    with pytest.raises(TermsError, match="have one script"):
        members[0].sign_game(pool.chain, plan, coins[0], AUX)


def test_nothing_is_lent_to_a_game_that_has_begun(pool: PoolChain) -> None:
    """The challenge window might be over."""
    made = Pledged.of(pool, next_batch(pool))
    assert made.members[0].lend(pool.chain, AUX)
    pool.chain.mine(txs=list(made.sequencer.kickoffs()))
    with pytest.raises(TermsError, match="has been kicked off"):
        made.members[0].lend(pool.chain, AUX)


def test_a_conviction_that_no_block_takes_pays_more(pool: PoolChain) -> None:
    made = Pledged.of(pool, next_batch(pool, right=False), silent_at(Wait.NODES, 0), {1: IDLE})
    pool.chain.mine(txs=list(made.sequencer.kickoffs()))
    ((_, challenge),) = made.members[0].due(pool.chain, AUX)
    pool.chain.mine(txs=[challenge])
    pool.chain.mine(pool.vault.move_window - 1)
    fees = []
    for _ in range(8):
        ((name, tx),) = made.members[0].due(pool.chain, AUX)
        assert name == "holder:TIMEOUT"
        assert made.reason(tx) == ""
        fees.append(int(tx.vout[0].nValue))
        pool.chain.mine()
    first = pool.vault.bond_sats * 2 - fees[0]
    assert fees[0] == fees[1] > fees[2] == fees[3] > fees[4] > fees[6] == fees[7]
    assert first > 0


def test_a_deposit_has_an_owner(pool: PoolChain) -> None:
    """What is left of it would be paid to a key that nobody has: no transaction could do that."""
    nobody = Deposit(bytes(36), b"\xff" * 32, 1_000)
    with pytest.raises(ScriptError, match="nobody has that key"):
        pool.deposit(nobody.owner, nobody.sats)
    batch = next_batch(pool, nobody)
    _, members = pool.roles(batch)
    with pytest.raises(ScriptError, match="nobody has that key"):
        members[0].join(pool.chain, batch, pool.chain.height + 50)


@pytest.mark.parametrize("restarted", [False, True])
def test_who_says_two_things_around_a_reorganisation_is_held_to_the_first(
    pool: PoolChain, restarted: bool
) -> None:
    """The member has answered that one, and its one-time keys sign no other answer, even if it was
    started anew meanwhile from what it has kept."""

    def other(play, history, data):
        first, *rest = prover_move(play, history, data).nodes
        return Reveal((bytes(len(first)), *rest))

    batch, kept, guard = next_batch(pool, right=False), [], {}
    sequencer, members = pool.roles(batch, HONEST, {1: IDLE, 2: IDLE})
    members[0] = pool.member(batch, 0, Memory([], kept.append, guard))
    made = Pledged(pool, batch, sequencer, members)
    pool.pledge(batch, sequencer, members)
    pool.chain.mine(txs=list(made.sequencer.kickoffs()))
    member, player = made.members[0], made.sequencer.players[0]
    ((_, challenge),) = member.due(pool.chain, AUX)
    pool.chain.mine(txs=[challenge])
    ((_, first),) = player.due(pool.chain, AUX)
    player.guard.clear()
    player.strategy = Strategy(prover=other)
    ((name, second),) = player.due(pool.chain, AUX)
    assert name == "holder:REVEAL_1"
    assert witness_stack(first, 0) != witness_stack(second, 0)
    pool.chain.mine(txs=[first])
    ((_, pick),) = member.due(pool.chain, AUX)
    pool.chain.mine(txs=[pick])
    pool.chain.reorg(2, txs=[second])
    if restarted:
        member = members[0] = pool.member(batch, 0, Memory(kept, kept.append, guard))
    assert [serialize(tx) for _, tx in member.due(pool.chain, AUX)] in ([], [serialize(pick)])
    player.strategy = HONEST
    player.guard.clear()
    settled = made.play()
    assert settled.route is Route.CONVICTED
