"""A sequencer that lies about a batch that was only lent signatures: convicted in real blocks, and
its batch with it."""

from random import Random

import pytest

from actors.pool_chain import PoolChain, Route, retrace
from protocol.bitcoin.taproot import NUMS_KEY, key_path_script
from protocol.bitcoin.tx import (
    outpoint,
    outpoint_key,
    transaction,
    txid,
    txout,
    with_witness,
    witness_stack,
)
from protocol.dispute.lies.catalog import catalogue
from protocol.dispute.lies.rehearsal import rehearse
from protocol.dispute.lies.scene import Scene
from protocol.dispute.play import Wait
from protocol.dispute.sides import HONEST, Strategy
from protocol.errors import ScriptError
from protocol.settlement.dispute.spends import Spend
from protocol.settlement.pool.batch import Batch
from protocol.settlement.pool.conviction import conviction_tx
from protocol.settlement.pool.game import SEAL_OUTPUT
from protocol.settlement.pool.graph import batch_premises
from protocol.settlement.reading import Reader
from riscv_vm.forge import Forgery
from riscv_vm.trace import Trace
from tests.builders.contracts import BAD_SIGNATURE, NONFINAL, SPENT
from tests.builders.pool_batches import (
    AUX,
    IDLE,
    OWNER,
    SHAM,
    SMALL,
    Pledged,
    next_batch,
    opened_pool,
    paid_to,
    silent_at,
)


def require_convicted(made: Pledged, settled, member: int) -> None:
    """``member`` (from 0) has the pot and the seal, and the batch can never be."""
    pool, game = made.pool, made.games[member]
    assert settled.route is Route.CONVICTED
    tx = made.tx(settled, settled.verdict)
    seal = outpoint(txid(game.kickoff.tx), SEAL_OUTPUT)
    assert outpoint_key(seal) in [outpoint_key(i.prevout) for i in tx.vin]
    held = paid_to(tx, pool.vault.members[member].script)
    assert held > pool.vault.bond_sats + game.game.seal_sats
    pool.chain.mine(pool.vault.late_window)
    assert {made.reason(tx) for tx in made.advances()} == {SPENT}
    assert pool.chain.utxo(made.batch.old.outpoint) is not None
    assert pool.state == made.batch.old


@pytest.mark.parametrize(
    "lie", ["wrong-input", "wrong-value", "stale-write", "wrong-opcode", "block", "wrong-pc"]
)
def test_a_lie_about_the_trace(pool: PoolChain, lie: str) -> None:
    """One member re-runs it; the other two sleep."""
    batch = next_batch(pool, pays=1_000)
    told = pool.lying(batch, lie)
    made = Pledged.of(pool, batch, told.prover, {1: IDLE, 2: IDLE})
    settled = made.play()
    require_convicted(made, settled, 0)
    if lie == "wrong-input":
        assert "VERDICT_WORD" in settled.verdict


def test_a_false_batch(pool: PoolChain) -> None:
    """Its honest trace does not halt, whatever root is shown; then an honest batch follows."""
    deposit = pool.deposit(OWNER.public, 40_000)
    batch = next_batch(pool, deposit, pays=139_000, right=False)
    made = Pledged.of(pool, batch, HONEST, {0: IDLE, 2: IDLE})
    settled = made.play()
    assert settled.verdict == "holder:VERDICT_NOT-HALT"
    require_convicted(made, settled, 1)
    assert pool.settle(next_batch(pool, pays=50_000)).route is Route.COOPERATIVE


def test_a_root_of_nothing(pool: PoolChain) -> None:
    """A true batch, a root that no trace has: P cannot reveal what hashes to it."""
    wrong = Strategy(root=lambda _, root: bytes(reversed(root)))
    made = Pledged.of(pool, next_batch(pool), wrong, {1: IDLE, 2: IDLE})
    settled = made.play()
    assert "NODE" in settled.verdict
    require_convicted(made, settled, 0)


STALLS = [
    *((Wait.NODES, turn) for turn in range(SMALL - 1)),
    (Wait.RECORDS, SMALL - 1),
    (Wait.EXECUTE, SMALL),
]


@pytest.mark.parametrize("wait, digits", STALLS)
def test_silence_at_each_move(pool: PoolChain, wait: Wait, digits: int) -> None:
    """TIMEOUT opens after the window, not a block earlier, and takes the seal too."""
    made = Pledged.of(
        pool, next_batch(pool, right=False), silent_at(wait, digits), {1: IDLE, 2: IDLE}
    )
    settled = made.play()
    assert settled.verdict == "holder:TIMEOUT"
    *_, last, timeout = (row for row in settled.txs if row.by != "sequencer")
    assert timeout.height - last.height == pool.vault.move_window
    require_convicted(made, settled, 0)


def test_a_friend_that_loses_on_purpose_does_not_save_a_liar(pool: PoolChain) -> None:
    made = Pledged.of(pool, next_batch(pool, right=False), HONEST, {0: SHAM, 1: IDLE})
    settled = made.play()
    assert "holder:SETTLE_round_1" in [row.name for row in settled.txs]
    require_convicted(made, settled, 2)


