"""A history as a table, one row a report, oldest first: CSV for people, Parquet for programs."""

import csv
from collections.abc import Callable, Iterable, Iterator, Mapping
from decimal import Decimal
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any, Final

from actors.history import Entry, decode_certificate
from protocol.errors import ConfigError
from protocol.oracle.config import MAX_ORACLES
from protocol.units import E8

COLUMNS: Final = (
    "feed",
    "round",
    "time_ms",
    "price",
    "price_e8",
    "conf_e8",
    "grade",
    "observers",
    "signers",
    "report_hash",
    "prev_hash",
)
PARQUET_ROWS: Final = 16_384
"""Rows of one group in a Parquet file, and in memory."""

Row = dict[str, Any]


def price_text(price_e8: int) -> str:
    """The exact decimal of a price in 10^-8."""
    return f"{price_e8 // E8}.{price_e8 % E8:08d}"


def rows(entries: Iterable[Entry], symbols: Mapping[bytes, str]) -> Iterator[Row]:
    """A row an entry: ``price`` is the exact decimal text, ``observers`` and ``signers`` are oracle
    indexes, hashes are hex."""
    for entry in entries:
        report = entry.report
        yield {
            "feed": symbols.get(report.feed_id, report.feed_id.hex()),
            "round": report.round,
            "time_ms": report.time,
            "price": price_text(report.price_e8),
            "price_e8": report.price_e8,
            "conf_e8": report.conf_e8,
            "grade": report.grade.name,
            "observers": [i for i in range(MAX_ORACLES) if report.observers >> i & 1],
            "signers": list(_signers(entry.certificate)),
            "report_hash": report.hash.hex(),
            "prev_hash": report.prev_report_hash.hex(),
        }


def write_csv(path: Path, table: Iterable[Row]) -> int:
    """Writes a new file, lists separated by spaces; returns the number of rows. ConfigError if the
    file exists or cannot be written."""
    return _new_file(path, lambda draft: _csv(draft, table))


def write_parquet(path: Path, table: Iterable[Row]) -> int:
    """As ``write_csv``, with integers, lists and ``price`` as decimal128(20, 8)."""
    return _new_file(path, lambda draft: _parquet(draft, table))


@lru_cache(maxsize=1)
def _signers(certificate: bytes) -> tuple[int, ...]:
    return decode_certificate(certificate).signers


def _new_file(path: Path, write: Callable[[Path], int]) -> int:
    draft = path.with_name(path.name + ".part")
    try:
        if path.exists():
            raise ConfigError(f"{path} exists: name a new file")
        count = write(draft)
        draft.replace(path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise ConfigError(f"{path}: cannot be written ({error.strerror or error})") from None
    return count


def _csv(path: Path, table: Iterable[Row]) -> int:
    count = 0
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for row in table:
            values = (row[name] for name in COLUMNS)
            writer.writerow(
                " ".join(map(str, value)) if isinstance(value, list) else value for value in values
            )
            count += 1
    return count


def _parquet(path: Path, table: Iterable[Row]) -> int:
    import pyarrow as pa
    from pyarrow import parquet

    unsigned, indexes = pa.uint64(), pa.list_(pa.uint8())
    schema = pa.schema(
        zip(
            COLUMNS,
            (
                pa.string(),
                unsigned,
                unsigned,
                pa.decimal128(20, 8),
                unsigned,
                unsigned,
                pa.string(),
                indexes,
                indexes,
                pa.string(),
                pa.string(),
            ),
            strict=True,
        )
    )
    count = 0
    source = iter(table)
    with parquet.ParquetWriter(path, schema) as writer:
        while group := list(islice(source, PARQUET_ROWS)):
            exact = [row | {"price": Decimal(row["price"])} for row in group]
            writer.write_table(pa.Table.from_pylist(exact, schema))
            count += len(group)
    return count
