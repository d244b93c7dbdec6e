"""The bisection game with a referee, from a claimed root down to one step (dispute.md 3).

A trace of N = 4^k steps is committed as a binary tree over N/4 blocks of four records. The prover P
reveals the four grandchildren of the current node, the challenger C answers with the digit of the
leftmost one that differs from its own (3 if none differs); after k - 1 such rounds P reveals the
four records of one block and C picks one. The k base-4 digits are the index of the disputed step.

`Game` is what both sides and the referee know: every transition returns a new one, and every answer
is checked when it arrives, so that a malformed or inconsistent one ends the game at once. The same
game without a referee, as Bitcoin judges it, is protocol.dispute.play.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from protocol.dispute.claim import FAN, Claim, Fault, Party, base4_number
from protocol.errors import DisputeError
from protocol.units import U32_MAX
from riscv_vm.record import Record, encode_block
from riscv_vm.tree import Tree, block_node, subtree

__all__ = ["FAN", "Claim", "Fault", "Game", "Party", "Verdict", "answer", "choose", "differing"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """Who won and why. ``step`` is None when the game ended above a single step."""

    winner: Party
    fault: Fault
    reason: str
    rounds: int
    step: int | None = None
    instruction: str | None = None


@dataclass(frozen=True, slots=True)
class Game:
    """The state of one dispute: C's digits so far and P's newest answer."""

    claim: Claim
    node: bytes
    digits: tuple[int, ...] = ()
    children: tuple[bytes, ...] | None = None
    records: tuple[Record, ...] | None = None
    verdict: Verdict | None = None

    @classmethod
    def start(cls, claim: Claim) -> Game:
        """The game in which C has just challenged ``claim``."""
        return cls(claim, claim.root)

    @property
    def turn(self) -> Party | None:
        """Whose move it is; None when there is a verdict or one disputed step is left to judge."""
        if self.verdict is not None or self.step is not None:
            return None
        answered = self.children is not None or self.records is not None
        return Party.CHALLENGER if answered else Party.PROVER

    @property
    def at_block(self) -> bool:
        """True when P's next answer is four records, not four nodes."""
        return len(self.digits) == self.claim.log4_steps - 1

    @property
    def step(self) -> int | None:
        """The disputed step, once all k digits are known."""
        return self.index if len(self.digits) == self.claim.log4_steps else None

    @property
    def index(self) -> int:
        """The digits so far as one base-4 number: the current node's place in its level."""
        return base4_number(self.digits)

    @property
    def level(self) -> int:
        """The level of the four nodes that P reveals next (0 = blocks)."""
        return 2 * (self.claim.log4_steps - 2 - len(self.digits))

    @property
    def disputed(self) -> Record:
        """P's record of the disputed step."""
        if self.step is None or self.records is None:
            raise DisputeError("the game has not come down to one step yet")
        return self.records[self.digits[-1]]

    def reveal(self, children: Sequence[bytes]) -> Game:
        """P reveals the four grandchildren of the current node."""
        self._expect(Party.PROVER, at_block=False)
        nodes, width = _tuple(children), self.claim.width
        if len(nodes) != FAN or any(type(n) is not bytes or len(n) != width for n in nodes):
            raise DisputeError(f"an answer is {FAN} nodes of {width} bytes")
        if subtree(nodes) != self.node:
            return self._lost(Fault.NODE, "the four grandchildren do not hash to their parent")
        return replace(self, children=nodes)

    def reveal_records(self, records: Sequence[Record]) -> Game:
        """P reveals the four records of the current block."""
        self._expect(Party.PROVER, at_block=True)
        block = _tuple(records)
        if len(block) != FAN or not all(map(_is_record, block)):
            raise DisputeError(f"a block is {FAN} records of three 32-bit words")
        if block_node(encode_block(block), self.claim.width) != self.node:
            return self._lost(Fault.BLOCK, "the four records do not hash to their block node")
        return replace(self, records=block)

    def pick(self, digit: int) -> Game:
        """C picks a child or a record."""
        if self.turn is not Party.CHALLENGER:
            raise DisputeError("it is not the challenger's move")
        if type(digit) is not int or digit not in range(FAN):
            raise DisputeError(f"a digit is 0 to {FAN - 1}, not {digit}")
        node = self.node if self.children is None else self.children[digit]
        return replace(self, digits=(*self.digits, digit), node=node, children=None)

    def timeout(self) -> Game:
        """The side whose move it is did not answer in time and loses."""
        if self.turn is None:
            raise DisputeError("nobody has to move")
        winner = Party.CHALLENGER if self.turn is Party.PROVER else Party.PROVER
        reason = f"the {self.turn} did not answer in time"
        return replace(self, verdict=Verdict(winner, Fault.TIMEOUT, reason, len(self.digits)))

    def _expect(self, party: Party, at_block: bool) -> None:
        if self.turn is not party or self.at_block is not at_block:
            raise DisputeError(f"it is not the move for {'records' if at_block else 'nodes'}")

    def _lost(self, fault: Fault, reason: str) -> Game:
        verdict = Verdict(Party.CHALLENGER, fault, reason, len(self.digits))
        return replace(self, verdict=verdict)


def _tuple(items: object) -> tuple[Any, ...]:
    """What the other side sent, which may be anything, as a tuple; empty if it is no sequence."""
    return tuple(items) if isinstance(items, Sequence) else ()


def _is_record(item: object) -> bool:
    words = item if isinstance(item, Record) else ()
    return bool(words) and all(type(word) is int and 0 <= word <= U32_MAX for word in words)


def answer(game: Game, trace: Tree) -> Game:
    """P's honest answer in ``game`` from its own ``trace``."""
    if game.at_block:
        return game.reveal_records(trace.block(game.index))
    first = FAN * game.index
    return game.reveal([trace.node(game.level, first + i) for i in range(FAN)])


def choose(game: Game, trace: Tree) -> int:
    """C's digit: the leftmost of P's children (or records) that differs from its own, else 3."""
    if game.turn is not Party.CHALLENGER:
        raise DisputeError("it is not the challenger's move")
    if game.records is not None:
        theirs: Sequence[object] = game.records
        ours: Sequence[object] = trace.block(game.index)
    else:
        assert game.children is not None
        first = FAN * game.index
        theirs = game.children
        ours = [trace.node(game.level, first + i) for i in range(FAN)]
    return differing(theirs, ours)


def differing(theirs: Sequence[object], ours: Sequence[object]) -> int:
    """The place of the leftmost of four nodes or records that differs, 3 if none does."""
    return next((i for i in range(FAN) if theirs[i] != ours[i]), FAN - 1)
