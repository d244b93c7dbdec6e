"""What a pool's sequencer must remember, in SQLite: operations, batches, results, the newest state.

    operation  every operation that was acknowledged, in the order in which it came; append-only
    batch      input, journal and views of every batch; append-only
    result     what became of each operation, by its id; append-only
    state      the whole state after the newest batch, and which operation was the last that a batch
               has taken; the one row that is written over
    anchor     transactions that brought a batch onto the chain; append-only

A batch, the results of its operations and the state after it are one transaction, so a process that
dies between any two steps has either done the whole batch or nothing. Batches take operations in
their order; what lies behind the last one taken is pending, never lost and never done twice. On
disk when a call returns.
"""

import os
import sqlite3
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any, Final, Self

from actors.history_file import explained, transaction
from actors.sqlite_file import Layout, open_file
from protocol.errors import EncodingError

_APPEND_ONLY: Final = "".join(
    f"CREATE TRIGGER {table}_{verb} BEFORE {verb} ON {table}"
    f" BEGIN SELECT RAISE(ABORT, '{table}: append-only'); END;"
    for table in ("operation", "batch", "result", "anchor")
    for verb in ("UPDATE", "DELETE")
)
LAYOUT: Final = Layout(
    application=0x6F766D50,  # "ovmP"
    version=1,
    schema=f"""
CREATE TABLE operation (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, id BLOB NOT NULL UNIQUE, key TEXT UNIQUE,
    owner BLOB NOT NULL, body BLOB NOT NULL
);
CREATE INDEX operation_owner ON operation (owner);
CREATE TABLE batch (
    seq INTEGER PRIMARY KEY, certificate BLOB NOT NULL, operations BLOB NOT NULL,
    deposits BLOB NOT NULL, payments BLOB NOT NULL, journal BLOB NOT NULL, summary BLOB NOT NULL
);
CREATE TABLE result (
    id BLOB PRIMARY KEY, batch INTEGER NOT NULL, place INTEGER NOT NULL, owner BLOB NOT NULL,
    kind TEXT NOT NULL, code TEXT NOT NULL, inflow INTEGER NOT NULL, outflow INTEGER NOT NULL,
    fee INTEGER NOT NULL, glp INTEGER NOT NULL, fee_index TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX result_owner ON result (owner, batch, place);
CREATE INDEX result_batch ON result (batch, place);
CREATE TABLE state (
    one INTEGER PRIMARY KEY CHECK (one = 1), taken INTEGER NOT NULL, body BLOB NOT NULL
);
CREATE TABLE anchor (batch INTEGER NOT NULL, body BLOB NOT NULL);
CREATE INDEX anchor_batch ON anchor (batch);
{_APPEND_ONLY}
""",
)


@dataclass(frozen=True, slots=True)
class Journaled:
    """An operation that was acknowledged: its place in the order, its id and its signed bytes."""

    seq: int
    id: bytes
    body: bytes


@dataclass(frozen=True, slots=True)
class StoredResult:
    """What became of an operation: in which batch, where in it, the name of the code that refused
    it ("" if it was accepted); flows and fee in micro-USDC, ``glp`` the shares minted or burnt,
    ``fee_index`` that of the pool after it, an integer that may be too long for SQLite's."""

    id: bytes
    batch: int
    place: int
    owner: bytes
    kind: str
    code: str
    inflow: int
    outflow: int
    fee: int
    glp: int
    fee_index: str

    @property
    def is_liquidity(self) -> bool:
        """Whether it is of an LP."""
        return self.kind in ("add_liquidity", "remove_liquidity")


@dataclass(frozen=True, slots=True)
class StoredBatch:
    """Input (certificate, signed operations and deposits), payments and journal in the canonical
    bytes of protocol.pool.batch, and what is shown of it as JSON."""

    seq: int
    certificate: bytes
    operations: bytes
    deposits: bytes
    payments: bytes
    journal: bytes
    summary: bytes


_PENDING: Final = "seq > coalesce((SELECT taken FROM state), 0)"
_RESULT: Final = ", ".join(field.name for field in fields(StoredResult))
_BATCH: Final = ", ".join(field.name for field in fields(StoredBatch))


