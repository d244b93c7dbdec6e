"""BLAKE3 over lanes, judged by the blake3 package: every lane count, both widths."""

import numpy as np
import pytest
from blake3 import blake3

from riscv_vm.chunk import Chunk
from riscv_vm.fast import new_tile
from riscv_vm.interpreter import Tile
from riscv_vm.record import Record
from riscv_vm.tree import block_node, join, padding

LANES = (4, 8, 16)
WIDTHS = (20, 32)


def random_tile(steps: int, seed: int) -> Tile:
    rng = np.random.default_rng(seed)
    tile = new_tile(steps)
    for plane in tile:
        plane[:steps] = rng.integers(0, 2**32, steps, dtype=np.uint32)
    return tile


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("lanes", LANES)
@pytest.mark.parametrize("steps", [4, 16, 64, 256, 1024])
def test_every_node_of_a_chunk(steps: int, lanes: int, width: int) -> None:
    tile = random_tile(steps, seed=steps)
    chunk = Chunk(tile, steps, width, lanes)
    records = np.array(tile).T[:steps].astype("<u4")
    nodes = [blake3(records[at : at + 4].tobytes()).digest()[:width] for at in range(0, steps, 4)]
    for index in range(steps // 4):
        rows = records[4 * index : 4 * index + 4]
        assert chunk.block(index) == tuple(Record(*map(int, row)) for row in rows)
    level = 0
    while True:
        assert [chunk.node(level, index) for index in range(len(nodes))] == nodes
        if len(nodes) == 1:
            break
        pairs = zip(nodes[::2], nodes[1::2], strict=True)
        nodes = [blake3(left + right).digest()[:width] for left, right in pairs]
        level += 1
    assert chunk.root == nodes[0]


@pytest.mark.parametrize("width", WIDTHS)
def test_the_tree_hashes_are_plain_blake3(width: int) -> None:
    block = bytes(range(48))
    assert block_node(block, width) == blake3(block).digest()[:width]
    left, right = bytes(width), bytes([1] * width)
    assert join(left, right) == blake3(left + right).digest()[:width]
    pads = padding(0xFFFF_FFF1, width)
    record = bytes.fromhex("ffffffff 00000000 f1ffffff")
    assert pads[0] == blake3(4 * record).digest()[:width]
    assert len(pads) == 29
    assert pads[28] == blake3(2 * pads[27]).digest()[:width]
