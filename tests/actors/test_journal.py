"""The journal and the sign guard against crashes, bad disks, damage and second instances."""

import errno
import os
import stat
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from actors.files import open_locked
from actors.journal import MAX_RECORD, Journal, SignGuard
from protocol.errors import GuardError
from protocol.oracle.round import OracleNode
from tests.builders.oracles import CONFIG as ORACLES
from tests.builders.oracles import FEED_ID, KEYS, PRICE, ROUND, T0, price_of

PUBLIC = b"\x11" * 32
CONFIG, FEED = b"\x22" * 32, b"\x33" * 32
RECORDS = (b"one", b"two" * 40, b"\0", b"four")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "guard"


def write(path: Path, *records: bytes) -> bytes:
    journal, _ = Journal.open(path)
    with closing(journal):
        for record in records:
            journal.append(record)
    return path.read_bytes()


def read(path: Path) -> tuple[bytes, ...]:
    journal, records = Journal.open(path)
    journal.close()
    return records


def sign_off(guard: SignGuard, round_id: int, message: bytes, kind: bytes = b"OBS1") -> None:
    guard.record(kind, CONFIG, FEED, round_id, message)


def test_records_come_back_in_order(path: Path) -> None:
    write(path, *RECORDS)
    write(path, b"five")
    assert read(path) == (*RECORDS, b"five")
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("size", [0, MAX_RECORD + 1])
def test_a_record_has_a_size(path: Path, size: int) -> None:
    with pytest.raises(GuardError, match="1 to 1048576 fit"):
        write(path, bytes(size))
    write(path, bytes(MAX_RECORD))


def test_truncation_at_every_byte_loses_only_the_end(path: Path) -> None:
    """What a crash leaves: the whole frames before the cut, and a file that can be written on."""
    whole = write(path, *RECORDS)
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        kept = read(path)
        assert kept == RECORDS[: len(kept)]
        assert len(kept) < len(RECORDS)
        write(path, b"next")
        assert read(path) == (*kept, b"next")


