"""The game on small traces: whoever lies loses, at the first lie, whatever the other side does."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.dispute.game import Claim, Fault, Game, Party, answer, choose
from protocol.dispute.judge import judge
from protocol.errors import DisputeError
from riscv_vm.isa import HALT, NOWRITE, TRAP
from riscv_vm.machine import Step
from riscv_vm.record import Record
from riscv_vm.tree import SparseTree

NOP = 0x0000_0013


def records(count: int, end: int = HALT) -> list[Record]:
    """An invented honest trace: ``count`` steps that count up, then the sentinel."""
    run = [Record(0xF000_0004, i, 0x1_0000 + 4 * (i + 1)) for i in range(count - 1)]
    return [*run, Record(NOWRITE, 0, end)]


def step_of(trace: SparseTree, index: int) -> Step:
    record = trace.block(index // 4)[index % 4]
    return Step(pc=0x1_0000, opcode=NOP, reads=(), record=record)


def play(prover: SparseTree, challenger: SparseTree, honest: SparseTree, k: int) -> Game:
    game = Game.start(Claim(prover.root, k, 20))
    while game.turn is not None:
        if game.turn is Party.PROVER:
            game = answer(game, prover)
        else:
            game = game.pick(choose(game, challenger))
    return game if game.verdict else judge(game, step_of(honest, game.step))


@settings(max_examples=150)
@given(st.data())
def test_a_false_record_is_found_and_the_prover_loses(data):
    k = data.draw(st.integers(1, 4))
    count = data.draw(st.integers(1, 4**k))
    honest = SparseTree(records(count), k, 20)
    where = data.draw(st.lists(st.integers(0, count - 1), min_size=1, max_size=3, unique=True))
    forged = records(count)
    for index in where:
        forged[index] = Record(0xF000_0008, 77, forged[index].next_pc)
    if forged[-1].waddr != NOWRITE:
        forged[-1] = Record(NOWRITE, 0, TRAP)
    game = play(SparseTree(forged, k, 20), honest, honest, k)
    assert game.verdict.winner is Party.CHALLENGER
    assert game.verdict.fault is Fault.EXECUTE
    assert game.verdict.step == min(where)


@settings(max_examples=60)
@given(st.data())
def test_a_challenger_that_lies_about_any_step_loses(data):
    k = data.draw(st.integers(1, 4))
    count = data.draw(st.integers(1, 4**k))
    honest = SparseTree(records(count), k, 20)
    game = Game.start(Claim(honest.root, k, 20))
    while game.turn is not None:
        if game.turn is Party.PROVER:
            game = answer(game, honest)
        else:
            game = game.pick(data.draw(st.integers(0, 3)))
    verdict = judge(game, step_of(honest, game.step)).verdict
    assert (verdict.winner, verdict.fault) == (Party.PROVER, Fault.NONE)


@pytest.mark.parametrize("k", [1, 2, 3, 6])
def test_a_trace_that_does_not_halt_loses_at_the_last_step(k):
    trap = SparseTree(records(3, TRAP), k, 20)
    game = play(trap, trap, trap, k)
    assert game.verdict.fault is Fault.NOT_HALT
    assert game.verdict.winner is Party.CHALLENGER
    assert game.verdict.step == 4**k - 1


@pytest.mark.parametrize("round_", [0, 1, 2])
def test_nodes_that_do_not_hash_to_their_parent_lose_at_once(round_):
    k = 4
    honest = SparseTree(records(50), k, 20)
    game = Game.start(Claim(honest.root, k, 20))
    for _ in range(round_):
        game = answer(game, honest).pick(0)
    nodes = [honest.node(game.level, 4 * game.index + i) for i in range(4)]
    for slot in range(4):
        forged = [*nodes]
        forged[slot] = bytes(20)
        lost = game.reveal(forged)
        assert lost.verdict.fault is Fault.NODE
        assert lost.verdict.rounds == round_
        assert lost.turn is None


def test_records_that_do_not_hash_to_their_block_lose_at_once():
    honest = SparseTree(records(4), 1, 20)
    game = Game.start(Claim(honest.root, 1, 20))
    block = list(honest.block(0))
    block[2] = Record(0, 0, 0)
    assert game.reveal_records(block).verdict.fault is Fault.BLOCK


def test_a_random_root_cannot_be_opened():
    honest = SparseTree(records(9), 3, 20)
    game = answer(Game.start(Claim(b"\7" * 20, 3, 20)), honest)
    assert game.verdict.fault is Fault.NODE


def test_silence_loses_for_either_side():
    honest = SparseTree(records(9), 3, 20)
    game = Game.start(Claim(honest.root, 3, 20))
    assert game.timeout().verdict.winner is Party.CHALLENGER
    assert answer(game, honest).timeout().verdict.winner is Party.PROVER


def test_moves_out_of_turn_or_shape_are_refused():
    honest = SparseTree(records(9), 3, 20)
    game = Game.start(Claim(honest.root, 3, 20))
    nodes = [honest.node(2, i) for i in range(4)]
    for move in (
        lambda: game.pick(0),
        lambda: game.reveal_records(honest.block(0)),
        lambda: game.reveal(nodes[:3]),
        lambda: game.reveal([*nodes[:3], nodes[3][:19]]),
        lambda: answer(game, honest).reveal(nodes),
        lambda: answer(game, honest).pick(4),
        lambda: answer(game, honest).pick(-1),
        lambda: judge(game, step_of(honest, 0)),
        lambda: game.disputed,
        lambda: Claim(bytes(20), 16, 20),
        lambda: Claim(bytes(20), 3, 32),
    ):
        with pytest.raises(DisputeError):
            move()
    ended = game.timeout()
    for move in (ended.timeout, lambda: ended.pick(0), lambda: ended.reveal(nodes)):
        with pytest.raises(DisputeError):
            move()
