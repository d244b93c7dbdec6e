"""What a market must remember, in SQLite: its contracts, and the answers to commands.

    contract  a row for every state that a contract has had, the newest counts; append-only
    answer    the answer to a command by its idempotency key, with the digest of the command

A command's contract and its answer are one transaction, so that a process which dies between any
two steps has either done the whole command or nothing, and whoever asks again gets the same answer.
On disk when a call returns: WAL with synchronous = FULL. One process has the file, by a lock.
"""

import os
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import msgspec

from actors.history_file import explained, transaction
from actors.sqlite_file import Layout, open_file
from protocol.errors import ConfigError, EncodingError
from protocol.options.book import Book, Contract

LAYOUT: Final = Layout(
    application=0x6F766D4D,  # "ovmM"
    version=1,
    schema="""
CREATE TABLE contract (seq INTEGER PRIMARY KEY AUTOINCREMENT, id INTEGER NOT NULL, body BLOB);
CREATE INDEX contract_id ON contract (id);
CREATE TABLE answer (
    key TEXT PRIMARY KEY, digest BLOB NOT NULL, status INTEGER NOT NULL, body BLOB NOT NULL
) WITHOUT ROWID;
CREATE TRIGGER contract_stays BEFORE UPDATE ON contract
    BEGIN SELECT RAISE(ABORT, 'contracts are append-only'); END;
CREATE TRIGGER answer_stays BEFORE UPDATE ON answer
    BEGIN SELECT RAISE(ABORT, 'answers are append-only'); END;
""",
)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command was answered: HTTP status and JSON."""

    status: int
    body: bytes


class MarketStore:
    """The open file. Used by one thread at a time, any thread."""

    def __init__(self, path: Path, db: sqlite3.Connection, lock: int) -> None:
        self.path = path
        self._db = db
        self._lock = lock

    @classmethod
    def open(cls, path: Path) -> Self:
        """The store in ``path``, created if there is none. GuardError: another process has it, or
        the disk fails; ConfigError: another program's file, or a newer program's."""
        return cls(path, *open_file(path, LAYOUT))

    def book(self) -> Book:
        """All contracts as they are now. ConfigError if one cannot be read."""
        newest = (
            "SELECT body FROM contract WHERE seq IN (SELECT max(seq) FROM contract GROUP BY id)"
        )
        with explained(self.path):
            rows = self._db.execute(newest).fetchall()
        try:
            found = [msgspec.json.decode(body, type=Contract) for (body,) in rows]
        except (msgspec.DecodeError, ValueError) as error:
            raise ConfigError(f"{self.path}: damaged, a contract in it: {error}") from None
        return Book({contract.id: contract for contract in found})

    def answer(self, key: str, digest: bytes) -> Answer | None:
        """What the command with this key was answered; None for a new key. EncodingError if the key
        was another command's."""
        with (
            explained(self.path),
            closing(
                self._db.execute("SELECT digest, status, body FROM answer WHERE key = ?", (key,))
            ) as cursor,
        ):
            row: tuple[Any, ...] | None = cursor.fetchone()
        if row is None:
            return None
        if row[0] != digest:
            raise EncodingError(
                f"Idempotency-Key {key}: it was used for another command; choose a new one"
            )
        return Answer(row[1], row[2])

    def execute(self, key: str, digest: bytes, contract: Contract, answer: Answer) -> None:
        """Keep what a command did and its answer, both or neither."""
        with explained(self.path), transaction(self._db):
            self._put(contract)
            self._db.execute(
                "INSERT INTO answer VALUES (?, ?, ?, ?)", (key, digest, answer.status, answer.body)
            )

    def keep(self, *contracts: Contract) -> None:
        """Keep new states of contracts, all or none."""
        with explained(self.path), transaction(self._db):
            for contract in contracts:
                self._put(contract)

    def close(self) -> None:
        """Releases the lock. Closing twice is fine."""
        self._db.close()
        if self._lock >= 0:
            os.close(self._lock)
        self._lock = -1

    def _put(self, contract: Contract) -> None:
        body = msgspec.json.encode(contract)
        self._db.execute("INSERT INTO contract (id, body) VALUES (?, ?)", (contract.id, body))
