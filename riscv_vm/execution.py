"""What is proved: a program, its input and the shape of the commitment."""

from dataclasses import dataclass
from typing import Final

from riscv_vm.checkpoint import MINIMUM_CAPACITY, Checkpoint, CheckpointLog
from riscv_vm.fast import Machine
from riscv_vm.forge import Forgery, ForgingMachine
from riscv_vm.image import ImageError, ProgramImage
from riscv_vm.isa import LOG4_STEPS_DEFAULT
from riscv_vm.machine import step_limit
from riscv_vm.tree import WIDTH_DEFAULT, check_width

LOG4_CHUNK_DEFAULT: Final = 8
LOG4_CHUNK_MAX: Final = 10
CHECKPOINT_STEPS: Final = 4**10
"""A trace keeps a checkpoint this often: far enough apart to cost nothing, near enough to replay
from in about two milliseconds."""


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
        return step_limit(min(self.log4_chunk, self.log4_steps))

    @property
    def limit(self) -> int:
        """N, the number of steps under the root."""
        return step_limit(self.log4_steps)

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
        interval = min(CHECKPOINT_STEPS, self.limit)
        return CheckpointLog(interval, MINIMUM_CAPACITY + 2 * writable)
