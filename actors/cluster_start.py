"""The commands that start Ray on a node, as a cluster file has them, taken apart like a shell."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from protocol.errors import ConfigError

SEPARATORS: Final = frozenset({";", "&&", "||", "|", "&"})


@dataclass(frozen=True, slots=True)
class Command:
    """One simple command: which item of the list it is in, what it sets before it, the program's
    name without its folder, and its words."""

    item: int
    environment: Mapping[str, str]
    program: str
    words: tuple[str, ...]

    @property
    def is_ray(self) -> bool:
        return self.program == "ray"

    @property
    def verb(self) -> str:
        """Of `ray VERB`."""
        return self.words[0] if self.is_ray and self.words else ""

    @property
    def options(self) -> dict[str, str]:
        """``--name=value`` or ``--name value``; a flag's value is empty. Without the dashes."""
        found: dict[str, str] = {}
        words = iter(self.words[1:])
        name = ""
        for word in words:
            if word.startswith("--"):
                name, _, value = word[2:].partition("=")
                found[name] = value
            elif name and not found[name]:
                found[name] = word
        return found


def commands_in(items: Sequence[str]) -> list[Command]:
    """The simple commands of the items, in order. ConfigError if one is no shell command."""
    found = []
    for number, item in enumerate(items):
        lexer = shlex.shlex(item, posix=True, punctuation_chars=";&|")
        lexer.whitespace_split = True
        try:
            words = list(lexer)
        except ValueError as error:
            raise ConfigError(f"[{number}]: no shell command ({error})") from None
        part: list[str] = []
        for word in [*words, ";"]:
            if word not in SEPARATORS:
                part.append(word)
            elif part:
                found.append(_command(number, part))
                part = []
    return found


def _command(item: int, words: Sequence[str]) -> Command:
    environment: dict[str, str] = {}
    rest = list(words)
    while rest and (name := rest[0].partition("=")[0]).isidentifier() and "=" in rest[0]:
        environment[name] = rest.pop(0).partition("=")[2]
    program = rest[0].rpartition("/")[2] if rest else ""
    return Command(item, environment, program, tuple(rest[1:]))
