"""A lying challenger: it challenges a claim that is true and then does what it likes.

It steers to a step of its choice and accuses; against an honest prover nothing of that is so.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from protocol.dispute.claim import base4
from protocol.dispute.lies.prover import Moment, moment_of
from protocol.dispute.play import Challenge, Move, Pick, Play, Take, Wait
from protocol.dispute.rules import Charge, History
from protocol.dispute.sides import Strategy, challenger_move


@dataclass(frozen=True, slots=True)
class Troublemaker:
    """A challenger of whatever is claimed.

    ``digits`` are what it picks by round, from 1; elsewhere it picks as an honest one does.
    ``charge`` is what it says after EXECUTE.
    """

    digits: Mapping[int, int] = field(default_factory=dict)
    charge: Charge | None = None
    silent: Moment | None = None

    @classmethod
    def steering(cls, log4_steps: int, step: int, charge: Charge | None = None) -> "Troublemaker":
        """One that leads to ``step``."""
        return cls(dict(enumerate(base4(step, log4_steps), start=1)), charge)

    @property
    def strategy(self) -> Strategy:
        """The troublemaker as a party plays it."""
        return Strategy(challenger=self.move, silent=lambda play: moment_of(play) == self.silent)

    def move(self, play: Play, history: History) -> Move | None:
        """Its move; None is silence."""
        if moment_of(play) == self.silent:
            return None
        if play.wait is Wait.WINDOW:
            return Challenge()
        turn = len(play.said.digits) + 1
        if play.wait is Wait.DIGIT and turn in self.digits:
            return Pick(self.digits[turn])
        if play.wait is Wait.VERDICT:
            return self.charge
        return Take() if play.wait is Wait.TAKE else challenger_move(play, history)
