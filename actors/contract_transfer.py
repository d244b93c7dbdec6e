"""A contract from one machine to another: out of a party's folder into a file, and back."""

import shutil
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from actors.chain_contracts import read_contract
from actors.config import Chain
from actors.party_folder import SEED, PartyFolder
from actors.sealed_seed import seal, unseal
from protocol.errors import ConfigError, TermsError
from protocol.settlement.contract_file import ContractFile, restore
from protocol.settlement.keys import PartyKeys
from protocol.settlement.record import Facts
from protocol.settlement.terms import Role
from protocol.settlement.tower import tower_file


def export_contract(party: Path, passphrase: str | None) -> bytes:
    """The contract file of a party's folder, which no process may have open; without a passphrase a
    watcher's, which holds no secret.

    ConfigError or GuardError for a folder that is none or is in use, TermsError before the contract
    is signed.
    """
    with _opened(party) as (folder, file):
        if passphrase is None:
            return file.public().encode()
        return file.seal(seal(folder.seed, passphrase, file.bound)).encode()


def export_for_tower(party: Path, passphrase: str) -> bytes:
    """The file of a party's folder for its watchtower: the one secret in it is ``tower_seed``.
    Errors as ``export_contract``."""
    with _opened(party) as (folder, file):
        file = tower_file(file)
        return file.seal(seal(folder.keys.tower_seed, passphrase, file.bound)).encode()


@contextmanager
def _opened(party: Path) -> Iterator[tuple[PartyFolder, ContractFile]]:
    """The folder and its file, the seed not sealed in."""
    if not (party / SEED).exists():
        raise ConfigError(f"--party {party}: no party's folder; it holds {SEED}")
    with closing(PartyFolder.open(party)) as folder:
        facts, keys = Facts.of(folder.records), folder.keys
        yield folder, ContractFile.of(_role(facts, keys), keys, facts, folder.guard.get)


def import_contract(source: Path, party: Path, passphrase: str, chain: Chain) -> ContractFile:
    """A new folder from a contract file. What the chain shows as revealed is in the new guard
    before anything else is written, so that nothing can be signed twice.

    ConfigError if the folder exists or the passphrase is wrong; errors as ``restore``. Then nothing
    is left.
    """
    file = read_contract(source)
    seed = unseal(file.sealed, passphrase, file.bound)
    if party.exists():
        raise ConfigError(f"--party {party}: exists; name a new folder")
    draft = party.with_name(f".{party.name}.draft")
    shutil.rmtree(draft, ignore_errors=True)
    try:
        with closing(PartyFolder.create(draft, seed)) as folder:
            for record in restore(file, PartyKeys(seed), folder.guard, chain):
                folder.journal.append(record)
        draft.rename(party)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return file


def _role(facts: Facts, keys: PartyKeys) -> Role:
    if facts.terms is None:
        raise TermsError("nothing to export: no contract is agreed yet")
    owners = {facts.terms.party(role).key: role for role in Role}
    return owners[keys.key.public]
