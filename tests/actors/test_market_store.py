"""What a market remembers: contracts and answers, both or neither, whenever it is killed."""

import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from actors.market_store import Answer, MarketStore
from protocol.errors import ConfigError, EncodingError, GuardError
from protocol.options.book import Contract, Stage
from protocol.options.instrument import parse_instrument
from protocol.units import Round, Sats, UnixMs

ROOT = Path(__file__).parents[2]
CONTRACT = Contract(
    id=1,
    instrument=parse_instrument("BTC-27DEC26-50000-C-UO80000"),
    quantity_sats=Sats(10**8),
    collateral_sats=Sats(10**8),
    premium_sats=Sats(5),
    round=Round(7),
    index_e8=6_000_000_000_000,  # type: ignore[arg-type]
    opened_ms=UnixMs(5),
)
ANSWER = Answer(202, b'{"id": 1}')


@pytest.fixture
def path(tmp_path):
    return tmp_path / "market.sqlite"


def test_a_command_is_there_after_a_restart(path):
    with closing(MarketStore.open(path)) as store:
        assert store.book().contracts == {}
        assert store.answer("key", b"digest") is None
        store.execute("key", b"digest", CONTRACT, ANSWER)
        later = replace(CONTRACT, stage=Stage.OPEN, contract_id="ab")
        store.keep(later)
    with closing(MarketStore.open(path)) as store:
        assert store.book().contracts == {1: later}
        assert store.answer("key", b"digest") == ANSWER


def test_a_key_is_one_commands(path):
    with closing(MarketStore.open(path)) as store:
        store.execute("key", b"digest", CONTRACT, ANSWER)
        with pytest.raises(EncodingError, match="Idempotency-Key key: it was used"):
            store.answer("key", b"another")
        with pytest.raises(GuardError):
            store.execute("key", b"digest", replace(CONTRACT, id=2), ANSWER)
        assert list(store.book().contracts) == [1]


def test_one_process_has_it(path):
    with closing(MarketStore.open(path)), pytest.raises(GuardError, match="in use"):
        MarketStore.open(path)
    MarketStore.open(path).close()


def test_nothing_is_altered(path):
    with closing(MarketStore.open(path)) as store:
        store.execute("key", b"digest", CONTRACT, ANSWER)
    with closing(sqlite3.connect(path)) as db:
        for table in ("contract", "answer"):
            with pytest.raises(sqlite3.IntegrityError, match="append-only"):
                db.execute(f"UPDATE {table} SET body = ''")


def test_other_files_are_refused(path):
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE theirs (x)")
    with pytest.raises(ConfigError, match="another program's"):
        MarketStore.open(path)
    path.write_bytes(b"not a database" * 100)
    with pytest.raises(GuardError, match="not a"):
        MarketStore.open(path)


def test_a_newer_layout_is_refused(path):
    MarketStore.open(path).close()
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version = 2")
    with pytest.raises(ConfigError, match="install the newer program"):
        MarketStore.open(path)


def test_a_damaged_contract_is_named(path):
    with closing(MarketStore.open(path)) as store:
        store.execute("key", b"digest", CONTRACT, ANSWER)
    with closing(sqlite3.connect(path)) as db:
        db.execute("INSERT INTO contract (id, body) VALUES (1, '{}')")
        db.commit()
    with closing(MarketStore.open(path)) as store, pytest.raises(ConfigError, match="damaged"):
        store.book()


@pytest.mark.parametrize(
    "step", [8, pytest.param(1, marks=[pytest.mark.slow, pytest.mark.timeout(600)])]
)
def test_a_market_killed_between_any_two_lines(tmp_path, step):
    """An order is done once or not at all, and who asks again gets the answer that was given."""
    child = subprocess.run(
        [sys.executable, str(ROOT / "tests/actors/market_child.py"), str(tmp_path), str(step)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert child.returncode == 0, child.stderr
    runs = [json.loads(line) for line in child.stdout.splitlines()]
    assert [run["killed"] for run in runs] == [True] * (len(runs) - 1) + [False]
    for run in runs:
        assert run["contracts"] == [[1, "offered"]]
        assert set(run["offered"]) == {"1"}
        assert run["first"] in (None, run["second"])
    told = [run["first"] is not None for run in runs]
    assert 20 < step * told.index(True) < step * (len(runs) - 1), "before and after it was told"
