"""The pool: one pre-pass here, chunks replayed by many provers, one root.

Chunk tasks are pure: one whose prover died, hangs or lied is given to another, and the root is the
one that a single process computes. What counts as an answer is in ``prover_schedule``; ``twice``
sets it. Every answer must name the states that this process's own run has before and after the
task: that finds a broken machine or another program. It says nothing of the roots: a prover that
lies about those of one task is found with probability ``twice``, of k tasks with 1 - (1 - twice)^k.
At 1 a wrong root needs two provers that tell the same lie. Who signs a claim stakes its bond on the
root: leave it at 1 unless all provers are as good as this process.

A driver that dies starts over: the longest trace there is takes one core six seconds.
"""

import logging
import math
import time
from collections.abc import Callable, Mapping
from random import SystemRandom
from typing import Any, Final

from actors.logs import event
from actors.outcomes import Answered, Outcome, fetch, first_done
from actors.prover import Job, Proved
from actors.prover_schedule import HERE, LATE_MOST_S, Proof, Schedule, Share, Work
from protocol.errors import ProtocolError
from riscv_vm.image import ProgramImage
from riscv_vm.prove import ChunkTask, Hashed, PrePass, prove_chunks

TURN_S: Final = 0.1
"""The longest wait for an answer before the pool looks who is late."""
PROBE_S: Final = 1.0
"""A lost prover is asked this often whether it is there."""

_RANDOM: Final = SystemRandom()

log = logging.getLogger(__name__)


class ProverPool:
    """Prover actors by name; one that was excluded stays out."""

    def __init__(
        self,
        image: ProgramImage,
        provers: Mapping[str, Any],
        deadline_s: float = 60.0,
        twice: float = 1.0,
        find: Callable[[str], Any | None] = lambda name: None,
        chance: Callable[[], float] = _RANDOM.random,
    ) -> None:
        """``deadline_s`` bounds the time in which no prover answers at all; ``twice`` is the
        probability that a task is hashed by two. Ray starts an actor again under its old handle;
        for one that a supervisor starts, ``find`` has the new one. ``chance`` draws from [0, 1)."""
        self.excluded: dict[str, str] = {}
        self.provers = dict(provers)
        self.image, self.deadline_s, self.twice = image, deadline_s, twice
        self.find, self.chance = find, chance

    def prove(
        self, job: Job, task_steps: int, progress: Callable[[int], None] | None = None
    ) -> Proof:
        """Prove ``job`` in tasks of about ``task_steps`` steps; ``progress`` hears the steps done.

        TimeoutError if no prover answers any more, ProtocolError if every one was excluded.
        """
        begin = time.perf_counter()
        run = _Run(self, job, task_steps, progress)
        run.to_the_end()
        works = run.schedule.works
        return Proof(
            trace=run.prepass.trace([work.roots for work in works]),
            seconds=time.perf_counter() - begin,
            shares=run.shares(),
            checked=sum(work.count for work in works if work.checked),
            excluded=dict(self.excluded),
        )


