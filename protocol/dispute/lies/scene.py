"""What a lie is made of: the dispute's premises, the trace that is told about, and chance.

Nothing here copies a trace of millions of steps. A liar looks up what it needs, and ``Retold``
overrides the nodes on the way of the records that it forges.
"""

from collections.abc import Callable, Mapping, MutableSequence, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol, TypeVar

from protocol.dispute.fragment import Fragment, Stepped, fragment_of
from protocol.dispute.opening import hash_block
from protocol.dispute.premises import Premises
from protocol.dispute.rules import History
from riscv_vm.forge import Forgery
from riscv_vm.record import BLOCK_RECORDS, Block, Record
from riscv_vm.tree import join, root_level

T = TypeVar("T")


class Chance(Protocol):
    """As much of ``random.Random`` as a liar rolls; who calls it, seeds it."""

    def random(self) -> float: ...
    def randrange(self, start: int, stop: int, /) -> int: ...
    def getrandbits(self, bits: int, /) -> int: ...
    def randbytes(self, size: int, /) -> bytes: ...
    def choice(self, items: Sequence[T], /) -> T: ...
    def sample(self, items: Sequence[T], count: int, /) -> list[T]: ...
    def shuffle(self, items: MutableSequence[T], /) -> None: ...


class Past(History, Protocol):
    """A trace in which every word of every step can be looked up (``riscv_vm.trace.Trace``)."""

    @property
    def steps(self) -> int:
        """How many ran, the one that reached the sentinel included."""
        ...

    def value(self, address: int, before: int) -> int:
        """The word at ``address`` before step ``before``; 0 where there is none."""
        ...

    def writer(self, address: int, before: int) -> int:
        """The last step before ``before`` that wrote it; NEVER if none did."""
        ...


Trace = Callable[[bytes, Forgery | None], Past]
"""The machine's trace of an input, with one wrong step in it if there is a forgery."""


Dice = Callable[[str], Chance]
"""Chance for a purpose: the same purpose rolls the same."""

_NEAR: Final = 40
_EARLY: Final = 4_000
"""How far around a step, and from the first one on, a liar looks for an occasion."""


@dataclass(frozen=True, slots=True)
class Scene:
    """A claim, and the machine that a liar runs on it or on another one.

    ``data`` is the machine's whole input and true; ``false_data`` claims more than is due.
    """

    premises: Premises
    data: bytes
    false_data: bytes
    trace: Trace = field(repr=False)

    @property
    def past(self) -> Past:
        """The honest trace of ``data``."""
        return self.trace(self.data, None)

    def fragment(self, index: int) -> Fragment:
        """The honest fragment of a step."""
        return fragment_of(self.past.step(index))


def nearest(scene: Scene, step: int, fits: Callable[[int], T | None]) -> tuple[int, T] | None:
    """What ``fits`` finds at ``step``, near it or at an early step, and where; None if nothing."""
    after, before = range(step, step + _NEAR), range(step - 1, step - _NEAR, -1)
    for index in (*after, *before, *range(_EARLY)):
        if 0 <= index < scene.premises.steps and (found := fits(index)) is not None:
            return index, found
    return None


def record_at(history: History, step: int) -> Record:
    """The record of one step."""
    return history.block(step // BLOCK_RECORDS)[step % BLOCK_RECORDS]


class Retold:
    """A trace with some records replaced, and so the nodes above them: nothing else is copied.

    Its steps are the honest ones: what a machine that came there should have done.
    """

    def __init__(self, past: History, records: Mapping[int, Record]) -> None:
        """``records`` by step, each below N."""
        self.log4_steps, self.width = past.log4_steps, past.width
        self._past = past
        self._blocks: dict[int, Block] = {}
        for index in {step // BLOCK_RECORDS for step in records}:
            first, honest = BLOCK_RECORDS * index, past.block(index)
            a, b, c, d = (records.get(first + n, honest[n]) for n in range(BLOCK_RECORDS))
            self._blocks[index] = (a, b, c, d)
        level = {index: hash_block(block, self.width) for index, block in self._blocks.items()}
        self._levels = [level]
        for height in range(root_level(self.log4_steps)):
            pairs = {index >> 1 for index in level}
            level = {
                pair: join(self.node(height, 2 * pair), self.node(height, 2 * pair + 1))
                for pair in pairs
            }
            self._levels.append(level)

    @property
    def root(self) -> bytes:
        return self.node(root_level(self.log4_steps), 0)

    def node(self, level: int, index: int) -> bytes:
        """The node ``index`` of ``level``; IndexError outside the tree."""
        known = self._levels[level].get(index)
        return self._past.node(level, index) if known is None else known

    def block(self, index: int) -> Block:
        """The records of steps 4 * index to 4 * index + 3; IndexError outside the tree."""
        return self._blocks.get(index) or self._past.block(index)

    def step(self, index: int) -> Stepped:
        return self._past.step(index)
