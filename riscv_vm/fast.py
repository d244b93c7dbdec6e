"""The FAST machine: the reference machine's names over compiled loops.

It runs to the end, records the steps of one stretch, or hashes chunk after chunk. Kernels compile
on first use; ``prove.warm_up`` does it ahead of time.
"""

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from riscv_vm.checkpoint import Checkpoint
from riscv_vm.commit import CARRY_SLOTS, HASHING, TILE_STEPS
from riscv_vm.image import ProgramImage
from riscv_vm.interpreter import WATCHED, Core, Tile, run_plain, run_record, run_watch
from riscv_vm.isa import (
    HALT,
    INPUT_BASE,
    LOG4_STEPS_DEFAULT,
    NOWRITE,
    REGISTER_BASE,
    SENTINELS,
    SP,
    STACK_TOP,
    TRAP,
)
from riscv_vm.jit import vector_lanes
from riscv_vm.lanes import SLOT_WORDS
from riscv_vm.machine import Step, check_successor, next_step, step_limit
from riscv_vm.program import PAGE_WORDS, U8, U32, Program, load_program
from riscv_vm.record import Outcome, Record, register_address
from riscv_vm.tree import check_width, padding

I64 = NDArray[np.int64]
Kernel = Callable[..., tuple[int, int]]

_REGISTER_ROOM: Final = 64
"""x0..x31, and room for the results that go nowhere."""

NEVER: Final = -1
"""The last writer of a word that still has its initial value (INIT)."""


