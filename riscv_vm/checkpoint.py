"""States of a run to continue from: what a chunk task carries, and the log that a trace keeps."""

from bisect import bisect_right
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Final, Protocol

MINIMUM_CAPACITY: Final = 48 << 20
_ENTRY_BYTES: Final = 512


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A machine before step ``step``: its registers and the memory pages written since the start.

    A page number counts pages of 4096 bytes in the machine's one memory array, which the image
    alone lays out. Page contents are immutable and shared between the checkpoints of a log.
    """

    step: int
    pc: int
    registers: bytes
    pages: dict[int, bytes]

    @property
    def digest(self) -> bytes:
        """32 bytes that are equal for equal states, whoever computed them."""
        hashed = blake2b(digest_size=32)
        hashed.update(self.step.to_bytes(8, "little") + self.pc.to_bytes(4, "little"))
        hashed.update(self.registers)
        for number in sorted(self.pages):
            hashed.update(number.to_bytes(4, "little"))
            hashed.update(self.pages[number])
        return hashed.digest()


class Source(Protocol):
    """The part of a machine that a log looks at."""

    steps: int

    @property
    def pc(self) -> int: ...

    @property
    def registers(self) -> bytes: ...

    def take_dirty(self) -> list[int]: ...

    def page(self, number: int) -> bytes: ...


class CheckpointLog:
    """Checkpoints in the order of their steps, each held as the pages written since the one before.

    A hostile program can write every page between any two. When the log outgrows its capacity it
    drops every second checkpoint, and from then on keeps half as many.
    """

    def __init__(self, interval: int, capacity: int) -> None:
        """At most one checkpoint every ``interval`` steps, about ``capacity`` bytes in all."""
        self._interval = interval
        self._capacity = capacity
        self._bytes = 0
        self._entries: list[Checkpoint] = []
        self._current: dict[int, bytes] = {}
        self._pending: dict[int, bytes] = {}

    def take(self, machine: Source) -> Checkpoint:
        """The machine's state; the log keeps it too at the multiples of its interval."""
        written = {number: machine.page(number) for number in machine.take_dirty()}
        self._current |= written
        self._pending |= written
        state = Checkpoint(machine.steps, machine.pc, machine.registers, dict(self._current))
        if state.step % self._interval == 0:
            entry = replace(state, pages=self._pending)
            self._entries.append(entry)
            self._bytes += _cost(entry)
            self._pending = {}
        while self._bytes > self._capacity and len(self._entries) > 2:
            self._thin_out()
        return state

    def before(self, step: int) -> Checkpoint:
        """The latest checkpoint at or before ``step``."""
        count = bisect_right(self._entries, step, key=lambda entry: entry.step)
        pages: dict[int, bytes] = {}
        for entry in self._entries[:count]:
            pages |= entry.pages
        return replace(self._entries[count - 1], pages=pages)

    def _thin_out(self) -> None:
        self._interval *= 2
        kept: list[Checkpoint] = []
        pages: dict[int, bytes] = {}
        for entry in self._entries:
            pages |= entry.pages
            if entry.step % self._interval == 0:
                kept.append(replace(entry, pages=pages))
                pages = {}
        self._pending = pages | self._pending
        self._entries = kept
        self._bytes = sum(_cost(entry) for entry in kept)


def _cost(entry: Checkpoint) -> int:
    return _ENTRY_BYTES + sum(len(page) for page in entry.pages.values())
