"""The history of certificates: queries, gaps, conflicts, crashes, bad disks, alteration."""

import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.history import History, chain_hash
from actors.history_check import Findings, Gap, check_history
from protocol.errors import ConfigError, EncodingError, GuardError
from protocol.oracle.certificate import Certificate
from protocol.oracle.evidence import of_certificates
from protocol.oracle.expiry import ExpirySlot, Rule, expiry_of
from protocol.oracle.report import Grade
from tests.builders.batches import FEEDS, BatchNetwork, flat
from tests.builders.epochs import EPOCHS, NEW_KEYS, NEW_ROUND, NEXT, certificate
from tests.builders.histories import FEED, alter, chain, store
from tests.builders.oracles import CONFIG, FEED_ID, PRICE, ROUND, T0, certify

TEN = chain(10)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "history.sqlite"


@pytest.fixture
def history(path: Path) -> Iterator[History]:
    with closing(History.open(path, CONFIG, feeds=(FEED,))) as opened:
        yield opened


def fill(history: History, certificates: list[Certificate]) -> None:
    for made in certificates:
        assert history.append(made.encode())


def found(path: Path) -> Findings:
    with closing(History.read(path)) as history:
        return check_history(history)


def rounds_of(history: History, first: int = 0, last: int = 2**63) -> list[int]:
    return [entry.report.round for entry in history.between(FEED_ID, first, last)]


def test_an_empty_history_answers(history: History) -> None:
    assert (len(history), history.last(), history.head(FEED_ID)) == (0, None, None)
    assert history.by_round(FEED_ID, ROUND) is None
    assert history.at_time(FEED_ID, T0) is None
    assert (history.after(-1), history.gaps(FEED_ID), history.conflicts()) == ((), (), ())
    assert rounds_of(history) == []


def test_what_was_appended_is_found_by_round_and_time(history: History) -> None:
    fill(history, TEN)
    assert not history.append(TEN[3].encode()), "a certificate that is known is no news"
    assert (len(history), history.last()) == (10, TEN[-1])
    head = history.head(FEED_ID)
    assert head is not None
    assert (head.report, head.certificate) == (TEN[-1].report, TEN[-1].encode())
    third = history.by_round(FEED_ID, ROUND + 2)
    assert third is not None
    assert third.report == TEN[2].report
    assert history.by_round(FEED_ID, ROUND + 10) is None
    assert history.by_round(b"\1" * 32, ROUND) is None
    assert rounds_of(history, ROUND + 2, ROUND + 4) == [ROUND + 2, ROUND + 3, ROUND + 4]
    assert rounds_of(history, ROUND + 4, ROUND + 2) == []
    assert [c.round for c in history.newest_first()] == [ROUND + 9 - i for i in range(10)]


@pytest.mark.parametrize(
    ("unix_ms", "expected"),
    [(T0 - 1, None), (T0, 0), (T0 + 999, 0), (T0 + 1000, 1), (T0 + 8_500, 8), (T0 + 10**9, 9)],
)
def test_the_price_at_a_time_is_the_newest_not_after_it(
    history: History, unix_ms: int, expected: int | None
) -> None:
    fill(history, TEN)
    entry = history.at_time(FEED_ID, unix_ms)
    assert (None if entry is None else entry.report.round - ROUND) == expected


def test_a_report_that_is_younger_than_its_round_is_not_taken_for_old(history: History) -> None:
    """A slow round: its time lies in the next one."""
    late = certify(replace(TEN[0].report, time=T0 + 1_500))
    fill(history, [late])
    assert history.at_time(FEED_ID, T0 + 1_499) is None
    assert history.at_time(FEED_ID, T0 + 1_500) is not None


