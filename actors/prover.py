"""A prover as an actor: hashes runs of chunks for the pool, and answers for a claim in a dispute.

Stateless: every call names its job, and a restart has the program that the actor was started with.
"""

import os
import threading
import time
from dataclasses import dataclass

from actors.faults import Lie
from protocol.dispute.game import FAN, Game
from riscv_vm.execution import Execution
from riscv_vm.forge import Forgery
from riscv_vm.image import ProgramImage
from riscv_vm.prove import ChunkTask, prove, prove_chunks, warm_up
from riscv_vm.record import Record
from riscv_vm.trace import Trace


@dataclass(frozen=True, slots=True)
class Job:
    """An execution without its program: what a prover that has the program needs to know."""

    data: bytes
    log4_steps: int
    width: int
    log4_chunk: int
    forgery: Forgery | None = None

    def execution(self, image: ProgramImage) -> Execution:
        """The whole execution."""
        return Execution(
            image, self.data, self.log4_steps, self.width, self.log4_chunk, self.forgery
        )


@dataclass(frozen=True, slots=True)
class Proved:
    """The roots of one task's chunks and the time it took."""

    roots: tuple[bytes, ...]
    seconds: float


class Prover:
    """The actor. ``lie`` makes it misbehave in disputes."""

    def __init__(self, image: ProgramImage, lie: Lie | None = None) -> None:
        self._image = image
        self._lie = lie
        self._defended: tuple[Job, Trace] | None = None
        warm_up()

    def pid(self) -> int:
        """The process id, once the machine is compiled."""
        return os.getpid()

    def prove(self, job: Job, task: ChunkTask) -> Proved:
        """The root of every chunk of ``task``."""
        start = time.perf_counter()
        roots = prove_chunks(job.execution(self._image), task)
        return Proved(roots, time.perf_counter() - start)

    def answer(self, job: Job, game: Game) -> tuple[bytes, ...] | tuple[Record, ...]:
        """The four nodes or records that ``game`` asks for, from the trace of ``job``.

        After a restart the trace is computed again: an answer depends on nothing else.
        """
        if self._lie is Lie.STALL:
            threading.Event().wait()  # frozen for ever: only the other side's deadline ends this
        if self._defended is None or self._defended[0] != job:
            self._defended = job, prove(job.execution(self._image))
        trace = self._defended[1]
        if game.at_block:
            return trace.block(game.index)
        return tuple(trace.node(game.level, FAN * game.index + i) for i in range(FAN))
