"""Challengers that are not the honest one: one that sees every charge there is, and ones that lie.

``every_charge`` tries all verdicts of all leaves against a transcript, whatever rules.py would
choose. ``false_charges`` are those of a liar against an honest prover, none of which may hold; what
a liar asserts is in ``protocol.dispute.lies.accusations``.
"""

from collections.abc import Iterator
from itertools import product

from protocol.dispute.assertion import Assertion, BlockRefutation, NodeRefutation, signed_levels
from protocol.dispute.claim import base4
from protocol.dispute.lies import accusations
from protocol.dispute.lies.accusations import ACCUSATIONS, false_verdicts, plain_verdicts
from protocol.dispute.opening import levels_below, node_above, place_of, siblings_of, step_at
from protocol.dispute.play import Challenge, Pick, Play, Take, Wait
from protocol.dispute.premises import Premises
from protocol.dispute.transcript import Transcript
from protocol.dispute.verdicts import DIRECT_LEVELS, Accusation, NearVerdict, OpenVerdict
from riscv_vm.record import BLOCK_RECORDS
from tests.builders.disputes import Run


def open_at(premises: Premises, run: Run, disputed: int, step: int, accusation: Accusation):
    """The OPEN or ASSERT of a step, with the blocks and nodes of ``run``."""
    place = place_of(premises, disputed, step)
    if place.turn > premises.rounds:
        return NearVerdict(accusation, place.child)
    levels = levels_below(premises, place.turn)
    block = run.block(step // BLOCK_RECORDS)
    if levels <= DIRECT_LEVELS:
        return OpenVerdict(accusation, place, block, siblings_of(run, step, 0, levels))
    nodes = tuple(node_above(run, step, level) for level in signed_levels(levels))
    return Assertion(accusation, place, block[step % BLOCK_RECORDS], nodes)


def every_charge(premises: Premises, said: Transcript, run: Run) -> list[object]:
    """Every charge of every leaf that holds, with the openings of the honest ``run``."""
    disputed = said.executed.index
    found = [verdict for verdict in plain_verdicts(premises) if verdict.holds(premises, said)]
    for step, accusation in product(range(disputed), ACCUSATIONS):
        record = run.block(step // BLOCK_RECORDS)[step % BLOCK_RECORDS]
        if accusation.holds(said.executed, step, record):
            charge = open_at(premises, run, disputed, step, accusation)
            if charge.holds(premises, said):
                found.append(charge)
    return found


def false_refutations(rng, play: Play, runs) -> Iterator[object]:
    """Refutations of an honest assertion: other blocks and nodes, and those that C signed."""
    assertion, premises = play.assertion, play.premises
    place = assertion.place
    step = step_at(premises, play.said.executed.index, place)
    levels = signed_levels(levels_below(premises, place.turn))
    for run in runs:
        siblings = siblings_of(run, step, 0, levels[0])
        yield BlockRefutation(run.block(step // BLOCK_RECORDS), siblings)
        yield BlockRefutation(run.block(step // BLOCK_RECORDS ^ 1), siblings)
        for number in range(-1, len(levels)):
            lower, upper = (
                (levels[0], levels[0]) if number < 0 else (*levels, levels[-1])[number:][:2]
            )
            siblings = siblings_of(run, step, lower, upper)
            for node in (node_above(run, step, lower), rng.randbytes(play.premises.width)):
                yield NodeRefutation(number, node, siblings)
                yield NodeRefutation(number, node, siblings[:-1])


def false_charges(rng, premises: Premises, said: Transcript, run: Run, tries: int = 60):
    """What a liar would like to spend against an honest prover: no leaf may accept it."""
    return false_verdicts(rng, premises, said.executed, run, tries)


def false_assertions(rng, premises: Premises, said: Transcript, run: Run) -> Iterator[Assertion]:
    """Assertions that their leaf accepts against an honest prover, who must refute them."""
    return accusations.false_assertions(rng, premises, said.executed, run)


class LyingChallenger:
    """Challenges a true claim, steers to ``target`` and plays the first charge that is accepted."""

    def __init__(self, rng, run: Run, target: int) -> None:
        self.rng, self.run, self.target = rng, run, target
        self.tried: dict[str, int] = {"verdicts": 0, "assertions": 0}

    def move(self, play: Play) -> object:
        if play.wait is Wait.WINDOW:
            return Challenge()
        if play.wait is Wait.DIGIT:
            return Pick(base4(self.target, play.premises.log4_steps)[len(play.said.digits)])
        if play.wait is Wait.TAKE:
            return Take()
        return self._charge(play)

    def _charge(self, play: Play) -> object:
        for charge in false_charges(self.rng, play.premises, play.said, self.run):
            self.tried["verdicts"] += 1
            if charge.holds(play.premises, play.said):
                return charge
        assertions = list(false_assertions(self.rng, play.premises, play.said, self.run))
        self.tried["assertions"] += bool(assertions)
        return self.rng.choice(assertions) if assertions else None
