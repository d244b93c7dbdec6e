"""The programs of a folder, in the order in which they start."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from actors.local.place import ORACLES, SEED, Place
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
    """Those that need nobody first; each waits for what it needs, whoever is there first."""
    return tuple(
        Program(name, command, place.process(name), place.log(name))
        for name, command in _commands(place)
    )


def _commands(place: Place) -> Iterator[tuple[str, tuple[str, ...]]]:
    network, chain = place.folder / "network", str(place.chain)
    if place.simulators is not None:
        ports = ("--port", str(place.simulators), "--seed", str(SEED))
        yield "venues", ("feeds", "simulate", *ports)
    yield "chain", ("chain", "serve", "--dir", chain)
    for name in ORACLES:
        yield name, ("oracle", "run", "--config", str(network / f"{name}.toml"))
    config = str(network / f"{AGGREGATOR_NAME}.toml")
    yield AGGREGATOR_NAME, ("aggregator", "run", "--config", config)
    folder, pace = str(place.folder), str(place.block_s)
    yield "miner", ("mine", "--dir", folder, "--every", pace)
    yield "api", ("api", "run", "--config", str(place.folder / "api.toml"))
