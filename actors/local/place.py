"""Folders of ``oracle-vm up``: what they run and where everything in them is; ``files`` makes them.

A place is the folder of one group of programs, which have one owner, one keeper and one process
group. A site is what `--dir` names: one place that has everything, or, with ``--operators``, one
for each operator and one for the world between them (venues and Bitcoin node).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal, Self

from msgspec import Meta, Struct

from actors.clock import Clock, clock_at
from actors.network import AGGREGATOR_NAME, Name, Table, decode, load_network
from protocol.errors import ConfigError

BLOCK_S: Final = 5
SEED: Final = 1
"""Of the simulated prices."""

UP: Final = "up.toml"
NETWORK: Final = "network.toml"
WORLD: Final = "world"
"""The group that is nobody's: exchanges and the Bitcoin node."""
COORDINATOR: Final = "coordinator"
ORACLE: Final = "oracle"
"""An operator's oracle, wherever it is the only one of a folder."""

Port = Annotated[int, Meta(ge=1, le=65_535)]


class _Up(Table, frozen=True):
    name: Name | Literal[""] = ""
    venues: Literal["simulated", "live"] | None = None
    api: Port | None = None
    block_s: Annotated[int, Meta(ge=1, le=3600)] = BLOCK_S
    simulators: Annotated[int, Meta(ge=1, le=65_533)] | None = None
    groups: tuple[str, ...] = ()


class _File(Table, frozen=True):
    up: _Up


class _Node(Struct):
    """What is of interest here of a node's own file."""

    name: str
    folder: str


class _NodeFile(Struct):
    node: _Node


@dataclass(frozen=True, slots=True)
class Node:
    """An oracle or the aggregator: its name in the roster, its file and its data."""

    name: str
    config: Path
    folder: Path

    @property
    def control(self) -> Path:
        """Its control socket."""
        return self.folder / "control.sock"


@dataclass(frozen=True, slots=True)
class Place:
    """The folder of one group of programs. ``name`` is the operator's, ``world``, or empty for a
    group that is all there is. ``api`` is the gateway's port, ``simulators`` the first of the three
    of the simulated venues, None where there are none; ``nodes`` are oracles and aggregator by
    program. All clocks add ``clock_offset_ms`` to real time."""

    folder: Path
    name: str
    api: int | None
    block_s: int
    simulators: int | None
    network: Path
    nodes: Mapping[str, Node]
    clock_offset_ms: int

    @classmethod
    def load(cls, folder: Path) -> Self:
        """ConfigError if ``oracle-vm up`` has not made it, or names the field that is wrong."""
        file = folder / UP
        up = _read(folder)
        if up.groups:
            raise ConfigError(f"{file}: [up] groups: a group has none of its own, remove them")
        if (up.venues == "simulated") != (up.simulators is not None):
            raise ConfigError(f"{file}: [up] simulators: simulated venues need it, no others do")
        if up.api is None and (folder / "api.toml").exists():
            raise ConfigError(f"{file}: [up] api: missing, the port in api.toml")
        shared = folder / "network"
        at = (shared if shared.is_dir() else folder).absolute()
        network = load_network(at / NETWORK)
        offset_ms = network.clock_offset_ms
        if offset_ms and up.venues == "live":
            raise ConfigError(
                f"{at / NETWORK}: [network] clock_offset_ms: live venues have real time, remove it"
            )
        nodes = {
            program: _node(at / f"{program}.toml")
            for program in (*network.names, ORACLE, AGGREGATOR_NAME)
            if (at / f"{program}.toml").exists()
        }
        return cls(
            folder=folder.absolute(),
            name=up.name,
            api=up.api,
            block_s=up.block_s,
            simulators=up.simulators,
            network=at / NETWORK,
            nodes=nodes,
            clock_offset_ms=offset_ms,
        )

    @property
    def clock(self) -> Clock:
        """What every program here reads the time from."""
        return clock_at(self.clock_offset_ms)

    @property
    def url(self) -> str | None:
        """Of the gateway, None where there is none."""
        return None if self.api is None else f"http://127.0.0.1:{self.api}"

    @property
    def chain(self) -> Path:
        """The Bitcoin node's folder, if it runs here."""
        return self.folder / "chain"

    @property
    def contracts(self) -> Path:
        """Where the desk keeps a folder for each contract."""
        return self.folder / "api" / "contracts"

    @property
    def state(self) -> Path:
        """What the keeper says of its programs."""
        return self.folder / "run" / "state.json"

    def runs(self, program: str) -> bool:
        """Whether there is a file for it."""
        return (self.folder / f"{program}.toml").exists()

    def full(self, program: str) -> str:
        """What a program is called where there are other groups: OPERATOR/PROGRAM."""
        return f"{self.name}/{program}" if self.name else program

    def process(self, program: str) -> Path:
        """A program's process file."""
        return self.folder / "run" / f"{program}.json"

    def log(self, program: str) -> Path:
        """A program's log."""
        return self.folder / "logs" / f"{program}.log"


@dataclass(frozen=True, slots=True)
class Site:
    """What ``--dir`` names: its groups, the world first."""

    folder: Path
    groups: tuple[Place, ...]

    @classmethod
    def load(cls, folder: Path, operator: str | None = None) -> Self:
        """A folder of one group, or of several; ``operator`` names one of them alone. ConfigError
        as ``Place.load``."""
        paths = [folder / path for path in _read(folder).groups] or [folder]
        groups = [Place.load(path) for path in paths]
        chosen = tuple(group for group in groups if operator in (None, group.name))
        if not chosen:
            known = ", ".join(group.name for group in groups if group.name)
            raise ConfigError(
                f"--operator {operator}: " + (f"choose {known}" if known else f"{folder} has none")
            )
        return cls(folder.absolute(), chosen)

    @property
    def clock(self) -> Clock:
        """What every program here reads the time from."""
        return self.groups[0].clock

    @property
    def gateways(self) -> tuple[Place, ...]:
        """The groups that have one; the first has the market."""
        return tuple(group for group in self.groups if group.api is not None)

    @property
    def chain(self) -> Path | None:
        """The Bitcoin node's folder, None if it runs elsewhere."""
        return next((group.chain for group in self.groups if group.runs(COORDINATOR)), None)

    @property
    def simulators(self) -> int | None:
        """The first port of the simulated venues, None if there are none."""
        return next((g.simulators for g in self.groups if g.simulators is not None), None)


def _read(folder: Path) -> _Up:
    file = folder / UP
    if not file.exists():
        raise ConfigError(f"{folder}: nothing there; `oracle-vm up --dir {folder}` makes it")
    return decode(file, _File).up


def _node(config: Path) -> Node:
    node = decode(config, _NodeFile).node
    return Node(node.name, config, config.parent / node.folder)
