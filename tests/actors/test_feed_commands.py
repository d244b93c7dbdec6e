"""``oracle-vm feeds parse``: a row in, a line out; a bad line is named."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from actors.cli import app
from protocol.errors import EncodingError

FIXTURES = Path(__file__).parents[1] / "vectors" / "feeds"


def parse(file):
    return CliRunner().invoke(app, ["feeds", "parse", str(file)])


@pytest.mark.parametrize("venue", ["binance", "coinbase", "kraken"])
def test_every_row_is_answered_with_its_class(venue):
    file = FIXTURES / f"{venue}.jsonl"
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    answers = [json.loads(line) for line in parse(file).stdout.splitlines()]
    assert [answer["id"] for answer in answers] == [row["id"] for row in rows]
    assert [answer["class"] for answer in answers] == [row["expect"]["class"] for row in rows]


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ("{", ":2: not a row"),
        ("7", ":2: not a row"),
        ("[]", ":2: not a row"),
        ("{}", ":2: the row has no 'venue'"),
        ('{"venue": "nasdaq", "id": "x"}', "no venue 'nasdaq'"),
        ('{"venue": "kraken", "id": "x", "transport": "ws"}', "the row has no 'raw_gen'"),
        ("[" * 100_000, ":2: not a row"),
    ],
)
def test_a_line_that_is_no_row_is_named_and_those_before_it_count(tmp_path, line, names):
    file = tmp_path / "rows.jsonl"
    first = (FIXTURES / "kraken.jsonl").read_text().splitlines()[0]
    file.write_text(f"{first}\n{line}\n")
    result = parse(file)
    assert result.exit_code == 1
    assert isinstance(result.exception, EncodingError)
    assert names in str(result.exception)
    assert len(result.stdout.splitlines()) == 1


def test_a_missing_file_is_named(tmp_path):
    assert "cannot be read" in str(parse(tmp_path / "none").exception)
