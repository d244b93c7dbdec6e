"""A node's backup: one tar file, made while the node runs or not.

    manifest.json    whose it is, and size and SHA-256 of every other member
    keys.sealed      the keys, encrypted and bound to the manifest (``backup_keys``); only if they
                     were asked for
    the rest         ``backup_files``

SQLite files are copied by SQLite, journals as far as they are whole, the sign guard last: what is
in it is at least what the rest knows of.
"""

import hashlib
import io
import json
import os
import sqlite3
import tarfile
from collections.abc import Mapping
from contextlib import closing
from dataclasses import asdict, dataclass
from hashlib import file_digest
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, BinaryIO, Final

from actors.backup_files import HISTORY, NodeFiles, journals_of, node_files
from actors.backup_keys import KEYS, seal_keys
from actors.files import sync_folder
from actors.history_file import connect, explained
from actors.journal import read_guard, read_journal
from protocol.errors import ConfigError

FORMAT: Final = "oracle-vm backup 1"
MANIFEST: Final = "manifest.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a backup says of itself. ``files`` maps members to SHA-256 (hex) and size; ``guards``
    maps sign guards to the highest number in them; ``round`` is the newest certified, -1 for none;
    ``keys`` lists the sealed files, none if keys were left out."""

    format: str
    node: str
    role: str
    name: str
    configuration: str
    epoch: int
    made_ms: int
    round: int
    guards: Mapping[str, int]
    keys: tuple[str, ...]
    files: Mapping[str, tuple[str, int]]

    @property
    def digest(self) -> bytes:
        """SHA-256 of everything that it says but of the sealed keys, which it seals."""
        files = {name: said for name, said in self.files.items() if name != KEYS}
        text = json.dumps(asdict(self) | {"files": files}, sort_keys=True)
        return hashlib.sha256(text.encode()).digest()


def create_backup(
    file: Path, out: Path, passphrase: str | None = None, signer: Path | None = None
) -> Manifest:
    """Back the node of the operator's ``file`` up into the new file ``out`` (mode 600), its keys
    included if there is a passphrase; ``signer`` as in ``node_files``. ConfigError or GuardError,
    and no file is left, if something cannot be read or written."""
    files = node_files(file, signer)
    if out.exists():
        raise ConfigError(f"{out}: exists; a backup is never overwritten, name another file")
    try:
        with TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as place:
            draft = Path(place) / "backup.tar"
            draft.touch(0o600)
            with draft.open("wb") as target:
                manifest = _Writer(target, Path(place)).write(file.name, files, passphrase)
                target.flush()
                os.fsync(target.fileno())
            draft.replace(out)
            sync_folder(out.parent)
    except OSError as error:
        raise ConfigError(
            f"{error.filename or out}: no backup written ({error.strerror or error})"
        ) from None
    return manifest


class _Writer:
    def __init__(self, target: BinaryIO, place: Path) -> None:
        self._tar = tarfile.open(fileobj=target, mode="w")  # noqa: SIM115 - closed by ``write``
        self._place = place
        self._files: dict[str, tuple[str, int]] = {}

    def write(self, node: str, files: NodeFiles, passphrase: str | None) -> Manifest:
        operator = files.operator
        for name, text in files.texts.items():
            self._add(name, io.BytesIO(text.encode()))
        for name, path in files.plain.items():
            with path.open("rb") as source:
                self._add(name, source)
        history, newest = operator.folder / HISTORY, -1
        if history.exists():
            newest = _copy_history(history, self._place / HISTORY)
            with (self._place / HISTORY).open("rb") as source:
                self._add(f"{files.data}/{HISTORY}", source)
        for name, path in journals_of(files):
            self._add(name, io.BytesIO(read_journal(path)[1]))
        guards = {}
        for path in sorted(files.guards.glob("guard*.journal")):
            guard, name = read_guard(path), f"{files.data}/{path.name}"
            guards[name] = guard.seq
            self._add(name, io.BytesIO(guard.data))
        config = operator.network.config
        manifest = Manifest(
            format=FORMAT,
            node=node,
            role=operator.role,
            name=operator.name,
            configuration=config.digest.hex(),
            epoch=config.epoch,
            made_ms=operator.network.clock.now_ms(),
            round=newest,
            guards=guards,
            keys=() if passphrase is None else tuple(files.secrets),
            files=self._files,
        )
        if passphrase is not None:
            self._add(KEYS, io.BytesIO(seal_keys(files.secrets, passphrase, manifest.digest)))
        self._add(MANIFEST, io.BytesIO(json.dumps(asdict(manifest), indent=1).encode()))
        self._tar.close()
        return manifest

    def _add(self, name: str, source: Any) -> None:
        member = tarfile.TarInfo(name)
        member.size, member.mode = source.seek(0, io.SEEK_END), 0o600
        source.seek(0)
        if name != MANIFEST:
            self._files[name] = file_digest(source, "sha256").hexdigest(), member.size
            source.seek(0)
        self._tar.addfile(member, source)


def _copy_history(source: Path, target: Path) -> int:
    """SQLite's own copy, in one transaction; returns the newest round, -1 for none."""
    with (
        explained(source),
        closing(connect(source, "ro")) as live,
        closing(sqlite3.connect(target)) as copy,
    ):
        live.backup(copy)
        copy.execute("PRAGMA journal_mode = DELETE")  # one file, whole
        (newest,) = copy.execute("SELECT max(round) FROM certificate").fetchone()
    return -1 if newest is None else int(newest)
