"""A watchtower's own file: its folder, the socket of its Bitcoin node, what it guards (TOML).

    [watchtower]   folder, chain, network, depth; wallet, a key whose coins pay higher fees
    [[contract]]   file, from `oracle-vm contract export --tower`, and passphrase_file

Paths are relative to the file. The passphrase of a contract is read once, on the first start that
names it; from then on its folder below ``folder`` has the keys.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta

from actors.config import chain_network
from actors.network import Table, decode
from protocol.bitcoin.address import Network
from protocol.errors import ConfigError

Text = Annotated[str, Meta(min_length=1)]


class _Watchtower(Table, frozen=True):
    folder: Text
    chain: Text
    network: str = "regtest"
    depth: Annotated[int, Meta(ge=1, le=100)] = 3
    log: Literal["debug", "info", "warning", "error"] = "info"
    wallet: Text | None = None


class _Contract(Table, frozen=True):
    file: Text
    passphrase_file: Text


class _File(Table, frozen=True):
    watchtower: _Watchtower
    contract: Annotated[tuple[_Contract, ...], Meta(min_length=1, max_length=10_000)]


@dataclass(frozen=True, slots=True)
class Watched:
    """A contract to guard: its file, and the file whose first line is the passphrase."""

    file: Path
    passphrase_file: Path


@dataclass(frozen=True, slots=True)
class WatchtowerConfig:
    """``wallet`` is the path of a key, None where nobody pays higher fees."""

    folder: Path
    chain: Path
    network: Network
    depth: int
    log: str
    wallet: Path | None
    contracts: tuple[Watched, ...]


def load_watchtower(path: Path) -> WatchtowerConfig:
    """The watchtower in ``path``; ConfigError names file, table and field and what it should be."""
    file = decode(path, _File)
    tower, folder = file.watchtower, path.parent
    try:
        network = chain_network(tower.network)
    except ConfigError as error:
        raise ConfigError(f"{path}: [watchtower] {error}") from None
    contracts = tuple(
        Watched(folder / each.file, folder / each.passphrase_file) for each in file.contract
    )
    if len({each.file.resolve() for each in contracts}) < len(contracts):
        raise ConfigError(f"{path}: [[contract]] file: one is listed twice")
    return WatchtowerConfig(
        folder=folder / tower.folder,
        chain=folder / tower.chain,
        network=network,
        depth=tower.depth,
        log=tower.log,
        wallet=None if tower.wallet is None else folder / tower.wallet,
        contracts=contracts,
    )