@settings(max_examples=25, deadline=None)
@given(st.permutations(range(10)), st.integers(0, 10), st.integers(-1, 11), st.integers(1, 12))
def test_any_order_of_arrival_gives_the_same_history(
    tmp_path_factory: pytest.TempPathFactory, order: list[int], kept: int, after: int, limit: int
) -> None:
    path = tmp_path_factory.mktemp("order") / "h"
    store(path, [TEN[i] for i in order[:kept]])
    present = sorted(order[:kept])
    with closing(History.read(path)) as history:
        assert rounds_of(history) == [ROUND + i for i in present]
        expected = [TEN[i].encode() for i in present if i > after][:limit]
        assert list(history.after(ROUND + after, limit)) == expected
        missing = [
            (ROUND + before if before >= 0 else -1, ROUND + now)
            for before, now in zip([-1, *present], present, strict=False)
            if now != before + 1
        ]
        assert list(history.gaps(FEED_ID)) == missing
        findings = check_history(history)
        assert (findings.certificates, findings.faults) == (kept, ())
        assert len(findings.gaps) == len(missing)


def test_gaps_are_named_and_can_be_filled_later(path: Path, history: History) -> None:
    fill(history, TEN[:3] + TEN[6:])
    assert history.gaps(FEED_ID) == ((ROUND + 2, ROUND + 6),)
    assert history.gaps(FEED_ID, first=ROUND + 7) == ()
    assert check_history(history).gaps == (Gap("BTC/USD", ROUND + 2, ROUND + 6),)
    fill(history, [TEN[5], TEN[3], TEN[4]])
    assert history.gaps(FEED_ID) == ()
    assert check_history(history) == Findings(10, (), (), ())


def test_catching_up_never_cuts_a_round_in_two(history: History) -> None:
    """Otherwise the second certificate of a round would be skipped for ever."""
    rival = certificate(round_id=ROUND + 1, previous=TEN[0].hash, price=PRICE + 7)
    fill(history, [*TEN[:4], rival])
    got: list[bytes] = []
    after = -1
    while page := history.after(after, 2):
        assert len(page) <= 2
        got += page
        after = Certificate.decode(page[-1]).round
    assert sorted(got) == sorted(c.encode() for c in [*TEN[:4], rival])


def test_of_two_certificates_the_chain_says_which_counts(history: History) -> None:
    """Both are kept: they convict whoever signed both."""
    rivals = [certificate(round_id=ROUND + 1, previous=TEN[0].hash, price=p) for p in (1, 2, 3)]
    fill(history, [TEN[0], *rivals])
    preferred = min(rivals, key=lambda c: c.hash)
    entry = history.by_round(FEED_ID, ROUND + 1)
    assert entry is not None
    assert entry.report == preferred.report
    assert history.last() == preferred
    linked = max(rivals, key=lambda c: c.hash)
    fill(history, [certificate(round_id=ROUND + 2, previous=linked.hash)])
    entry = history.by_round(FEED_ID, ROUND + 1)
    assert entry is not None
    assert entry.report == linked.report
    ((*pair, _),) = history.conflicts()
    one, two = (Certificate.decode(data) for data in pair)
    assert [e.check(CONFIG) for e in of_certificates(CONFIG, one, two)] == [0, 1]
    assert check_history(history).conflicts == (ROUND + 1,)
    assert check_history(history).faults == ()


def test_full_goes_before_degraded(history: History) -> None:
    full = certificate(round_id=ROUND)
    degraded = [
        certify(replace(full.report, grade=Grade.DEGRADED, observers=3, price_e8=price))
        for price in range(1, 9)
    ]
    fill(history, [*degraded[:4], full, *degraded[4:]])
    assert history.last() == full
    head = history.head(FEED_ID)
    assert head is not None
    assert head.report == full.report


def slot(start: int, target: int, **changes: object) -> ExpirySlot:
    fields: dict[str, object] = {
        "config_digest": CONFIG.digest,
        "feed_id": FEED_ID,
        "start_round": ROUND + start,
        "target_round": ROUND + target,
    }
    return ExpirySlot(**(fields | changes))  # type: ignore[arg-type]


