"""Known answers of the commitment: block nodes, padding, roots, an opening."""

from typing import Any

from riscv_vm.isa import HALT, TRAP
from riscv_vm.machine import trace
from riscv_vm.record import absorbing, encode_block
from riscv_vm.tree import WIDTHS, SparseTree, block_node, join, open_step, padding
from tests.spec.machine import programs, word

SHAPES = (5, 12)
LEVELS = 6


def answers() -> dict[str, Any]:
    return {
        "about": "docs/spec/commitment.md",
        "nodes": [_nodes(width) for width in WIDTHS],
        "padding": [
            {
                "sentinel": word(sentinel),
                "width": width,
                "levels": [node.hex() for node in padding(sentinel, width)[:LEVELS]],
            }
            for sentinel in (HALT, TRAP)
            for width in WIDTHS
        ],
        "roots": [
            {"program": name, "log4_steps": shape, "width": width, "root": tree.root.hex()}
            for shape in SHAPES
            for width in WIDTHS
            for name, tree in _trees(shape, width)
        ],
        "opening": _opening(),
    }


def _nodes(width: int) -> dict[str, Any]:
    block = encode_block([absorbing(HALT)] * 4)
    node = block_node(block, width)
    other = block_node(bytes(range(48)), width)
    return {
        "width": width,
        "block": bytes(range(48)).hex(),
        "node": other.hex(),
        "left": node.hex(),
        "parent": join(node, other).hex(),
    }


def _trees(shape: int, width: int) -> list[tuple[str, SparseTree]]:
    return [
        (name, SparseTree([step.record for step in trace(image, data)], shape, width))
        for name, image, data in programs()
        if name != "every class" or shape > SHAPES[0]
    ]


def _opening() -> dict[str, Any]:
    name, tree = _trees(SHAPES[0], 20)[0]
    opening = open_step(tree, 9)
    return {
        "program": name,
        "step": opening.step,
        "block": encode_block(opening.block).hex(),
        "siblings": [sibling.hex() for sibling in opening.siblings],
        "root": tree.root.hex(),
    }
