"""``history ...``: what is printed and written, while a node writes too."""

import csv
import json
from collections.abc import Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from pyarrow import parquet
from typer.testing import CliRunner

from actors.history import History
from actors.history_commands import history
from actors.history_export import COLUMNS, price_text, write_csv
from actors.verify_command import judge
from protocol.errors import ConfigError
from protocol.units import U64_MAX
from tests.builders.batches import FEEDS, BatchNetwork, flat
from tests.builders.epochs import certificate
from tests.builders.histories import FEED, alter, chain, store
from tests.builders.oracles import CONFIG, FEED_ID, PRICE, ROUND, T0

TEN = chain(10)


@pytest.fixture
def db(tmp_path: Path) -> Path:
    return store(tmp_path / "history.sqlite", TEN)


def run(*arguments: object, code: int = 0) -> str:
    result = CliRunner().invoke(history, [str(a) for a in arguments], catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result.stdout


def lines(*arguments: object) -> list[dict[str, Any]]:
    return [json.loads(line) for line in run(*arguments, "--json").splitlines()]


def test_list_shows_every_price(db: Path) -> None:
    found = lines("list", db)
    assert [row["round"] for row in found] == [ROUND + i for i in range(10)]
    assert found[1] == {
        "feed": "BTC/USD",
        "round": ROUND + 1,
        "time_ms": T0 + 1000,
        "price": "83744.01000000",
        "price_e8": PRICE + 10**6,
        "conf_e8": 1_000_000,
        "grade": "FULL",
        "observers": [0, 1, 2],
        "signers": [0, 1],
        "report_hash": TEN[1].hash.hex(),
        "prev_hash": TEN[0].hash.hex(),
    }
    text = run("list", db).splitlines()
    assert len(text) == 10
    assert str(ROUND) in text[0]
    assert "2026-09-25T" in text[0]
    assert "83744.00000000  FULL  signed by 0,1" in text[0]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--from", str(ROUND + 8)], [8, 9]),
        (["--to", str(ROUND + 1)], [0, 1]),
        (["--from", str(ROUND + 3), "--to", str(ROUND + 4)], [3, 4]),
        (["--from", "2026-09-25T18:00:07Z"], [7, 8, 9]),
        (["--from", "2026-09-25T18:00:06.001"], [7, 8, 9]),
        (["--to", "2026-09-25T18:00:02.999+00:00"], [0, 1, 2]),
        (["--to", "2026-09-25T20:00:01+02:00"], [0, 1]),
        (["--from", "9" * 19], []),
        (["--feed", "BTC/USD", "--to", str(ROUND)], [0]),
        (["--feed", FEED_ID.hex(), "--to", str(ROUND)], [0]),
    ],
)
def test_rounds_and_times_bound_a_list(db: Path, options: list[str], expected: list[int]) -> None:
    assert T0 == 1_790_359_200_000, "2026-09-25T18:00:00Z"
    assert [row["round"] - ROUND for row in lines("list", db, *options)] == expected


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (["list", "DB", "--from", "yesterday"], "--from yesterday: write a round, or a time"),
        (["list", "DB", "--to", "１２"], "--to"),
        (["list", "DB", "--feed", "DOGE/USD"], "--feed DOGE/USD: not in this history, it has BTC"),
        (["show", "DB", "--round", str(ROUND + 77)], "no certificate"),
        (["export", "DB"], "--csv FILE or --parquet FILE"),
        (["export", "DB", "--csv", "DB"], "exists: name a new file"),
        (["export", "DB", "--csv", "nowhere/x.csv"], "nowhere/x.csv: cannot be written"),
        (["list", "nowhere"], "nowhere: there is no such file"),
        (["verify", "nowhere"], "nowhere: there is no such file"),
    ],
)
def test_mistakes_are_named(db: Path, arguments: list[str], names: str) -> None:
    with pytest.raises(ConfigError) as error:
        run(*[str(db) if a == "DB" else a for a in arguments])
    assert names in str(error.value)
    assert "\n" not in str(error.value)


def test_show_gives_what_verify_takes(db: Path) -> None:
    (record,) = lines("show", db, "--round", ROUND + 3)
    assert record["certificate"] == TEN[3].encode().hex()
    verdict = judge(json.dumps(record).encode(), None)
    assert (verdict.reason, verdict.details["round"]) == (None, ROUND + 3)
    text = run("show", db, "--round", ROUND + 3)
    assert "price: 83744.03000000" in text
    assert f"certificate: {TEN[3].encode().hex()}" in text