def test_an_expiry_follows_from_the_reports_of_its_slot(history: History) -> None:
    fill(history, TEN[:4] + TEN[5:])  # a hole that was filled by nobody: 5 links to 4
    assert history.reports(slot(2, 4))[0].round == ROUND + 5
    fill(history, [TEN[4]])
    reports = history.reports(slot(2, 7, rule=Rule.TWAP, window=3))
    assert [r.round - ROUND for r in reports] == [1, 2, 3, 4, 5, 6, 7]
    expiry = expiry_of(slot(2, 7, rule=Rule.TWAP, window=3), 10, reports)
    assert (expiry.rounds, expiry.price_e8) == (6, PRICE + 6 * 10**6)
    assert [r.round - ROUND for r in history.reports(slot(0, 1))] == [0, 1]
    assert [r.round - ROUND for r in history.reports(slot(9, 20))] == [8, 9]
    assert history.reports(slot(9, 20, feed_id=b"\1" * 32)) == ()


def test_an_expiry_runs_over_the_chain_and_nothing_else(history: History) -> None:
    """A withheld certificate of the past shows up: no later report links to it, so it is not part
    of the high, the low or the mean."""
    stray = certificate(round_id=ROUND + 3, previous=TEN[0].hash, price=PRICE * 2)
    skipping = chain(5, ROUND + 5, previous=TEN[1].hash)
    fill(history, [*TEN[:2], *skipping, stray])
    reports = history.reports(slot(1, 9))
    assert [r.round - ROUND for r in reports] == [0, 1, 5, 6, 7, 8, 9]
    assert expiry_of(slot(1, 9), 0, reports).high_e8 == max(c.report.price_e8 for c in skipping)


def test_a_batch_is_stored_once_and_found_by_feed(path: Path) -> None:
    network = BatchNetwork()
    rounds = []
    for number in range(3):
        feeds = FEEDS if number != 1 else FEEDS[:2]
        prices = {i: flat(PRICE + number, feeds) for i in range(3)}
        certified = network.run(prices, ROUND + number)
        assert certified is not None
        rounds.append(certified)
    with closing(History.open(path, network.config)) as history:
        for certified in rounds:
            assert history.append(certified.encode())
            assert not history.append(certified.encode())
        assert len(history) == 3
        assert history.last() == rounds[-1]
        for position, feed in enumerate(FEEDS):
            entries = list(history.between(feed, 0, 2**64))
            held = [0, 1, 2] if position < 2 else [0, 2]
            assert [e.report.round - ROUND for e in entries] == held
            assert [e.report.price_e8 - PRICE for e in entries] == held
            assert {e.certificate for e in entries} == {rounds[i].encode() for i in held}
            assert history.gaps(feed) == ()
        everything = list(history.between(None, ROUND + 1, ROUND + 1))
        assert [e.report for e in everything] == list(rounds[1].reports)
        assert check_history(history) == Findings(3, (), (), ())
        assert set(history.feeds.values()) == {feed.hex() for feed in FEEDS}


def test_a_history_verifies_by_itself_across_epochs(path: Path) -> None:
    new = certificate(NEXT, NEW_ROUND, TEN[-1].hash, keys=NEW_KEYS, signers=(0, 2))
    store(path, [*TEN, new], CONFIG, NEXT)
    assert found(path) == Findings(11, (), (), ())
    with closing(History.open(path)) as history:
        assert set(history.configs) == {CONFIG.digest, NEXT.digest}
        assert history.last() == new


