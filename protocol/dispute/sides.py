"""How each side plays: its next move from its own trace, or None to let it pass.

The two know nothing of each other but the confirmed moves. Pure: after a restart the same state and
trace give the same move again. A ``Strategy`` is everything in which a liar differs from HONEST.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from protocol.dispute.claim import FAN, Party, base4_number
from protocol.dispute.fragment import fragment_of
from protocol.dispute.play import (
    Challenge,
    Execute,
    Kickoff,
    Move,
    Pick,
    Play,
    Publish,
    Reveal,
    RevealBlock,
    Take,
    Wait,
)
from protocol.dispute.rules import History, charges, refutation
from riscv_vm.isa import HALT
from riscv_vm.record import BLOCK_RECORDS
from riscv_vm.tree import Tree


def prover_move(play: Play, history: History, data: bytes) -> Move | None:
    """P's honest move; ``history`` is the trace of the input ``data``. None if C has to move."""
    if play.turn is not Party.PROVER:
        return None
    match play.wait:
        case Wait.INPUT:
            parts = play.premises.layout.published(data)
            number = len(play.said.published)
            last = number == len(parts) - 1
            return Kickoff(parts[number], history.root) if last else Publish(parts[number])
        case Wait.NODES:
            level, first = play.node
            a, b, c, d = (history.node(level, first + child) for child in range(FAN))
            return Reveal((a, b, c, d))
        case Wait.RECORDS:
            return RevealBlock(history.block(play.block))
        case Wait.EXECUTE:
            return Execute(fragment_of(history.step(base4_number(play.said.digits))))
    assert play.assertion is not None
    return refutation(play.premises, play.said, play.assertion, history)


def challenger_move(play: Play, history: History) -> Move | None:
    """C's honest move; ``history`` is the honest trace of the published input.

    None if P has to move, and where there is nothing to challenge or to convict.
    """
    match play.wait:
        case Wait.WINDOW:
            return None if agrees(play, history) else Challenge()
        case Wait.DIGIT:
            return Pick(_digit(play, history))
        case Wait.VERDICT:
            return next(iter(charges(play.premises, play.said, history)), None)
        case Wait.TAKE:
            return Take()
    return None


def agrees(play: Play, history: Tree) -> bool:
    """Is the claim true: the honest root, of a trace that ends in HALT?"""
    last = play.premises.steps - 1
    end = history.block(last // BLOCK_RECORDS)[last % BLOCK_RECORDS]
    return play.said.root == history.root and end.next_pc == HALT


def _digit(play: Play, history: Tree) -> int:
    """The leftmost of P's newest nodes or records that is not C's own, 3 if none."""
    said = play.said
    if said.records is not None:
        return differing(said.records, history.block(play.block))
    level, first = play.node
    ours = [history.node(level, first + child) for child in range(FAN)]
    return differing(said.rounds[-1], ours)


def differing(theirs: Sequence[object], ours: Sequence[object]) -> int:
    """The place of the leftmost of four nodes or records that differs, 3 if none does."""
    return next((i for i in range(FAN) if theirs[i] != ours[i]), FAN - 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Strategy:
    """What one side says in a dispute. Equal arguments must give equal answers: a party asks again
    after a restart.

    ``claim`` and ``root`` are asked when this side claims, ``prover`` from CHALLENGE on; what is no
    move of the game is said all the same, and refused by Bitcoin.
    """

    prover: Callable[[Play, History, bytes], Move | None] = prover_move
    """Its move as P; ``History`` is the machine's honest trace of the input that it published."""
    challenger: Callable[[Play, History], Move | None] = challenger_move
    """Its move as C; None in WINDOW concedes the claim, elsewhere it lets the window pass."""
    claim: Callable[[bytes], bytes] = lambda data: data
    """What it publishes as the machine's whole input, from the true one; of equal length, and equal
    in what the terms fix."""
    root: Callable[[bytes, bytes], bytes] = lambda data, root: root
    """The root that it publishes for the input ``data``, whose honest trace has ``root``."""
    silent: Callable[[Play], bool] = lambda play: False
    """Whether it says nothing more while the game waits for this."""


HONEST: Final = Strategy()