class PoolStore:
    """The open file. Used by one thread at a time, any thread."""

    def __init__(self, path: Path, db: sqlite3.Connection, lock: int) -> None:
        self.path = path
        self._db = db
        self._lock = lock

    @classmethod
    def open(cls, path: Path) -> Self:
        """The store in ``path``, made if there is none. GuardError: another process has it, or the
        disk fails; ConfigError: another program's file, or a newer program's."""
        return cls(path, *open_file(path, LAYOUT))

    # Operations

    def submit(self, id_: bytes, key: str | None, owner: bytes, body: bytes) -> Journaled:
        """Keep an operation and return its place; the same operation again has the same place.
        ``key`` is the client's own name for it: EncodingError if it named another one."""
        with explained(self.path), transaction(self._db):
            self._require_free(key, id_)
            known = self._row("SELECT seq, id, body FROM operation WHERE id = ?", id_)
            if known is None:
                insert = "INSERT INTO operation (id, key, owner, body) VALUES (?, ?, ?, ?)"
                seq = self._db.execute(insert, (id_, key, owner, body)).lastrowid
                known = (seq, id_, body)
        return Journaled(*known)

    def operation(self, id_: bytes) -> Journaled | None:
        """The operation of this id; None if it never came."""
        with explained(self.path):
            row = self._row("SELECT seq, id, body FROM operation WHERE id = ?", id_)
        return None if row is None else Journaled(*row)

    def pending(self, most: int) -> list[Journaled]:
        """Operations that no batch has taken, in the order in which they came."""
        return self._operations(f"WHERE {_PENDING} ORDER BY seq LIMIT ?", most)

    def pending_count(self) -> int:
        """How many operations wait for a batch."""
        with explained(self.path):
            row = self._row(f"SELECT count(*) FROM operation WHERE {_PENDING}")
        return 0 if row is None else int(row[0])

    def operations_of(self, owner: bytes, most: int) -> list[Journaled]:
        """The newest operations of an owner, newest first."""
        return self._operations("WHERE owner = ? ORDER BY seq DESC LIMIT ?", owner, most)

    def result(self, id_: bytes) -> StoredResult | None:
        """What became of an operation; None while it is pending."""
        with explained(self.path):
            row = self._row(f"SELECT {_RESULT} FROM result WHERE id = ?", id_)
        return None if row is None else StoredResult(*row)

    def results_of(self, owner: bytes) -> list[StoredResult]:
        """What became of all operations of an owner, and of what was due to it, in order."""
        query = f"SELECT {_RESULT} FROM result WHERE owner = ? ORDER BY batch, place"
        with explained(self.path):
            return [StoredResult(*row) for row in self._db.execute(query, (owner,))]

    # Batches

    def execute(
        self, batch: StoredBatch, results: Sequence[StoredResult], taken: int, state: bytes
    ) -> None:
        """Keep a batch, its results and the state after it: all or nothing. ``taken`` is the place
        of the last operation in it, 0 if there is none."""
        with explained(self.path), transaction(self._db):
            self._db.execute(
                f"INSERT INTO batch ({_BATCH}) VALUES (?, ?, ?, ?, ?, ?, ?)", astuple(batch)
            )
            rows = map(astuple, results)
            self._db.executemany(
                f"INSERT INTO result ({_RESULT}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows
            )
            self._put_state(taken, state)

    def begin(self, state: bytes) -> None:
        """Keep the state before the first batch."""
        with explained(self.path), transaction(self._db):
            self._put_state(0, state)

    def state(self) -> bytes | None:
        """The whole state after the newest batch; None in a new file."""
        with explained(self.path):
            row = self._row("SELECT body FROM state")
        return None if row is None else bytes(row[0])

    def newest(self) -> StoredBatch | None:
        """The newest batch; None before the first."""
        found = self.batches(1)
        return found[0] if found else None

    def batch(self, seq: int) -> StoredBatch | None:
        """The batch of this number; None if there is none."""
        found = self.batches(1, seq + 1)
        return found[0] if found and found[0].seq == seq else None

    def batches(self, most: int, before: int | None = None) -> list[StoredBatch]:
        """Newest first, of numbers below ``before``."""
        query = f"SELECT {_BATCH} FROM batch WHERE ? IS NULL OR seq < ? ORDER BY seq DESC LIMIT ?"
        with explained(self.path):
            rows = self._db.execute(query, (before, before, most)).fetchall()
        return [StoredBatch(*row) for row in rows]

    # The chain

    def anchor(self, batch: int, body: bytes) -> None:
        """Keep what brought a batch onto the chain, as JSON."""
        with explained(self.path), transaction(self._db):
            self._db.execute("INSERT INTO anchor VALUES (?, ?)", (batch, body))

    def anchors(self, batch: int) -> list[bytes]:
        """What brought a batch onto the chain, in order."""
        query = "SELECT body FROM anchor WHERE batch = ? ORDER BY rowid"
        with explained(self.path):
            return [bytes(body) for (body,) in self._db.execute(query, (batch,))]

    def close(self) -> None:
        """Releases the lock. Closing twice is fine."""
        self._db.close()
        if self._lock >= 0:
            os.close(self._lock)
        self._lock = -1

    def _put_state(self, taken: int, state: bytes) -> None:
        self._db.execute(
            "INSERT INTO state VALUES (1, ?, ?) ON CONFLICT (one)"
            " DO UPDATE SET taken = max(taken, excluded.taken), body = excluded.body",
            (taken, state),
        )

    def _require_free(self, key: str | None, id_: bytes) -> None:
        row = None if key is None else self._row("SELECT id FROM operation WHERE key = ?", key)
        if row is not None and row[0] != id_:
            raise EncodingError(
                f"Idempotency-Key {key}: it was used for another operation; choose a new one"
            )

    def _operations(self, condition: str, *arguments: Any) -> list[Journaled]:
        with explained(self.path):
            rows = self._db.execute(
                f"SELECT seq, id, body FROM operation {condition}", arguments
            ).fetchall()
        return [Journaled(*row) for row in rows]

    def _row(self, query: str, *arguments: Any) -> tuple[Any, ...] | None:
        row: tuple[Any, ...] | None = self._db.execute(query, arguments).fetchone()
        return row