def test_what_an_epoch_certified_after_its_end_is_passed_over(path: Path) -> None:
    """A node that did not know of the rotation has it; nothing is read from it any more."""
    late = [certificate(round_id=NEW_ROUND, previous=TEN[-1].hash)]
    for n in range(1, 4):
        late.append(certificate(round_id=NEW_ROUND + n, previous=late[-1].hash, price=PRICE // n))
    new = certificate(NEXT, NEW_ROUND + 5, late[0].hash, keys=NEW_KEYS, signers=(0, 2))
    store(path, [*TEN, *late], CONFIG, NEXT)
    with closing(History.open(path)) as history:
        assert history.last() == late[-1]
        history.follow(EPOCHS)
        assert history.last() == late[0], "of the round of the rotation the old one's counts, too"
        assert history.head(FEED_ID) == history.by_round(FEED_ID, NEW_ROUND)
        assert history.by_round(FEED_ID, NEW_ROUND + 1) is None
        slot = ExpirySlot(
            config_digest=CONFIG.digest,
            feed_id=FEED_ID,
            start_round=NEW_ROUND - 1,
            target_round=NEW_ROUND + 1,
        )
        assert history.reports(slot)[-1] == late[0].report
        history.append(new.encode())
        assert history.last() == new
        assert [r.round for r in history.reports(slot)[-2:]] == [NEW_ROUND, new.round]
        assert history.at_time(FEED_ID, new.time - 1) == history.by_round(FEED_ID, NEW_ROUND)
        assert history.after(NEW_ROUND - 1) == (late[0].encode(), new.encode())
        assert list(history.newest_first())[:2] == [new, late[0]]
        findings = check_history(history, EPOCHS)
        assert (findings.faults, findings.certificates) == ((), 15)
        assert findings.late == tuple(NEW_ROUND + n for n in (1, 2, 3))
        early = certificate(NEXT, NEW_ROUND - 1, keys=NEW_KEYS, signers=(0, 2))
        history.append(early.encode())
        (fault,) = check_history(history, EPOCHS).faults
        assert "is certified by epoch 1 only" in fault


def test_what_cannot_be_stored_is_refused(history: History) -> None:
    other = certificate(NEXT, keys=NEW_KEYS)
    with pytest.raises(ConfigError, match="configuration of every epoch"):
        history.append(other.encode())
    with pytest.raises(EncodingError, match="63 bits"):
        history.append(certify(replace(TEN[0].report, round=2**63)).encode())
    for data in (b"", b"EVI1" + bytes(400), TEN[0].encode()[:-1]):
        with pytest.raises(EncodingError):
            history.append(data)
    assert len(history) == 0


def test_one_writer_many_readers(path: Path, history: History) -> None:
    fill(history, TEN[:5])
    with pytest.raises(GuardError, match="in use by another process; stop it first"):
        History.open(path, CONFIG)
    with closing(History.read(path)) as one, closing(History.read(path)) as two:
        walk = one.between(FEED_ID, 0, 2**63)
        assert next(walk).report == TEN[0].report
        fill(history, TEN[5:])
        assert two.last() == TEN[-1]
        assert len(list(walk)) == 4, "a query sees the file as it was when it began"
        assert len(one) == 10
        with pytest.raises(GuardError, match="read-only"):
            one.append(chain(11)[-1].encode())
    history.close()
    History.open(path, CONFIG).close()


def test_any_one_thread_may_use_it(history: History) -> None:
    with ThreadPoolExecutor(1) as pool:
        pool.submit(fill, history, TEN).result(60)
    assert history.last() == TEN[-1]


def test_certificates_cannot_be_changed_or_deleted(history: History) -> None:
    fill(history, TEN)
    for sql in ("DELETE FROM certificate WHERE id = 3", "UPDATE certificate SET round = 0"):
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            history.db.execute(sql)


def test_a_file_of_a_newer_program_is_left_alone(path: Path) -> None:
    store(path, TEN)
    alter(path, "PRAGMA user_version = 2")
    for opened in (History.open, History.read):
        with pytest.raises(ConfigError, match="layout 2, this program knows 1: install the newer"):
            opened(path)


def test_other_files_are_not_taken_for_a_history(tmp_path: Path) -> None:
    text, other = tmp_path / "text", tmp_path / "other"
    text.write_text("not a database, but long enough to be read as the header of one" * 20)
    alter(other, "CREATE TABLE mine (x)")
    for opened in (History.open, History.read):
        with pytest.raises(GuardError, match="not a history file"):
            opened(text)
        with pytest.raises(ConfigError, match="another program's database"):
            opened(other)
    (tmp_path / "empty").touch()
    with pytest.raises(ConfigError, match="empty, not a history file"):
        History.read(tmp_path / "empty")
    with pytest.raises(ConfigError, match="no such file"):
        History.read(tmp_path / "nothing")
    with pytest.raises(GuardError, match="check the folder"):
        History.open(tmp_path / "nowhere" / "history")


def test_a_full_disk_stores_nothing_of_a_certificate(path: Path, history: History) -> None:
    fill(history, TEN[:2])
    history.db.execute("PRAGMA max_page_count = 1")  # no page more than there are
    stored = 2
    with pytest.raises(GuardError, match="full; make room on the disk; nothing was stored"):
        for made in chain(200)[2:]:
            history.append(made.encode())
            stored += 1
    assert len(history) == stored
    history.db.execute("PRAGMA max_page_count = 100000")
    assert history.append(chain(200)[stored].encode()), "with room again it goes on"
    assert check_history(history).faults == ()


def test_a_file_that_became_read_only_is_named(path: Path) -> None:
    store(path, TEN[:2])
    data = bytearray(path.read_bytes())
    data[18] = 3  # the format's mark for: this program may only read
    path.write_bytes(data)
    with closing(History.open(path)) as history, pytest.raises(GuardError, match="read-only"):
        history.append(TEN[2].encode())


CHILD = """
import sys
from pathlib import Path
from actors.history import History
from tests.builders.histories import chain
from tests.builders.oracles import CONFIG

history = History.open(Path(sys.argv[1]), CONFIG)
for certificate in chain(2_000):
    history.append(certificate.encode())
    print(certificate.round, flush=True)
"""


def test_sigkill_in_the_middle_of_writing_loses_nothing_that_was_stored(path: Path) -> None:
    root = Path(__file__).parents[2]
    for _ in range(2):
        with subprocess.Popen(
            [sys.executable, "-c", CHILD, str(path)],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(root), *filter(None, sys.path)])},
        ) as child:
            assert child.stdout is not None
            told = [int(child.stdout.readline()) for _ in range(60)]
            child.kill()
            told += [int(line) for line in child.stdout.read().split("\n")[:-1]]
        findings = found(path)
        assert findings.faults == findings.gaps == ()
        assert findings.certificates >= len(told)
        with closing(History.open(path, CONFIG)) as history:
            assert set(told) <= set(rounds_of(history))