class Machine:
    """A program and its input, mid-run. State is what the reference machine's is."""

    def __init__(self, image: ProgramImage, data: bytes = b"") -> None:
        """At reset. ``data`` is the input; ImageError above 16 MiB."""
        self.image = image
        self.program: Program = load_program(image)
        self.steps = 0
        memory, regions = self.program.memory(data)
        registers = np.zeros(_REGISTER_ROOM, dtype=np.uint32)
        registers[SP] = STACK_TOP
        dirty: U8 = np.zeros(self.program.pages, dtype=np.uint8)
        base = np.array([image.text_base], dtype=np.uint32)
        self.core = Core(self.program.code, registers, memory, dirty, regions, base)
        self._index = self._index_of(image.entry)

    @property
    def ended(self) -> bool:
        return int(self._index) >= self.program.text_words

    @property
    def pc(self) -> int:
        excess = int(self._index) - self.program.text_words
        return SENTINELS[excess] if excess >= 0 else self.image.text_base + 4 * int(self._index)

    def _index_of(self, pc: int) -> np.uint64:
        """The text index of ``pc``; behind the text come HALT and TRAP."""
        if pc in SENTINELS:
            return np.uint64(self.program.text_words + SENTINELS.index(pc))
        return np.uint64((pc - self.image.text_base) // 4)

    def register(self, index: int) -> int:
        return int(self.core.registers[index])

    def word(self, address: int) -> int | None:
        if self.writable(address):
            return int(self.core.memory[self.program.locate(address)])
        offset, first = (address - INPUT_BASE) // 4, self.program.writable_words
        if 0 <= offset < len(self.core.memory) - first:
            return int(self.core.memory[first + offset])
        return None

    def writable(self, address: int) -> bool:
        return any(0 <= address - r.base < r.size for r in self.program.regions)

    def run(self, count: int) -> int:
        """Execute up to ``count`` steps, fewer if a sentinel is reached; returns how many."""
        return self._advance(run_plain, 0, count, _NO_TILE, new_last(), 0)

    def record(self, count: int) -> Tile:
        """Execute ``count`` steps, the absorbing ones too, and return their records."""
        tile = new_tile(count)
        done = self._advance(run_record, 0, count, tile, new_last(), 0)
        if done < count:
            tile.waddr[done:], tile.wval[done:], tile.next_pc[done:] = NOWRITE, 0, self.pc
        return tile

    def watch(self, count: int, last: I64, address: int) -> int:
        """Like ``run``, and note the last writers: of x_r in ``last[r]``, of the memory word at
        ``address`` in ``last[WATCHED]``."""
        return self._advance(run_watch, self.steps, self.steps + count, _NO_TILE, last, address)

    def commit(
        self, chunks: int, chunk_steps: int, width: int, lanes: int | None = None
    ) -> list[bytes]:
        """Execute ``chunks`` chunks, the absorbing steps too, and return their nodes.

        ``lanes`` (4, 8 or 16) is what suits this host unless given; it changes no node.
        """
        lanes = lanes or vector_lanes()
        roots = np.zeros((chunks, SLOT_WORDS), dtype=np.uint32)
        index, done = HASHING[lanes, check_width(width)].commit(
            self.core,
            self._index,
            chunk_steps,
            roots,
            tile_padding(chunk_steps, width, lanes),
            new_tile(TILE_STEPS),
            new_nodes(TILE_STEPS // (4 * lanes) + CARRY_SLOTS, lanes),
            new_last(),
        )
        self._index = np.uint64(index)
        self.steps += int(done)
        return [row.tobytes()[:width] for row in roots.astype("<u4")]

    def step(self) -> Step:
        """Execute one step, judged by the reference machine, and return it."""
        step = next_step(self)
        self.apply(step.record)
        return step

    def apply(self, record: Record) -> None:
        """Move to the state that ``record`` leads to; ImageError if it leads nowhere."""
        waddr, wval, next_pc = record
        check_successor(self, record)
        if register_address(1) <= waddr <= register_address(31):
            self.core.registers[(waddr - REGISTER_BASE) // 4] = wval
        elif waddr != NOWRITE:
            place = self.program.locate(waddr)
            self.core.memory[place] = wval
            self.core.dirty[place // PAGE_WORDS] = 1
        self._index = self._index_of(next_pc)
        self.steps += 1

    @property
    def registers(self) -> bytes:
        """x0..x31 as a checkpoint keeps them."""
        return self.core.registers[:32].tobytes()

    def take_dirty(self) -> list[int]:
        """The numbers of the pages written since the last call."""
        pages: list[int] = np.flatnonzero(self.core.dirty).tolist()
        self.core.dirty[:] = 0
        return pages

    def page(self, number: int) -> bytes:
        """The contents of a page; the last one of the memory may be shorter."""
        end = min((number + 1) * PAGE_WORDS, self.program.writable_words)
        return self.core.memory[number * PAGE_WORDS : end].tobytes()

    def restore(self, checkpoint: Checkpoint) -> None:
        """Become the machine that ``checkpoint`` was taken of; only from reset."""
        assert self.steps == 0, "pages that this run wrote would survive"
        self.steps = checkpoint.step
        self._index = self._index_of(checkpoint.pc)
        self.core.registers[:32] = np.frombuffer(checkpoint.registers, dtype=np.uint32)
        for number, page in checkpoint.pages.items():
            words = np.frombuffer(page, dtype=np.uint32)
            self.core.memory[number * PAGE_WORDS : number * PAGE_WORDS + len(words)] = words

    def _advance(
        self, kernel: Kernel, start: int, stop: int, tile: Tile, last: I64, watched: int
    ) -> int:
        if self.ended or start == stop:
            return 0
        index, end = kernel(
            self.core,
            self._index,
            np.uint64(start),
            np.uint64(stop),
            tile,
            last,
            np.uint32(watched),
        )
        self._index = np.uint64(index)
        self.steps += int(end) - start
        return int(end) - start


def tile_padding(chunk_steps: int, width: int, lanes: int) -> U32:
    """The node of a tile's slot behind HALT and behind TRAP, one row each."""
    level = max(0, (min(TILE_STEPS, chunk_steps) // (4 * lanes)).bit_length() - 1)
    nodes = [padding(sentinel, width)[level].ljust(4 * SLOT_WORDS, b"\0") for sentinel in SENTINELS]
    return np.frombuffer(b"".join(nodes), dtype="<u4").astype(np.uint32).reshape(2, SLOT_WORDS)


def new_tile(steps: int) -> Tile:
    """Room for ``steps`` records and for what the widest vector reads past them."""
    room = max(64, steps)
    return Tile(*(np.zeros(room, dtype=np.uint32) for _ in range(3)))


def new_nodes(slots: int, lanes: int) -> U32:
    """Room for ``slots`` slots of ``lanes`` nodes."""
    return np.zeros(slots * SLOT_WORDS * lanes, dtype=np.uint32)


def new_last() -> I64:
    """Last writers of x1..x31 and of the watched word, all NEVER."""
    return np.full(WATCHED + 1, NEVER, dtype=np.int64)


_NO_TILE: Final = new_tile(0)


def run(image: ProgramImage, data: bytes = b"", log4_steps: int = LOG4_STEPS_DEFAULT) -> Outcome:
    """How the program ends within 4^log4_steps steps."""
    machine = Machine(image, data)
    machine.run(step_limit(log4_steps))
    return outcome(machine)


def outcome(machine: Machine) -> Outcome:
    """How a machine that ran to its end, or to its limit, ended."""
    ends = {HALT: Outcome("HALT", machine.steps), TRAP: Outcome("TRAP", machine.steps)}
    return ends.get(machine.pc, Outcome("LIMIT", machine.steps))
