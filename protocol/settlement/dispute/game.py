"""The game that a row of transactions tells, from the first of a claim to what ends it.

Each one-time message counts as it was heard first: who signs a second one under the same key, as a
reorganisation allows, has signed both, and whoever holds the first may present it (dispute.md 4).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from protocol.crypto.winternitz import Label
from protocol.dispute.claim import Fault, Party, base4, base4_number
from protocol.dispute.play import Execute, Outcome, Play, Take, Wait
from protocol.settlement.dispute.course import Course
from protocol.settlement.dispute.reading import assertion_of, fault_of, move_of
from protocol.settlement.lifecycle import field_of, is_settle
from protocol.settlement.onetime import SignedMessage
from protocol.settlement.reading import Seen
from protocol.settlement.terms import Role

_PROVER: Final = re.compile(r"INPUT_\d+|KICKOFF|REVEAL_\d+|EXECUTE")
_CHALLENGER: Final = re.compile(r"CHALLENGE|PICK_\d+|ASSERT_\d+(_path)?|TAKE_\d+")


@dataclass(frozen=True, slots=True)
class Game:
    """``play`` after some transactions of ``course``, and what both sides have signed in them."""

    course: Course
    play: Play
    heard: Mapping[Label, SignedMessage] = field(default_factory=dict, repr=False)
    refuted: bool = False
    """Whether the assertion was: then it cannot be taken."""
    leaf: str = ""
    """The way that ended it; empty before."""

    @classmethod
    def of(cls, course: Course) -> "Game":
        """Before the first transaction."""
        return cls(course, Play(course.premises))

    def after(self, seen: Seen) -> "Game":
        """With one more transaction: it spends output 0 of the one before, or is a REFUTE.
        DisputeError or EncodingError for what no leaf accepts."""
        heard = {**seen.messages, **self.heard}
        seen = replace(seen, messages={label: heard[label] for label in seen.messages})
        said = move_of(self.course, seen) or assertion_of(self.course, seen, heard)
        game = replace(self, heard=heard)
        if isinstance(said, Execute):
            return replace(game, play=self._executing(said).apply(said))
        if isinstance(said, Take):
            play = self.play.expire() if self.play.wait is Wait.REFUTE else self.play
            return replace(game, play=play.apply(said), leaf=seen.way.name)
        if said is not None:
            return replace(game, play=self.play.apply(said))
        if seen.move is None:
            if self.play.wait is Wait.REFUTE:  # whatever it takes first: no other leaf is its own
                return replace(game, refuted=True)
            outcome = Outcome(Party.CHALLENGER, fault_of(seen))
            over = replace(self.play, wait=Wait.OVER, outcome=outcome)
            return replace(game, play=over, leaf=seen.way.name)
        if is_settle(seen.move):
            return replace(game, play=self._settled(), leaf=seen.way.name)
        return game

    def _executing(self, said: Execute) -> Play:
        """The game in which the challenger has picked the step that ``said`` executes. The leaf has
        seen its signature of every digit: one that has signed two is held to either."""
        play, index = self.play, said.fragment.index
        digits = base4(index, play.premises.log4_steps)
        return replace(play, said=replace(play.said, digits=digits))

    def _settled(self) -> Play:
        play = self.play.expire()
        play = play if play.outcome else play.expire()
        if self.refuted and play.outcome is not None:
            play = replace(play, outcome=replace(play.outcome, fault=Fault.REFUTED))
        return play

    @property
    def data(self) -> bytes:
        """The machine's whole input as the prover published it, once KICKOFF has."""
        return self.play.premises.layout.data(self.play.said.input_digits)

    @property
    def step(self) -> int | None:
        """The disputed step, once the challenger has picked all of its digits."""
        digits = self.play.said.digits
        found = len(digits) == self.play.premises.log4_steps
        return base4_number(digits) if found else None

    def party(self, role: Role) -> Party:
        """The side that ``role`` plays."""
        return Party.PROVER if role is self.course.prover else Party.CHALLENGER

    def role(self, party: Party) -> Role:
        """The inverse."""
        prover = self.course.prover
        return prover if party is Party.PROVER else prover.other


def mover_of(name: str, prover: Role) -> Role | None:
    """Who says the move of that name in ``prover``'s direction; None for a SETTLE, which is
    anybody's, and for what is no move."""
    if _PROVER.fullmatch(field_of(name)):
        return prover
    return prover.other if _CHALLENGER.fullmatch(field_of(name)) else None
