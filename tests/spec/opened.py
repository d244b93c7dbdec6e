"""Known answers of opened inputs: page roots, digests, an opening, the leaves WORD."""

from collections.abc import Iterator
from typing import Any

from protocol.dispute.leaves.template import Template
from protocol.dispute.leaves.verdict_opened import opened_word
from protocol.dispute.opened import OpenedLayout
from riscv_vm.tree import WIDTHS
from tests.spec.leaves import template_of
from tests.spec.machine import word

SIZES = (0, 60, 1020, 1021, 2500)
LOG4_STEPS = 12
OPENED = 0x4000_0000 + 1024 + 4 * 77


def input_of(size: int) -> bytes:
    return bytes((7 * n + n // 256) % 256 for n in range(size))


def answers() -> dict[str, Any]:
    return {
        "about": "docs/spec/input.md",
        "inputs": [_input(size, width) for size in SIZES for width in WIDTHS],
        "opening": _opening(),
        "templates": [template_of(template) for template in templates()],
    }


def templates() -> Iterator[Template]:
    """The leaves of one input, of both widths."""
    for width in WIDTHS:
        for page in OpenedLayout(input_of(SIZES[-1])).pages(width):
            yield opened_word(LOG4_STEPS, page)


def _input(size: int, width: int) -> dict[str, Any]:
    layout = OpenedLayout(input_of(size))
    return {
        "size": size,
        "width": width,
        "roots": [page.root.hex() for page in layout.pages(width)],
        "digest": layout.digest(width).hex(),
    }


def _opening() -> dict[str, Any]:
    layout = OpenedLayout(input_of(SIZES[-1]))
    return {
        "size": SIZES[-1],
        "address": word(OPENED),
        "value": word(layout.word(OPENED)),
        "block": [word(one) for one in layout.block(OPENED)],
        "siblings": [sibling.hex() for sibling in layout.siblings(OPENED, WIDTHS[0])],
    }
