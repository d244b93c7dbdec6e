"""The known answers of every layer, as docs/spec/vectors holds them."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.spec import commitment, funding, game, graph, leaves, machine, one_time, opened, terms

FOLDER = Path(__file__).parents[2] / "docs" / "spec" / "vectors"
COMMAND = "python -m tests.spec"

LAYERS: dict[str, Callable[[], dict[str, Any]]] = {
    "machine": machine.answers,
    "commitment": commitment.answers,
    "opened": opened.answers,
    "terms": terms.answers,
    "one_time": one_time.answers,
    "graph": graph.answers,
    "leaves": leaves.answers,
    "leaves_w32": leaves.wide_answers,
    "game": game.answers,
    "funding": funding.answers,
}


def text(answers: dict[str, Any]) -> str:
    """JSON with one line an entry of each table, so that a difference can be read."""
    parts = [f"{json.dumps(name)}: {''.join(_value(value))}" for name, value in answers.items()]
    return "{\n" + ",\n".join(parts) + "\n}\n"


def _value(value: Any) -> Iterator[str]:
    if isinstance(value, list) and value and not isinstance(value[0], int | str):
        yield "[\n" + ",\n".join(f"  {_line(entry)}" for entry in value) + "\n]"
    elif isinstance(value, dict) and any(isinstance(one, dict | list) for one in value.values()):
        lines = (f"  {json.dumps(name)}: {_line(entry)}" for name, entry in value.items())
        yield "{\n" + ",\n".join(lines) + "\n}"
    else:
        yield _line(value)


def _line(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))