def test_any_altered_byte_is_found(path: Path) -> None:
    whole = write(path, *RECORDS)
    for at in range(len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(GuardError, match="damaged"):
            read(path)


def test_bytes_missing_in_the_middle_are_found(path: Path) -> None:
    whole = write(path, *RECORDS)
    frames = [12 + len(record) for record in RECORDS]
    for cut in range(1, len(whole) - frames[-1]):
        path.write_bytes(whole[:12] + whole[12 + cut :])
        with pytest.raises(GuardError, match="damaged"):
            read(path)
    second, third = sum(frames[:1]), sum(frames[:2])
    path.write_bytes(whole[:second] + whole[third:])
    with pytest.raises(GuardError, match=f"frame at byte {second} is not what was written"):
        read(path)


def test_swapped_records_are_found(path: Path) -> None:
    whole = write(path, b"one", b"two")
    half = len(whole) // 2
    path.write_bytes(whole[half:] + whole[:half])
    with pytest.raises(GuardError, match="with a new key"):
        read(path)


def test_blocks_that_never_got_their_bytes_are_a_torn_end(path: Path) -> None:
    whole = write(path, *RECORDS)
    path.write_bytes(whole + bytes(4096))
    assert read(path) == RECORDS
    assert path.read_bytes() == whole


def test_damage_leaves_the_file_alone_and_unlocked(path: Path) -> None:
    broken = b"\xff" + write(path, *RECORDS)[1:]
    path.write_bytes(broken)
    for _ in range(2):
        with pytest.raises(GuardError, match="damaged"):
            read(path)
    assert path.read_bytes() == broken


def test_a_second_opener_is_refused(path: Path) -> None:
    journal, _ = Journal.open(path)
    with closing(journal):
        with pytest.raises(GuardError, match="in use by another process; stop it first"):
            Journal.open(path)
        journal.append(b"still mine")
    assert read(path) == (b"still mine",)


def test_no_folder_no_journal(tmp_path: Path) -> None:
    with pytest.raises(GuardError, match="check the folder"):
        Journal.open(tmp_path / "missing" / "guard")


def test_a_link_is_not_followed(path: Path) -> None:
    write(path, b"one")
    link = path.with_name("link")
    link.symlink_to(path)
    with pytest.raises(GuardError, match="check the folder"):
        Journal.open(link)


def test_a_failed_fsync_stops_everything_until_reopened(path: Path) -> None:
    fails = False

    def fsync(fd: int) -> None:
        if fails:
            raise OSError(errno.EIO, "Input/output error")
        os.fsync(fd)

    guard = SignGuard.open(path, PUBLIC, fsync=fsync)
    sign_off(guard, 1, b"first")
    fails = True
    with pytest.raises(GuardError, match="Input/output error; nothing more is recorded"):
        sign_off(guard, 2, b"lost?")
    fails = False
    with pytest.raises(GuardError, match="open it again"):
        sign_off(guard, 3, b"third")
    assert guard.seq == 1
    guard.close()
    with closing(SignGuard.open(path, PUBLIC)) as guard:
        with pytest.raises(GuardError, match="another OBS1 was recorded"):
            sign_off(guard, 2, b"something else")
        sign_off(guard, 2, b"lost?")
        assert guard.seq == 2


def test_a_full_disk_in_the_middle_of_a_frame(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of the frame is written, then ENOSPC: the half is a torn end at the next start."""
    guard = SignGuard.open(path, PUBLIC)
    sign_off(guard, 1, b"first")
    real, room = os.write, [20]

    def write_some(fd: int, data: bytes) -> int:
        if not room[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        room[0] -= (written := real(fd, bytes(data)[: room[0]]))
        return written

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", write_some)
        with pytest.raises(GuardError, match="make room"):
            sign_off(guard, 2, b"second")
    guard.close()
    with closing(SignGuard.open(path, PUBLIC)) as guard:
        assert guard.seq == 1
        sign_off(guard, 2, b"another second")


def test_a_failing_disk_refuses_to_open(path: Path) -> None:
    def fsync(_fd: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with pytest.raises(GuardError, match="repair the disk"):
        Journal.open(path, fsync)
    assert read(path) == ()


@pytest.mark.parametrize("harm", ["removed", "replaced", "cut", "grown"])
def test_a_file_touched_while_in_use_stops_the_guard(path: Path, harm: str) -> None:
    guard = SignGuard.open(path, PUBLIC)
    sign_off(guard, 1, b"first")
    whole = path.read_bytes()
    if harm in ("removed", "replaced"):
        path.unlink()
    if harm != "removed":
        path.write_bytes({"replaced": whole, "cut": whole[:-1], "grown": whole + b"x"}[harm])
    with pytest.raises(GuardError):
        sign_off(guard, 2, b"second")
    with pytest.raises(GuardError, match="open it again"):
        sign_off(guard, 2, b"second")
    guard.close()


def test_one_message_a_slot(path: Path) -> None:
    with closing(SignGuard.open(path, PUBLIC)) as guard:
        sign_off(guard, 7, b"mine")
        sign_off(guard, 7, b"a report", kind=b"RPT1")
        size = path.stat().st_size
        sign_off(guard, 7, b"mine")
        assert path.stat().st_size == size, "the same message again is not written again"
        with pytest.raises(GuardError, match="another OBS1 was recorded; take the next round"):
            sign_off(guard, 7, b"other")
        with pytest.raises(GuardError, match="round 6 is over"):
            sign_off(guard, 6, b"mine")
        guard.record(b"OBS1", CONFIG, b"\x44" * 32, 6, b"another feed")
        guard.record(b"OBS1", b"\x55" * 32, FEED, 6, b"another epoch")


def test_a_restart_remembers(path: Path) -> None:
    with closing(SignGuard.open(path, PUBLIC)) as guard:
        for round_id in (5, 6, 9):
            sign_off(guard, round_id, b"observation %d" % round_id)
        sign_off(guard, 9, b"report", kind=b"RPT1")
    with closing(SignGuard.open(path, PUBLIC)) as guard:
        assert (guard.seq, guard.next_seq()) == (4, 5)
        assert guard.recall(b"OBS1", CONFIG, FEED) == b"observation 9"
        assert guard.recall(b"RPT1", CONFIG, FEED) == b"report"
        assert guard.recall(b"BAT1", CONFIG, FEED) is None
        sign_off(guard, 9, b"observation 9")
        with pytest.raises(GuardError, match="another OBS1"):
            sign_off(guard, 9, b"observation 9 again")


def test_an_old_copy_is_refused_when_peers_have_seen_more(path: Path) -> None:
    with closing(SignGuard.open(path, PUBLIC)) as guard:
        sign_off(guard, 1, b"one")
        backup = path.read_bytes()
        sign_off(guard, 2, b"two")
    SignGuard.open(path, PUBLIC, peers_seq=2).close()
    path.write_bytes(backup)
    with pytest.raises(GuardError, match="ends at seq 1, peers have seen 2: an old copy"):
        SignGuard.open(path, PUBLIC, peers_seq=2)
    path.unlink()
    with pytest.raises(GuardError, match="ends at seq 0"):
        SignGuard.open(path, PUBLIC, peers_seq=2)


def test_the_guard_of_another_key_is_refused(path: Path) -> None:
    SignGuard.open(path, PUBLIC).close()
    with pytest.raises(GuardError, match="the sign guard of another key"):
        SignGuard.open(path, b"\x99" * 32)
    SignGuard.open(path, PUBLIC).close()


@pytest.mark.parametrize("entry", [b"short", bytes(84) + b"x", (7).to_bytes(8) + bytes(76) + b"x"])
def test_a_journal_that_is_no_guard_is_refused(path: Path, entry: bytes) -> None:
    SignGuard.open(path, PUBLIC).close()
    write(path, entry)
    with pytest.raises(GuardError, match="damaged, entry 1"):
        SignGuard.open(path, PUBLIC)


def test_a_journal_that_holds_one_slot_twice_is_refused(path: Path) -> None:
    SignGuard.open(path, PUBLIC).close()
    for seq in (1, 2):
        write(path, seq.to_bytes(8) + b"OBS1" + CONFIG + FEED + (9).to_bytes(8) + b"m%d" % seq)
    with pytest.raises(GuardError, match="entry 2 does not follow"):
        SignGuard.open(path, PUBLIC)


@pytest.mark.parametrize(
    ("kind", "config", "feed"),
    [
        (b"OBS", CONFIG, FEED),
        (b"OBSERVE", CONFIG, FEED),
        (b"OBS", CONFIG + b"1", FEED),
        (b"OBS1", CONFIG, FEED[1:]),
    ],
)
def test_a_slot_has_a_fixed_shape(path: Path, kind: bytes, config: bytes, feed: bytes) -> None:
    with closing(SignGuard.open(path, PUBLIC)) as guard, pytest.raises(GuardError, match="4-byte"):
        guard.record(kind, config, feed, 1, b"x")


def test_a_new_file_and_its_folder_are_on_disk_before_the_first_record(path: Path) -> None:
    synced: list[bool] = []

    def fsync(fd: int) -> None:
        synced.append(stat.S_ISDIR(os.fstat(fd).st_mode))
        os.fsync(fd)

    journal, _ = Journal.open(path, fsync)
    assert synced == [False, True]
    journal.append(b"one")
    assert synced == [False, True, False]
    journal.close()
    journal.close()
    with pytest.raises(GuardError, match="closed"):
        journal.append(b"two")


CHILD = """
import os, signal, sys
from pathlib import Path
import actors.journal
from actors.journal import SignGuard

path, crash_at, round_id = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])

