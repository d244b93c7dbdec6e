"""The file of ``oracle-vm prover run`` (TOML): [prover] with a socket and a number of workers.

The socket is relative to the file. There is no key: a prover signs nothing.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta

from actors.network import Table, decode


class _Prover(Table, frozen=True):
    socket: Annotated[str, Meta(min_length=1)]
    workers: Annotated[int, Meta(ge=1, le=256)] = 2
    log: Literal["debug", "info", "warning", "error"] = "info"


class _File(Table, frozen=True):
    prover: _Prover


@dataclass(frozen=True, slots=True)
class ProverConfig:
    """Where it serves, and on how many threads: the machine's code holds no lock of Python."""

    socket: Path
    workers: int
    log: str


def load_prover(path: Path) -> ProverConfig:
    """The prover in ``path``; ConfigError names file and field and what it should be."""
    prover = decode(path, _File).prover
    return ProverConfig(path.parent / prover.socket, prover.workers, prover.log)
