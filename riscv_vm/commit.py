"""The compiled loops of the commitment: records of a tile -> nodes -> chunk roots.

A tile is recorded, hashed to one slot of ``lanes`` nodes and joined, like a carry, with the slots
of the tiles before it. So a chunk needs one slot a level, and a trace is never stored.
"""

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from numba import uint32, uint64

from riscv_vm.interpreter import run_record
from riscv_vm.isa import HALT, NOWRITE, TRAP
from riscv_vm.jit import SOURCES, jit
from riscv_vm.lanes import SLOT_WORDS, leaf_nodes, parent_nodes

TILE_STEPS: Final = 4096
CARRY_SLOTS: Final = 20
"""Slots for joined tiles, one a level: enough for any chunk."""


class Hashing(NamedTuple):
    """The kernels for one number of lanes and one node width."""

    leaves: Callable[..., Any]
    parents: Callable[..., Any]
    commit: Callable[..., Any]


def _leaves(lanes: int, sources: int) -> Callable[..., Any]:
    def leaves(tile, nodes, slots):  # type: ignore[no-untyped-def]
        """Slots 0..slots-1 of ``nodes`` = the block nodes of 4 * lanes * slots records."""
        _ = sources
        for slot in range(slots):
            leaf_nodes(
                lanes,
                8,
                tile.waddr,
                tile.wval,
                tile.next_pc,
                uint64(slot * 4 * lanes),
                nodes,
                uint64(slot),
            )

    return leaves


def _parents(lanes: int, words: int, sources: int) -> Callable[..., Any]:
    def parents(nodes, source, slots, target):  # type: ignore[no-untyped-def]
        """The parents of ``slots`` slots from ``source``, from slot ``target`` on.

        One slot gives a slot whose first half counts. ``target`` may be ``source``.
        """
        _ = sources
        for pair in range((slots + 1) // 2):
            left, right = uint64(source + 2 * pair), uint64(source + 2 * pair + 1)
            if slots == 1:
                right = left
            parent_nodes(lanes, words, nodes, left, right, uint64(target + pair))

    return parents


def _commit(lanes: int, words: int, sources: int) -> Callable[..., Any]:
    def commit(core, pc, chunk_steps, roots, padding, tile, nodes, last):  # type: ignore[no-untyped-def]
        """Run len(roots) chunks from text index ``pc``; ``roots[i]`` = the node of chunk i.

        ``padding`` holds the node on the level of a tile's slot behind HALT and behind TRAP.
        Returns (pc, steps executed).
        """
        _ = sources
        halt = uint64(len(core.code) - 1)
        tile_steps = min(TILE_STEPS, chunk_steps)
        tile_slots = max(1, tile_steps // (4 * lanes))
        stack = TILE_STEPS // (4 * lanes)
        total = 0
        for chunk in range(len(roots)):
            for number in range(chunk_steps // tile_steps):
                if pc >= halt:
                    for word in range(words):
                        for lane in range(lanes):
                            nodes[word * lanes + lane] = padding[int(pc - halt), word]
                else:
                    pc, end = run_record(
                        core, pc, uint64(0), uint64(tile_steps), tile, last, uint32(0)
                    )
                    total += int(end)
                    for step in range(int(end), tile_steps):
                        tile.waddr[step] = NOWRITE
                        tile.wval[step] = 0
                        tile.next_pc[step] = HALT if pc == halt else TRAP
                    for slot in range(tile_slots):
                        leaf_nodes(
                            lanes,
                            8,
                            tile.waddr,
                            tile.wval,
                            tile.next_pc,
                            uint64(slot * 4 * lanes),
                            nodes,
                            uint64(slot),
                        )
                    slots = tile_slots
                    while slots > 1:
                        slots //= 2
                        for pair in range(slots):
                            parent_nodes(
                                lanes,
                                words,
                                nodes,
                                uint64(2 * pair),
                                uint64(2 * pair + 1),
                                uint64(pair),
                            )
                carry = 0
                while number >> carry & 1:
                    parent_nodes(lanes, words, nodes, uint64(stack + carry), uint64(0), uint64(0))
                    carry += 1
                for word in range(SLOT_WORDS * lanes):
                    nodes[(stack + carry) * SLOT_WORDS * lanes + word] = nodes[word]
            count = min(lanes, chunk_steps // 4)
            while count > 1:
                parent_nodes(lanes, words, nodes, uint64(0), uint64(0), uint64(0))
                count //= 2
            for word in range(words):
                roots[chunk, word] = nodes[word * lanes]
        return pc, total

    return commit


HASHING: Final = {
    (lanes, width): Hashing(
        jit(_leaves(lanes, SOURCES)),
        jit(_parents(lanes, width // 4, SOURCES)),
        jit(_commit(lanes, width // 4, SOURCES)),
    )
    for lanes in (4, 8, 16)
    for width in (20, 32)
}
