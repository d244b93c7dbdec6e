"""A lying prover: honest but for what it forges, tampers with or keeps to itself.

liar = Liar(scene)                          what it claims is true, and it tells the truth
liar = liar.forged(step, fragment, record)  one false record, and how it is defended
liar.strategy                               for a party
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from protocol.dispute.claim import base4_number
from protocol.dispute.fragment import Fragment, fragment_of
from protocol.dispute.lies.scene import Past, Retold, Scene
from protocol.dispute.play import Execute, Kickoff, Move, Play, Reveal, RevealBlock, Wait
from protocol.dispute.rules import History
from protocol.dispute.sides import Strategy, prover_move
from protocol.dispute.transcript import Nodes
from riscv_vm.forge import Forgery
from riscv_vm.image import ImageError
from riscv_vm.isa import HALT
from riscv_vm.record import Block, Record

TamperNodes = Callable[[Play, Nodes], Nodes]
"""What is revealed instead of the four nodes of its trace; equal arguments, equal answers."""
TamperBlock = Callable[[Play, Block], Block]
Moment = tuple[Wait, int]
"""What the game waits for, and how many digits were picked; for INPUT how many parts are out."""


def moment_of(play: Play) -> Moment:
    """Where the game is."""
    said = play.said
    return play.wait, len(said.published if play.wait is Wait.INPUT else said.digits)


@dataclass(frozen=True, slots=True)
class Liar:
    """What a prover commits to and shows; without any lie, an honest one.

    ``records`` and ``fragments`` are by step. ``instead`` is the trace of another input, which it
    tells about this one; ``goes_on``: after the first false record the machine runs on from it.
    """

    scene: Scene
    records: Mapping[int, Record] = field(default_factory=dict)
    fragments: Mapping[int, Fragment] = field(default_factory=dict)
    instead: Past | None = None
    goes_on: bool = False
    root: bytes | None = None
    nodes: Mapping[int, TamperNodes] = field(default_factory=dict)
    """By round, from 1."""
    block: TamperBlock | None = None
    silent: Moment | None = None
    told: History = field(init=False, repr=False, compare=False)
    """The trace that it commits to."""

    def __post_init__(self) -> None:
        told: History = self.instead or self._own()
        if self.records:
            told = Retold(told, self.records)
        object.__setattr__(self, "told", told)

    def forged(self, step: int, fragment: Fragment, record: Record) -> "Liar":
        """With ``record`` committed at a step, and ``fragment`` shown there."""
        records, fragments = {**self.records, step: record}, {**self.fragments, step: fragment}
        return replace(self, records=records, fragments=fragments)

    def tampered(self, turn: int, tamper: TamperNodes) -> "Liar":
        """With other nodes in round ``turn``."""
        return replace(self, nodes={**self.nodes, turn: tamper})

    @property
    def true(self) -> bool:
        """Whether all that it claims is true: then nobody challenges it."""
        past = self.scene.past
        last = past.block(self.scene.premises.steps // 4 - 1)[-1]
        return last.next_pc == HALT and (self.root or self.told.root) == past.root

    @property
    def strategy(self) -> Strategy:
        """The liar as a party plays it."""
        return Strategy(
            prover=lambda play, _history, _data: self.move(play),
            claim=lambda _: self.scene.data,
            root=lambda _data, _root: self.root or self.told.root,
            silent=lambda play: moment_of(play) == self.silent,
        )

    def move(self, play: Play) -> Move | None:
        """Its move; None is silence."""
        if moment_of(play) == self.silent:
            return None
        if play.wait is Wait.EXECUTE:
            index = base4_number(play.said.digits)
            return Execute(self.fragments.get(index) or fragment_of(self.told.step(index)))
        move = prover_move(play, self.told, self.scene.data)
        if isinstance(move, Kickoff):
            return replace(move, root=self.root or move.root)
        if isinstance(move, Reveal) and (tamper := self.nodes.get(len(play.said.digits) + 1)):
            return Reveal(tamper(play, move.nodes))
        if isinstance(move, RevealBlock) and self.block is not None:
            return RevealBlock(self.block(play, move.records))
        return move

    def _own(self) -> Past:
        """The machine's trace of what is claimed, run on from the first false record if it can."""
        scene = self.scene
        if self.goes_on and self.records:
            first = min(self.records)
            try:
                return scene.trace(scene.data, Forgery(first, self.records[first]))
            except ImageError:  # it leads to no state of the machine
                return scene.past
        return scene.past
