"""A proved trace: its root, any node or block, and everything about one disputed step."""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from riscv_vm.checkpoint import CheckpointLog
from riscv_vm.chunk import Chunk
from riscv_vm.execution import Execution
from riscv_vm.fast import NEVER, Machine, new_last
from riscv_vm.interpreter import WATCHED
from riscv_vm.isa import REGISTER_BASE, REGISTER_NAMES
from riscv_vm.machine import UNUSED, next_step
from riscv_vm.record import BLOCK_RECORDS, SENTINEL_OF_END, Block, Outcome, Record, absorbing
from riscv_vm.tree import Opening, check_node, grow, open_step, padding

INIT: Final = NEVER
"""The pointer of a word that nothing wrote before."""
_CHUNKS_KEPT: Final = 4


@dataclass(frozen=True, slots=True)
class ReadPointer:
    """A word that a step reads and the step that wrote it last, or INIT. Unused: (0, 0, INIT)."""

    address: int
    value: int
    last: int


@dataclass(frozen=True, slots=True)
class TracedStep:
    """A step with its place in the trace; the reads in slot order (see ``machine.Reads``)."""

    index: int
    pc: int
    opcode: int
    reads: tuple[ReadPointer, ReadPointer, ReadPointer]
    record: Record


class Trace:
    """The commitment to an execution: chunk roots and checkpoints, the rest by running again."""

    def __init__(
        self, execution: Execution, outcome: Outcome, log: CheckpointLog, roots: list[bytes]
    ) -> None:
        """``roots`` are the chunk roots up to the chunk in which the run ended."""
        self.execution, self.outcome = execution, outcome
        self.log4_steps, self.width = execution.log4_steps, execution.width
        self._log = log
        self._sentinel = SENTINEL_OF_END.get(outcome.end)
        chunk_blocks = execution.chunk_steps // BLOCK_RECORDS
        self._chunk_level = chunk_blocks.bit_length() - 1
        self._levels = grow(roots, self._chunk_level, self.log4_steps, self._sentinel)
        self._chunks: OrderedDict[int, Chunk] = OrderedDict()

    @property
    def root(self) -> bytes:
        return self._levels[-1][0]

    @property
    def steps(self) -> int:
        return self.outcome.steps

    def node(self, level: int, index: int) -> bytes:
        """The node ``index`` of ``level`` (0 = block nodes); IndexError outside the tree."""
        check_node(self.log4_steps, level, index)
        above = level - self._chunk_level
        if above >= 0:
            nodes = self._levels[above]
            return nodes[index] if index < len(nodes) else self._padding(level)
        number, inside = divmod(index, 1 << -above)
        if number >= len(self._levels[0]):
            return self._padding(level)
        return self._chunk(number).node(level, inside)

    def block(self, index: int) -> Block:
        """The records of steps 4 * index to 4 * index + 3; IndexError outside the tree."""
        check_node(self.log4_steps, 0, index)
        number, inside = divmod(index, 1 << self._chunk_level)
        if number < len(self._levels[0]):
            return self._chunk(number).block(inside)
        assert self._sentinel is not None
        record = absorbing(self._sentinel)
        return record, record, record, record

    def open(self, index: int) -> Opening:
        """The opening of step ``index``; IndexError outside the trace."""
        return open_step(self, index)

    def step(self, index: int) -> TracedStep:
        """Step ``index`` as the reference machine judges it, with its read pointers.

        A forged step is shown as the machine that came there should have done it. IndexError
        outside the trace.
        """
        check_node(self.log4_steps, 0, index // BLOCK_RECORDS)
        step = next_step(self._machine_at(index))
        last = self._last_writers(index, {read.address for read in step.reads if read != UNUSED})
        first, second, third = (
            ReadPointer(read.address, read.value, last.get(read.address, INIT))
            for read in step.reads
        )
        return TracedStep(index, step.pc, step.opcode, (first, second, third), step.record)

    def value(self, address: int, before: int) -> int:
        """The word at ``address`` before step ``before``; 0 where there is none."""
        machine = self._machine_at(before)
        register = (address - REGISTER_BASE) // 4
        if 0 < register < len(REGISTER_NAMES):
            return machine.register(register)
        return machine.word(address) or 0

    def writer(self, address: int, before: int) -> int:
        """The last step before ``before`` that wrote the word at ``address``, or INIT."""
        return self._last_writers(before, {address}).get(address, INIT)

    def _padding(self, level: int) -> bytes:
        assert self._sentinel is not None
        return padding(self._sentinel, self.width)[level]

    def _chunk(self, number: int) -> Chunk:
        if number not in self._chunks:
            steps = self.execution.chunk_steps
            tile = self._machine_at(number * steps).record(steps)
            self._chunks[number] = Chunk(tile, steps, self.width)
            if len(self._chunks) > _CHUNKS_KEPT:
                self._chunks.popitem(last=False)
        self._chunks.move_to_end(number)
        return self._chunks[number]

    def _machine_at(self, step: int) -> Machine:
        machine = self.execution.machine(self._log.before(step))
        machine.run(step - machine.steps)
        return machine

    def _last_writers(self, step: int, wanted: set[int]) -> dict[int, int]:
        """Address -> the last step before ``step`` that wrote it, for ``wanted``: registers and one
        word of memory. What nothing wrote is left out.

        Goes back checkpoint by checkpoint until every word is found.
        """
        word = next((address for address in wanted if address < REGISTER_BASE), 0)
        found: dict[int, int] = {}
        end = min(step, self.steps)
        while wanted - found.keys() and end > 0:
            machine = self.execution.machine(self._log.before(end - 1))
            start = machine.steps
            last = new_last()
            machine.watch(end - start, last, word)
            for address in wanted - found.keys():
                writer = int(last[_slot(address)])
                if writer != NEVER:
                    found[address] = writer
            end = start
        return found


def _slot(address: int) -> int:
    """Where ``Machine.watch`` notes the last writer of ``address``."""
    return (address - REGISTER_BASE) // 4 if address >= REGISTER_BASE else WATCHED
