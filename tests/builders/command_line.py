"""Command lines in files and documents, checked against the program that they call."""

from collections.abc import Sequence
from typing import Any

import typer

from actors.cli import app


def parsed(words: Sequence[str]) -> tuple[tuple[str, ...], dict[str, Any]]:
    """The names of the command that these words (without ``oracle-vm``) call, and its arguments.
    A wrong command, option or value is click's own error."""
    command: Any = typer.main.get_command(app)
    rest, names = list(words), []
    while hasattr(command, "get_command"):
        assert rest, f"{' '.join(words)}: a group, not a command"
        name = rest.pop(0)
        found = command.get_command(None, name)
        assert found is not None, f"{' '.join(words)}: there is no command {name}"
        names.append(name)
        command = found
    with command.make_context(names[-1], rest) as context:
        return tuple(names), context.params
