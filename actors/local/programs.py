"""The programs of a folder, in the order in which they start."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from actors.local.place import SEED, Place
from actors.network import AGGREGATOR_NAME

KEEPER = "up"
"""The keeper's own name, for its process file and its log."""
COORDINATOR = "coordinator"


@dataclass(frozen=True, slots=True)
class Program:
    """One command of ``oracle-vm`` that runs until it is ended."""

    name: str
    command: tuple[str, ...]
    process: Path
    log: Path


def programs_of(place: Place) -> Sequence[Program]:
    """Those that need nobody first; each waits for what it needs, whoever is there first."""
    return tuple(
        Program(name, command, place.process(name), place.log(name))
        for name, command in _commands(place)
    )


def _commands(place: Place) -> Iterator[tuple[str, tuple[str, ...]]]:
    if place.simulators is not None:
        ports = ("--port", str(place.simulators), "--seed", str(SEED))
        yield "venues", ("feeds", "simulate", *ports, "--network", str(place.network))
    yield COORDINATOR, _run(COORDINATOR, place.folder / f"{COORDINATOR}.toml")
    yield "prover", _run("prover", place.folder / "prover.toml")
    nodes = place.network.parent
    for name in place.oracles:
        yield name, _run("oracle", nodes / f"{name}.toml")
    yield AGGREGATOR_NAME, _run("aggregator", nodes / f"{AGGREGATOR_NAME}.toml")
    yield "api", _run("api", place.folder / "api.toml")


def _run(command: str, config: Path) -> tuple[str, ...]:
    return command, "run", "--config", str(config)
