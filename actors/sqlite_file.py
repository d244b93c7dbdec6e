"""A SQLite file that one process has: made whole, locked, on disk when a call returns.

WAL with ``synchronous = FULL``; ``application`` (``PRAGMA application_id``) and ``version``
(``PRAGMA user_version``) say whose file it is and which layout it has.
"""

import os
import sqlite3
from dataclasses import dataclass
from pathlib import Path

from actors.files import open_locked, sync_folder
from actors.history_file import connect, explained
from protocol.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Layout:
    """Whose file it is, its version, and the statements that make its tables."""

    application: int
    version: int
    schema: str


def open_file(path: Path, layout: Layout) -> tuple[sqlite3.Connection, int]:
    """The connection and the lock (a file descriptor, held until it is closed); the file is made if
    there is none. GuardError: another process has it, or the disk fails; ConfigError: another
    program's file, or a newer program's."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = open_locked(path.with_name(path.name + ".lock"))
    try:
        with explained(path):
            db = connect(path, "rwc")
            try:
                if _is_new(path, db, layout):
                    marks = (
                        f"PRAGMA application_id = {layout.application};"
                        f"PRAGMA user_version = {layout.version};"
                    )
                    db.executescript(
                        f"PRAGMA journal_mode = WAL; BEGIN; {layout.schema} {marks} COMMIT;"
                    )
                    sync_folder(path.parent)
                db.execute("PRAGMA synchronous = FULL")
            except BaseException:
                db.close()
                raise
    except BaseException:
        os.close(lock)
        raise
    return db, lock


def _is_new(path: Path, db: sqlite3.Connection, layout: Layout) -> bool:
    (application,) = db.execute("PRAGMA application_id").fetchone()
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if (application, version) == (layout.application, layout.version):
        return False
    if application == layout.application:
        raise ConfigError(
            f"{path}: layout {version}, this program knows {layout.version}: install the newer"
            " program"
        )
    if db.execute("SELECT count(*) FROM sqlite_schema").fetchone() != (0,):
        raise ConfigError(f"{path}: another program's database; name another file")
    return True
