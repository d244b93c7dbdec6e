"""Whether a history is what was written: every row, every signature, every link."""

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from actors.history import AnyCertificate, History, chain_hash, decode_certificate, reports_in
from protocol.errors import ProtocolError
from protocol.oracle.config import OracleConfig
from protocol.oracle.epochs import Epochs
from protocol.oracle.feed import Feed
from protocol.oracle.layout import ZERO32


@dataclass(frozen=True, slots=True)
class Gap:
    """Certificates that never arrived: between these rounds of a feed (-1: before the first)."""

    feed: str
    after_round: int
    before_round: int


@dataclass(frozen=True, slots=True)
class Findings:
    """``faults`` say what was altered or removed, none if the history is intact. ``gaps``,
    ``conflicts`` (rounds with several certificates) and ``late`` (rounds certified by an epoch that
    was over, before this node knew; nothing is read from them) happen to honest nodes."""

    certificates: int
    faults: tuple[str, ...]
    gaps: tuple[Gap, ...]
    conflicts: tuple[int, ...]
    late: tuple[int, ...] = ()


def check_history(history: History, epochs: Epochs | None = None) -> Findings:
    """Reads everything and checks every signature. Without ``epochs``, those that you trust, the
    configurations are the file's own: compare their digests."""
    faults: list[str] = []
    count = 0
    history.db.execute("BEGIN")  # one state of the file, whoever writes meanwhile
    try:
        faults += (f"file: {text}" for text in _pages(history.db))
        faults += _descriptions(history)
        for fault in _certificates(history, epochs):
            count += 1
            faults += fault
        faults += _reports(history.db)
        gaps = [
            Gap(symbol, *rounds)
            for feed_id, symbol in history.feeds.items()
            for rounds in history.gaps(feed_id)
        ]
        conflicts = [decode_certificate(found[0]).round for found in history.conflicts()]
        late = () if epochs is None else _late(history.db, epochs)
    except (sqlite3.Error, ProtocolError) as error:
        return Findings(count, (*faults, f"file: {error}"), (), ())
    finally:
        if history.db.in_transaction:
            history.db.execute("ROLLBACK")
    return Findings(count, tuple(faults), tuple(gaps), tuple(conflicts), late)


def _pages(db: sqlite3.Connection) -> Iterator[str]:
    for (text,) in db.execute("PRAGMA integrity_check(10)"):
        if text != "ok":
            yield str(text).replace("\n", "; ")


def _descriptions(history: History) -> Iterator[str]:
    for digest, data in history.db.execute("SELECT digest, data FROM config"):
        if OracleConfig.decode(data).digest != digest:
            yield f"configuration {digest.hex()}: altered"
    for feed_id, symbol in history.db.execute("SELECT feed_id, symbol FROM feed"):
        if symbol is not None and Feed(symbol).feed_id != feed_id:
            yield f"feed {symbol}: its id {feed_id.hex()} is another feed's"


def _certificates(history: History, epochs: Epochs | None) -> Iterator[list[str]]:
    """The faults of each row, those of the rows missing before it included."""
    row, round_before, chain = 0, -1, ZERO32
    select = "SELECT id, round, hash, data, chain FROM certificate ORDER BY id"
    for number, round_id, hash_, data, stored in history.db.execute(select):
        faults = []
        if number != row + 1:
            faults.append(_missing(history.db, row + 1, number - 1, round_before, round_id))
        elif chain_hash(chain, data) != stored:
            faults.append(f"row {number} (round {round_id}): altered, it breaks the chain of rows")
        faults += (
            f"row {number} (round {round_id}): {what}"
            for what in _row(history, epochs, number, round_id, hash_, data)
        )
        row, round_before, chain = number, round_id, stored
        yield faults
    written = history.db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'certificate'")
    newest = (written.fetchone() or (0,))[0]
    if newest > row:
        yield [_missing(history.db, row + 1, newest, round_before, None)]


def _missing(db: sqlite3.Connection, first: int, last: int, before: int, after: int | None) -> str:
    left = db.execute(
        "SELECT DISTINCT round FROM report WHERE certificate BETWEEN ? AND ? LIMIT 3", (first, last)
    ).fetchall()
    rows = f"row {first}" if first == last else f"rows {first} to {last}"
    named = f" (round {', '.join(str(round_id) for (round_id,) in left)})" if left else ""
    bounds = ([f"after round {before}"] if before >= 0 else []) + (
        [] if after is None else [f"before round {after}"]
    )
    return f"{rows}{named}: removed; written {' and '.join(bounds)}"


def _row(
    history: History, epochs: Epochs | None, number: int, round_id: int, hash_: bytes, data: bytes
) -> Iterator[str]:
    try:
        certificate = decode_certificate(data)
        config = history.configs.get(certificate.report.config_digest)
        if config is None:
            yield f"its configuration {certificate.report.config_digest.hex()} is missing"
        elif epochs is None or _is_late(epochs, config.digest, round_id):
            certificate.check(config)
        else:
            epochs.check(certificate)
    except ProtocolError as error:
        yield str(error)
        return
    if (certificate.round, certificate.hash) != (round_id, hash_):
        yield f"filed under another round or hash, it is of round {certificate.round}"
    if _filed(history.db, number, certificate) != sorted(reports_in(certificate)):
        yield "its reports are not filed where they are"


def _late(db: sqlite3.Connection, epochs: Epochs) -> tuple[int, ...]:
    rows = db.execute("SELECT DISTINCT round, substr(data, 5, 32) FROM certificate ORDER BY round")
    return tuple(round_id for round_id, digest in rows if _is_late(epochs, digest, round_id))


def _is_late(epochs: Epochs, digest: bytes, round_id: int) -> bool:
    """Whether a certificate is of an epoch that was over in its round; not if it is unknown."""
    of = {config.digest: config.epoch for config in epochs.configs}
    return digest in of and of[digest] < epochs.may_certify(round_id)[0].epoch


def _filed(
    db: sqlite3.Connection, number: int, certificate: AnyCertificate
) -> list[tuple[Any, ...]]:
    return sorted(
        db.execute(
            "SELECT f.feed_id, r.at FROM report r JOIN feed f ON f.id = r.feed"
            " WHERE r.round = ? AND r.certificate = ?",
            (certificate.round, number),
        )
    )


def _reports(db: sqlite3.Connection) -> Iterator[str]:
    """Reports that are filed without a certificate of their round."""
    strays = db.execute(
        "SELECT r.round, r.certificate FROM report r LEFT JOIN certificate c"
        " ON c.id = r.certificate AND c.round = r.round WHERE c.id IS NULL"
    )
    for round_id, number in strays:
        yield f"round {round_id}: a report is filed, its certificate (row {number}) is not there"
