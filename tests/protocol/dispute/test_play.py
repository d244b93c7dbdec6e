"""The state machine: who may do what, what silence costs, and the table of lies played out."""

from functools import lru_cache
from itertools import pairwise
from random import Random

import pytest

from protocol.dispute.claim import Fault, Party
from protocol.dispute.play import (
    Challenge,
    Execute,
    Kickoff,
    Outcome,
    Pick,
    Play,
    Publish,
    Reveal,
    RevealBlock,
    Take,
    Wait,
)
from protocol.dispute.premises import Premises
from protocol.dispute.rules import charges
from protocol.dispute.sides import challenger_move, prover_move
from protocol.dispute.verdicts import EntryVerdict, NodeVerdict, RecordVerdict
from protocol.errors import DisputeError
from riscv_vm.prove import Execution, prove
from tests.builders.disputes import (
    LAYOUT,
    Plan,
    claim_input,
    claimed_run,
    honest_challenger,
    play_out,
    run_of,
    settling_program,
)
from tests.builders.lies import FORGERIES, TAMPERINGS, forge

K = 4
WAITS = (
    *(Wait.INPUT, Wait.INPUT, Wait.WINDOW),
    *(Wait.NODES, Wait.DIGIT) * 3,
    *(Wait.RECORDS, Wait.DIGIT, Wait.EXECUTE, Wait.VERDICT),
)


@lru_cache(maxsize=4)
def the_run(payout=5):
    """A program of some hundred steps with every sort of read."""
    return run_of(settling_program(Random(8), 30, 5), K, 20, claim_input(payout, 5))


def disputed_states(plan):
    """Every state of a game whose challenger challenges whatever is claimed."""
    play = Play(plan.premises)
    states = [play]
    while play.wait is not Wait.VERDICT:
        if play.turn is Party.PROVER:
            move = plan.move(play)
        else:
            move = Challenge() if play.wait is Wait.WINDOW else honest_challenger(play)
        play = play.apply(move)
        states.append(play)
    return states


def lying_plan(kind, rng, start=100):
    """A plan with one forged record at the first step from ``start`` on where that is possible."""
    run = the_run()
    for index in (*range(start, run.premises.steps - 1), *range(start)):
        plan = Plan(run)
        if forge(plan, rng, kind, index):
            return plan
    raise AssertionError(f"no step of the program can be lied about in this way: {kind}")


# One row a lie: what it forges or tampers with, and the leaves that may convict it.
TIMEOUT, OPEN = Fault.TIMEOUT, Fault.OPEN
INITIAL = {Fault.INIT, Fault.INPUT, Fault.ZERO}
FORGED = {
    "unexecuted": {TIMEOUT},
    "unrevealed": {Fault.RECORD},
    "wrong_index": {TIMEOUT},
    "wrong_slot_address": {TIMEOUT},
    "wrong_word": {TIMEOUT},
    "wrong_opcode": {Fault.ROM},
    "wrong_pc": {Fault.ENTRY, OPEN},
    "invented_opcode": {TIMEOUT},
    "wrong_value": {OPEN, *INITIAL},
    "wrong_initial": INITIAL,
    "stale_write": {OPEN},
    "stale_initial": {OPEN},
    "invented_initial": INITIAL,
    "elsewhere": {OPEN},
    "future": {Fault.FUTURE},
    "strange_init": {Fault.FUTURE},
    "wrong_x0": {TIMEOUT},
}
TAMPERED = {
    "random_node": Fault.NODE,
    "honest_nodes": Fault.NODE,
    "mixed_nodes": Fault.NODE,
    "swapped_nodes": Fault.NODE,
    "false_block": Fault.BLOCK,
    "honest_block": Fault.BLOCK,
    "random_root": Fault.NODE,
}


def test_the_table_names_every_lie_there_is():
    assert set(FORGED) == set(FORGERIES)
    assert set(TAMPERED) == set(TAMPERINGS)


@pytest.mark.parametrize("where", ["first", "middle", "last", "random", "end"])
@pytest.mark.parametrize("kind", FORGED)
def test_a_forged_step_is_convicted_by_its_own_leaf(kind, where):
    run, rng = the_run(), Random(where)
    start = {
        "first": 0,
        "middle": run.steps // 2,
        "last": run.steps - 1,
        "random": rng.randrange(run.steps),
        "end": run.premises.steps - 2,
    }[where]
    plan = lying_plan(kind, rng, start)
    end = play_out(run.premises, plan.move, honest_challenger)
    assert end.outcome.winner is Party.CHALLENGER
    assert end.outcome.fault in FORGED[kind]


@pytest.mark.parametrize("kind", TAMPERED)
def test_what_does_not_hash_is_convicted_by_its_own_leaf(kind):
    found = set()
    for seed in range(8):
        rng = Random(seed)
        plan = lying_plan("unrevealed", rng)
        TAMPERINGS[kind](rng, plan)
        said = disputed_states(plan)[-1].said
        found |= {charge.fault for charge in charges(plan.premises, said, plan.run)}
        end = play_out(plan.premises, plan.move, honest_challenger)
        assert end.outcome.winner is Party.CHALLENGER
    assert TAMPERED[kind] in found


def test_a_claim_that_traps_is_convicted_at_the_last_step():
    plan = Plan(the_run(payout=6))
    end = play_out(plan.premises, plan.move, honest_challenger)
    assert end.outcome == Outcome(Party.CHALLENGER, Fault.NOT_HALT)
    assert end.said.digits == (3,) * K


