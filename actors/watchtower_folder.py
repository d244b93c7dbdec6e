"""What a watchtower has on disk for a contract: a party's folder whose seed gives answers only."""

import shutil
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from actors.chain_contracts import read_contract
from actors.config import Chain
from actors.party_folder import PartyFolder
from actors.sealed_seed import read_passphrase, unseal
from actors.watchtower_config import Watched, WatchtowerConfig
from protocol.errors import ConfigError, ProtocolError
from protocol.settlement.contract_file import ContractFile, restore
from protocol.settlement.keys import TowerKeys
from protocol.settlement.terms import ContractTerms, Role, contract_id

_DRAFT: Final = ".draft"


@dataclass(frozen=True, slots=True)
class TowerFolder:
    """An open folder, named after the contract's id."""

    disk: PartyFolder
    role: Role
    terms: ContractTerms
    keys: TowerKeys = field(repr=False)

    @classmethod
    def open(cls, config: WatchtowerConfig, contract: Watched, chain: Chain) -> Self:
        """The folder of a contract, made from its file on the first start that names it.

        ConfigError if the file is missing, not a watchtower's, or under another passphrase.
        """
        file = read_contract(contract.file)
        path = config.folder / contract_id(file.terms).hex() / file.role.value
        if not path.exists():
            _create(path, file, contract, chain)
        disk = PartyFolder.open(path)
        try:
            return cls(disk, file.role, file.terms, _keys(disk.seed, file, contract.file))
        except BaseException:
            disk.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.disk.close()


def _create(path: Path, file: ContractFile, contract: Watched, chain: Chain) -> None:
    """All or nothing: what chain and file show as revealed is in the guard first."""
    seed = unseal(file.sealed, read_passphrase(contract.passphrase_file), file.bound)
    keys = _keys(seed, file, contract.file)
    draft = path.with_name(f".{path.name}{_DRAFT}")
    shutil.rmtree(draft, ignore_errors=True)
    try:
        disk = PartyFolder.create(draft, seed)
        try:
            for record in restore(file, keys, disk.guard, chain):
                disk.journal.append(record)
        finally:
            disk.close()
        draft.rename(path)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _keys(seed: bytes, file: ContractFile, name: Path) -> TowerKeys:
    try:
        return TowerKeys(seed, file.terms, file.role, file.own_keys)
    except ProtocolError as error:
        raise ConfigError(
            f"[[contract]] file: {name}: {error}; make the file with `oracle-vm contract export"
            " --tower`: a watchtower is not given the party's own"
        ) from None
