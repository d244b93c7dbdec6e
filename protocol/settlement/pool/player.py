"""One side of one game: what it broadcasts next, from the chain alone.

Its turn: its strategy's move, signed through the one-time guard. The other side's: what its silence
allows, once the window has passed. C's winning moves take the seal with them (conviction.py).
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from bitcoin.core import CTransaction

from protocol.bitcoin.tx import outpoint, txid
from protocol.crypto.winternitz import Label, OneTimeGuard
from protocol.dispute.play import Wait
from protocol.dispute.premises import Premises
from protocol.dispute.rules import History
from protocol.dispute.sides import HONEST, Strategy
from protocol.errors import DisputeError
from protocol.settlement.dispute.game import Game
from protocol.settlement.dispute.spends import Spend, signed_by_label, spends_of
from protocol.settlement.disputing import said_after
from protocol.settlement.keys import PartyKeys
from protocol.settlement.lifecycle import Placed, Position, field_of, position_of
from protocol.settlement.onetime import OneTimeKeys, SignedMessage
from protocol.settlement.party_terms import Role
from protocol.settlement.path import SpendPath
from protocol.settlement.pool.conviction import Consents, conviction_tx
from protocol.settlement.pool.game import ADVANCE_OPEN, PlacedGame
from protocol.settlement.pool.record import Heard, Memory
from protocol.settlement.pool.terms import MEMBER, SEQUENCER
from protocol.settlement.presign import Signatures, assemble
from protocol.settlement.reading import Reader
from protocol.settlement.spending import Taken, fresh_tx
from protocol.settlement.turn import Turn
from protocol.settlement.view import View

STUCK_BLOCKS: Final = 2
"""A transaction that no block has taken for so long pays more."""
FINAL_BLOCKS: Final = 100
"""A game that ended so deep is over: no reorganisation takes that back."""

Retrace = Callable[[Premises], History]
"""Runs the guest on the batch's input: the honest trace."""


