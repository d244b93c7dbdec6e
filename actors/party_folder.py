"""What one side of one contract has on disk, and nobody else may have open.

    journal   what the party decided and was told, in order: a restart goes on from here
    guard     what its one-time keys have signed, for ever
    seed      32 secret bytes of this contract alone; made on the first start

A watchtower has such a folder for each contract, whose seed gives less (``TowerKeys``).
Journal and guard are worth as much as the seed: without them it must not sign.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

from actors.journal import Journal
from actors.keyfile import create_key, load_seed, write_secret
from actors.onetime import OneTimeJournal
from protocol.errors import ConfigError, GuardError
from protocol.settlement.keys import PartyKeys

JOURNAL: Final = "contract.journal"
GUARD: Final = "onetime.journal"
SEED: Final = "contract.seed"
CONTROL: Final = "control.sock"


@dataclass(frozen=True, slots=True)
class PartyFolder:
    """An open folder. ``records`` is what its journal held when it was opened."""

    path: Path
    seed: bytes = field(repr=False)
    guard: OneTimeJournal
    journal: Journal
    records: tuple[bytes, ...]

    @property
    def keys(self) -> PartyKeys:
        """A party's, derived again each time."""
        return PartyKeys(self.seed)

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open the folder, or make a new one. GuardError or ConfigError if another process has it,
        or if a part of it is missing or damaged."""
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"{path}: cannot be a party's folder ({error.strerror})") from None
        journal, records = Journal.open(path / JOURNAL)
        try:
            seed = _seed(path / SEED, new=not records)
            guard = OneTimeJournal.open(path / GUARD, seed, new=not records)
            if guard and not records:
                guard.close()
                raise GuardError(
                    f"{path / JOURNAL}: lost, but {path / GUARD} has entries. Bring the journal"
                    " back, or move to a new folder with `oracle-vm contract import`"
                )
        except BaseException:
            journal.close()
            raise
        return cls(path, seed, guard, journal, records)

    @classmethod
    def create(cls, path: Path, seed: bytes) -> Self:
        """A folder for a seed that comes from elsewhere, empty but for it. ConfigError if there is
        something already."""
        if path.exists():
            raise ConfigError(f"{path}: exists; name a new folder")
        path.mkdir(parents=True)
        write_secret(path / SEED, seed)
        return cls.open(path)

    def close(self) -> None:
        """Releases both locks."""
        self.guard.close()
        self.journal.close()


def _seed(path: Path, *, new: bool) -> bytes:
    if new and not path.exists():
        create_key(path)
    return load_seed(path)
