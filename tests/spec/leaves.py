"""Known answers of the leaves: every template of the fixed contract's two widths."""

from collections.abc import Iterable, Iterator
from hashlib import sha256
from typing import Any

from protocol.dispute.leaves import execute, moves
from protocol.dispute.leaves.catalog import verdict_leaves
from protocol.dispute.leaves.execute import Borders
from protocol.dispute.leaves.said import Said
from protocol.dispute.leaves.template import Template
from protocol.dispute.leaves.verdict_assert import (
    assert_leaves,
    assert_path,
    refute_leaves,
    shapes,
)
from protocol.dispute.premises import Premises
from protocol.settlement.dispute.premises import premises_of, published_messages
from protocol.settlement.terms import Role
from tests.spec import fixed

WIDTHS = (20, 32)


def answers() -> dict[str, Any]:
    premises = _premises(20)
    return {
        "about": "docs/spec/leaves.md",
        "text": [premises.image.text_base, premises.image.text_end],
        "memory": [[segment.base, segment.end] for segment in premises.image.memory],
        "zero": list(premises.zero_ranges()),
        "templates": [template_of(template) for template in templates(20)],
    }


def wide_answers() -> dict[str, Any]:
    """The same for hashes of 32 bytes: those that differ."""
    narrow = {tuple(template_of(template)) for template in templates(20)}
    found = [template_of(template) for template in templates(32)]
    return {
        "about": "docs/spec/leaves.md",
        "templates": [one for one in found if tuple(one) not in narrow],
    }


def templates(width: int) -> Iterator[Template]:
    """Every template of the fixed contract: forward moves, EXECUTE, verdicts, assertions."""
    premises = _premises(width)
    k, borders = premises.log4_steps, Borders.of(premises)
    for turn in range(1, k):
        yield moves.reveal(width, turn)
    yield moves.reveal_block(k)
    for turn in range(1, k + 1):
        yield moves.digit(k, turn)
    for name in execute.names():
        yield execute.template(name, borders)
    yield from verdict_leaves(premises, published_messages(fixed.terms(width), Role.HOLDER))
    for shape in shapes(k, width):
        path = assert_path(shape)
        if path is not None and shape.child == 0:
            yield path
        yield from assert_leaves(shape)
        if shape.child == 0:
            yield from refute_leaves(shape)


def bodies(several: Iterable[Template]) -> dict[str, bytes]:
    """The bytes of templates by their SHA-256."""
    return {sha256(template.body).hexdigest(): template.body for template in several}


def _premises(width: int) -> Premises:
    return premises_of(fixed.terms(width), Role.HOLDER)


def template_of(template: Template) -> list[Any]:
    """Name, SHA-256 of the body, its bytes, hints, and the messages from the top of the witness:
    ``*`` is signed here for the first time, ``!`` is verified and not looked at."""
    body = template.body
    messages = " ".join(_message(template, said) for said in template.messages)
    return [template.name, sha256(body).hexdigest(), len(body), template.hints, messages]


def _message(template: Template, said: Said) -> str:
    marks = "*" * (said in template.first) + "!" * (said in template.silent)
    return f"{said.party.value[0]}{said.turn}.{said.field}:{said.digits}{marks}"
