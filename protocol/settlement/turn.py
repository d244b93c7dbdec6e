"""Where a game stands on the chain: what its newest output waits for, and how long.

waits for      who may answer, from .. on       until, and then
INPUT          the prover (claiming)            move_window         TIMEOUT
WINDOW         the challenger                   challenge_window    SETTLE
NODES RECORDS
EXECUTE        the prover                       move_window         TIMEOUT
DIGIT          the challenger                   move_window         SETTLE_round_t
VERDICT        the challenger                   challenge_window    SETTLE_execute
(ASSERT_t_path the challenger                   move_window         SETTLE_path_t)
REFUTE         the prover, K alone              challenge_window    TAKE_t
TAKE           the challenger, V and K          move_window behind  SETTLE_assert_t
               from challenge_window on
"""

from dataclasses import dataclass

from bitcoin.core import COutPoint

from protocol.bitcoin.tx import outpoint, txid
from protocol.dispute.claim import Party
from protocol.dispute.play import Play, Wait
from protocol.settlement.dispute.course import Windows
from protocol.settlement.dispute.game import Game
from protocol.settlement.dispute.spends import Spend, timeout_spend
from protocol.settlement.lifecycle import Placed
from protocol.settlement.policy import Policy
from protocol.settlement.terms import Role
from protocol.settlement.view import View


@dataclass(frozen=True, slots=True)
class Turn:
    """A game that is not over, for ``role``; ``last`` is its newest transaction in a block."""

    game: Game
    last: Placed
    role: Role

    @property
    def play(self) -> Play:
        """The game, for the challenger without the wait for a refutation: what it can do is
        TAKE."""
        play = self.game.play
        if play.wait is Wait.REFUTE and self._party is Party.CHALLENGER:
            return play.expire()
        return play

    @property
    def speaks(self) -> bool:
        """Whether ``role`` has to move and can. The moves of a claim are not here."""
        owes = self.play.turn is self._party and self.play.wait is not Wait.INPUT
        return owes and not self.game.refuted

    @property
    def point(self) -> COutPoint:
        """What its move spends."""
        return outpoint(txid(self.last.tx), int(self.play.wait is Wait.REFUTE))

    def opens(self, view: View) -> bool:
        """Whether the next block may hold its move."""
        return self.last.opens(self._first, view)

    def since(self, policy: Policy) -> int:
        """The first height at which it answers: what it answers counts, and it opens."""
        return self.height + max(self._first, policy.confirmations(self._window)) - 1

    @property
    def until(self) -> int:
        """The last block that may hold its move and not yet the end of the wait for it."""
        return self.height + self._window - 1

    def left(self, view: View) -> int:
        """So many of the next blocks may hold its move before the other side can end the wait."""
        return self.until - view.height

    @property
    def ending(self) -> Spend | None:
        """What ``role`` may broadcast because somebody stayed silent, once its lock opens: TIMEOUT
        or SETTLE; a challenger's own silence in WINDOW concedes the claim."""
        play, proves = self.game.play, self._party is Party.PROVER
        if play.wait is Wait.REFUTE:
            if not proves:
                return None
            play = play.expire()
        elif play.turn is self._party and play.wait is not Wait.WINDOW:
            return None
        return timeout_spend(self.game.course, play, self.last.name)

    @property
    def _first(self) -> int:
        return self._chain.challenge_window if self.play.wait is Wait.TAKE else 1

    @property
    def _window(self) -> int:
        """The blocks from ``last`` on in which ``role`` may move alone."""
        chain, wait = self._chain, self.play.wait
        if wait is Wait.TAKE:
            return chain.challenge_window + chain.move_window
        on_path = self.last.name.endswith("_path")
        long = wait in (Wait.WINDOW, Wait.VERDICT, Wait.REFUTE) and not on_path
        return chain.challenge_window if long else chain.move_window

    @property
    def _party(self) -> Party:
        return self.game.party(self.role)

    @property
    def _chain(self) -> Windows:
        return self.game.course.terms.chain

    @property
    def height(self) -> int:
        assert self.last.height is not None, "a turn is read from blocks"
        return self.last.height
