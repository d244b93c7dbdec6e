"""The pool: one pre-pass here, chunks replayed by many provers, one root.

Chunk tasks are pure, so a task whose prover died or hangs is given to another one.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from actors.outcomes import Answered, Refused, fetch, first_done
from actors.prover import Job, Proved
from riscv_vm.image import ProgramImage
from riscv_vm.prove import ChunkTask, PrePass
from riscv_vm.trace import Trace

IN_FLIGHT = 2
"""Tasks that a prover has at once, so that it never waits for the next one."""


@dataclass(slots=True)
class Share:
    """What one prover did for a proof."""

    chunks: int = 0
    steps: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Proof:
    """A trace with its root, the wall time it took and who did what."""

    trace: Trace
    seconds: float
    shares: dict[str, Share]


@dataclass(slots=True)
class _Work:
    """A task and the provers that it was given to, the present one last."""

    number: int
    task: ChunkTask
    tried: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Run:
    """One proof in progress."""

    job: Job
    roots: dict[int, tuple[bytes, ...]] = field(default_factory=dict)
    pending: dict[Any, _Work] = field(default_factory=dict)
    shares: dict[str, Share] = field(default_factory=dict)

    def load(self, prover: str) -> int:
        return sum(work.tried[-1] == prover for work in self.pending.values())


class ProverPool:
    """Prover actors by name. ``deadline_s`` bounds the wait for any one task."""

    def __init__(
        self, image: ProgramImage, provers: Mapping[str, Any], deadline_s: float = 60.0
    ) -> None:
        self._image = image
        self._provers = provers
        self._deadline_s = deadline_s

    def prove(
        self, job: Job, task_steps: int, progress: Callable[[int], None] | None = None
    ) -> Proof:
        """Prove ``job`` in tasks of about ``task_steps`` steps; ``progress`` hears the steps done.

        TimeoutError if a task was lost by every prover.
        """
        start = time.perf_counter()
        execution = job.execution(self._image)
        prepass = PrePass(execution, task_steps // execution.chunk_steps)
        run = _Run(job, shares={name: Share() for name in self._provers})
        for number, task in enumerate(prepass):
            while len(run.pending) >= IN_FLIGHT * len(self._provers):
                self._collect(run, progress)
            self._submit(run, _Work(number, task))
        while run.pending:
            self._collect(run, progress)
        trace = prepass.trace([run.roots[number] for number in sorted(run.roots)])
        return Proof(trace, time.perf_counter() - start, run.shares)

    def _submit(self, run: _Run, work: _Work) -> None:
        """Give ``work`` to the least busy prover that has not lost it before."""
        names = [name for name in self._provers if name not in work.tried]
        if not names:
            what = f"chunks from {work.task.first} on"
            raise TimeoutError(f"{what}: every prover died or hung; see to their machines")
        prover = min(names, key=lambda name: (run.load(name), run.shares[name].chunks))
        work.tried.append(prover)
        run.pending[self._provers[prover].prove.remote(run.job, work.task)] = work

    def _collect(self, run: _Run, progress: Callable[[int], None] | None) -> None:
        """Wait for one task; one that was lost, or takes too long, goes to another prover."""
        done = first_done(list(run.pending), self._deadline_s)
        if done is None:
            self._submit(run, run.pending.pop(next(iter(run.pending))))
            return
        work = run.pending.pop(done)
        outcome = fetch(done, self._deadline_s)
        if isinstance(outcome, Refused):
            raise outcome.error
        if not isinstance(outcome, Answered):
            self._submit(run, work)
            return
        self._book(run, work, outcome.value)
        if progress:
            progress(sum(share.steps for share in run.shares.values()))

    def _book(self, run: _Run, work: _Work, proved: Proved) -> None:
        run.roots[work.number] = proved.roots
        share = run.shares[work.tried[-1]]
        share.chunks += len(proved.roots)
        share.steps += len(proved.roots) * 4**run.job.log4_chunk
        share.seconds += proved.seconds
