"""``oracle-vm history ...``: what a node has certified, from its database, also while it runs."""

import json
import re
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

import typer

from actors.epochs import load_networks
from actors.history import ROUND_MAX, Entry, History
from actors.history_check import check_history
from actors.history_export import rows, write_csv, write_parquet
from actors.history_file import explained
from protocol.errors import ConfigError

history = typer.Typer(no_args_is_help=True, help="Certificates that a node has stored.")

Database = Annotated[Path, typer.Argument(metavar="DB", help="history.sqlite of a node's folder.")]
FeedOption = Annotated[str | None, typer.Option(help="Symbol, for example BTC/USD, or feed id.")]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object a line.")]
FromOption = Annotated[
    str, typer.Option("--from", metavar="ROUND|TIME", help="First; a time is 2026-12-27T08:00Z.")
]
ToOption = Annotated[str, typer.Option("--to", metavar="ROUND|TIME", help="Last, inclusive.")]

EVERY: Final = str(ROUND_MAX)


@history.command("list")
def list_(
    db: Database,
    feed: FeedOption = None,
    first: FromOption = "0",
    last: ToOption = EVERY,
    as_json: JsonOption = False,
) -> None:
    """One line a certified price, oldest first."""
    with _reading(db) as source:
        for row in rows(_chosen(source, feed, first, last), source.feeds):
            if as_json:
                print(json.dumps(row))
            else:
                signers = ",".join(map(str, row["signers"]))
                print(
                    f"{row['round']}  {_time_text(row['time_ms'])}  {row['feed']}"
                    f"  {row['price']}  {row['grade']}  signed by {signers}"
                )


@history.command()
def show(
    db: Database,
    round_id: Annotated[int, typer.Option("--round", min=0, max=ROUND_MAX)],
    feed: FeedOption = None,
    as_json: JsonOption = False,
) -> None:
    """Everything about one round, with its certificate in hex (what ``verify`` takes)."""
    with _reading(db) as source:
        entries = list(_chosen(source, feed, str(round_id), str(round_id)))
        if not entries:
            raise ConfigError(
                f"--round {round_id}: no certificate; `history list` shows the rounds"
            )
        for entry, row in zip(entries, rows(entries, source.feeds), strict=True):
            config = source.configs[entry.report.config_digest]
            record = row | {
                "observations_root": entry.report.observations_root.hex(),
                "config": config.encode().hex(),
                "certificate": entry.certificate.hex(),
            }
            if as_json:
                print(json.dumps(record))
            else:
                print("\n".join(f"{name}: {_text(value)}" for name, value in record.items()))


@history.command()
def verify(
    db: Database,
    network: Annotated[
        Path | None,
        typer.Option(help="The network.toml that you trust, with its rotations beside it."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Check every row, signature and link; the exit code says it too. With --network also that each
    certificate is of an epoch that had begun in its round; without, compare the digests."""
    epochs = None if network is None else load_networks(network).epochs
    with _reading(db) as source:
        findings = check_history(source, epochs)
        configs = {config.epoch: digest.hex() for digest, config in source.configs.items()}
    if as_json:
        record = {
            "valid": not findings.faults,
            "certificates": findings.certificates,
            "faults": findings.faults,
            "gaps": [[gap.feed, gap.after_round, gap.before_round] for gap in findings.gaps],
            "conflicts": findings.conflicts,
            "late": findings.late,
            "configs": configs,
        }
        print(json.dumps(record))
    else:
        print(f"{findings.certificates} certificates")
        for epoch, digest in sorted(configs.items()):
            print(f"epoch {epoch}: configuration {digest}")
        for gap in findings.gaps:
            print(f"missing: {gap.feed} between round {gap.after_round} and {gap.before_round}")
        for round_id in findings.conflicts:
            print(f"several certificates: round {round_id}")
        for round_id in findings.late:
            print(f"certified by an epoch that was over, nothing is read from it: round {round_id}")
        for fault in findings.faults:
            print(f"FAULT: {fault}")
        print("altered or damaged" if findings.faults else "valid")
    if findings.faults:
        raise typer.Exit(1)


@history.command()
def export(
    db: Database,
    csv: Annotated[Path | None, typer.Option(help="Write this CSV file.")] = None,
    parquet: Annotated[Path | None, typer.Option(help="Write this Parquet file.")] = None,
    feed: FeedOption = None,
    first: FromOption = "0",
    last: ToOption = EVERY,
) -> None:
    """Write the certified prices as a table."""
    if csv is None and parquet is None:
        raise ConfigError("--csv FILE or --parquet FILE: say where to write")
    with _reading(db) as source:
        for path, write in ((csv, write_csv), (parquet, write_parquet)):
            if path is not None:
                count = write(path, rows(_chosen(source, feed, first, last), source.feeds))
                print(f"{path}: {count} rows")


@contextmanager
def _reading(path: Path) -> Iterator[History]:
    with closing(History.read(path)) as source, explained(path):
        yield source


def _chosen(source: History, feed: str | None, first: str, last: str) -> Iterator[Entry]:
    feed_id = None if feed is None else _feed_id(source, feed)
    bounds = _round(source, "--from", first, 1), _round(source, "--to", last, 0)
    return source.between(feed_id, *bounds)


def _feed_id(source: History, name: str) -> bytes:
    for feed_id, symbol in source.feeds.items():
        if name in (symbol, feed_id.hex()):
            return feed_id
    known = ", ".join(source.feeds.values()) or "none"
    raise ConfigError(f"--feed {name}: not in this history, it has {known}")


def _round(source: History, option: str, text: str, up: int) -> int:
    """A round as it is written, or of a time: the first that begins at it or after (``up`` 1), or
    the last that begins at it or before (0)."""
    if re.fullmatch(r"[0-9]{1,19}", text, re.ASCII):
        return min(int(text), ROUND_MAX)
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(
            f"{option} {text}: write a round, or a time like 2026-12-27T08:00Z"
        ) from None
    unix_ms = int(when.replace(tzinfo=when.tzinfo or UTC).timestamp() * 1000)
    intervals = {config.interval_ms for config in source.configs.values()} or {1}
    return max(0, (unix_ms - up) // min(intervals) + up)


def _time_text(unix_ms: int) -> str:
    try:
        return datetime.fromtimestamp(unix_ms / 1000, UTC).isoformat("T", "milliseconds")
    except (ValueError, OverflowError):
        return f"{unix_ms} ms"


def _text(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
