"""What a sequencer remembers: operations, batches, results and the state, whenever it is killed."""

import sqlite3
from contextlib import closing

import pytest

from actors.pool_store import PoolStore, StoredBatch, StoredResult
from protocol.errors import ConfigError, EncodingError, GuardError

OWNER = bytes([7]) * 32


def batch_of(seq: int) -> StoredBatch:
    return StoredBatch(seq, b"certificate", b"operations", b"", b"", b"journal", b"{}")


def result_of(id_: bytes, batch: int = 1) -> StoredResult:
    return StoredResult(id_, batch, 0, OWNER, "increase", "", 5, 0, 1, 0, "7")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "pool.sqlite"


def test_an_operation_has_one_place_however_often_it_comes(path):
    with closing(PoolStore.open(path)) as store:
        first = store.submit(b"a", "key", OWNER, b"body")
        assert store.submit(b"b", None, OWNER, b"other").seq > first.seq
        assert store.submit(b"a", "key", OWNER, b"body") == first
        assert store.submit(b"a", "another key", OWNER, b"body") == first
    with closing(PoolStore.open(path)) as store:
        assert [found.id for found in store.pending(9)] == [b"a", b"b"]
        assert store.operation(b"a") == first
        assert store.operation(b"c") is None
        assert [found.id for found in store.operations_of(OWNER, 9)] == [b"b", b"a"]


def test_a_key_is_one_operations(path):
    with closing(PoolStore.open(path)) as store:
        store.submit(b"a", "key", OWNER, b"body")
        with pytest.raises(EncodingError, match="Idempotency-Key key: it was used"):
            store.submit(b"b", "key", OWNER, b"other")
        assert store.pending_count() == 1


def test_a_batch_takes_its_operations_or_nothing(path):
    with closing(PoolStore.open(path)) as store:
        store.begin(b"genesis")
        for name in (b"a", b"b", b"c"):
            store.submit(name, None, OWNER, b"body")
        results = [result_of(b"a"), result_of(b"duty")]
        store.execute(batch_of(1), results, store.pending(1)[0].seq, b"after 1")
        assert [found.id for found in store.pending(9)] == [b"b", b"c"]
        assert store.pending_count() == 2
        with pytest.raises(GuardError):
            store.execute(batch_of(2), [result_of(b"b", 2), result_of(b"a", 2)], 2, b"after 2")
    with closing(PoolStore.open(path)) as store:
        assert store.state() == b"after 1"
        assert store.newest() == batch_of(1)
        assert store.result(b"a") == result_of(b"a")
        assert store.result(b"b") is None
        assert store.results_of(OWNER) == [result_of(b"a"), result_of(b"duty")]
        assert [found.id for found in store.pending(1)] == [b"b"]


def test_an_empty_batch_takes_nothing_back(path):
    with closing(PoolStore.open(path)) as store:
        store.begin(b"genesis")
        for name in (b"a", b"b"):
            store.submit(name, None, OWNER, b"body")
        store.execute(batch_of(1), [result_of(b"a")], 1, b"after 1")
        store.execute(batch_of(2), [], 0, b"after 2")
        assert [found.id for found in store.pending(9)] == [b"b"]
        assert store.state() == b"after 2"


def test_batches_are_paged_and_carry_their_anchors(path):
    with closing(PoolStore.open(path)) as store:
        for seq in range(1, 6):
            store.execute(batch_of(seq), [], 0, b"")
        assert [found.seq for found in store.batches(2)] == [5, 4]
        assert [found.seq for found in store.batches(2, before=4)] == [3, 2]
        assert store.batch(3) == batch_of(3)
        assert store.batch(9) is None
        store.anchor(3, b"one")
        store.anchor(3, b"two")
        assert store.anchors(3) == [b"one", b"two"]
        assert store.anchors(4) == []


def test_nothing_is_altered(path):
    with closing(PoolStore.open(path)) as store:
        store.submit(b"a", "key", OWNER, b"body")
        store.execute(batch_of(1), [result_of(b"a")], 1, b"after")
        store.anchor(1, b"one")
    with closing(sqlite3.connect(path)) as db:
        for table in ("operation", "batch", "result", "anchor"):
            for statement in (f"DELETE FROM {table}", f"UPDATE {table} SET rowid = 5"):
                with pytest.raises(sqlite3.Error, match=r"append-only|no such column"):
                    db.execute(statement)
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            db.execute("UPDATE result SET code = ''")


def test_one_process_has_it(path):
    with closing(PoolStore.open(path)), pytest.raises(GuardError, match="in use"):
        PoolStore.open(path)
    PoolStore.open(path).close()


def test_other_files_are_refused(path):
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE theirs (x)")
    with pytest.raises(ConfigError, match="another program's"):
        PoolStore.open(path)


def test_a_newer_layout_is_refused(path):
    PoolStore.open(path).close()
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version = 2")
    with pytest.raises(ConfigError, match="install the newer program"):
        PoolStore.open(path)