def test_a_program_that_never_ends_is_convicted_too():
    run = run_of(settling_program(Random(3), 30, 5), 2, 20, claim_input(5, 5))
    assert run.steps == 16
    end = play_out(run.premises, Plan(run).move, honest_challenger)
    assert end.outcome == Outcome(Party.CHALLENGER, Fault.NOT_HALT)


def test_a_true_claim_is_settled_unchallenged():
    plan = Plan(the_run())
    end = play_out(plan.premises, plan.move, honest_challenger)
    assert end.outcome == Outcome(Party.PROVER, Fault.NONE, "SETTLE_open")


def test_the_fast_trace_plays_as_the_reference_does():
    run = the_run()
    trace = prove(Execution(run.premises.image, run.data, log4_steps=K, log4_chunk=2))
    plan = lying_plan("stale_write", Random(1))

    def challenger(play):
        move = challenger_move(play, trace)
        assert move == honest_challenger(play)
        return move

    end = play_out(run.premises, plan.move, challenger)
    assert end.outcome == Outcome(Party.CHALLENGER, Fault.OPEN)
    honest = Plan(run)
    for state in disputed_states(honest)[:-1]:
        if state.turn is Party.PROVER:
            assert prover_move(state, trace, run.data) == honest.move(state)


def test_silence_of_the_prover_costs_the_pot_and_of_the_challenger_the_dispute():
    states = disputed_states(Plan(the_run()))
    assert tuple(state.wait for state in states) == WAITS
    settles = {
        Wait.WINDOW: ["SETTLE_open"],
        Wait.DIGIT: [f"SETTLE_round_{t}" for t in (1, 2, 3, 4)],
        Wait.VERDICT: ["SETTLE_execute"],
    }
    for state in states:
        outcome = state.expire().outcome
        if state.turn is Party.PROVER:
            assert outcome == Outcome(Party.CHALLENGER, Fault.TIMEOUT)
        else:
            assert outcome.winner is Party.PROVER
            assert outcome.settle == settles[state.wait].pop(0)
    assert not any(settles.values())


def test_a_stall_at_every_move_of_either_side_loses():
    for plan in (Plan(the_run()), lying_plan("stale_write", Random(2))):
        for state in disputed_states(plan):
            side = Party.PROVER if state.turn is Party.CHALLENGER else Party.CHALLENGER
            assert state.expire().outcome.winner is side


def test_every_other_move_is_refused_and_a_second_one_too():
    plan = Plan(the_run())
    states = disputed_states(plan)
    moves = [
        *(Publish((0,) * 10), Publish((0,) * 11), Kickoff((0,) * 10, bytes(20))),
        *(Kickoff((0,) * 11, bytes(20)), Challenge(), Reveal((bytes(20),) * 4), Pick(0), Take()),
        *(RevealBlock(plan.run.block(0)), Execute(plan.run.fragment(0))),
        *(RecordVerdict(), EntryVerdict(), NodeVerdict(1)),
    ]
    accepted = [[type(m) for m in moves if allowed(state, m)] for state in states]
    rounds = [[Reveal], [Pick]] * 3
    assert accepted == [[Publish], [Kickoff], [Challenge], *rounds, [RevealBlock], [Pick], [], []]
    for state, confirmed in pairwise(states):
        if state.turn is Party.PROVER and state.wait is not Wait.INPUT:
            assert not allowed(confirmed, plan.move(state))
    over = states[-1].expire()
    assert over.turn is None
    assert not any(allowed(over, move) for move in moves)
    with pytest.raises(DisputeError, match="over"):
        over.expire()


def allowed(state, move):
    try:
        state.apply(move)
    except DisputeError:
        return False
    return True


def test_moves_of_another_shape_are_refused():
    plan = Plan(the_run())
    publish, kickoff, _, nodes, digit, *_ = disputed_states(plan)
    records, execute = disputed_states(plan)[9], disputed_states(plan)[11]
    block, fragment = plan.run.block(0), plan.run.fragment(0)
    for state, move in (
        (publish, Publish((0,) * 9)),
        (publish, Publish((16,) * 10)),
        (publish, Publish((-1,) * 10)),
        (kickoff, Kickoff((0,) * 11, bytes(32))),
        (nodes, Reveal((bytes(20),) * 3)),
        (nodes, Reveal((bytes(20), bytes(20), bytes(20), bytes(21)))),
        (nodes, Reveal([bytes(20)] * 4)),
        (digit, Pick(4)),
        (digit, Pick(-1)),
        (digit, Pick(True)),
        (records, RevealBlock(block[:3])),
        (records, RevealBlock((*block[:3], (0, 0, 0)))),
        (execute, Execute(fragment)),
    ):
        assert not allowed(state, move), (state.wait, move)


def test_the_challenger_reads_the_input_from_what_was_published():
    plan = Plan(the_run())
    state = disputed_states(plan)[2]
    assert claimed_run(state).data == plan.run.data


def test_a_trace_of_four_steps_has_no_rounds_of_nodes():
    run = run_of(settling_program(Random(1), 0), 1, 32, claim_input(5, 5))
    premises = Premises(run.premises.image, LAYOUT, 1, 32)
    plan = Plan(run)
    states = [state.wait for state in disputed_states(plan)]
    assert states[3:] == [Wait.RECORDS, Wait.DIGIT, Wait.EXECUTE, Wait.VERDICT]
    end = play_out(premises, plan.move, honest_challenger)
    assert end.outcome == Outcome(Party.CHALLENGER, Fault.NOT_HALT)