def test_verify_says_valid_or_what_was_altered(db: Path) -> None:
    assert run("verify", db).splitlines()[-1] == "valid"
    record = json.loads(run("verify", db, "--json"))
    assert record == {
        "valid": True,
        "certificates": 10,
        "faults": [],
        "gaps": [],
        "conflicts": [],
        "late": [],
        "configs": {"1": CONFIG.digest.hex()},
    }
    alter(db, "DELETE FROM certificate WHERE id = 4")
    text = run("verify", db, code=1)
    assert f"FAULT: row 4 (round {ROUND + 3}): removed" in text
    assert not json.loads(run("verify", db, "--json", code=1))["valid"]


def test_gaps_and_conflicts_are_shown_and_are_no_fault(tmp_path: Path) -> None:
    rival = certificate(round_id=ROUND + 1, previous=TEN[0].hash, price=1)
    db = store(tmp_path / "h", [*TEN[:2], rival, *TEN[5:]])
    text = run("verify", db)
    assert f"missing: BTC/USD between round {ROUND + 1} and {ROUND + 5}" in text
    assert f"several certificates: round {ROUND + 1}" in text
    assert text.endswith("valid\n")


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_csv_and_parquet_hold_the_same_exact_numbers(db: Path, tmp_path: Path) -> None:
    text, binary = tmp_path / "out.csv", tmp_path / "out.parquet"
    assert run("export", db, "--csv", text, "--parquet", binary) == (
        f"{text}: 10 rows\n{binary}: 10 rows\n"
    )
    rows, table = read_csv(text), parquet.read_table(binary)
    assert tuple(rows[0]) == tuple(table.column_names) == COLUMNS
    assert rows[2]["price"] == "83744.02000000"
    assert (rows[2]["observers"], rows[2]["signers"]) == ("0 1 2", "0 1")
    assert table.schema.field("price").type == pyarrow.decimal128(20, 8)
    assert table.schema.field("price_e8").type == pyarrow.uint64()
    assert table.schema.field("signers").type == pyarrow.list_(pyarrow.uint8())
    for row, typed in zip(rows, table.to_pylist(), strict=True):
        assert Decimal(row["price"]) == typed["price"] == Decimal(typed["price_e8"]).scaleb(-8)
        assert int(row["price_e8"]) == typed["price_e8"]
        assert int(row["round"]) == typed["round"]
        assert row["report_hash"] == typed["report_hash"]
    assert not list(tmp_path.glob("*.part"))


def test_the_largest_price_survives_both_formats(tmp_path: Path) -> None:
    db = store(tmp_path / "h", [certificate(price=U64_MAX)])
    run("export", db, "--csv", tmp_path / "c", "--parquet", tmp_path / "p")
    assert read_csv(tmp_path / "c")[0]["price"] == "184467440737.09551615"
    (row,) = parquet.read_table(tmp_path / "p").to_pylist()
    assert (row["price"], row["price_e8"]) == (Decimal("184467440737.09551615"), U64_MAX)


@pytest.mark.parametrize(
    ("price_e8", "text"), [(0, "0.00000000"), (1, "0.00000001"), (10**8, "1.00000000")]
)
def test_prices_are_written_exactly(price_e8: int, text: str) -> None:
    assert price_text(price_e8) == text


def test_an_export_that_fails_leaves_no_file(tmp_path: Path) -> None:
    def failing() -> Iterator[dict[str, Any]]:
        yield dict.fromkeys(COLUMNS, 1)
        raise OSError(28, "No space left on device")

    with pytest.raises(ConfigError, match="No space left"):
        write_csv(tmp_path / "out.csv", failing())
    assert list(tmp_path.iterdir()) == []


def test_feeds_of_a_batch_can_be_exported_one_by_one(tmp_path: Path) -> None:
    network = BatchNetwork()
    certified = network.run({i: flat(PRICE) for i in range(3)})
    assert certified is not None
    with closing(History.open(tmp_path / "h", network.config)) as writer:
        writer.append(certified.encode())
    run("export", tmp_path / "h", "--parquet", tmp_path / "one", "--feed", FEEDS[2].hex())
    run("export", tmp_path / "h", "--parquet", tmp_path / "all")
    assert parquet.read_table(tmp_path / "one").column("feed").to_pylist() == [FEEDS[2].hex()]
    assert parquet.read_table(tmp_path / "all").num_rows == len(FEEDS)
    (record, *_) = lines("show", tmp_path / "h", "--round", ROUND)
    assert judge(json.dumps(record).encode(), None).kind == "batch"


def test_everything_can_be_read_while_a_node_writes(tmp_path: Path) -> None:
    with closing(History.open(tmp_path / "h", CONFIG, feeds=(FEED,))) as writer:
        for count, made in enumerate(TEN, 1):
            writer.append(made.encode())
            assert len(lines("list", tmp_path / "h")) == count
        assert run("verify", tmp_path / "h").endswith("valid\n")
        run("export", tmp_path / "h", "--csv", tmp_path / "out.csv")
    assert len(read_csv(tmp_path / "out.csv")) == 10
