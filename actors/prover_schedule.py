"""Who hashes which task next, and whose answers count: the pool's policy, without Ray or a clock.

A task is settled by one answer or, with probability ``twice``, by two equal ones of two provers.
Which task that is, is drawn when its first answer is here: no prover can know. Where two differ, or
no second prover is there, the driver hashes the task itself. A prover whose answer is false is
excluded, and none of its answers count any more: what it alone had answered is given to others.
"""

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from riscv_vm.prove import ChunkTask, Hashed
    from riscv_vm.trace import Trace

HERE: Final = "this process"
"""The driver among those who hashed."""
IN_FLIGHT: Final = 2
"""Tasks that a prover has at once, so that it never waits for the next one."""
LATE_S: Final = 2.0
LATE_TIMES: Final = 4
"""A prover is late with a task that is out this long, and this many times as long as any task that
was answered: it counts as lost until it is heard of again."""
LATE_MOST_S: Final = 20.0
"""But it is late with one that is out as long as this, however slow some are."""
LOSSES: Final = 3
"""A prover that is lost so often without an answer in between is left out."""

Roots = tuple[bytes, ...]


@dataclass(slots=True)
class Share:
    """What one prover did for a proof. ``lost`` counts its tasks that were given to others."""

    chunks: int = 0
    steps: int = 0
    seconds: float = 0.0
    lost: int = 0


@dataclass(frozen=True, slots=True)
class Proof:
    """A trace with its root, the wall time it took, who did what, and who is out and why.

    ``checked`` counts the chunks whose roots two processes agree on.
    """

    trace: "Trace"
    seconds: float
    shares: dict[str, Share]
    checked: int
    excluded: dict[str, str]

    @property
    def requeued(self) -> int:
        """Tasks that were given to somebody else because a prover was lost or excluded."""
        return sum(share.lost for share in self.shares.values())


@dataclass(slots=True, eq=False)
class Work:
    """A task, the digests of the states around it, and what was said about it.

    ``task`` is dropped when it is settled: it holds pages. ``true`` are the driver's own roots.
    """

    first: int
    count: int
    start: bytes
    end: bytes
    task: "ChunkTask | None"
    wanted: int = 1
    answers: dict[str, Roots] = field(default_factory=dict)
    holders: set[str] = field(default_factory=set)
    given: dict[str, float] = field(default_factory=dict)
    true: Roots | None = None

    @property
    def disputed(self) -> bool:
        return self.true is None and len(set(self.answers.values())) > 1

    @property
    def settled(self) -> bool:
        return self.true is not None or (len(self.answers) >= self.wanted and not self.disputed)

    @property
    def checked(self) -> bool:
        """Whether more than one process says the same."""
        return self.true is not None or len(self.answers) > 1

    @property
    def last(self) -> int:
        """Its last chunk."""
        return self.first + self.count - 1

    @property
    def roots(self) -> Roots:
        """Of a settled task."""
        return next(iter(self.answers.values())) if self.true is None else self.true

    def fault(self, said: "Hashed") -> str:
        """Why ``said`` cannot be right; empty if it can be."""
        if said.start != self.start:
            return f"began chunk {self.first} in a state that is not the machine's"
        if said.end != self.end:
            return f"left chunk {self.last} in a state that is not the machine's"
        if len(said.roots) != self.count:
            return f"gave {len(said.roots)} roots for {self.count} chunks"
        return ""


@dataclass(slots=True)
class Seat:
    """A prover as the schedule sees it. ``away``: lost or late, and not heard of since."""

    share: Share = field(default_factory=Share)
    calls: set[Work] = field(default_factory=set)
    away: bool = False
    losses: int = 0