@dataclass(slots=True, repr=False)
class Player:
    """``role`` in ``placed``; ``memory`` has what its one-time keys have signed and answered."""

    placed: PlacedGame
    role: Role
    keys: PartyKeys
    one_time: OneTimeKeys
    signatures: Mapping[Role, Signatures]
    consents: Consents
    retrace: Retrace
    strategy: Strategy = HONEST
    memory: Memory = field(default_factory=Memory)
    depth: int = 1
    """Confirmations of what it answers."""
    _known: list[tuple[CTransaction, Game]] = field(default_factory=list)
    """The game after each transaction that was read; a reorganisation replaces its end."""

    def game(self, view: View) -> Game:
        """What blocks show of it; before KICKOFF nothing is said."""
        return self._read(position_of(self.placed, view).in_blocks, view)

    @property
    def id(self) -> bytes:
        """Of the game."""
        return self.placed.game.terms.id

    @property
    def guard(self) -> OneTimeGuard:
        """What its one-time keys have signed."""
        return self.memory.guard

    def over(self, view: View) -> bool:
        """Whether blocks hold its end, FINAL_BLOCKS of them."""
        position = position_of(self.placed, view).in_blocks
        game = self._read(position, view)
        if game.play.wait is not Wait.OVER and not game.leaf:
            return False
        return position.path[-1].confirmations >= FINAL_BLOCKS

    def due(self, view: View, aux_rand: bytes) -> Iterator[tuple[str, CTransaction]]:
        """What the next block may hold of this side, by name."""
        position = position_of(self.placed, view).in_blocks
        game = self._read(position, view)
        if len(position.path) < 2 or game.play.wait in (Wait.INPUT, Wait.OVER) or game.leaf:
            return
        turn = Turn(game, position.path[-1], self.role)
        speaks = turn.speaks and not self.strategy.silent(turn.play)
        if speaks and turn.opens(view) and turn.last.confirmations >= self.depth:
            said = list(self._said(turn, aux_rand, view))
            yield from said
            if said:
                return
        ending = turn.ending
        if ending is not None and turn.last.opens(self._way(ending).blocks, view):
            yield self._finished(ending, aux_rand, {}, self._feerate(ending, turn.last, view))

    def _said(self, turn: Turn, aux_rand: bytes, view: View) -> Iterator[tuple[str, CTransaction]]:
        """Its move, if it has one; of a move in two transactions the one that is next."""
        game, course = turn.game, turn.game.course
        history = self.retrace(course.premises)
        proves = self.role is SEQUENCER
        move = (
            self.strategy.prover(turn.play, history, game.data)
            if proves
            else self.strategy.challenger(turn.play, history)
        )
        if move is None:
            return
        try:
            spends = spends_of(course, turn.play, move)
        except DisputeError:  # a liar's: no leaf says it
            return
        values = signed_by_label(course, *said_after(turn.play, move))
        for spend in spends:
            if spend.output is None and self.placed.move(spend.move).spends != turn.last.name:
                continue
            labels = [message.label for message in self._way(spend).messages]
            own = {label: values[label] for label in labels if label.role == self.role.value}
            self.memory.keep_heard(self.id, game.heard)
            messages = {**game.heard, **self.one_time.sign(own, self.guard)}
            yield self._finished(spend, aux_rand, messages, self._feerate(spend, turn.last, view))

    def _finished(
        self, spend: Spend, aux_rand: bytes, messages: Mapping[Label, SignedMessage], rate: int
    ) -> tuple[str, CTransaction]:
        """``spend``, signed; at ``rate``, sat/vB, where this side signs alone."""
        move = self.placed.move(spend.move)
        if spend.output is None:
            tx = assemble(move, self.signatures, messages, way=spend.way, hints=spend.hints)
            return spend.move, tx
        if self.role is MEMBER:
            given = self.consents
            return spend.way, conviction_tx(
                self.placed, spend, self.keys, aux_rand, given, messages, feerate_sat_vb=rate
            )
        taken = Taken.of(move, spend.output, spend.way, messages, spend.hints)
        terms = self.placed.game.terms
        return spend.way, fresh_tx(terms, self.role, [taken], self.keys, aux_rand, rate)

    def _feerate(self, spend: Spend, last: Placed, view: View) -> int:
        """The terms' at first, twice as much every STUCK_BLOCKS that it was not taken."""
        chain = self.placed.game.terms.chain
        assert last.height is not None, "blocks are read"
        waited = view.height + 1 - last.height - self._way(spend).blocks
        doublings = min(max(waited, 0) // STUCK_BLOCKS, 32)
        return min(chain.feerate_sat_vb << doublings, chain.max_feerate_sat_vb)

    def _read(self, position: Position, view: View) -> Game:
        """The game as far as ``position`` goes; its ``leaf`` is named where ADVANCE ended it. What
        was heard before a reorganisation stays said: its answer was, and keys sign once."""
        heard = self._known[-1][1].heard if self._known else self._remembered
        reader, game = Reader(self.placed), Game.of(self.placed.game.course)
        game = replace(game, heard=heard)
        for number, placed in enumerate(position.path[1:]):
            if number < len(self._known) and self._known[number][0] == placed.tx:
                game = replace(self._known[number][1], heard=heard)
            else:
                seen = reader.read(placed.tx)
                if seen is None or not placed.name.startswith(f"{SEQUENCER.value}:"):
                    return replace(game, leaf=placed.name or ADVANCE_OPEN)
                game = game.after(seen)
                self._known[number:] = [(placed.tx, game)]
            if re.fullmatch(r"ASSERT_\d+", field_of(placed.name)):
                game = self._refuted(game, placed, reader, view)
        return game

    @property
    def _remembered(self) -> Heard:
        """What it heard before it was started anew."""
        terms = self.placed.game.terms
        labels = (label for role in (SEQUENCER, MEMBER) for label in terms.labels(role))
        return self.memory.heard(self.id, labels)

    def _refuted(self, game: Game, asserted: Placed, reader: Reader, view: View) -> Game:
        """The game with the REFUTE that a block holds, if there is one."""
        taken = view.spender(outpoint(txid(asserted.tx), 1))
        if taken is None or taken.block is None or txid(taken.tx) in self.placed.names:
            return game
        seen = reader.read(taken.tx)
        assert seen is not None, "it spends the connector by a leaf"
        return game.after(seen)

    def _way(self, spend: Spend) -> SpendPath:
        move = self.placed.move(spend.move)
        if spend.output is None:
            return move.way(spend.way)[1]
        return move.locks[spend.output].path(spend.way)
