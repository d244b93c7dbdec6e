"""Proving: chunks hashed anywhere, one root; and what a dispute asks about one step.

In one process, in one pass:

    trace = prove(Execution(image, data))

Spread over workers, each task in any process and any order:

    prepass = PrePass(execution, chunks_per_task=64)
    roots = [prove_chunks(execution, task) for task in prepass]
    trace = prepass.trace(roots)

A trace keeps chunk roots and checkpoints; what lies inside a chunk is computed again on demand.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from riscv_vm.checkpoint import MINIMUM_CAPACITY, Checkpoint, CheckpointLog
from riscv_vm.fast import Machine, outcome
from riscv_vm.forge import Forgery, ForgingMachine
from riscv_vm.image import ImageError, ProgramImage
from riscv_vm.isa import LOG4_STEPS_DEFAULT
from riscv_vm.machine import step_limit
from riscv_vm.record import Outcome
from riscv_vm.trace import Trace
from riscv_vm.tree import WIDTH_DEFAULT, check_width

LOG4_CHUNK_DEFAULT: Final = 8
LOG4_CHUNK_MAX: Final = 10
CHECKPOINT_STEPS: Final = 4**10
"""A trace keeps a checkpoint this often: far enough apart to cost nothing, near enough to replay from
in about two milliseconds."""


@dataclass(frozen=True, slots=True)
class Execution:
    """A program on an input, and the shape of its commitment.

    A chunk is 4^log4_chunk steps, or the whole trace if that is shorter; it never changes the root.
    ImageError for a shape that cannot be.
    """

    image: ProgramImage
    data: bytes = b""
    log4_steps: int = LOG4_STEPS_DEFAULT
    width: int = WIDTH_DEFAULT
    log4_chunk: int = LOG4_CHUNK_DEFAULT
    forgery: Forgery | None = None

    def __post_init__(self) -> None:
        step_limit(self.log4_steps)
        check_width(self.width)
        if not 1 <= self.log4_chunk <= LOG4_CHUNK_MAX:
            raise ImageError(f"log4-chunk is {self.log4_chunk}; choose 1 to {LOG4_CHUNK_MAX}")

    @property
    def chunk_steps(self) -> int:
        return 4 ** min(self.log4_chunk, self.log4_steps)

    @property
    def limit(self) -> int:
        """N, the number of steps under the root."""
        return 4**self.log4_steps

    def machine(self, checkpoint: Checkpoint | None = None) -> Machine:
        """The machine at reset, or at ``checkpoint``."""
        if self.forgery is None:
            machine = Machine(self.image, self.data)
        else:
            machine = ForgingMachine(self.image, self.data, self.forgery)
        if checkpoint is not None:
            machine.restore(checkpoint)
        return machine

    def log(self) -> CheckpointLog:
        """An empty log with room for what this execution can write."""
        writable = sum(segment.size for segment in self.image.memory)
        interval = max(self.chunk_steps, min(CHECKPOINT_STEPS, self.limit))
        return CheckpointLog(interval, MINIMUM_CAPACITY + 2 * writable)


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

    def __iter__(self) -> Iterator[ChunkTask]:
        """The tasks, each as soon as its last step has run. Iterate once."""
        machine, chunk = self._machine, self._execution.chunk_steps
        limit = self._execution.limit
        while not machine.ended and machine.steps < limit:
            start = self._log.take(machine)
            border = min(start.step + self._chunks * chunk, limit)
            self._run_to(border)
            yield ChunkTask(start.step // chunk, -(-(machine.steps - start.step) // chunk), start)

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
