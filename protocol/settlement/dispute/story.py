"""What the chain tells about one contract: its transactions in order, and what each says.

Everything is read from blocks and from the graph, which follows from the terms, both public bundles
and FUND's outpoint: no journal of a party, no secret.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from bitcoin.core import COutPoint, CTransaction

from protocol.bitcoin.script import parse_number
from protocol.bitcoin.tx import outpoint, outpoint_key, txid, witness_stack
from protocol.crypto.winternitz import Label
from protocol.dispute.play import Move, Play, Take, Wait
from protocol.errors import DisputeError
from protocol.settlement.dispute.leaf import LeafPath
from protocol.settlement.dispute.reading import assertion_of, move_of
from protocol.settlement.dispute.shown import shown_by
from protocol.settlement.graph import Graph
from protocol.settlement.lifecycle import field_of
from protocol.settlement.move import FUND
from protocol.settlement.onetime import SignedMessage
from protocol.settlement.path import SpendPath
from protocol.settlement.reading import Reader, Seen, name_of
from protocol.settlement.terms import Role
from protocol.settlement.view import Seen as SeenTx
from protocol.settlement.view import View


@dataclass(frozen=True, slots=True)
class Act:
    """A transaction of the contract on the chain; ``height`` is None in the mempool."""

    name: str
    """FUND, CLOSE, or the way that it takes: ``holder:REVEAL_3``, ``holder:RECORD_2``."""
    tx: CTransaction
    height: int | None
    parent: str = ""
    """The move whose output it spends; empty for FUND."""
    move: str | None = None
    """The pre-signed transaction that it is; None for one that a party signed alone."""
    way: SpendPath | None = None
    """None for FUND and for CLOSE by key path."""
    messages: Mapping[Label, SignedMessage] | None = None
    hints: tuple[int, ...] = ()
    """The numbers in its witness that nobody signed, bottom to top."""
    says: Move | None = None
    """The move of the game; None for one that says none."""
    before: Play | None = None
    after: Play | None = None
    """The game before and after it; None where nobody claims."""
    objection: str = ""
    """Why the rules of the game refuse what the chain holds; empty, as it should be."""

    @property
    def field(self) -> str:
        """The name behind its direction."""
        return field_of(self.name)


@dataclass(frozen=True, slots=True)
class Story:
    """Every transaction of a contract that the chain shows, oldest first."""

    graph: Graph
    prover: Role | None
    """Whose claim it is; None while nobody claims."""
    acts: tuple[Act, ...]

    @property
    def play(self) -> Play | None:
        """The game now; None while nobody claims."""
        return next((act.after for act in reversed(self.acts) if act.after is not None), None)

    def act(self, name: str) -> Act | None:
        """The newest of that name."""
        return next((act for act in reversed(self.acts) if act.name == name), None)


def story_of(graph: Graph, view: View) -> Story:
    """What ``view`` shows of ``graph``; SignatureError for a witness that Script would refuse."""
    reader, heard = Reader(graph), dict[Label, SignedMessage]()
    prover: Role | None = None
    play: Play | None = None
    acts = []
    for act in _in_order(graph, view):
        seen = reader.read(act.tx)
        if seen is None:
            acts.append(act)
            continue
        act = _read(act, seen)
        if prover is None and seen.parent == FUND and seen.move is not None:
            prover = graph.move(seen.move).prover
            play = None if prover is None else Play(graph.contract.courses[prover].premises)
        if prover is not None and play is not None:
            act = _played(graph, prover, act, seen, heard, play)
            play = act.after
        heard |= seen.messages
        acts.append(act)
    return Story(graph, prover, tuple(acts))


def _in_order(graph: Graph, view: View) -> list[Act]:
    """FUND and all that follows from it by locked outputs, by height; the mempool comes last."""
    acts: list[Act] = []
    waiting = [view.tx(bytes(graph.fund.hash))]
    known: set[bytes] = set()
    while waiting:
        seen = waiting.pop(0)
        if seen is None or txid(seen.tx) in known:
            continue
        known.add(txid(seen.tx))
        acts.append(_placed(graph, seen))
        # REFUTE spends the last output of an ASSERT, and decides about the first.
        waiting += [view.spender(point) for point in reversed(list(_locked(graph, seen.tx)))]
    last = view.height + 1
    return sorted(acts, key=lambda act: last if act.height is None else act.height)


def _placed(graph: Graph, seen: SeenTx) -> Act:
    height = None if seen.block is None else seen.block.height
    return Act(name_of(graph, seen.tx) or "", seen.tx, height)


def _locked(graph: Graph, tx: CTransaction) -> Iterator[COutPoint]:
    """The outputs of ``tx`` that the contract locks."""
    for number in range(len(tx.vout)):
        point = outpoint(txid(tx), number)
        if outpoint_key(point) in graph.locks:
            yield point


def _read(act: Act, seen: Seen) -> Act:
    """With what its first contract input shows."""
    way = seen.way
    name = way.name if seen.move is None or isinstance(way, LeafPath) else act.name
    hints = _hints(act.tx, way)
    return replace(
        act,
        name=name,
        parent=seen.parent,
        move=seen.move,
        way=way,
        messages=seen.messages,
        hints=hints,
    )


def _hints(tx: CTransaction, way: SpendPath) -> tuple[int, ...]:
    """The unsigned numbers of the input that takes ``way``: they lie above the signatures."""
    for number in range(len(tx.vin)):
        stack = witness_stack(tx, number)
        if way.leaf.script in stack:
            items = stack[len(way.signers) :][: way.hints]
            return tuple(map(parse_number, items))
    return ()


def _played(
    graph: Graph,
    prover: Role,
    act: Act,
    seen: Seen,
    heard: Mapping[Label, SignedMessage],
    play: Play,
) -> Act:
    """``act`` with what it says in the game, after what was ``heard``."""
    course = graph.contract.courses[prover]
    says = move_of(course, seen) or assertion_of(course, seen, heard)
    if says is None and seen.move is None and isinstance(seen.way, LeafPath):
        says = shown_by(course.premises, seen.way.template, act.hints)
    try:
        after = _after(play, act, says)
    except DisputeError as error:
        return replace(act, says=says, before=play, after=play, objection=str(error))
    return replace(act, says=says, before=play, after=after)


def _after(play: Play, act: Act, says: Move | None) -> Play:
    """The game once ``act`` is on the chain."""
    if isinstance(says, Take) and play.wait is Wait.REFUTE:
        play = play.expire()
    if says is not None:
        return play.apply(says)
    if act.field == "TIMEOUT" or act.field.startswith("SETTLE"):
        while play.outcome is None:
            play = play.expire()
    return play