def die():
    os.kill(os.getpid(), signal.SIGKILL)

real_write = os.write
def write(fd, data):
    if crash_at == "before write":
        die()
    if crash_at == "in write":
        real_write(fd, bytes(data)[: len(data) // 2])
        die()
    return real_write(fd, data)

def fsync(fd):
    if crash_at == "before fsync" and opened:
        die()
    os.fsync(fd)
    if crash_at == "after fsync" and opened:
        die()

opened = False
guard = SignGuard.open(path, b"\\x11" * 32, fsync=fsync)
opened = True
os.write = write
guard.record(b"OBS1", b"\\x22" * 32, b"\\x33" * 32, round_id, b"message of the child")
if crash_at == "before sign":
    die()
print("signed", flush=True)
die()
"""

CRASHES = {
    "before write": False,
    "in write": False,
    "before fsync": True,
    "after fsync": True,
    "before sign": True,
    "after sign": True,
}


@pytest.mark.parametrize("crash_at", CRASHES)
def test_killed_between_any_two_steps_nothing_is_signed_twice(path: Path, crash_at: str) -> None:
    """SIGKILL of a real process. Whatever it may have signed, its successor cannot contradict."""
    with closing(SignGuard.open(path, PUBLIC)) as guard:
        sign_off(guard, 4, b"earlier")
    child = subprocess.run(
        [sys.executable, "-c", CHILD, str(path), crash_at, "5"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
    )
    assert child.returncode == -9, child.stderr
    signed = child.stdout.strip() == "signed"
    assert signed == (crash_at == "after sign")
    with closing(SignGuard.open(path, PUBLIC)) as guard:
        recorded = guard.recall(b"OBS1", CONFIG, FEED) == b"message of the child"
        assert recorded == CRASHES[crash_at]
        assert recorded or not signed
        if recorded:
            with pytest.raises(GuardError, match="another OBS1"):
                sign_off(guard, 5, b"a contradiction")
            sign_off(guard, 5, b"message of the child")
        else:
            sign_off(guard, 5, b"the first message of round 5")
        assert guard.seq == 2


def fill(path: Path, rounds: int = 40) -> None:
    """Two lanes with many rounds and two expiries: six records count, the last of all included."""
    with closing(SignGuard.open(path, PUBLIC)) as guard:
        guard.record_once(b"EXP1", b"\x01" * 32, b"expiry one")
        for round_id in range(rounds):
            sign_off(guard, round_id, b"observation %d" % round_id)
            sign_off(guard, round_id, b"report %d" % round_id, kind=b"RPT1")
        guard.record_once(b"EXP1", b"\x02" * 32, b"expiry two")


def assert_remembers(path: Path, rounds: int = 40, **options: int) -> None:
    with closing(SignGuard.open(path, PUBLIC, peers_seq=2 * rounds + 2, **options)) as guard:
        assert guard.seq == 2 * rounds + 2
        assert guard.recall(b"OBS1", CONFIG, FEED) == b"observation %d" % (rounds - 1)
        assert guard.recall_once(b"EXP1", b"\x01" * 32) == b"expiry one"
        assert guard.recall_once(b"EXP1", b"\x02" * 32) == b"expiry two"
        with pytest.raises(GuardError, match="the first one stands"):
            guard.record_once(b"EXP1", b"\x01" * 32, b"another expiry one")
        with pytest.raises(GuardError, match=f"another RPT1|round {rounds - 1}"):
            sign_off(guard, rounds - 1, b"another report", kind=b"RPT1")
        with pytest.raises(GuardError, match="is over"):
            sign_off(guard, 3, b"observation 3")


def test_a_slot_without_order_is_filled_once_for_ever(path: Path) -> None:
    one, two = b"\x01" * 32, b"\x02" * 32
    with closing(SignGuard.open(path, PUBLIC)) as guard:
        guard.record_once(b"EXP1", two, b"late slot first")
        guard.record_once(b"EXP1", one, b"early slot second")
        guard.record_once(b"EXN1", one, b"another kind")
        size = path.stat().st_size
        guard.record_once(b"EXP1", two, b"late slot first")
        assert (guard.seq, path.stat().st_size) == (3, size)
    with closing(SignGuard.open(path, PUBLIC)) as guard:
        for slot, message in ((one, b"early slot second"), (two, b"late slot first")):
            assert guard.recall_once(b"EXP1", slot) == message
            with pytest.raises(GuardError, match="another EXP1 was recorded for slot"):
                guard.record_once(b"EXP1", slot, b"something else")
        assert guard.recall_once(b"EXP1", b"\x03" * 32) is None
        with pytest.raises(GuardError, match="4-byte"):
            guard.record_once(b"EXP1", one[1:], b"short")


@pytest.mark.parametrize(("first", "second"), [(b"RPT1", b"BAT1"), (b"BAT1", b"RPT1")])
def test_one_configuration_signs_prices_alone_or_in_batches(
    path: Path, first: bytes, second: bytes
) -> None:
    with closing(SignGuard.open(path, PUBLIC)) as guard:
        sign_off(guard, 1, b"a report", kind=first)
        sign_off(guard, 1, b"an observation")
        with pytest.raises(GuardError, match=f"signs no {second.decode()}: rotate"):
            guard.record(second, CONFIG, bytes(32), 2, b"the other mode")
        guard.record(second, b"\x55" * 32, FEED, 2, b"another epoch")
    with (
        closing(SignGuard.open(path, PUBLIC, compact_at=1)) as guard,
        pytest.raises(GuardError, match="rotate to a new epoch"),
    ):
        guard.record(second, CONFIG, FEED, 3, b"after a restart and a compaction")


def test_compaction_keeps_what_counts(path: Path) -> None:
    fill(path)
    before = path.stat().st_size
    assert_remembers(path, compact_at=before - 1)
    assert path.stat().st_size < before / 5
    assert path.stat().st_mode & 0o777 == 0o600
    assert_remembers(path)
    with closing(SignGuard.open(path, PUBLIC, compact_at=1)) as guard:
        sign_off(guard, 40, b"observation 40")
        assert guard.seq == 83
    with closing(SignGuard.open(path, PUBLIC)) as guard:
        assert (guard.seq, guard.recall(b"OBS1", CONFIG, FEED)) == (83, b"observation 40")


def test_a_guard_that_signs_for_years_stays_small(path: Path) -> None:
    with closing(SignGuard.open(path, PUBLIC, fsync=lambda _: None, compact_at=4096)) as guard:
        for round_id in range(2_000):
            sign_off(guard, round_id, b"observation" * 10)
            assert path.stat().st_size <= 4096
        assert guard.seq == 2_000


def test_a_guard_of_many_expiries_is_not_compacted_over_and_over(path: Path) -> None:
    """What is left may be larger than the limit: the next compaction waits until it has doubled."""
    synced = 0

    def fsync(_fd: int) -> None:
        nonlocal synced
        synced += 1

    with closing(SignGuard.open(path, PUBLIC, fsync=fsync, compact_at=4096)) as guard:
        for number in range(400):
            guard.record_once(b"EXP1", number.to_bytes(32), bytes(190))
        assert 400 <= synced < 400 + 3 * 8
    with closing(SignGuard.open(path, PUBLIC)) as guard:
        assert all(guard.recall_once(b"EXP1", n.to_bytes(32)) == bytes(190) for n in range(400))


@pytest.mark.parametrize("damage", ["count", "gap", "backwards", "twice", "empty"])
def test_a_damaged_compacted_part_is_found(path: Path, damage: str) -> None:
    def entry(seq: int, round_id: int, feed: bytes = FEED) -> bytes:
        return seq.to_bytes(8) + b"OBS1" + CONFIG + feed + round_id.to_bytes(8) + b"m"

    def marker(count: int) -> bytes:
        return b"compacted " + count.to_bytes(4)

    other = b"\x77" * 32
    SignGuard.open(path, PUBLIC).close()
    records = {
        "count": [marker(2), entry(5, 1)],
        "gap": [marker(1), entry(5, 1), entry(7, 2)],
        "backwards": [marker(2), entry(5, 1), entry(4, 1, other)],
        "twice": [marker(2), entry(4, 2), entry(5, 1)],
        "empty": [marker(0), entry(2, 1)],
    }[damage]
    write(path, *records)
    with pytest.raises(GuardError, match="damaged"):
        SignGuard.open(path, PUBLIC)


REWRITER = """
import os, signal, sys
from pathlib import Path
from actors.journal import SignGuard

path, crash_at = Path(sys.argv[1]), int(sys.argv[2])
steps = 0

def step():
    global steps
    steps += 1
    if steps == crash_at:
        os.kill(os.getpid(), signal.SIGKILL)

def crashing(name):
    call = getattr(os, name)
    def crash(*arguments, **options):
        step()
        if name == "write" and steps + 1 == crash_at:
            arguments = arguments[0], bytes(arguments[1])[: len(arguments[1]) // 2]
        done = call(*arguments, **options)
        step()
        return done
    setattr(os, name, crash)

for name in ("open", "write", "replace", "close", "unlink"):
    crashing(name)
fsync = os.fsync
def sync(fd):
    step()
    fsync(fd)
    step()
SignGuard.open(path, b"\\x11" * 32, fsync=sync, compact_at=1).close()
print(steps)
"""


def rewrite_in_child(path: Path, crash_at: int) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", REWRITER, str(path), str(crash_at)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
    )


def test_killed_at_any_step_of_a_compaction_nothing_is_forgotten(tmp_path: Path) -> None:
    """SIGKILL before and after every system call: the old file is found, or the new one."""
    model = tmp_path / "model"
    fill(model)
    old = model.read_bytes()
    whole = tmp_path / "whole"
    whole.write_bytes(old)
    run = rewrite_in_child(whole, 0)
    steps = int(run.stdout)
    new = whole.read_bytes()
    assert steps >= 14, "open, write, fsync, replace, close, fsync of the folder: each twice"
    found = []
    for crash_at in range(1, steps + 1):
        path = tmp_path / f"crash-{crash_at}"
        path.write_bytes(old)
        path.chmod(0o600)
        assert rewrite_in_child(path, crash_at).returncode == -9
        found.append(path.read_bytes())
        assert found[-1] in (old, new), f"step {crash_at}"
        assert_remembers(path)
        assert_remembers(path, compact_at=1)
        assert path.read_bytes() == new
    assert old in found
    assert new in found


@pytest.mark.parametrize("failing", range(1, 5))
def test_a_disk_that_fails_during_a_compaction_stops_the_guard(path: Path, failing: int) -> None:
    """Opening syncs file and folder, compacting the new file and the folder: each may fail."""
    fill(path)
    calls = 0

    def fsync(fd: int) -> None:
        nonlocal calls
        calls += 1
        if calls == failing:
            raise OSError(errno.EIO, "Input/output error")
        os.fsync(fd)

    with pytest.raises(GuardError, match="Input/output error"):
        SignGuard.open(path, PUBLIC, fsync=fsync, compact_at=1)
    assert calls == failing
    assert_remembers(path)


def test_a_full_disk_stops_a_compaction_and_every_signature(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(path)
    guard = SignGuard.open(path, PUBLIC, compact_at=path.stat().st_size)

    def no_room(_fd: int, data: bytes) -> int:
        if len(data) > 300:  # the records fit, the new file does not
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(_fd, data)

    real = os.write
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", no_room)
        with pytest.raises(GuardError, match="No space left on device; nothing more is recorded"):
            sign_off(guard, 40, b"observation 40")
        with pytest.raises(GuardError, match="open it again"):
            sign_off(guard, 41, b"observation 41")
    guard.close()
    with closing(SignGuard.open(path, PUBLIC, compact_at=1)) as guard:
        assert guard.recall(b"OBS1", CONFIG, FEED) == b"observation 40"
        sign_off(guard, 41, b"observation 41")


def test_nobody_slips_in_while_the_file_is_replaced(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before, between and after the steps a second opener finds the file locked; one that opened
    the old file in time gets its lock too late."""
    fill(path)
    refusals, early = [], []
    replace = Path.replace

    def watched(draft: Path, target: Path) -> Path:
        for moment in ("before", "after"):
            with pytest.raises(GuardError, match="in use"):
                SignGuard.open(path, PUBLIC)
            refusals.append(moment)
            if moment == "before":
                early.append(os.open(path, os.O_RDWR))
                replace(draft, target)
        return target

    monkeypatch.setattr(Path, "replace", watched)
    guard = SignGuard.open(path, PUBLIC, compact_at=1)
    assert refusals == ["before", "after"]
    with pytest.raises(GuardError, match="in use"):
        SignGuard.open(path, PUBLIC)
    stale = early[0]
    monkeypatch.setattr(os, "open", lambda *_: stale)
    with pytest.raises(GuardError, match="in use"):
        open_locked(path)
    monkeypatch.undo()
    guard.close()
    assert_remembers(path)


def test_a_copy_that_runs_elsewhere_is_refused_by_what_peers_saw(path: Path) -> None:
    """The copy has its own lock. Whichever of the two signs first, the other one is behind."""
    fill(path)
    copy = path.with_name("copy")
    copy.write_bytes(path.read_bytes())
    original, second = SignGuard.open(path, PUBLIC), SignGuard.open(copy, PUBLIC)
    sign_off(original, 40, b"observation 40")
    with pytest.raises(GuardError, match="an old copy"):
        second.require_seq(original.seq)
    with pytest.raises(GuardError, match="open it again"):
        sign_off(second, 40, b"a contradiction")
    original.close()
    second.close()
    with pytest.raises(GuardError, match="an old copy"):
        SignGuard.open(copy, PUBLIC, peers_seq=83)


@pytest.mark.parametrize("size", [0, 1, 100, 2_000])
def test_a_truncated_guard_is_refused_by_what_peers_saw(path: Path, size: int) -> None:
    fill(path)
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(GuardError, match="peers have seen 82: an old copy"):
        SignGuard.open(path, PUBLIC, peers_seq=82)


def test_the_lock_dies_with_its_process(path: Path) -> None:
    code = (
        "import sys, os, signal; from pathlib import Path; from actors.journal import SignGuard;"
        "g = SignGuard.open(Path(sys.argv[1]), b'\\x11' * 32); print('open', flush=True);"
        "sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "open\n"
        with pytest.raises(GuardError, match="in use"):
            SignGuard.open(path, PUBLIC)
        child.kill()
    SignGuard.open(path, PUBLIC).close()


def test_an_oracle_node_restarted_on_its_guard_repeats_itself(path: Path) -> None:
    """After a crash the same round gives the same observation, whatever the venues show now."""

    def node(guard: SignGuard) -> OracleNode:
        return OracleNode(ORACLES, FEED_ID, 0, lambda m: KEYS[0].sign(m, bytes(32)), guard)

    with closing(SignGuard.open(path, KEYS[0].public)) as guard:
        first = node(guard).observe(ROUND, price_of(PRICE), bytes(32), T0 + 10)
        assert first.observation.seq == guard.seq == 1
    with closing(SignGuard.open(path, KEYS[0].public)) as guard:
        restarted = node(guard)
        assert restarted.observe(ROUND, price_of(PRICE + 5), bytes(32), T0 + 20) == first
        later = restarted.observe(ROUND + 1, price_of(PRICE + 5), bytes(32), T0 + 1_000)
        assert (later.observation.price_e8, later.observation.seq) == (PRICE + 5, 2)
