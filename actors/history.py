"""Every certificate that a node has seen, in SQLite: append-only, queryable while it is written.

    config       CFG1 by digest, so that a file verifies by itself across epochs
    certificate  as it came, once; ``chain`` = tagged hash of (chain of the row before | bytes)
    report       where in a certificate each feed's RPT is; by round, then feed
    feed         small numbers for feed ids, and their symbols if known

Rounds are linked twice: reports by prev_report_hash, signed by the quorum, and rows by ``chain``,
so that an altered or removed row is found (``verify``). Certificates that were missed leave a gap
and may come later, in any order. Of several for one round all are kept: they are evidence.

One process writes (an exclusive lock on ``FILE.lock``, held for life), any number read. A record is
on disk when ``append`` returns: WAL with synchronous = FULL.
"""

import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, Final, Self

from actors.files import open_locked, sync_folder
from actors.history_file import SCHEMA, connect, explained, is_new, transaction
from protocol.crypto.tagged import tagged_hash
from protocol.errors import ConfigError, EncodingError
from protocol.oracle import batch as bat
from protocol.oracle import report as rpt
from protocol.oracle.batch_certificate import BatchCertificate
from protocol.oracle.certificate import Certificate
from protocol.oracle.config import OracleConfig
from protocol.oracle.epochs import Epochs
from protocol.oracle.expiry import ExpirySlot
from protocol.oracle.feed import Feed
from protocol.oracle.layout import ZERO32
from protocol.oracle.messages import HISTORY_LIMIT
from protocol.oracle.report import Grade, Report

AnyCertificate = Certificate | BatchCertificate

ROUND_MAX: Final = 2**63 - 1
"""SQLite's integers are signed."""
STRAYS: Final = 16
"""Reports of a feed that no later one links to; so many are passed over to find a predecessor."""

_COUNTS: Final = "counts(c.round, substr(c.data, 5, 32))"
"""Round and configuration: whatever kind of certificate it is, the digest is behind the magic."""
_FROM: Final = f"FROM report r JOIN certificate c ON c.id = r.certificate AND {_COUNTS}"
_RAW: Final = f"SELECT r.round, r.feed, substr(c.data, r.at + 1, {rpt.SIZE})"


@dataclass(frozen=True, slots=True)
class Entry:
    """A feed's certified report, and the certificate that proves it as bytes."""

    report: Report
    certificate: bytes


def decode_certificate(data: bytes) -> AnyCertificate:
    """The certificate of one feed or of a batch; EncodingError for anything else."""
    if data[:4] == rpt.MAGIC:
        return Certificate.decode(data)
    if data[:4] == bat.REPORT_MAGIC:
        return BatchCertificate.decode(data)
    raise EncodingError(f"certificate version: magic {data[:4]!r}, expected RPT1 or BAT1")


def reports_in(certificate: AnyCertificate) -> Iterator[tuple[bytes, int]]:
    """The feed id of each report in a certificate and where in its bytes the report begins."""
    if isinstance(certificate, Certificate):
        yield certificate.report.feed_id, 0
    else:
        for index, feed_id in enumerate(certificate.reports.feeds):
            yield feed_id, bat.REPORT_SIZE + index * rpt.SIZE


def chain_hash(before: bytes, data: bytes) -> bytes:
    """The ``chain`` of a row with these bytes behind a row with that chain (zero: the first)."""
    return tagged_hash("btcfi/history/row/v1", before + data)


