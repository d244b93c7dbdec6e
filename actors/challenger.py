"""A challenger as an actor: re-executes every claim and finds the first wrong step."""

import os
import time
from dataclasses import dataclass, replace

from actors.prover import Job
from protocol.dispute.game import Game, choose
from riscv_vm.image import ProgramImage
from riscv_vm.isa import A0
from riscv_vm.prove import prove, warm_up
from riscv_vm.record import End
from riscv_vm.trace import Trace


@dataclass(frozen=True, slots=True)
class Opinion:
    """What the challenger found: ``agrees`` means HALT and the same root.

    ``exit_code`` is a0 at the end, for the guest the number of the failed check.
    """

    agrees: bool
    end: End
    steps: int
    root: bytes
    exit_code: int
    seconds: float


class Challenger:
    """The actor."""

    def __init__(self, image: ProgramImage) -> None:
        self._image = image
        self._trace: Trace | None = None
        warm_up()

    def pid(self) -> int:
        """The process id, once the machine is compiled."""
        return os.getpid()

    def check(self, job: Job, root: bytes) -> Opinion:
        """Execute the job honestly and compare with the claimed ``root``."""
        start = time.perf_counter()
        trace = self._executed(job)
        outcome = trace.outcome
        machine = trace.execution.machine()
        machine.run(outcome.steps)
        return Opinion(
            agrees=outcome.end == "HALT" and trace.root == root,
            end=outcome.end,
            steps=outcome.steps,
            root=trace.root,
            exit_code=machine.register(A0),
            seconds=time.perf_counter() - start,
        )

    def choose(self, job: Job, game: Game) -> int:
        """The digit: leftmost node or record that differs from its own, else 3.

        After a restart the job is executed again: a digit depends on nothing else.
        """
        return choose(game, self._executed(job))

    def _executed(self, job: Job) -> Trace:
        honest = replace(job, forgery=None)
        if self._trace is None or self._trace.execution != honest.execution(self._image):
            self._trace = prove(honest.execution(self._image))
        return self._trace
