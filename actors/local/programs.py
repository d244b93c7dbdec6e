"""The programs of a group, in the order in which they start."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from actors.local.place import COORDINATOR, SEED, Place
from actors.network import AGGREGATOR_NAME

KEEPER = "up"
"""The keeper's own name, for its process file and its log."""


@dataclass(frozen=True, slots=True)
class Program:
    """One command of ``oracle-vm`` that runs until it is ended."""

    name: str
    command: tuple[str, ...]
    process: Path
    log: Path


def programs_of(place: Place) -> Sequence[Program]:
    """What there is a file for, those that need nobody first; each waits for what it needs, whoever
    is there first."""
    return tuple(
        Program(name, command, place.process(name), place.log(name))
        for name, command in _commands(place)
    )


def _commands(place: Place) -> Iterator[tuple[str, tuple[str, ...]]]:
    if place.simulators is not None:
        ports = ("--port", str(place.simulators), "--seed", str(SEED))
        yield "venues", ("feeds", "simulate", *ports, "--network", str(place.network))
    for name in (COORDINATOR, "prover"):
        if place.runs(name):
            yield name, _run(name, place.folder / f"{name}.toml")
    for name, node in place.nodes.items():
        role = AGGREGATOR_NAME if name == AGGREGATOR_NAME else "oracle"
        yield name, _run(role, node.config)
    if place.api is not None:
        yield "api", _run("api", place.folder / "api.toml")


def _run(command: str, config: Path) -> tuple[str, ...]:
    return command, "run", "--config", str(config)