class History:
    """``open`` to write, ``read`` to look. Used by one thread at a time, any thread.

    A feed that is not in the file has no entries, and after ``follow`` the queries pass over what
    the epochs refuse. Of several reports for one round the queries
    return the one that the next report links to, else the one of the later epoch, FULL before
    DEGRADED, the smaller hash.
    """

    def __init__(self, path: Path, db: sqlite3.Connection, lock: int) -> None:
        self.path = path
        self.db = db
        self._lock = lock
        try:
            self.configs = {
                digest: OracleConfig.decode(data)
                for digest, data in db.execute("SELECT digest, data FROM config")
            }
        except EncodingError as error:
            raise ConfigError(f"{path}: damaged, a configuration in it: {error}") from None
        self._feeds = dict(db.execute("SELECT feed_id, id FROM feed").fetchall())
        db.create_function("counts", 2, lambda *_: True)

    @classmethod
    def open(cls, path: Path, *configs: OracleConfig, feeds: Iterable[Feed] = ()) -> Self:
        """The history in ``path``, created if there is none, for this process alone to write.

        GuardError: another process writes it, or the disk fails. ConfigError: no history file, or
        one of a newer program.
        """
        lock = open_locked(path.with_name(path.name + ".lock"))
        try:
            with _opened(path, "rwc") as db:
                if is_new(path, db):
                    db.executescript(f"PRAGMA journal_mode = WAL; BEGIN; {SCHEMA} COMMIT;")
                    sync_folder(path.parent)
                db.execute("PRAGMA synchronous = FULL")
                history = cls(path, db, lock)
                history.describe(configs, feeds)
        except BaseException:
            os.close(lock)
            raise
        return history

    @classmethod
    def read(cls, path: Path) -> Self:
        """The history in ``path``, to read while another process may be writing; errors as
        ``open``."""
        if not path.is_file():
            raise ConfigError(f"{path}: there is no such file")
        with _opened(path, "ro") as db:
            if is_new(path, db):
                raise ConfigError(f"{path}: empty, not a history file")
            return cls(path, db, -1)

    def follow(self, epochs: Epochs) -> None:
        """From now on pass over certificates that ``epochs`` refuse: those of an epoch that was
        over, stored before the rotation was known. They stay on disk as what they are."""
        self.db.create_function("counts", 2, lambda round_id, of: epochs.counts(of, round_id))

    def append(self, certificate: bytes) -> bool:
        """Returns once the certificate is on disk; False if its report was there already.

        The caller has checked it. EncodingError if it is none; ConfigError if its configuration was
        not given to ``open``; GuardError if the disk fails: nothing was stored then.
        """
        decoded = decode_certificate(certificate)
        if decoded.report.config_digest not in self.configs:
            raise ConfigError(
                f"{self.path}: no configuration {decoded.report.config_digest.hex()}: open the"
                " history with the configuration of every epoch"
            )
        if decoded.round > ROUND_MAX:
            raise EncodingError(f"certificate round {decoded.round}: a history holds 63 bits")
        with explained(self.path), transaction(self.db):
            known = "SELECT 1 FROM certificate WHERE round = ? AND hash = ?"
            if self._first(known, decoded.round, decoded.hash) is not None:
                return False
            feeds = self._with_feeds(feed_id for feed_id, _ in reports_in(decoded))
            self._insert(certificate, decoded, feeds)
        self._feeds = feeds
        return True

    def close(self) -> None:
        """Releases the lock. Closing twice is fine."""
        self.db.close()
        if self._lock >= 0:
            os.close(self._lock)
        self._lock = -1

    def __len__(self) -> int:
        """How many certificates there are."""
        return int((self._first("SELECT max(id) FROM certificate") or (0,))[0] or 0)

    @property
    def feeds(self) -> dict[bytes, str]:
        """The symbols of the feeds in the file, by feed id; the id in hex where none was given."""
        rows = self.db.execute("SELECT feed_id, symbol FROM feed ORDER BY id")
        return {feed_id: symbol or feed_id.hex() for feed_id, symbol in rows}

    def newest_first(self) -> Iterator[AnyCertificate]:
        """All certificates by round, the newest first; within a round in the order that nodes
        prefer them in."""
        rows = self.db.execute(
            f"SELECT round, data FROM certificate c WHERE {_COUNTS} ORDER BY round DESC, id"
        )
        for _, siblings in groupby(rows, key=lambda row: row[0]):
            found = [decode_certificate(data) for _, data in siblings]
            yield from sorted(found, key=self._rank, reverse=True)

    def last(self) -> AnyCertificate | None:
        """The newest certificate."""
        return next(self.newest_first(), None)

    def after(self, round_id: int, limit: int = HISTORY_LIMIT) -> tuple[bytes, ...]:
        """The first certificates after a round, oldest first, at most ``limit``; a round is not
        cut in two, so that the last one's is where to go on."""
        found = self.db.execute(
            f"SELECT round, data FROM certificate c WHERE round > ? AND {_COUNTS}"
            " ORDER BY round, id LIMIT ?",
            (min(round_id, ROUND_MAX), limit + 1),
        ).fetchall()
        if len(found) > limit:
            whole = [row for row in found if row[0] != found[-1][0]]
            found = whole or found[:limit]
        return tuple(data for _, data in found)

    def head(self, feed_id: bytes) -> Entry | None:
        """The newest entry of a feed."""
        return self._newest(feed_id, ROUND_MAX)

    def by_round(self, feed_id: bytes, round_id: int) -> Entry | None:
        """The entry of a round."""
        return next(self.between(feed_id, round_id, round_id), None)

    def at_time(self, feed_id: bytes, unix_ms: int) -> Entry | None:
        """The newest entry whose report is not younger than ``unix_ms``."""
        bounds = (c.round_at(unix_ms + c.max_age_ms) for c in self.configs.values())
        entry = self._newest(feed_id, max(bounds, default=-1))
        while entry is not None and entry.report.time > unix_ms:
            entry = self._newest(feed_id, entry.report.round - 1)
        return entry

    def between(self, feed_id: bytes | None, first: int, last: int) -> Iterator[Entry]:
        """The entries of a feed (None: of all) from round to round, inclusive, oldest first."""
        where = "WHERE r.round BETWEEN ? AND ?"
        bounds = [max(first, 0), min(last, ROUND_MAX)]
        if feed_id is not None:
            where += " AND r.feed = ?"
            bounds.append(self._feeds.get(feed_id, -1))
        rows = self.db.execute(f"{_RAW}, c.data {_FROM} {where} ORDER BY r.round, r.feed", bounds)
        for _, siblings in groupby(rows, key=lambda row: row[:2]):
            yield self._preferred(list(siblings))

    def reports(self, slot: ExpirySlot) -> tuple[Report, ...]:
        """What ``expiry_of`` takes: the links from one before ``slot.start_round`` to the first
        report from ``slot.target_round`` on (or the newest, if there is none yet). Where a link is
        missing they begin behind it."""
        end = next(self.between(slot.feed_id, slot.target_round, ROUND_MAX), None)
        end = end or self.head(slot.feed_id)
        if end is None:
            return ()
        feed, chain = self._feeds[slot.feed_id], [end.report]
        inside = self._raw(feed, "r.round BETWEEN ? AND ?", slot.start_round, end.report.round)
        before = self._raw(feed, "r.round < ?", slot.start_round, limit=STRAYS)
        raws = (*inside, *before)
        by_hash = dict(zip(rpt.hashes(raws), raws, strict=True))
        while chain[-1].round >= slot.start_round:
            raw = by_hash.get(chain[-1].prev_report_hash)
            if raw is None:
                break
            chain.append(Report.decode(raw))
        return tuple(reversed(chain))

    def gaps(self, feed_id: bytes, first: int = 0) -> tuple[tuple[int, int], ...]:
        """Where certificates are missing, from round ``first`` on: (newest known round before, -1
        if none; round whose report links to an unknown one)."""
        feed = self._feeds.get(feed_id, -1)
        rows = self.db.execute(
            f"{_RAW} {_FROM} WHERE r.feed = ? AND r.round >= ? ORDER BY r.round", (feed, first)
        )
        seen: set[bytes] = {ZERO32}
        found, before, now = [], -1, -1
        for round_id, _, raw in rows:
            if round_id != now:
                before, now = now, round_id
            if raw[-32:] not in seen and (before >= 0 or first == 0):
                found.append((before, round_id))
            seen.update(rpt.hashes((raw,)))
        return tuple(dict.fromkeys(found))

    def conflicts(self) -> tuple[tuple[bytes, ...], ...]:
        """The certificates of every round that has more than one; who signed two is a liar
        (``protocol.oracle.evidence``), unless they are of two epochs."""
        rounds = self.db.execute(
            "SELECT round FROM certificate GROUP BY round HAVING count(*) > 1 ORDER BY round"
        ).fetchall()
        select = "SELECT data FROM certificate WHERE round = ? ORDER BY id"
        return tuple(tuple(row[0] for row in self.db.execute(select, found)) for found in rounds)

    def describe(self, configs: Iterable[OracleConfig], feeds: Iterable[Feed]) -> None:
        """Certificates of these configurations may be appended, and feeds have these symbols."""
        new = [config for config in configs if config.digest not in self.configs]
        named = [feed for feed in feeds if self.feeds.get(feed.feed_id) != feed.symbol]
        if not new and not named:
            return
        with transaction(self.db):
            for config in new:
                self.db.execute(
                    "INSERT INTO config VALUES (?, ?)", (config.digest, config.encode())
                )
            ids = self._with_feeds(feed.feed_id for feed in named)
            for feed in named:
                self.db.execute(
                    "UPDATE feed SET symbol = ? WHERE id = ?", (feed.symbol, ids[feed.feed_id])
                )
        self._feeds = ids
        self.configs |= {config.digest: config for config in new}

    def _with_feeds(self, feed_ids: Iterable[bytes]) -> dict[bytes, int]:
        """The numbers of all known feeds and of these."""
        new = [feed_id for feed_id in feed_ids if feed_id not in self._feeds]
        if not new:
            return self._feeds
        start = len(self._feeds)
        numbers = {feed_id: start + i for i, feed_id in enumerate(new)}
        insert = "INSERT INTO feed (feed_id, id) VALUES (?, ?)"
        self.db.executemany(insert, numbers.items())
        return self._feeds | numbers

    def _insert(self, data: bytes, decoded: AnyCertificate, feeds: dict[bytes, int]) -> None:
        last = self._first("SELECT chain FROM certificate ORDER BY id DESC LIMIT 1")
        row = self.db.execute(
            "INSERT INTO certificate (round, hash, data, chain) VALUES (?, ?, ?, ?)",
            (
                decoded.round,
                decoded.hash,
                data,
                chain_hash(ZERO32 if last is None else last[0], data),
            ),
        ).lastrowid
        round_id = decoded.round
        rows = [(round_id, feeds[feed], row, at) for feed, at in reports_in(decoded)]
        self.db.executemany("INSERT INTO report VALUES (?, ?, ?, ?)", rows)

    def _newest(self, feed_id: bytes, most: int) -> Entry | None:
        row = self._first(
            f"SELECT r.round {_FROM} WHERE r.feed = ? AND r.round <= ?"
            " ORDER BY r.round DESC LIMIT 1",
            self._feeds.get(feed_id, -1),
            min(most, ROUND_MAX),
        )
        return None if row is None else self.by_round(feed_id, row[0])

    def _preferred(self, siblings: list[tuple[Any, ...]]) -> Entry:
        """Of rows (round, feed, report, certificate) of one round and feed."""
        if len(siblings) == 1:
            _, _, raw, certificate = siblings[0]
            return Entry(Report.decode(raw), certificate)
        round_id, feed, _, _ = siblings[0]
        later = self.db.execute(
            f"{_RAW} {_FROM} WHERE r.feed = ? AND r.round > ? ORDER BY r.round LIMIT ?",
            (feed, round_id, STRAYS),
        )
        linked = {raw[-32:] for _, _, raw in later}
        entries = (Entry(Report.decode(raw), data) for _, _, raw, data in siblings)
        return max(
            entries,
            key=lambda e: (
                e.report.hash in linked,
                self._epoch(e.report.config_digest),
                e.report.grade is Grade.FULL,
                -int.from_bytes(e.report.hash),
            ),
        )

    def _rank(self, certificate: AnyCertificate) -> tuple[int, ...]:
        """As the chains of ``protocol.oracle`` prefer certificates of one round."""
        reports: Iterable[Report] = (
            (certificate.report,) if isinstance(certificate, Certificate) else certificate.reports
        )
        grades, epoch = [r.grade for r in reports], self._epoch(certificate.report.config_digest)
        return epoch, grades.count(Grade.FULL), len(grades), -int.from_bytes(certificate.hash)

    def _epoch(self, digest: bytes) -> int:
        config = self.configs.get(digest)
        return -1 if config is None else config.epoch

    def _raw(self, feed: int, where: str, *bounds: int, limit: int = -1) -> Iterator[bytes]:
        rows = self.db.execute(
            f"{_RAW} {_FROM} WHERE r.feed = ? AND {where} ORDER BY r.round DESC LIMIT ?",
            (feed, *bounds, limit),
        )
        return (raw for _, _, raw in rows)

    def _first(self, sql: str, *arguments: Any) -> tuple[Any, ...] | None:
        with closing(self.db.execute(sql, arguments)) as cursor:
            row: tuple[Any, ...] | None = cursor.fetchone()
            return row


@contextmanager
def _opened(path: Path, mode: str) -> Iterator[sqlite3.Connection]:
    """The file, closed again after an error."""
    with explained(path):
        db = connect(path, mode)
        try:
            yield db
        except BaseException:
            db.close()
            raise
