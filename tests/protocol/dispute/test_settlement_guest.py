"""The game about the real settlement program, some six million steps of 2^24, in fast traces."""

from dataclasses import replace
from functools import lru_cache
from random import Random

import pytest

from actors.faults import forge
from protocol.dispute.assertion import Assertion
from protocol.dispute.claim import Fault, Party, base4_number
from protocol.dispute.execute import shown_step
from protocol.dispute.fragment import fragment_of
from protocol.dispute.play import Execute, Wait
from protocol.dispute.premises import InputLayout, Premises
from protocol.dispute.sides import challenger_move, prover_move
from protocol.settlement.terms import claim_published_from, settlement_image
from riscv_vm.image import ImageError
from riscv_vm.machine import check_successor
from riscv_vm.prove import Execution, Forgery, prove
from tests.builders.claims import claim_at
from tests.builders.disputes import play_out
from tests.builders.terms import contract_terms

K = 12
TX_DIGITS = 2 * 160


@lru_cache(maxsize=1)
def claim():
    """Image, layout and a claim of one unit too much, at whose end the guest traps."""
    terms = contract_terms()
    true = claim_at(terms)
    false = replace(true, units=true.units + 1).encode()
    units = terms.claim.payout_bits // 4
    spans = ((2 * claim_published_from(terms), 2 * len(false)), (8 - units, 8))
    fixed = bytearray(false)
    for start, end in spans:
        fixed[start // 2 : end // 2] = bytes(end // 2 - start // 2)
    size = sum(end - start for start, end in spans)
    parts = (*(TX_DIGITS,) * (size // TX_DIGITS), size % TX_DIGITS)
    return settlement_image(terms), InputLayout(bytes(fixed), spans, parts), false


@lru_cache(maxsize=2)
def honest(width):
    image, layout, data = claim()
    trace = prove(Execution(image, data, K, width))
    assert trace.outcome.end == "TRAP"
    return Premises(image, layout, K, width), trace, data


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
    execution = Execution(premises.image, data, K, width)
    forged = forge(execution, trace.steps)
    end, _ = played(width, forged)
    assert end.outcome.winner is Party.CHALLENGER
    assert end.said.executed.index == forged.forgery.step
    assert end.outcome.fault is Fault.RECORD


def test_a_false_claim_with_an_honest_trace_loses_at_the_last_of_all_steps():
    premises, _, data = honest(20)
    end, _ = played(20, Execution(premises.image, data, K, 20))
    assert end.outcome.fault is Fault.NOT_HALT
    assert end.said.executed.index == 4**K - 1


def test_false_values_are_convicted_all_over_the_run():
    premises, trace, data = honest(20)
    rng, games, asserted = Random(5), 0, 0
    while games < 60:
        index = rng.choice((rng.randrange(200), trace.steps - 40, rng.randrange(trace.steps)))
        fragment = false_value(rng, premises, fragment_of(trace.step(index)))
        if fragment is None:
            continue
        wrong = Forgery(index, fragment.write)
        end, moves = played(20, Execution(premises.image, data, K, 20, forgery=wrong), fragment)
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
