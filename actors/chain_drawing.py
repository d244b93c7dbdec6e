"""A contract as a tree of steps: what spent what, what may come next, and since or from when.

Steps are the pre-signed moves of a graph and whatever else its locks allow. Leaves that lead to one
transaction, and those that one party takes alone for a reason of the same kind, are one step. What
would follow in a dispute is only counted until somebody takes the step before it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import groupby
from typing import Final

from bitcoin.core import CTransaction

from actors.config import Chain
from protocol.bitcoin.tx import hash_hex, outpoint, txid, vsize, witness_stack
from protocol.settlement.graph import Graph
from protocol.settlement.move import FUND, Move
from protocol.settlement.path import Lock, SpendPath


class State(Enum):
    """Where a step stands on the chain."""

    CONFIRMED = "confirmed"
    WAITING = "in the mempool"
    POSSIBLE = "possible now"
    LATER = "not yet"
    GONE = "not possible any more"


@dataclass(frozen=True, slots=True)
class Seen:
    """A transaction of the contract that the chain knows."""

    name: str
    tx: CTransaction
    height: int | None
    """None in the mempool."""
    depth: int
    """Confirmations: 1 at the tip, 0 in the mempool."""


@dataclass(frozen=True, slots=True)
class Step:
    """One transaction, or the same way out of several outputs."""

    name: str
    state: State
    sats: int
    """What it spends; of FUND: what it locks."""
    when: str
    """Its time lock, in words."""
    notes: tuple[str, ...]
    seen: tuple[Seen, ...]
    then: tuple["Step", ...] = ()

    def walk(self, depth: int = 0) -> Iterator[tuple[int, "Step"]]:
        """Itself and all below it with their depths, from the top."""
        yield depth, self
        for step in self.then:
            yield from step.walk(depth + 1)


@dataclass(frozen=True, slots=True)
class _Place:
    """A transaction whose outputs are looked at; ``height`` is None unless it is in a block."""

    name: str
    txid: bytes
    state: State
    height: int | None
    disputed: bool = False
    """Whether it lies behind a challenge."""


def draw(graph: Graph, chain: Chain) -> Step:
    """FUND with everything below it, as ``chain`` knows it now."""
    return _Artist(graph, chain).fund()


class _Artist:
    def __init__(self, graph: Graph, chain: Chain) -> None:
        self._graph = graph
        self._chain = chain
        self._height = chain.height
        self._moves = {way.name: move for move, number, way in graph.ways() if number == 0}

    def fund(self) -> Step:
        contract, fund_id = self._graph.contract, bytes(self._graph.fund.hash)
        found = self._chain.tx(fund_id)
        seen = () if found is None else (self._seen(FUND, found.tx, fund_id),)
        state = _state_of(seen) or State.LATER
        place = _Place(FUND, fund_id, state, seen[0].height if seen else None)
        return Step(
            FUND,
            state,
            contract.value_sats,
            "when both have signed everything below",
            self._notes(seen),
            seen,
            self._below(place, (contract.lock,), int(self._graph.fund.n)),
        )

    def _below(self, place: _Place, locks: Sequence[Lock], first: int = 0) -> tuple[Step, ...]:
        """The steps out of these outputs; neighbours that open in the same ways are one."""
        numbered = enumerate(locks, first)
        steps: list[Step] = []
        for _, run in groupby(numbered, lambda one: [path.name for path in one[1].paths]):
            outputs = list(run)
            spends = [self._spend(place, n, lock) for n, lock in outputs]
            steps += [
                self._step(place, outputs, spends, name, ways)
                for name, ways in self._alike(outputs[0][1])
            ]
        return tuple(steps)

    def _alike(self, lock: Lock) -> list[tuple[str, list[SpendPath]]]:
        """The ways out of an output by the name of their step, in order."""
        found: dict[str, list[SpendPath]] = {}
        for way in lock.paths:
            move = self._moves.get(way.name)
            found.setdefault(_kind(way.name) if move is None else move.name, []).append(way)
        return list(found.items())

    def _step(
        self,
        place: _Place,
        outputs: Sequence[tuple[int, Lock]],
        spends: Sequence[tuple[str, Seen | None]],
        name: str,
        ways: Sequence[SpendPath],
    ) -> Step:
        move, path = self._moves.get(ways[0].name), ways[0]
        names = {way.name for way in ways}
        taken = [one for spent, one in spends if one is not None and spent in names]
        seen = tuple({txid(one.tx): one for one in taken}.values())
        state = _state_of(seen) or self._open(place, path, any(one is None for _, one in spends))
        notes = [f"{len(outputs)} outputs"] if len(outputs) > 1 else []
        if len(ways) > 1:
            notes.append(f"one of {len(ways)} leaves")
        if taken and len(outputs) > 1:
            notes.append(f"{len(taken)} of them taken")
        then: tuple[Step, ...] = ()
        if move is not None:
            notes += self._facts(move, bool(seen))
            then, more = self._behind(place, move, state, seen)
            notes += more
        return Step(
            name,
            state,
            self._held(place, outputs, move),
            self._when(place, path, state),
            (*notes, *self._notes(seen)),
            seen,
            then,
        )

    def _behind(
        self, place: _Place, move: Move, state: State, seen: Sequence[Seen]
    ) -> tuple[tuple[Step, ...], list[str]]:
        """The steps behind a move, or how many transactions of a dispute would be."""
        disputed = place.disputed or _kind(move.name).endswith(":CHALLENGE")
        if disputed and not seen:
            behind = self._count(move)
            if behind or state is State.GONE:
                return (), [f"{behind} more transactions behind it"] if behind else []
        height = seen[0].height if seen else None
        below = _Place(move.name, txid(move.tx), state, height, disputed)
        return self._below(below, move.locks), []

    def _count(self, move: Move) -> int:
        """The moves behind ``move``."""
        children = [child for child in self._graph.moves.values() if child.spends == move.name]
        return len(children) + sum(map(self._count, children))

    def _spend(self, place: _Place, n: int, lock: Lock) -> tuple[str, Seen | None]:
        """Which way an output was spent, and by what; ("", None) while it is not."""
        if place.state not in (State.CONFIRMED, State.WAITING):
            return "", None
        point = outpoint(place.txid, n)
        found = self._chain.spender(point)
        if found is None:
            return "", None
        index = next(i for i, vin in enumerate(found.tx.vin) if vin.prevout == point)
        stack = witness_stack(found.tx, index)
        code = stack[-2] if len(stack) > 1 else b""
        path = lock.spent_by(code) or lock.paths[0]  # by key path, the first way's other form
        name = path.name
        return name, self._seen(name, found.tx, found.txid)

    def _seen(self, name: str, tx: CTransaction, known: bytes) -> Seen:
        found = self._chain.tx(known)
        block = found.block if found is not None else None
        if block is None:
            return Seen(name, tx, None, 0)
        return Seen(name, tx, block.height, self._height - block.height + 1)

    def _open(self, place: _Place, path: SpendPath, free: bool) -> State:
        """The state of a way that nobody took."""
        if place.state is State.GONE or not free:
            return State.GONE
        ready = self._ready_height(place, path)
        return State.POSSIBLE if ready is not None and self._height + 1 >= ready else State.LATER

    def _ready_height(self, place: _Place, path: SpendPath) -> int | None:
        """The first block that may hold it; None while what it spends is in none."""
        if place.height is None:
            return None
        return max(place.height + max(path.blocks, 1), path.height + 1)

    def _when(self, place: _Place, path: SpendPath, state: State) -> str:
        locks = []
        if path.height:
            locks.append(f"above height {path.height}")
        if path.blocks:
            locks.append(f"{path.blocks} block{'s' * (path.blocks > 1)} after {place.name}")
        words = " and ".join(locks) or "at any time"
        ready = self._ready_height(place, path)
        if state is State.LATER and ready is not None:
            left = ready - self._height - 1
            words += f": in {left} block{'s' * (left > 1)}"
        return words

    def _held(self, place: _Place, outputs: Sequence[tuple[int, Lock]], move: Move | None) -> int:
        if move is not None:
            return sum(int(out.nValue) for out in move.spent)
        if place.name == FUND:
            return self._graph.contract.value_sats
        tx = self._graph.moves[place.name].tx
        return sum(int(tx.vout[n].nValue) for n, _ in outputs)

    def _facts(self, move: Move, seen: bool) -> list[str]:
        facts = [f"fee {move.fee_sats:,} sats"]
        if not seen:
            facts.append(f"up to {move.widest_vsize:,} vB")
        revealed = sorted({label.field for label in move.messages})
        if revealed:
            facts.append(f"reveals {', '.join(revealed)}")
        return facts

    def _notes(self, seen: Sequence[Seen]) -> tuple[str, ...]:
        notes = []
        for one in seen:
            place = "mempool" if one.height is None else f"block {one.height}, {one.depth} deep"
            notes.append(f"{hash_hex(txid(one.tx))[:16]}.. {place}, {vsize(one.tx):,} vB")
        return tuple(notes)


def _state_of(seen: Sequence[Seen]) -> State | None:
    if not seen:
        return None
    return State.WAITING if any(one.height is None for one in seen) else State.CONFIRMED


def _kind(name: str) -> str:
    """The step of what one party takes alone: of VERDICT and REFUTE the leaf is left out."""
    side, _, what = name.partition(":")
    kind, _, _ = what.partition("_")
    return f"{side}:{kind}" if kind in ("VERDICT", "REFUTE") else name


MARKS: Final = {
    State.CONFIRMED: "[x]",
    State.WAITING: "[~]",
    State.POSSIBLE: "[>]",
    State.LATER: "[ ]",
    State.GONE: "[-]",
}


def as_text(title: str, root: Step) -> str:
    """The tree for a terminal."""
    lines = [title, ""]
    lines += _lines(root, "", "")
    legend = "  ".join(f"{mark} {state.value}" for state, mark in MARKS.items())
    return "\n".join([*lines, "", legend])


def _lines(step: Step, own: str, below: str) -> Iterator[str]:
    yield f"{own}{MARKS[step.state]} {step.name}  {step.sats:,} sats, {step.when}"
    if step.notes:
        yield f"{below}{'|' if step.then else ' '}       {', '.join(step.notes)}"
    for number, child in enumerate(step.then, 1):
        last = number == len(step.then)
        yield from _lines(
            child, below + ("`-- " if last else "|-- "), below + ("    " if last else "|   ")
        )