def altered(blob: bytes, at: int) -> bytes:
    return blob[:at] + bytes([blob[at] ^ 1]) + blob[at + 1 :]


@pytest.mark.parametrize("at", [0, 40, 80, 83, 120, 140, 168, 169, 200, 297])
def test_one_altered_byte_of_a_certificate_is_found_and_named(path: Path, at: int) -> None:
    store(path, TEN)
    data = altered(TEN[4].encode(), at)
    alter(path, "UPDATE certificate SET data = ? WHERE id = 5", parameters=(data,))
    faults = found(path).faults
    assert any(f"row 5 (round {ROUND + 4}): altered" in fault for fault in faults), faults


def test_one_altered_byte_of_the_file_is_found_and_named(path: Path) -> None:
    """As a bad disk does it, below SQLite."""
    store(path, TEN)
    whole = path.read_bytes()
    start = whole.index(TEN[6].encode())
    for at in range(start, start + len(TEN[6].encode()), 23):
        path.write_bytes(altered(whole, at))
        faults = found(path).faults
        assert any(f"row 7 (round {ROUND + 6}): altered" in fault for fault in faults), faults


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32))
def test_no_altered_byte_of_the_file_goes_unseen_and_counts(
    tmp_path_factory: pytest.TempPathFactory, at: int
) -> None:
    """Wherever it is: it is found, or every answer is the same as before."""
    path = store(tmp_path_factory.mktemp("bytes") / "h", TEN)
    whole = path.read_bytes()
    path.write_bytes(altered(whole, at % len(whole)))
    try:
        findings = found(path)
    except (GuardError, ConfigError):
        return
    if not findings.faults:
        with closing(History.read(path)) as history:
            assert [history.by_round(FEED_ID, c.round) is not None for c in TEN] == [True] * 10
            assert list(history.after(-1)) == [c.encode() for c in TEN]


