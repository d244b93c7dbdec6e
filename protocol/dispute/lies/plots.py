"""How lies are played: from a scene, chance and a step, the strategies of both parties.

A plot is None where its lie cannot be told at that step, nor near it. Each takes only what it needs
and makes it before the game begins, so that a party which starts again tells the same.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from protocol.dispute.assertion import SEGMENT_LEVELS, Assertion
from protocol.dispute.claim import FAN
from protocol.dispute.lies.accusations import Accusing, false_assertions
from protocol.dispute.lies.challenger import Troublemaker
from protocol.dispute.lies.fragments import Forgery, elsewhere, stale_initial, unrevealed
from protocol.dispute.lies.prover import Liar, Moment
from protocol.dispute.lies.rehearsal import Sides, rehearse
from protocol.dispute.lies.reveals import Tampering
from protocol.dispute.lies.scene import Dice, Scene, nearest
from protocol.dispute.opening import node_above, step_at
from protocol.dispute.play import Wait
from protocol.dispute.sides import HONEST, Strategy
from protocol.dispute.verdicts import DIRECT_LEVELS, Predicate, Verdict
from riscv_vm.forge import halting_forgery

Plot = Callable[[Scene, Dice, int], Sides | None]
"""Of a scene, chance, and the step to lie at."""

_FAR: Final[int] = FAN ** (2 + DIRECT_LEVELS // 2)
"""The step before a multiple of this is one that only an assertion opens."""


# A lying prover


def payout(scene: Scene, _dice: Dice, _step: int) -> Sides:
    """A false claim, and the trace that traps."""
    return _lied(Liar(_false(scene)))


def other_input(scene: Scene, _dice: Dice, _step: int) -> Sides:
    """A false claim, and the trace of the true one."""
    return _lied(Liar(_false(scene), instead=scene.past))


def halting(scene: Scene, _dice: Dice, _step: int) -> Sides | None:
    """A false claim, and its trace with one write forged so that it seems to halt."""
    false, premises = _false(scene), scene.premises
    forgery = halting_forgery(premises.image, false.data, false.past.steps, premises.steps)
    if forgery is None:
        return None
    return _lied(Liar(false, {forgery.step: forgery.record}, goes_on=True))


def random_root(scene: Scene, dice: Dice, _step: int) -> Sides:
    """A root of nothing."""
    return _lied(_rootless(scene, dice))


def forging(forgery: Forgery) -> Plot:
    """One forged record, defended by a fragment."""

    def plot(scene: Scene, dice: Dice, step: int) -> Sides | None:
        found = nearest(scene, step, lambda index: forgery(dice("forge"), scene, index))
        return None if found is None else _lied(Liar(scene).forged(found[0], *found[1]))

    return plot


def tampering(tamper: Tampering, turn: int) -> Plot:
    """One forged record, and a round that does not fit the tree."""

    def plot(scene: Scene, dice: Dice, step: int) -> Sides:
        return _lied(tamper(dice("tamper"), _unrevealed(scene, dice, step), turn))

    return plot


def silence(moment: Moment) -> Plot:
    """One forged record, and no answer at some move."""

    def plot(scene: Scene, dice: Dice, step: int) -> Sides:
        return _lied(replace(_unrevealed(scene, dice, step), silent=moment))

    return plot


def stall(scene: Scene, dice: Dice, _step: int) -> Sides:
    """A root of nothing, and no answer."""
    return _lied(replace(_rootless(scene, dice), silent=(Wait.NODES, 0)))


# A lying challenger


def challenge(_scene: Scene, _dice: Dice, _step: int) -> Sides:
    """A true claim is challenged, and honestly nothing is found."""
    return _troubled(Troublemaker())


def steer(scene: Scene, _dice: Dice, step: int) -> Sides:
    """False digits in every round, which lead to a step; no accusation."""
    return _troubled(Troublemaker.steering(scene.premises.log4_steps, step))


def digit(turn: int) -> Plot:
    """A false digit in one round: an honest prover's nodes never differ, so that 3 is right."""

    def plot(_scene: Scene, dice: Dice, _step: int) -> Sides:
        return _troubled(Troublemaker({turn: dice("digit").randrange(0, FAN - 1)}))

    return plot


def accusing(accuse: Accusing) -> Plot:
    """A step is chosen and a verdict spent that does not hold."""

    def plot(scene: Scene, dice: Dice, step: int) -> Sides | None:
        premises, past = scene.premises, scene.past

        def verdict(index: int) -> Verdict | None:
            return accuse(dice("accuse"), premises, scene.fragment(index), past)

        found: tuple[int, Verdict] | None = nearest(scene, step, verdict)
        if found is None:
            return None
        return _troubled(Troublemaker.steering(premises.log4_steps, *found))

    return plot


def asserting(predicate: Predicate, *, false_way: bool, refuted: bool = True) -> Plot:
    """A false assertion: its record is false, and with ``false_way`` so is the lowest signed node.

    If it is not ``refuted`` the prover falls silent, and so lies too.
    """

    def plot(scene: Scene, dice: Dice, step: int) -> Sides | None:
        premises, past = scene.premises, scene.past

        def assertion(index: int) -> Assertion | None:
            fragment = scene.fragment(index)
            for found in false_assertions(dice("assert"), premises, fragment, past):
                step = step_at(premises, index, found.place)
                if found.accusation.predicate is predicate and step is not None:
                    lowest = node_above(past, step, SEGMENT_LEVELS)
                    if (found.nodes[0] != lowest) is false_way:
                        return found
            return None

        found = nearest(scene, _far(scene, step), assertion)
        if found is None:
            return None
        silent = None if refuted else (Wait.REFUTE, premises.log4_steps)
        prover = HONEST if refuted else Liar(scene, silent=silent).strategy
        return Sides(prover, Troublemaker.steering(premises.log4_steps, *found).strategy)

    return plot


def quiet(turn: int) -> Plot:
    """A true claim is challenged, and round ``turn`` is not answered."""

    def plot(_scene: Scene, _dice: Dice, _step: int) -> Sides:
        return _troubled(Troublemaker(silent=(Wait.DIGIT, turn - 1)))

    return plot


def no_take(scene: Scene, dice: Dice, step: int) -> Sides | None:
    """A lie that only an assertion shows is shown, and the pot is not taken."""
    forgetful = Strategy(silent=lambda play: play.wait is Wait.TAKE)

    def deep(index: int) -> Sides | None:
        for forgery in (stale_initial, elsewhere):
            forged = forgery(dice("forge"), scene, index)
            if forged is not None:
                sides = Sides(Liar(scene).forged(index, *forged).strategy, forgetful)
                if rehearse(scene, sides).assertion is not None:
                    return sides
        return None

    found = nearest(scene, _far(scene, step), deep)
    return None if found is None else found[1]


# What they are made of


def _lied(liar: Liar) -> Sides:
    return Sides(liar.strategy, HONEST)


def _troubled(troublemaker: Troublemaker) -> Sides:
    return Sides(HONEST, troublemaker.strategy)


def _false(scene: Scene) -> Scene:
    return replace(scene, data=scene.false_data)


def _rootless(scene: Scene, dice: Dice) -> Liar:
    return Liar(_false(scene), root=dice("root").randbytes(scene.premises.width))


def _unrevealed(scene: Scene, dice: Dice, step: int) -> Liar:
    return Liar(scene).forged(step, *unrevealed(dice("forge"), scene, step))


def _far(scene: Scene, step: int) -> int:
    """A step near ``step``, behind one that only an assertion opens if the trace is long enough."""
    return min(max(_FAR, step // _FAR * _FAR), scene.premises.steps - 1)
