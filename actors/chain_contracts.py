"""Contracts as a chain's spectator reads them: from contract files, a party's or a watcher's."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from actors.config import CHAIN_NODE
from protocol.errors import ConfigError, ProtocolError
from protocol.settlement.contract_file import MAGIC, ContractFile
from protocol.settlement.graph import Graph

MAX_BYTES: Final = 8 << 20


def read_contract(path: Path) -> ContractFile:
    """The contract in a file; ConfigError if it cannot be read or is no contract file."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise ConfigError(f"{path}: more than {MAX_BYTES} bytes, no contract is that long")
        return ContractFile.decode(data)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from None
    except ProtocolError as error:
        raise ConfigError(f"{path}: no contract file; `oracle-vm contract export` makes one"
                          f" ({error})") from None  # fmt: skip


def graphs_of(paths: Sequence[Path]) -> list[Graph]:
    """The contracts in these files, each once: both parties may have a file of it."""
    graphs = (read_contract(path).graph() for path in paths)
    return list({graph.contract.id: graph for graph in graphs}.values())


def contracts_below(folder: Path) -> list[Path]:
    """The contract files in ``folder`` and below, beside the node's own files."""
    return sorted(path for path in _files(folder) if _begins_as_one(path))


def _files(folder: Path) -> Iterator[Path]:
    for place, folders, names in os.walk(folder):
        if Path(place) == folder and CHAIN_NODE in folders:
            folders.remove(CHAIN_NODE)
        for name in names:
            path = Path(place) / name
            if path.is_file():  # no socket, and nothing that has just gone
                yield path


def _begins_as_one(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(MAGIC)) == MAGIC
    except OSError:  # somebody else's: not ours to read
        return False