class _Run:
    """One proof in progress: the schedule's calls as Ray calls."""

    def __init__(
        self, pool: ProverPool, job: Job, task_steps: int, progress: Callable[[int], None] | None
    ) -> None:
        self._pool, self._job, self._progress = pool, job, progress
        self._execution = job.execution(pool.image)
        self.prepass = PrePass(self._execution, task_steps // self._execution.chunk_steps)
        # Others have their turn before nobody has answered for too long.
        late_s = min(LATE_MOST_S, pool.deadline_s / 3)
        self.schedule = Schedule(pool.provers, pool.twice, pool.chance, pool.excluded, late_s)
        self._calls: dict[Any, tuple[str, Work | None]] = {}
        """By Ray's reference: whom it went to, and the task; without one it asks who is there."""
        self._probed: dict[str, float] = {}
        self._here = Share()
        self._known = set(pool.excluded)
        self._heard = time.monotonic()

    def to_the_end(self) -> None:
        """Until every task is settled."""
        state = self.prepass.reached.digest
        for task in self.prepass:
            before, state = state, self.prepass.reached.digest
            self.schedule.add(task, before, state)
            self._turn(0.0)
            while self.schedule.waiting:
                self._turn(TURN_S)
        while not self.schedule.done:
            self._turn(TURN_S)

    def shares(self) -> dict[str, Share]:
        """By prover, this process last if it had to hash."""
        shares = {name: seat.share for name, seat in self.schedule.seats.items()}
        if self._here.chunks:
            shares[HERE] = self._here
        for share in shares.values():
            share.steps = share.chunks * self._execution.chunk_steps
        return shares

    def _turn(self, wait_s: float) -> None:
        """Hear what there is, after at most ``wait_s`` seconds; then give what can be given."""
        while (done := self._first_done(wait_s)) is not None:
            self._hear(*self._calls.pop(done), fetch(done, TURN_S, foreign=True))
            wait_s = 0.0
        now = time.monotonic()
        for name in self.schedule.late(now):
            event(log, "prover late", logging.WARNING, prover=name)
        self._probe(now)
        while (given := self.schedule.give(now)) is not None:
            name, work = given
            call = self._pool.provers[name].prove.remote(self._job, self._task(work))
            self._calls[call] = given
        if (own := self.schedule.own()) is not None:
            self._prove_here(own)
        for name in self.schedule.excluded.keys() - self._known:
            self._known.add(name)
            reason = self.schedule.excluded[name]
            event(log, "prover excluded", logging.WARNING, prover=name, reason=reason)
        self._see_to_it_that_somebody_is_left(now)

    def _first_done(self, wait_s: float) -> Any | None:
        if self._calls:
            return first_done(list(self._calls), wait_s)
        time.sleep(wait_s)  # all provers are lost; the next question to them is not due
        return None

    def _hear(self, name: str, work: Work | None, outcome: Outcome[Any]) -> None:
        now = time.monotonic()
        if isinstance(outcome, Answered):
            self._heard = now
            if work is None:
                self.schedule.back(name)
            else:
                if fault := malformed(outcome.value, self._execution.width):
                    self.schedule.exclude(name, fault)
                    return
                proved: Proved = outcome.value
                self.schedule.answered(name, work, proved.hashed, proved.seconds, now)
                self._tell()
        elif work in self.schedule.seats[name].calls:
            event(log, "prover lost", logging.WARNING, prover=name, reason=outcome.reason)
            self.schedule.lost(name, outcome.reason)

    def _probe(self, now: float) -> None:
        """Ask those who are away whether they are there: a frozen one answers when it goes on, one
        that is started again once its machine is compiled."""
        for name in self.schedule.away:
            if now - self._probed.get(name, -PROBE_S) >= PROBE_S:
                self._probed[name] = now
                handle = self._pool.find(name) or self._pool.provers[name]
                self._pool.provers[name] = handle
                self._calls[handle.pid.remote()] = name, None

    def _task(self, work: Work) -> ChunkTask:
        return work.task or self.prepass.task(work.first, work.count)

    def _prove_here(self, work: Work) -> None:
        begin = time.perf_counter()
        roots = prove_chunks(self._execution, self._task(work))
        self._here.chunks += work.count
        self._here.seconds += time.perf_counter() - begin
        self.schedule.proved_here(work, roots)
        self._tell()

    def _tell(self) -> None:
        if self._progress:
            self._progress(self.schedule.chunks_done * self._execution.chunk_steps)

    def _see_to_it_that_somebody_is_left(self, now: float) -> None:
        schedule = self.schedule
        if not schedule.in_force:
            reasons = "; ".join(f"{name} {why}" for name, why in schedule.excluded.items())
            raise ProtocolError(
                f"no prover is left: {reasons}. See to their machines, or prove without them; if"
                " they are right, this machine is wrong"
            )
        if now - self._heard > self._pool.deadline_s and not schedule.done:
            raise TimeoutError(
                f"no prover has answered for {self._pool.deadline_s:g} s (away:"
                f" {', '.join(schedule.away) or 'none'}); see to their machines, or prove without"
                " them"
            )


def malformed(answer: object, width: int) -> str:
    """Why it is no answer to a task, whatever the roots are; empty if it is one. Who runs a prover
    runs any code: an answer is not believed to have the right types either."""
    if not isinstance(answer, Proved) or not isinstance(answer.hashed, Hashed):
        return f"answered with {type(answer).__name__}"
    hashed, seconds = answer.hashed, answer.seconds
    if not (isinstance(seconds, float) and 0 <= seconds < math.inf):
        return f"took {seconds!r:.20} seconds"
    digests = (hashed.start, hashed.end)
    if not (type(hashed.roots) is tuple and all(type(data) is bytes for data in digests)):
        return "gave roots and states of other types"
    if not all(type(root) is bytes and len(root) == width for root in hashed.roots):
        return f"gave roots that are not {width} bytes each"
    return ""
