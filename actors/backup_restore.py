"""Backups that are checked, and brought back.

A sign guard and a DLC ledger that are brought back have forgotten what was signed since. They are
marked, so that what may have been signed meanwhile is not signed again: the guard waits for what
the peers have seen (``protocol.oracle.recollection``), the ledger leaves events of before alone.
Those that are not in the backup may have been made after it: they are made, and marked, too.
"""

import os
import tarfile
from contextlib import closing
from hashlib import file_digest
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Final

import msgspec

from actors.backup import FORMAT, MANIFEST, Manifest
from actors.backup_files import DLC, HISTORY, SIGNER
from actors.backup_keys import KEYS, unseal_keys
from actors.dlc_store import LEDGER
from actors.dlc_store import mark_restored as mark_ledger
from actors.files import sync_folder
from actors.history import History
from actors.history_file import explained
from actors.journal import SignGuard, read_guard, read_journal
from actors.journal import mark_restored as mark_guard
from actors.keyfile import load_key
from actors.network_files import new_folder
from actors.operator import Operator, load_operator
from actors.signer_config import load_signer
from actors.signer_core import guard_path
from protocol.errors import ConfigError, GuardError

MANIFEST_MAX: Final = 1 << 24
BLOCK: Final = 1 << 20


def check_backup(archive: Path, passphrase: str | None = None) -> Manifest:
    """What is in a backup, once every file is what the manifest says, journals and history are
    whole and the node's file loads; keys are looked at if there is a passphrase. ConfigError or
    GuardError names what is wrong."""
    with TemporaryDirectory() as place:
        manifest = _unpack(archive, Path(place), passphrase)
        _require_whole(Path(place), manifest)
    return manifest


def restore_backup(archive: Path, into: Path, passphrase: str | None = None) -> Manifest:
    """Bring a node back into the new or empty folder ``into``, with its keys if there is a
    passphrase. Errors as ``check_backup``, and nothing is left then."""
    with new_folder(into) as draft:
        manifest = _unpack(archive, draft, passphrase)
        operator = _require_whole(draft, manifest)
        if operator.role == "oracle":
            _mark(operator)
        for folder in {path.parent for path in draft.rglob("*")}:
            sync_folder(folder)
    return manifest


def _unpack(archive: Path, into: Path, passphrase: str | None) -> Manifest:
    """Every file of the backup in ``into``, each as the manifest says."""
    found: dict[str, tuple[str, int]] = {}
    try:
        with tarfile.open(archive, "r:") as tar:
            manifest = _manifest(archive, tar)
            for member in tar:
                if member.name != MANIFEST:
                    _require_member(archive, member, manifest)
                    found[member.name] = _extract(tar, member, into / member.name)
    except (OSError, tarfile.TarError) as error:
        raise ConfigError(f"{archive}: no backup that can be read ({error})") from None
    wrong = [name for name, said in manifest.files.items() if found.get(name) != said]
    if wrong:
        raise ConfigError(f"{archive}: {wrong[0]}: altered or missing; take another backup")
    if not manifest.keys and passphrase is not None:
        raise ConfigError(
            f"{archive}: it holds no keys, so no passphrase proves who made it: if it is yours and"
            " was made without one, leave the passphrase out"
        )
    if manifest.keys:
        if passphrase is not None:
            unseal_keys((into / KEYS).read_bytes(), passphrase, manifest.digest, into)
        (into / KEYS).unlink()
    return manifest


def _manifest(archive: Path, tar: tarfile.TarFile) -> Manifest:
    try:
        source = tar.extractfile(MANIFEST)
        manifest = msgspec.json.decode(
            b"" if source is None else source.read(MANIFEST_MAX), type=Manifest
        )
    except (KeyError, msgspec.MsgspecError):
        raise ConfigError(
            f"{archive}: no {MANIFEST} in it; name a file of `backup create`"
        ) from None
    if manifest.format != FORMAT:
        raise ConfigError(f"{archive}: format {manifest.format!r}, this program knows {FORMAT!r}")
    if bool(manifest.keys) != (KEYS in manifest.files):
        raise ConfigError(f"{archive}: {MANIFEST} and {KEYS} do not agree; take another backup")
    return manifest


def _require_member(archive: Path, member: tarfile.TarInfo, manifest: Manifest) -> None:
    inside = ".." not in PurePosixPath(member.name).parts and not member.name.startswith("/")
    if not (member.isreg() and inside and member.name in manifest.files):
        raise ConfigError(f"{archive}: {member.name}: not in its manifest; take another backup")


def _extract(tar: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> tuple[str, int]:
    path.parent.mkdir(parents=True, exist_ok=True)
    source = tar.extractfile(member)
    assert source is not None
    with path.open("x+b") as target:
        path.chmod(0o600)
        while block := source.read(BLOCK):
            target.write(block)
        target.flush()
        os.fsync(target.fileno())
        target.seek(0)
        return file_digest(target, "sha256").hexdigest(), member.size


def _guards(operator: Operator) -> list[Path]:
    return sorted(operator.folder.glob("guard*.journal"))


def _mark(operator: Operator) -> None:
    """Mark the ledger and the guard of every oracle key that this name has had or has the file of,
    whether they were in the backup or not."""
    (operator.folder / DLC).mkdir(parents=True, exist_ok=True)
    places = [(network, operator.address_in(network)) for network in operator.networks.all]
    publics = [network.config.oracles[at] for network, at in places if at is not None]
    keys = operator.keys or load_signer(operator.file.parent / SIGNER).keys
    files = [path for purpose, path in keys.items() if purpose.startswith("oracle")]
    publics += [load_key(path).public for path in files if path.exists()]
    for public in dict.fromkeys(publics):
        SignGuard.open(guard_path(operator.folder, public), public).close()
    for path in _guards(operator):
        mark_guard(path)
    mark_ledger(operator.folder / DLC / LEDGER)


def _require_whole(folder: Path, manifest: Manifest) -> Operator:
    """The node of an unpacked backup, everything in it looked at."""
    operator = load_operator(folder / manifest.node)
    if operator.folder != (own := folder / "data" / operator.name):
        raise ConfigError(f"{manifest.node}: its folder is not {own.relative_to(folder)} in it")
    guards = {str(path.relative_to(folder)): read_guard(path).seq for path in _guards(operator)}
    if guards != manifest.guards:
        raise GuardError(f"guards: they end at {guards}, the manifest says {manifest.guards}")
    for name in manifest.files:
        if name.endswith(".journal"):
            read_journal(folder / name)
    if (path := operator.folder / HISTORY).exists():
        with closing(History.read(path)) as history, explained(path):
            [(said,)] = history.db.execute("PRAGMA quick_check(1)").fetchall()
        if said != "ok":
            raise ConfigError(f"{path.name}: {said}; take another backup")
    return operator
