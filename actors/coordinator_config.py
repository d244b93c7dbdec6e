"""The file of ``oracle-vm coordinator run`` (TOML): a Bitcoin node for many, and who mines.

    [coordinator]   folder of the node and its socket; which node that is
    [mining]        regtest only: a block every so often, and coins for addresses on a new chain

Paths are relative to the file. No key is named: coins go to addresses.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta

from actors.config import chain_network
from actors.network import Table, decode
from protocol.bitcoin.address import REGTEST, decode_address
from protocol.errors import ConfigError, ProtocolError

Text = Annotated[str, Meta(min_length=1)]


class _Coordinator(Table, frozen=True):
    folder: Text
    backend: Literal["kernel", "bitcoind", "rpc"] = "kernel"
    network: str = REGTEST.name
    rpc_url: str = ""
    cookie: Text | None = None
    since_height: Annotated[int, Meta(ge=0, le=2**31)] = 0
    log: Literal["debug", "info", "warning", "error"] = "info"


class _Mining(Table, frozen=True):
    every_s: Annotated[float, Meta(ge=0.1, le=86_400)]
    coinbases: Annotated[tuple[Text, ...], Meta(max_length=100)] = ()


class _File(Table, frozen=True):
    coordinator: _Coordinator
    mining: _Mining | None = None


@dataclass(frozen=True, slots=True)
class Mining:
    """A block every ``every_s`` seconds; before the first one, on a new chain, coinbases that may
    be spent for each of ``scripts``."""

    every_s: float
    scripts: tuple[bytes, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CoordinatorConfig:
    """The node as ``actors.config.open_chain`` takes it; ``mining`` is None where others mine."""

    folder: Path
    backend: str
    network: str
    rpc_url: str
    cookie: Path | None
    since_height: int
    log: str
    mining: Mining | None


def load_coordinator(path: Path) -> CoordinatorConfig:
    """The coordinator in ``path``; ConfigError names file, table and field, and what to write."""
    file = decode(path, _File)
    node, folder = file.coordinator, path.parent
    try:
        network = chain_network(node.network)
        mining = None if file.mining is None else _mining(file.mining)
    except ProtocolError as error:
        raise ConfigError(f"{path}: {error}") from None
    if mining is not None and network is not REGTEST:
        raise ConfigError(f"{path}: [mining]: regtest only, {node.network} is mined by others")
    return CoordinatorConfig(
        folder=folder / node.folder,
        backend=node.backend,
        network=node.network,
        rpc_url=node.rpc_url,
        cookie=None if node.cookie is None else folder / node.cookie,
        since_height=node.since_height,
        log=node.log,
        mining=mining,
    )


def _mining(table: _Mining) -> Mining:
    try:
        scripts = tuple(decode_address(address, REGTEST) for address in table.coinbases)
    except ProtocolError as error:
        raise ConfigError(f"[mining] coinbases: {error}") from None
    return Mining(table.every_s, scripts)
