"""The game about the real settlement program, some six million steps of 2^24, in fast traces."""

from dataclasses import replace
from functools import lru_cache
from random import Random

import pytest

from protocol.dispute.assertion import Assertion
from protocol.dispute.claim import Fault, Party, base4_number
from protocol.dispute.execute import shown_step
from protocol.dispute.fragment import fragment_of
from protocol.dispute.leaves import catalog, execute, verdict_assert, verdict_open
from protocol.dispute.leaves.execute import Borders
from protocol.dispute.leaves.verdict_open import ACCUSATIONS, Shape
from protocol.dispute.play import Execute, Wait
from protocol.dispute.rules import charges
from protocol.dispute.sides import challenger_move, prover_move
from riscv_vm.forge import halting_forgery
from riscv_vm.image import ImageError
from riscv_vm.machine import check_successor
from riscv_vm.prove import Execution, Forgery, prove
from tests.builders.disputes import play_out
from tests.builders.guest import guest_claim, guest_premises
from tests.builders.leaves import bare_holds, honestly_said, mutated, opening_hints
from tests.builders.steps import with_slot

SLOW = [pytest.mark.slow, pytest.mark.timeout(600)]


@lru_cache(maxsize=2)
def honest(width):
    premises, (_, data) = guest_premises(width), guest_claim()
    trace = prove(Execution(premises.image, data, premises.log4_steps, width))
    assert trace.outcome.end == "TRAP"
    return premises, trace, data


def played(width, forged, fragment=None):
    """The game of a prover that commits to ``forged`` and shows ``fragment`` where it lies."""
    premises, trace, data = honest(width)
    lying = prove(forged)
    charged = []

    def prover(play):
        if play.wait is Wait.EXECUTE and fragment is not None:
            assert fragment.index == base4_number(play.said.digits)
            return Execute(fragment)
        return prover_move(play, lying, data)

    def challenger(play):
        move = challenger_move(play, trace)
        charged.append(move)
        return move

    end = play_out(premises, prover, challenger)
    return end, charged


@pytest.mark.parametrize("width", [20, 32])
def test_a_false_claim_that_is_made_to_halt_loses(width):
    premises, trace, data = honest(width)
    execution = Execution(premises.image, data, premises.log4_steps, width)
    forgery = halting_forgery(premises.image, data, trace.steps, premises.steps)
    forged = replace(execution, forgery=forgery)
    end, _ = played(width, forged)
    assert end.outcome.winner is Party.CHALLENGER
    assert end.said.executed.index == forged.forgery.step
    assert end.outcome.fault is Fault.RECORD


def test_a_false_claim_with_an_honest_trace_loses_at_the_last_of_all_steps():
    premises, _, data = honest(20)
    end, _ = played(20, Execution(premises.image, data, premises.log4_steps, 20))
    assert end.outcome.fault is Fault.NOT_HALT
    assert end.said.executed.index == premises.steps - 1


def test_false_values_are_convicted_all_over_the_run():
    premises, trace, data = honest(20)
    rng, games, asserted = Random(5), 0, 0
    while games < 60:
        index = rng.choice((rng.randrange(200), trace.steps - 40, rng.randrange(trace.steps)))
        fragment = false_value(rng, premises, fragment_of(trace.step(index)))
        if fragment is None:
            continue
        wrong = Forgery(index, fragment.write)
        end, moves = played(
            20, Execution(premises.image, data, premises.log4_steps, 20, forgery=wrong), fragment
        )
        assert end.outcome.winner is Party.CHALLENGER
        assert end.outcome.fault in (Fault.OPEN, Fault.INIT, Fault.INPUT, Fault.ZERO)
        games += 1
        asserted += any(isinstance(move, Assertion) for move in moves)
    assert asserted >= 4


def false_value(rng, premises, honest_fragment):
    """A fragment with another value in its first slot, if the machine can go on from its result."""
    slot = honest_fragment.slots[0]
    wrong = replace(slot, value=slot.value ^ 1 << rng.randrange(32))
    fragment = replace(honest_fragment, slots=(wrong, *honest_fragment.slots[1:]))
    step = shown_step(premises, fragment)
    reads = [read.address for read in step.reads]
    if slot.address == 0 or reads != [s.address for s in fragment.slots]:
        return None
    try:
        check_successor(_Anywhere(premises), step.record)
    except ImageError:
        return None
    return None if step.record == honest_fragment.write else replace(fragment, write=step.record)