def test_an_older_plan_that_is_kicked_off_late_is_convicted_too(pool: PoolChain) -> None:
    """The sequencer pledges a false batch, then a true one on that STATE, and kicks off both."""
    false, true = next_batch(pool, right=False), next_batch(pool)
    sequencer, members = pool.roles(false)
    pool.pledge(false, sequencer, members)
    older, games = list(sequencer.kickoffs()), sequencer.graph.games
    dead = [sequencer.advance(late, AUX) for late in (False, True)]
    pool.pledge(true, sequencer, members)
    for tx in (*older, *sequencer.kickoffs()):
        pool.chain.broadcast(tx)
    pool.chain.mine()
    for _ in range(20):
        for _name, tx in (*sequencer.due(pool.chain, AUX), *members[0].due(pool.chain, AUX)):
            if pool.chain.check(tx).accepted:
                pool.chain.broadcast(tx)
        pool.chain.mine()
    seal = outpoint(txid(games[0].kickoff.tx), SEAL_OUTPUT)
    assert "VERDICT" in Reader(games[0]).read(pool.chain.spender(seal).tx).way.name
    assert {pool.chain.check(tx).consensus for tx in dead} == {False}
    assert pool.chain.check(sequencer.advance(False, AUX)).accepted


TURNS = 150
"""A word is written before them and read behind: too far for one leaf of 4^5 steps."""


def deep_lie(pool: PoolChain, batch: Batch) -> Strategy:
    """One that only an assertion shows."""
    premises = batch_premises(pool.vault, batch)

    def trace(_: bytes, forgery: Forgery | None) -> Trace:
        return retrace(premises, forgery)

    scene = Scene(premises, batch.data, batch.data, trace)
    stale = catalogue(premises.log4_steps, opened=True)["stale-initial"]
    for step in range(scene.past.steps - 8, scene.past.steps):
        sides = stale.sides(scene, lambda purpose: Random(purpose), step)
        if sides is not None and rehearse(scene, sides).assertion is not None:
            return sides.prover
    raise AssertionError("no lie was deep enough")


def test_an_assertion_takes_the_seal(tmp_path) -> None:
    """TAKE spends three outputs: the pot, the connector and the seal."""
    with opened_pool(tmp_path / "chain", 5, TURNS) as pool:
        pool.open(b"\x01" * 32, 100_000)
        batch = next_batch(pool, turns=TURNS)
        made = Pledged.of(pool, batch, deep_lie(pool, batch), {1: IDLE, 2: IDLE})
        settled = made.play()
        assert settled.verdict == "holder:TAKE_1"
        assert len(made.tx(settled, "holder:TAKE_1").vin) == 3
        require_convicted(made, settled, 0)


@pytest.mark.parametrize("lie", ["verdict-rom", "verdict-word", "steer"])
def test_a_lying_challenger_loses(pool: PoolChain, lie: str) -> None:
    """What it broadcasts no block may hold; its bond is the sequencer's, the batch is late."""
    settled = pool.settle(next_batch(pool, pays=1_000), lie=lie)
    assert settled.route is Route.LATE
    assert "holder:SETTLE_execute" in [row.name for row in settled.txs]


def test_only_who_has_won_breaks_the_seal(pool: PoolChain) -> None:
    """A member has every consent from the start: none is of use before it has won."""
    made = Pledged.of(pool, next_batch(pool, right=False), silent_at(Wait.NODES, 0))
    for tx in made.sequencer.kickoffs():
        pool.chain.broadcast(tx)
    pool.chain.mine()
    ((name, challenge),) = made.members[0].due(pool.chain, AUX)
    pool.chain.broadcast(challenge)
    pool.chain.mine()
    game, player = made.games[0], made.members[0].player
    assert name == "holder:CHALLENGE"
    with pytest.raises(ScriptError, match="convicts nobody"):
        conviction_tx(
            game, Spend(game.kickoff.name, name, output=0), player.keys, AUX, player.consents
        )
    timeout = Spend(name, "holder:TIMEOUT", output=0)
    won = conviction_tx(game, timeout, player.keys, AUX, player.consents)
    assert made.reason(won) == NONFINAL
    seal_stack = witness_stack(won, 1)
    alone = transaction([won.vin[1]], [txout(0, won.vout[0].scriptPubKey)])
    assert made.reason(with_witness(alone, [seal_stack])) == BAD_SIGNATURE
    other = {**player.consents, name: player.consents["holder:EXECUTE"]}
    assert pool.chain.mine(pool.vault.move_window - 1)
    wrong = conviction_tx(game, timeout, player.keys, AUX, other)
    assert made.reason(wrong) == BAD_SIGNATURE
    stolen = transaction(won.vin, [txout(int(won.vout[0].nValue), key_path_script(NUMS_KEY))])
    stolen = with_witness(stolen, [witness_stack(won, n) for n in range(2)])
    assert made.reason(stolen) == BAD_SIGNATURE
    dear = conviction_tx(game, timeout, player.keys, AUX, player.consents, feerate_sat_vb=9)
    assert int(dear.vout[0].nValue) < int(won.vout[0].nValue)
    assert made.reason(won) == made.reason(dear) == ""


def test_what_is_answered_has_some_blocks_on_it(tmp_path) -> None:
    """At depth 3 nothing is lent and no move answered before the third block."""
    windows = {"move_window": 6, "challenge_window": 6, "deposit_window": 300}
    with opened_pool(tmp_path / "chain", depth=3, **windows) as pool:
        pool.open(b"\x01" * 32, 100_000)
        made = Pledged.of(pool, next_batch(pool, right=False), HONEST, {1: IDLE, 2: IDLE})
        pledged = pool.chain.tx(txid(made.sequencer.plan.pledge(pool.vault)))
        assert pool.chain.height == pledged.block.height + 2
        pool.chain.mine(txs=list(made.sequencer.kickoffs()))
        for _ in range(2):
            assert not list(made.members[0].due(pool.chain, AUX))
            pool.chain.mine()
        ((name, _),) = made.members[0].due(pool.chain, AUX)
        assert name == "holder:CHALLENGE"
        assert made.play().route is Route.CONVICTED
