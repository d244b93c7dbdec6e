"""A party in a dispute, as prover or as challenger: what it says next, from the chain alone.

    the game     what blocks show (dispute.game), each message as it was kept first
    its turn     its strategy's move, signed through the one-time guard and kept, then broadcast
    not its turn what the other side's silence allows: TIMEOUT, SETTLE, TAKE

An answer is kept behind what it answers and before it is said. What was kept is said again, byte
for byte, whatever the other side shows after a reorganisation (dispute.md 4).
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from bitcoin.core import CTransaction

from protocol.bitcoin.tx import outpoint, outpoint_key, txid, vsize, wtxid
from protocol.crypto.winternitz import OneTimeGuard
from protocol.dispute.assertion import Assertion
from protocol.dispute.claim import Fault
from protocol.dispute.play import Execute, Move, Play, Wait
from protocol.dispute.rules import History
from protocol.dispute.sides import Strategy
from protocol.dispute.transcript import Transcript
from protocol.errors import DisputeError, ProtocolError, TermsError
from protocol.settlement import record
from protocol.settlement.dispute.game import Game
from protocol.settlement.dispute.spends import Spend, signed_by_label, spends_of
from protocol.settlement.graph import Graph
from protocol.settlement.knowledge import Knowledge
from protocol.settlement.lifecycle import Placed, Position, field_of, prover_of
from protocol.settlement.messages import Event, Keep, Note, Retrace
from protocol.settlement.path import SpendPath
from protocol.settlement.patience import Due, feerate_sat_vb
from protocol.settlement.policy import Policy
from protocol.settlement.presign import assemble
from protocol.settlement.reading import Reader
from protocol.settlement.spending import Taken, fresh_tx
from protocol.settlement.terms import Role
from protocol.settlement.turn import Turn
from protocol.settlement.view import View


@dataclass(frozen=True, slots=True)
class Dispute:
    """The game about a claim on the chain, for a person."""

    prover: Role
    wait: Wait
    """What its newest output waits for."""
    turn: Role | None = None
    """Whose move that is, None when it is over;"""
    until_height: int | None = None
    """and the last block that may hold it and not yet the end of the wait for it."""
    digits: tuple[int, ...] = ()
    """The children that the challenger has picked so far, of 4 each, from the root down;"""
    step: int | None = None
    """together they are the disputed step."""
    fault: Fault | None = None
    """What it ended on."""
    leaf: str = ""
    """The way that ended it: ``holder:ROM``, ``holder:TIMEOUT``, ``holder:SETTLE_execute`` .."""
    winner: Role | None = None


class Disputing:
    """One side of the dispute about a claim on the chain, its own or the other side's."""

    def __init__(
        self,
        knowledge: Knowledge,
        policy: Policy,
        guard: OneTimeGuard,
        entropy: Callable[[int], bytes],
        strategy: Strategy,
    ) -> None:
        self._knowledge = knowledge
        self._policy = policy
        self._guard = guard
        self._entropy = entropy
        self._strategy = strategy
        self._histories: dict[bytes, History] = {}
        self.asked: frozenset[bytes] = frozenset()
        """What is being traced, or was."""
        self._games: list[tuple[bytes, Game]] = []
        self._last: Placed
        """The newest transaction of the game in a block, once there is one."""
        self._unread = ""
        """Why the game is not known to its end;"""
        self._told: set[str] = set()
        """and all of that kind that was told."""
        self._made: dict[tuple[bytes, int], CTransaction] = {}
        self._since: dict[str, int] = {}
        """The height at which each transaction became due that is due now."""

    # What it knows

    def look(self, position: Position, view: View) -> Game | None:
        """The game as blocks show it; None while nobody claims, and where blocks hold what this
        party finds no leaf for: then it says nothing more, and does the rest of its work."""
        prover = prover_of(position.in_blocks)
        self._unread = ""
        if prover is None:
            self._games = []
            return None
        reader, game = Reader(self._graph), Game.of(self._graph.contract.courses[prover])
        shown = list(self._shown(position.in_blocks, view))
        self._last = position.in_blocks.path[-1]
        for number, tx in enumerate(shown):
            if number < len(self._games) and self._games[number][0] == wtxid(tx):
                game = self._games[number][1]
                continue
            seen = reader.read(tx)
            assert seen is not None, "what spends the contract by a leaf is read"
            try:
                game = game.after(seen)
            except ProtocolError as error:
                del self._games[number:]
                self._unread = f"{seen.move or seen.way.name} in a block: {error}"
                return None
            self._games[number:] = [(wtxid(tx), game)]
        del self._games[len(shown) :]
        return game

    def _shown(self, position: Position, view: View) -> Iterator[CTransaction]:
        """The transactions of the game, each as it was kept first; REFUTE follows ASSERT."""
        facts = self._knowledge.facts
        kept = dict(reversed((*facts.seen, *facts.said)))
        for placed in position.path[1:]:
            yield kept.get(placed.name, placed.tx)
            if re.fullmatch(r"ASSERT_\d+", field_of(placed.name)):
                seen = view.spender(outpoint(txid(placed.tx), 1))
                taken = seen is not None and txid(seen.tx) in self._graph.names
                if seen is not None and seen.block is not None and not taken:
                    yield seen.tx

    @property
    def shown(self) -> Dispute | None:
        """As of the last look."""
        if not self._games:
            return None
        game = self._games[-1][1]
        owed = None if self._unread else game.play.turn
        outcome = game.play.outcome
        turn = None if owed is None else game.role(owed)
        return Dispute(
            prover=game.course.prover,
            wait=game.play.wait,
            turn=turn,
            until_height=None if turn is None else Turn(game, self._last, turn).until,
            digits=game.play.said.digits,
            step=game.step,
            fault=None if outcome is None else outcome.fault,
            leaf=game.leaf,
            winner=None if outcome is None else game.role(outcome.winner),
        )

    def ask(self, game: Game | None) -> list[Retrace | Note]:
        """Retrace, once: as challenger what KICKOFF published, as prover what is challenged. Or
        what it cannot read, once."""
        if self._unread and self._unread not in self._told:
            self._told.add(self._unread)
            return [Note(Event.REFUSED, self._unread)]
        if game is None or game.play.wait in (Wait.INPUT, Wait.OVER):
            return []
        unchallenged = game.play.wait is Wait.WINDOW
        data = game.data
        if (unchallenged and self._proves(game)) or data in self.asked:
            return []
        self.asked |= {data}
        return [Retrace(data)]

    def retraced(self, data: bytes, history: History) -> None:
        """Knows the honest trace of ``data``. TermsError for one of another shape."""
        chain = self._knowledge.terms.chain
        if (history.log4_steps, history.width) != (chain.log4_steps, chain.width):
            raise TermsError(
                f"a trace of 4^{history.log4_steps} steps and hashes of {history.width} bytes:"
                f" these terms want 4^{chain.log4_steps} and {chain.width}"
            )
        self.asked |= {data}
        self._histories[data] = history

    # What it says

    def answer(self, game: Game | None, position: Position, view: View) -> list[Keep]:
        """Signs and keeps this party's next transactions, where it has to move and none is kept.

        GuardError if it has said something else before.
        """
        turn = self._turn(game, position)
        if turn is None or not self._speaks(turn) or self._said(turn) is not None:
            return []
        history = self._histories.get(turn.game.data)
        if history is None or view.height < turn.since(self._policy):
            return []
        move = self._move(turn, history)
        made = [] if move is None else list(self._signed(turn, move))
        return [self._knowledge.keep(record.said(name, tx)) for name, tx in made]

    def due(self, game: Game | None, position: Position, view: View) -> list[Due]:
        """What belongs in the mempool by now: what this party has kept for its turn, and what the
        other side's silence allows."""
        turn = self._turn(game, position)
        wanted = [] if turn is None else list(self._wanted(turn, position, view))
        self._since = {name: self._since.get(name, view.height) for name, _, _ in wanted}
        return [self._due(name, tx, left, view) for name, tx, left in wanted]

    def _wanted(
        self, turn: Turn, position: Position, view: View
    ) -> Iterator[tuple[str, CTransaction, int | None]]:
        """Each with how many of the next blocks may hold it, None for any."""
        said = self._said(turn) if self._speaks(turn) else None
        if said is not None and turn.opens(view):
            yield *said, turn.left(view)
        ending = self._ending(turn, view)
        rival = _rival(position)
        if ending is None or (rival is not None and rival.name != ending.way):
            return
        parent = self._graph.move(ending.move)
        if ending.output is None:
            yield ending.move, assemble(parent, self._knowledge.signatures), None
        else:
            taken = Taken.of(parent, ending.output, ending.way, {})
            yield ending.way, self._alone(taken, self._base_sat_vb), None

    def _turn(self, game: Game | None, position: Position) -> Turn | None:
        if game is None or game.play.wait is Wait.OVER:
            return None
        return Turn(game, position.in_blocks.path[-1], self._knowledge.role)

    def _speaks(self, turn: Turn) -> bool:
        return turn.speaks and not self._strategy.silent(turn.play)

    def _said(self, turn: Turn) -> tuple[str, CTransaction] | None:
        """What this party has kept for this turn."""
        point = outpoint_key(turn.point)
        said = self._knowledge.facts.said
        return next(((n, tx) for n, tx in said if outpoint_key(tx.vin[0].prevout) == point), None)

    def _move(self, turn: Turn, history: History) -> Move | None:
        if self._proves(turn.game):
            return self._strategy.prover(turn.play, history, turn.game.data)
        return self._strategy.challenger(turn.play, history)

    def _signed(self, turn: Turn, move: Move) -> Iterator[tuple[str, CTransaction]]:
        """What says ``move``, in its order: nothing if no leaf is for it."""
        game, knowledge = turn.game, self._knowledge
        try:
            spends = spends_of(game.course, turn.play, move)
        except DisputeError:  # a liar's: Script would refuse it
            return
        values = signed_by_label(game.course, *said_after(turn.play, move))
        for spend in spends:
            labels = [message.label for message in self._way(spend).messages]
            own = {label: values[label] for label in labels if label.role == knowledge.role.value}
            messages = {**game.heard, **knowledge.one_time.sign(own, self._guard)}
            parent = self._graph.move(spend.move)
            if spend.output is None:
                both, way, hints = knowledge.signatures, spend.way, spend.hints
                yield spend.move, assemble(parent, both, messages, way=way, hints=hints)
            else:
                taken = Taken.of(parent, spend.output, spend.way, messages, spend.hints)
                yield spend.way, self._alone(taken, self._base_sat_vb)

    def _ending(self, turn: Turn, view: View) -> Spend | None:
        """What the next block may hold because the other side stayed silent."""
        spend = turn.ending
        if spend is None or not turn.last.opens(self._way(spend).blocks, view):
            return None
        if turn.speaks and turn.play.wait is Wait.WINDOW and not self._concedes(turn):
            return None
        return spend

    def _concedes(self, turn: Turn) -> bool:
        """Whether this party, as challenger, finds the claim true."""
        history = self._histories.get(turn.game.data)
        return history is not None and self._strategy.challenger(turn.play, history) is None

    def _way(self, spend: Spend) -> SpendPath:
        move = self._graph.move(spend.move)
        return (
            move.way(spend.way)[1]
            if spend.output is None
            else move.locks[spend.output].path(spend.way)
        )

    # What is paid for it

    def _due(self, name: str, tx: CTransaction, left: int | None, view: View) -> Due:
        """``tx`` at what it should pay by now: through a child, or signed again."""
        chain, waited = self._knowledge.terms.chain, view.height - self._since[name]
        if name in self._graph.moves:
            own = chain.feerate_sat_vb
            return Due(name, tx, feerate_sat_vb(self._policy, chain, own, waited, left))
        base = self._base_sat_vb
        rate = feerate_sat_vb(self._policy, chain, base, waited, left)
        rate = max(rate, self._outbidding(tx, view))
        again = rate > base
        return Due(name, self._alone(Taken.again(self._graph, tx), rate) if again else tx)

    def _outbidding(self, tx: CTransaction, view: View) -> int:
        """The fee rate at which nodes prefer ``tx`` to a pre-signed one that waits in their
        mempool and spends the same (BIP125, rules 3 and 4); 0 without one."""
        rival = view.spender(tx.vin[0].prevout)
        name = None if rival is None else self._graph.names.get(txid(rival.tx))
        return 0 if name is None else -(-self._graph.move(name).fee_sats // vsize(tx)) + 1

    def _alone(self, taken: Taken, rate: int) -> CTransaction:
        """What takes it at this fee rate, or at the highest that it pays for; signed once."""
        knowledge = self._knowledge
        rate = min(rate, taken.most_sat_vb(knowledge.terms.party(knowledge.role).script))
        key = outpoint_key(taken.coin.outpoint), rate
        if key not in self._made:
            aux = self._entropy(32)
            self._made[key] = fresh_tx(
                knowledge.terms, knowledge.role, [taken], knowledge.keys, aux, rate
            )
        return self._made[key]

    @property
    def _base_sat_vb(self) -> int:
        return self._policy.fresh_feerate_sat_vb(self._knowledge.terms.chain)

    # What it knows of itself

    def _proves(self, game: Game) -> bool:
        return game.course.prover is self._knowledge.role

    @property
    def _graph(self) -> Graph:
        assert self._knowledge.graph is not None, "the contract is funded"
        return self._knowledge.graph


def _rival(position: Position) -> Placed | None:
    """What only the mempool shows behind the last block."""
    return next((placed for placed in position.path if not placed.confirmed), None)


def said_after(play: Play, move: Move) -> tuple[Transcript, Assertion | None]:
    """What was said and asserted with ``move``, whether or not a leaf accepts it."""
    if isinstance(move, Execute):
        return replace(play.said, fragment=move.fragment), None
    if isinstance(move, Assertion):
        return play.said, move
    try:
        after = play.apply(move)
    except DisputeError:
        return play.said, play.assertion
    return after.said, after.assertion