class _Anywhere:
    """A state of the program, whatever it is."""

    def __init__(self, premises):
        self.image, self.writable = premises.image, premises.writable


def leaf_of(premises, said, charge):
    """Whether the leaf of ``charge`` accepts what was said."""
    values = catalog.spoken(premises, said)
    if isinstance(charge, Assertion):
        shape = catalog.shape_of(premises, charge)
        template = verdict_assert.assert_record(shape, charge.accusation)
        return bare_holds(template, values | catalog.asserted(premises, charge))
    chosen = catalog.leaf_of(premises, said, charge)
    return bare_holds(chosen.template, values, chosen.hints)


def lies(fragment):
    """Other premises that EXECUTE does not check: pc, opcode, values and pointers."""
    yield replace(fragment, pc=fragment.pc + 4)
    yield replace(fragment, opcode=fragment.opcode ^ 1 << 20)
    for number, slot in enumerate(fragment.slots):
        if slot.address:
            yield with_slot(fragment, number, value=slot.value ^ 1 << 13)
            yield with_slot(fragment, number, init=slot.init ^ 1, last=0)
            yield with_slot(fragment, number, init=7)
            if slot.last:
                yield with_slot(fragment, number, last=slot.last - 1)
                yield with_slot(fragment, number, last=fragment.index)


@pytest.mark.parametrize("count", [4, pytest.param(24, marks=SLOW)])
def test_script_at_steps_of_the_guest(count):
    """EXECUTE accepts the true step, no leaf convicts it, and every lie about it has its leaf.

    The claim is false, by its honest trace: only NOT-HALT, at the last step of all, may say so.
    """
    premises, trace, data = honest(20)
    rng, k = Random(count), premises.log4_steps
    leaves = [leaf for leaf in catalog.verdict_leaves(premises) if not leaf.hints]
    assert len(leaves) > 300
    for index in [0, trace.steps - 2, *(rng.randrange(trace.steps) for _ in range(count - 2))]:
        said = honestly_said(premises, trace, data, index)
        fragment, values = said.executed, catalog.spoken(premises, said)
        template = execute.template(execute.name_for(fragment), Borders.of(premises))
        assert bare_holds(template, values, execute.hints_for(fragment))
        assert not [leaf.name for leaf in leaves if bare_holds(leaf, values)]
        for lie in lies(fragment):
            lying = replace(said, fragment=lie)
            charge = next(iter(charges(premises, lying, trace)))
            assert leaf_of(premises, lying, charge), (lie, charge)
            assert not leaf_of(premises, said, charge), (fragment, charge)
    assert base4_number(said.digits) == index < 4**k - 1


@pytest.mark.parametrize("count", [100, pytest.param(600, marks=SLOW)])
def test_no_opening_convicts_an_honest_step_of_the_guest(count):
    """True openings near the step and elsewhere, with digits that a liar may choose."""
    premises, trace, data = honest(20)
    rng, k = Random(count), premises.log4_steps
    for _ in range(count // 20):
        index = rng.randrange(4**4, trace.steps)
        values = catalog.spoken(premises, honestly_said(premises, trace, data, index))
        for _ in range(20):
            turn, child = rng.randrange(k - 3, k), rng.randrange(3)
            above = index >> 2 * (k - turn + 1)
            inside = rng.randrange(4 ** (k - turn))
            step = (4 * above + rng.choice([child, rng.randrange(4)])) * 4 ** (k - turn) + inside
            step = rng.choice([step, index - 1, index])
            hints = opening_hints(premises, trace, step, turn)
            for _ in range(rng.randrange(3)):
                hints = mutated(hints, rng)
            leaf = verdict_open.opening(Shape(k, 20, turn, child), rng.choice(ACCUSATIONS))
            assert not bare_holds(leaf, values, hints), (index, step, leaf.name)