@pytest.mark.parametrize(
    ("row", "names"),
    [
        (1, f"row 1 (round {ROUND}): removed; written before round {ROUND + 1}"),
        (5, f"row 5 (round {ROUND + 4}): removed; written after round {ROUND + 3} and before"),
        (10, f"row 10 (round {ROUND + 9}): removed; written after round {ROUND + 8}"),
    ],
)
def test_a_removed_round_is_found_and_named(path: Path, row: int, names: str) -> None:
    store(path, TEN)
    alter(path, f"DELETE FROM certificate WHERE id = {row}")
    faults = found(path).faults
    assert any(names in fault for fault in faults), faults
    alter(path, f"DELETE FROM report WHERE certificate = {row}")
    (fault,) = found(path).faults
    assert fault.startswith(f"row {row}: removed; written ")


def test_several_removed_rounds_are_counted(path: Path) -> None:
    store(path, TEN)
    alter(path, "DELETE FROM certificate WHERE id IN (3, 4, 5, 9)")
    removed = [fault for fault in found(path).faults if "removed" in fault]
    assert [fault.split(" (")[0] for fault in removed] == ["rows 3 to 5", "row 9"]


def renumbered(path: Path) -> None:
    """Row 5 removed with every trace of it, the rows behind it closed up."""
    alter(
        path,
        "DELETE FROM certificate WHERE id = 5",
        "DELETE FROM report WHERE certificate = 5",
        "UPDATE certificate SET id = id - 1 WHERE id > 5",
        "UPDATE report SET certificate = certificate - 1 WHERE certificate > 5",
        "UPDATE sqlite_sequence SET seq = seq - 1",
    )


def test_a_removed_round_that_was_covered_up_breaks_the_chain_of_rows(path: Path) -> None:
    store(path, TEN)
    renumbered(path)
    findings = found(path)
    assert any(f"row 5 (round {ROUND + 5}): altered" in fault for fault in findings.faults)


def test_a_removed_round_with_a_new_chain_of_rows_is_still_a_gap(path: Path) -> None:
    """Who recomputes the chain of rows cannot recompute what the quorum signed."""
    store(path, TEN)
    renumbered(path)
    before = bytes(32)
    for row, made in enumerate(TEN[:4] + TEN[5:], 1):
        before = chain_hash(before, made.encode())
        sql = f"UPDATE certificate SET chain = ? WHERE id = {row}"
        alter(path, sql, parameters=(before,))
    assert found(path) == Findings(9, (), (Gap("BTC/USD", ROUND + 3, ROUND + 5),), ())


def forge_signature(path: Path) -> str:
    data = altered(TEN[9].encode(), 200)
    before = bytes(32)
    for made in TEN[:9]:
        before = chain_hash(before, made.encode())
    alter(
        path,
        "UPDATE certificate SET data = ?, chain = ? WHERE id = 10",
        parameters=(data, chain_hash(before, data)),
    )
    return "signature of oracle 0 does not verify"


def statement(sql: str, names: str) -> Callable[[Path], str]:
    def harm(path: Path) -> str:
        alter(path, sql)
        return names

    return harm


@pytest.mark.parametrize(
    "harm",
    [
        forge_signature,
        statement("UPDATE certificate SET round = round + 1 WHERE id = 4", "another round or hash"),
        statement("UPDATE certificate SET hash = x'00' WHERE id = 4", "another round or hash"),
        statement("UPDATE certificate SET chain = x'00' WHERE id = 4", "row 5"),
        statement("UPDATE report SET at = 1 WHERE certificate = 4", "row 4"),
        statement("DELETE FROM report WHERE certificate = 4", "row 4"),
        statement("INSERT INTO report VALUES (5, 0, 4, 0)", "round 5: a report is filed"),
        statement("DELETE FROM config", "configuration"),
        statement("UPDATE config SET digest = zeroblob(32)", "altered"),
        statement("UPDATE feed SET symbol = 'ETH/USD'", "feed ETH/USD: its id"),
        statement("UPDATE feed SET feed_id = zeroblob(32)", "not filed where they are"),
        statement("UPDATE certificate SET data = x'00' WHERE id = 4", "RPT1 or BAT1"),
    ],
)
def test_other_alterations_are_named(path: Path, harm: Callable[[Path], str]) -> None:
    store(path, TEN)
    names = harm(path)
    faults = found(path).faults
    assert any(names in fault for fault in faults), faults