class Schedule:
    """The tasks of one proof and its provers. Times are seconds of one monotonic clock."""

    def __init__(
        self,
        provers: Iterable[str],
        twice: float,
        chance: Callable[[], float],
        excluded: dict[str, str],
        late_most_s: float = LATE_MOST_S,
    ) -> None:
        """``chance`` draws from [0, 1). ``excluded`` says why a prover is out; it grows."""
        self.seats = {name: Seat() for name in provers}
        self.excluded = excluded
        self.works: list[Work] = []
        self._twice = twice
        self._chance = chance
        self._late_most_s = late_most_s
        self._queue: deque[Work] = deque()
        self._disputes: deque[Work] = deque()
        self._open: set[Work] = set()
        self._slowest = 0.0

    # The whole proof

    @property
    def waiting(self) -> bool:
        """Whether a task waits for a free prover: no reason to make more."""
        return bool(self._queue)

    @property
    def done(self) -> bool:
        """Whether every task so far is settled."""
        return not self._open

    @property
    def chunks_done(self) -> int:
        """Chunks of settled tasks. Falls when a prover is excluded."""
        made = self.works[-1].last + 1 if self.works else 0
        return made - sum(work.count for work in self._open)

    @property
    def in_force(self) -> list[str]:
        """The provers that are not excluded."""
        return [name for name in self.seats if name not in self.excluded]

    @property
    def away(self) -> list[str]:
        """Those of them of which nothing is heard."""
        return [name for name in self.in_force if self.seats[name].away]

    def add(self, task: "ChunkTask", start: bytes, end: bytes) -> None:
        """The next task, and the digests of the states before and after it."""
        work = Work(task.first, task.count, start, end, task)
        self.works.append(work)
        self._open.add(work)
        self._queue.append(work)

    # Giving

    def give(self, now: float) -> tuple[str, Work] | None:
        """The next call to make: the first task in the queue that somebody is free for, and the
        least busy prover that is."""
        for work in self._queue:
            free = [name for name in self._present(work) if self._is_free(name)]
            if free:
                self._queue.remove(work)
                name = min(free, key=self._burden)
                self.seats[name].calls.add(work)
                work.holders.add(name)
                work.given[name] = now
                return name, work
        return None

    def own(self) -> Work | None:
        """A task that the driver has to hash: a disputed one, or one that nobody can check."""
        while self._disputes:
            if (work := self._disputes.popleft()).disputed:
                return work
        return next((w for w in self._queue if w.answers and not self._present(w)), None)

    def _present(self, work: Work) -> list[str]:
        """Who is there, and has neither answered nor got ``work``."""
        return [
            name
            for name in self.in_force
            if not self.seats[name].away and name not in work.answers and name not in work.holders
        ]

    def _is_free(self, name: str) -> bool:
        return len(self.seats[name].calls) < IN_FLIGHT

    def _burden(self, name: str) -> tuple[int, int]:
        return len(self.seats[name].calls), self.seats[name].share.chunks

    # Hearing

    def answered(self, name: str, work: Work, said: "Hashed", seconds: float, now: float) -> None:
        """``name`` says what became of ``work``; also if it was late and others have it now."""
        seat = self.seats[name]
        self._release(name, work)
        self._slowest = max(self._slowest, min(now - work.given[name], self._patience_s))
        if name in self.excluded:
            return
        if fault := work.fault(said):
            self.exclude(name, fault)
            self._review(work)
            return
        seat.losses = 0
        seat.share.chunks += work.count
        seat.share.seconds += seconds
        if not work.answers:
            work.wanted = 2 if self._chance() < self._twice else 1
        work.answers[name] = said.roots
        self._judge(work)

    def proved_here(self, work: Work, roots: Roots) -> None:
        """The driver's own roots of ``work``: whoever said something else is excluded."""
        work.true = roots
        self._judge(work)

    def lost(self, name: str, reason: str) -> None:
        """``name`` died or is late: what it has goes to others."""
        seat = self.seats[name]
        seat.away = True
        seat.losses += 1
        seat.share.lost += len(seat.calls)
        for work in list(seat.calls):
            self._release(name, work)
            self._review(work)
        if seat.losses >= LOSSES:
            self.exclude(name, f"was lost {LOSSES} times in a row, at last: {reason}")

    def late(self, now: float) -> list[str]:
        """The provers that are late by now; they count as lost. Hear what is there before."""
        patience = self._patience_s
        found = [
            name
            for name, seat in self.seats.items()
            if any(now - work.given[name] > patience for work in seat.calls)
        ]
        for name in found:
            self.lost(name, f"no answer within {patience:.3g} s")
        return found

    @property
    def _patience_s(self) -> float:
        """How long a task may be out. An answer that was late counts for no more than this: a
        prover that was frozen for a minute must not cost the next one four."""
        return min(max(LATE_S, LATE_TIMES * self._slowest), self._late_most_s)

    def back(self, name: str) -> None:
        """``name`` is there again."""
        self.seats[name].away = False

    def exclude(self, name: str, reason: str) -> None:
        """``name`` is not asked again, and what it said does not count."""
        self.excluded[name] = reason
        for work in list(self.seats[name].calls):
            self._release(name, work)
            self._review(work)
        for work in self.works:
            if work.answers.pop(name, None) is not None:
                self._review(work)

    def _judge(self, work: Work) -> None:
        if work.true is not None:
            for name in [name for name, roots in work.answers.items() if roots != work.true]:
                self.exclude(name, f"gave false roots of chunks {work.first} to {work.last}")
        self._review(work)

    def _release(self, name: str, work: Work) -> None:
        self.seats[name].calls.discard(work)
        work.holders.discard(name)

    def _review(self, work: Work) -> None:
        """Close ``work`` if it is settled, or see to it that somebody gets it."""
        if work.settled:
            work.task = None
            self._open.discard(work)
            if work in self._queue:
                self._queue.remove(work)
            return
        self._open.add(work)
        if work.disputed:
            self._disputes.append(work)
        elif not work.holders and work not in self._queue:
            self._queue.appendleft(work)
