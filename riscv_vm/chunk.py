"""The records and nodes of one chunk, computed when a dispute or an opening asks for them."""

import numpy as np

from riscv_vm.commit import HASHING
from riscv_vm.fast import new_nodes
from riscv_vm.interpreter import Tile
from riscv_vm.jit import vector_lanes
from riscv_vm.lanes import SLOT_WORDS
from riscv_vm.record import BLOCK_RECORDS, Block, Record


class Chunk:
    """Every block and node of a power of four of steps; indices count from the chunk's start."""

    def __init__(self, tile: Tile, steps: int, width: int, lanes: int | None = None) -> None:
        """``tile`` holds at least the ``steps`` records; ``width`` is the node size in bytes."""
        self._tile, self._width, self._lanes = tile, width, lanes or vector_lanes()
        kernels = HASHING[self._lanes, width]
        slots = [max(1, steps // (4 * self._lanes))]
        blocks = steps // BLOCK_RECORDS
        while len(slots) < blocks.bit_length():
            slots.append(max(1, slots[-1] // 2))
        self._start = np.cumsum([0, *slots]).tolist()
        nodes = new_nodes(sum(slots), self._lanes)
        kernels.leaves(tile, nodes, slots[0])
        for level in range(1, len(slots)):
            kernels.parents(nodes, self._start[level - 1], slots[level - 1], self._start[level])
        self._slots = nodes.reshape(-1, SLOT_WORDS, self._lanes)

    @property
    def root(self) -> bytes:
        return self.node(len(self._start) - 2, 0)

    def node(self, level: int, index: int) -> bytes:
        slot, lane = divmod(index, self._lanes)
        words = self._slots[self._start[level] + slot, : self._width // 4, lane]
        return words.astype("<u4").tobytes()

    def block(self, index: int) -> Block:
        at = BLOCK_RECORDS * index
        a, b, c, d = (self._record(at + i) for i in range(BLOCK_RECORDS))
        return a, b, c, d

    def _record(self, step: int) -> Record:
        tile = self._tile
        return Record(int(tile.waddr[step]), int(tile.wval[step]), int(tile.next_pc[step]))
