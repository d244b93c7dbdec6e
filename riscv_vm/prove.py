"""Proving: chunks hashed anywhere, one root; and what a dispute asks about one step.

In one process, in one pass:

    trace = prove(Execution(image, data))

Spread over workers, each task in any process and any order:

    prepass = PrePass(execution, chunks_per_task=64)
    roots = [prove_chunks(execution, task) for task in prepass]
    trace = prepass.trace(roots)

A trace keeps chunk roots and checkpoints; what lies inside a chunk is computed again on demand.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from riscv_vm.checkpoint import Checkpoint
from riscv_vm.execution import CHECKPOINT_STEPS, Execution
from riscv_vm.fast import Machine, outcome
from riscv_vm.forge import Forgery
from riscv_vm.image import ProgramImage
from riscv_vm.record import Outcome
from riscv_vm.trace import INIT, ReadPointer, Trace, TracedStep
from riscv_vm.tree import WIDTHS

__all__ = [
    "CHECKPOINT_STEPS",
    "INIT",
    "ChunkTask",
    "Execution",
    "Forgery",
    "Hashed",
    "PrePass",
    "ReadPointer",
    "Trace",
    "TracedStep",
    "prove",
    "prove_chunk",
    "prove_chunks",
    "prove_task",
    "warm_up",
]


@dataclass(frozen=True, slots=True)
class ChunkTask:
    """A run of ``count`` chunks from chunk ``first``, which starts at ``checkpoint``."""

    first: int
    count: int
    checkpoint: Checkpoint


def prove_chunks(execution: Execution, task: ChunkTask) -> tuple[bytes, ...]:
    """The root of each chunk of ``task``. Pure: any process may compute it."""
    machine = execution.machine(task.checkpoint)
    return tuple(machine.commit(task.count, execution.chunk_steps, execution.width))


@dataclass(frozen=True, slots=True)
class Hashed:
    """What became of a task: its chunk roots, and the digests of the states before and after."""

    roots: tuple[bytes, ...]
    start: bytes
    end: bytes


def prove_task(execution: Execution, task: ChunkTask) -> Hashed:
    """``prove_chunks``, with the states that the machine was in, read from the machine itself."""
    machine = execution.machine(task.checkpoint)
    pages = set(task.checkpoint.pages)
    start = _state(machine, pages)
    roots = tuple(machine.commit(task.count, execution.chunk_steps, execution.width))
    return Hashed(roots, start, _state(machine, pages.union(machine.take_dirty())))


def _state(machine: Machine, pages: Iterable[int]) -> bytes:
    held = {number: machine.page(number) for number in pages}
    return Checkpoint(machine.steps, machine.pc, machine.registers, held).digest


def prove_chunk(execution: Execution, checkpoint: Checkpoint) -> bytes:
    """The root of the one chunk that starts at ``checkpoint``."""
    first = checkpoint.step // execution.chunk_steps
    return prove_chunks(execution, ChunkTask(first, 1, checkpoint))[0]


class PrePass:
    """One plain run that hands out chunk tasks as it goes, and then knows how the run ended."""

    def __init__(self, execution: Execution, chunks_per_task: int) -> None:
        """``chunks_per_task`` >= 1; a task should be worth 20 ms, some 4 million steps."""
        self._execution = execution
        self._chunks = max(1, chunks_per_task)
        self._machine = execution.machine()
        self._log = execution.log()
        self._reached = self._log.take(self._machine)

    @property
    def reached(self) -> Checkpoint:
        """The state in which the task that came out last ends."""
        return self._reached

    def __iter__(self) -> Iterator[ChunkTask]:
        """The tasks, each as soon as its last step has run. Iterate once."""
        machine, chunk = self._machine, self._execution.chunk_steps
        limit = self._execution.limit
        while not machine.ended and machine.steps < limit:
            start = self._reached
            border = min(start.step + self._chunks * chunk, limit)
            self._run_to(border)
            self._reached = self._log.take(machine)
            yield ChunkTask(start.step // chunk, -(-(machine.steps - start.step) // chunk), start)

    def task(self, first: int, count: int) -> ChunkTask:
        """A task that came out before, made again: nobody has to keep them all."""
        step = first * self._execution.chunk_steps
        near = self._log.before(step)
        machine = self._execution.machine(near)
        machine.run(step - near.step)
        pages = near.pages | {number: machine.page(number) for number in machine.take_dirty()}
        return ChunkTask(first, count, Checkpoint(step, machine.pc, machine.registers, pages))

    def _run_to(self, border: int) -> None:
        """Run to ``border``; the log takes the states where a trace will want one."""
        machine = self._machine
        machine.run(min(border, _next_checkpoint(machine.steps)) - machine.steps)
        while machine.steps < border and not machine.ended:
            self._log.take(machine)
            machine.run(min(border, _next_checkpoint(machine.steps)) - machine.steps)

    @property
    def outcome(self) -> Outcome:
        """How the run ended; known once all tasks are out."""
        return outcome(self._machine)

    def trace(self, roots: Sequence[Sequence[bytes]]) -> Trace:
        """The trace, from the roots of every task in the order of the tasks."""
        flat = [root for task in roots for root in task]
        return Trace(self._execution, self.outcome, self._log, flat)


def _next_checkpoint(step: int) -> int:
    return (step // CHECKPOINT_STEPS + 1) * CHECKPOINT_STEPS


def prove(execution: Execution, progress: Callable[[int], None] | None = None) -> Trace:
    """Run and commit in one pass. ``progress`` hears the number of steps done so far."""
    machine, log, chunk = execution.machine(), execution.log(), execution.chunk_steps
    stretch = max(1, CHECKPOINT_STEPS // chunk)
    roots: list[bytes] = []
    while not machine.ended and machine.steps < execution.limit:
        log.take(machine)
        chunks = min(stretch, (execution.limit - machine.steps) // chunk)
        before = machine.steps
        found = machine.commit(chunks, chunk, execution.width)
        roots += found[: -(-(machine.steps - before) // chunk)]
        if progress:
            progress(machine.steps)
    return Trace(execution, outcome(machine), log, roots)


def warm_up(widths: tuple[int, ...] = WIDTHS) -> None:
    """Compile every kernel for nodes of ``widths`` bytes, or load it from the cache.

    Takes some seconds after an installation and well under one later. Call it where a first proof
    must not wait, in a worker's start for example.
    """
    two_steps = bytes.fromhex("13055000 73000000")  # addi a0, zero, 5; ecall
    image = ProgramImage(entry=0x1000, text_base=0x1000, text=two_steps, data=())
    for width in widths:
        execution = Execution(image, log4_steps=2, width=width, log4_chunk=1)
        for task in PrePass(execution, 1):
            prove_chunks(execution, task)
        trace = prove(execution)
        trace.open(1)
        trace.step(1)
