"""The SQLite file behind a history: its layout, how it is opened, what its errors mean."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import quote

from protocol.errors import ConfigError, GuardError

APPLICATION: Final = 0x6F766D48
"""``PRAGMA application_id`` of these files, "ovmH"."""
VERSION: Final = 1
"""``PRAGMA user_version``: the layout of the tables."""
SCHEMA: Final = f"""
CREATE TABLE config (digest BLOB PRIMARY KEY, data BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE feed (id INTEGER PRIMARY KEY, feed_id BLOB NOT NULL UNIQUE, symbol TEXT);
CREATE TABLE certificate (
    id INTEGER PRIMARY KEY AUTOINCREMENT, round INTEGER NOT NULL, hash BLOB NOT NULL,
    data BLOB NOT NULL, chain BLOB NOT NULL
);
CREATE INDEX certificate_round ON certificate (round);
CREATE TABLE report (
    round INTEGER NOT NULL, feed INTEGER NOT NULL, certificate INTEGER NOT NULL,
    at INTEGER NOT NULL, PRIMARY KEY (round, feed, certificate)
) WITHOUT ROWID;
CREATE TRIGGER certificate_stays BEFORE UPDATE ON certificate
    BEGIN SELECT RAISE(ABORT, 'certificates are append-only'); END;
CREATE TRIGGER certificate_remains BEFORE DELETE ON certificate
    BEGIN SELECT RAISE(ABORT, 'certificates are append-only'); END;
PRAGMA application_id = {APPLICATION};
PRAGMA user_version = {VERSION};
"""
_REMEDY: Final = {
    sqlite3.SQLITE_FULL: "make room on the disk; nothing was stored",
    sqlite3.SQLITE_READONLY: "it or its folder is read-only; make both writable",
    sqlite3.SQLITE_BUSY: "another program holds it; close that program",
    sqlite3.SQLITE_CANTOPEN: "check the path and the permissions of its folder",
    sqlite3.SQLITE_CORRUPT: "damaged: move it away, the node fetches the history from its peers",
    sqlite3.SQLITE_NOTADB: "not a history file; name another one",
}


def connect(path: Path, mode: str) -> sqlite3.Connection:
    """``mode`` is ``ro``, or ``rwc`` to write and create. A thread may hand it to another."""
    db = sqlite3.connect(
        f"file:{quote(str(path.absolute()))}?mode={mode}",
        uri=True,
        isolation_level=None,
        check_same_thread=False,
    )
    db.execute("PRAGMA trusted_schema = OFF")
    return db


def is_new(path: Path, db: sqlite3.Connection) -> bool:
    """Whether the file is empty; ConfigError if it is something else than a history of ours."""
    (application,) = db.execute("PRAGMA application_id").fetchone()
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if application == APPLICATION and version == VERSION:
        return False
    if application == APPLICATION:
        raise ConfigError(
            f"{path}: layout {version}, this program knows {VERSION}: install the newer program"
        )
    if db.execute("SELECT count(*) FROM sqlite_schema").fetchone() != (0,):
        raise ConfigError(f"{path}: another program's database; name another file")
    return True


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """SQLite's errors as GuardError with what to do."""
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        remedy = _REMEDY.get(code, "repair the disk, then restart")
        raise GuardError(f"{path}: {error}; {remedy}") from error


@contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """Everything inside is stored, or nothing on an error."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise
