"""A prover as an actor: hashes runs of chunks for the pool.

Stateless: every call names its job, and a restart has the program that the actor was started with.
The machine takes a second to import: a driver that starts provers does without.
"""

import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from riscv_vm.image import ProgramImage, with_terms

if TYPE_CHECKING:
    from riscv_vm.execution import Execution
    from riscv_vm.prove import ChunkTask, Hashed


@dataclass(frozen=True, slots=True)
class Job:
    """An execution as a prover is told it; one that has the program needs no other."""

    data: bytes
    log4_steps: int
    width: int
    log4_chunk: int
    terms: bytes = b""
    """What the program's terms page begins with, if the prover's image has none yet."""
    program: ProgramImage | None = None
    """For provers that were started with another one."""

    def execution(self, image: ProgramImage) -> "Execution":
        """The whole execution."""
        from riscv_vm.execution import Execution

        image = self.program or image
        if self.terms:
            image = with_terms(image, self.terms)
        return Execution(image, self.data, self.log4_steps, self.width, self.log4_chunk)


@dataclass(frozen=True, slots=True)
class Proved:
    """What a prover says about one task, and the time it took."""

    hashed: "Hashed"
    seconds: float


class Prover:
    """The actor."""

    def __init__(self, image: ProgramImage) -> None:
        from riscv_vm.prove import warm_up

        self._image = image
        warm_up()

    def pid(self) -> int:
        """The process id, once the machine is compiled."""
        return os.getpid()

    def prove(self, job: Job, task: "ChunkTask") -> Proved:
        """The root of every chunk of ``task``, and the states before and after."""
        from riscv_vm.prove import prove_task

        start = time.perf_counter()
        hashed = prove_task(job.execution(self._image), task)
        return Proved(hashed, time.perf_counter() - start)
