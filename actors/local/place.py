"""A folder of ``oracle-vm up``: what it runs and where everything in it is; ``files`` makes it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal, Self

from msgspec import Meta

from actors.clock import Clock, clock_at
from actors.network import Table, decode, load_network
from protocol.errors import ConfigError

BLOCK_S: Final = 5
SEED: Final = 1
"""Of the simulated prices."""

NETWORK: Final = Path("network") / "network.toml"

Port = Annotated[int, Meta(ge=1, le=65_535)]


class _Up(Table, frozen=True):
    venues: Literal["simulated", "live"]
    api: Port
    block_s: Annotated[int, Meta(ge=1, le=3600)] = BLOCK_S
    simulators: Annotated[int, Meta(ge=1, le=65_533)] | None = None


class _File(Table, frozen=True):
    up: _Up


@dataclass(frozen=True, slots=True)
class Place:
    """A folder of ``oracle-vm up``. ``api`` is the gateway's port, ``simulators`` the first of the
    three of the simulated venues, None where the venues are live; ``oracles`` are names, and all
    clocks add ``clock_offset_ms`` to real time, as the network's file says."""

    folder: Path
    api: int
    block_s: int
    simulators: int | None
    oracles: tuple[str, ...]
    clock_offset_ms: int

    @classmethod
    def load(cls, folder: Path) -> Self:
        """ConfigError if ``oracle-vm up`` has not made it, or names the field that is wrong."""
        file = folder / "up.toml"
        if not file.exists():
            raise ConfigError(f"{folder}: nothing there; `oracle-vm up --dir {folder}` makes it")
        up = decode(file, _File).up
        if (up.venues == "simulated") != (up.simulators is not None):
            raise ConfigError(f"{file}: [up] simulators: simulated venues need it, no others do")
        network = load_network(folder / NETWORK)
        offset_ms = network.clock_offset_ms
        if offset_ms and up.simulators is None:
            raise ConfigError(
                f"{folder / NETWORK}: [network] clock_offset_ms: live venues have real time, remove"
                " it"
            )
        names = network.names
        return cls(folder.absolute(), up.api, up.block_s, up.simulators, names, offset_ms)

    @property
    def clock(self) -> Clock:
        """What every program here reads the time from."""
        return clock_at(self.clock_offset_ms)

    @property
    def network(self) -> Path:
        """The oracles' network file."""
        return self.folder / NETWORK

    @property
    def url(self) -> str:
        """Of the gateway."""
        return f"http://127.0.0.1:{self.api}"

    @property
    def chain(self) -> Path:
        """The node's folder."""
        return self.folder / "chain"

    @property
    def contracts(self) -> Path:
        """Where the desk keeps a folder for each contract."""
        return self.folder / "api" / "contracts"

    @property
    def state(self) -> Path:
        """What the keeper says of its programs."""
        return self.folder / "run" / "state.json"

    def node(self, name: str) -> Path:
        """A node's control socket."""
        return self.folder / "network" / "data" / name / "control.sock"

    def process(self, name: str) -> Path:
        """A program's process file."""
        return self.folder / "run" / f"{name}.json"

    def log(self, name: str) -> Path:
        """A program's log."""
        return self.folder / "logs" / f"{name}.log"
