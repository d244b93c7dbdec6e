"""A sign guard from a backup: what it may have signed it does not sign again."""

from dataclasses import replace

import pytest

from actors.journal import SignGuard, mark_restored, read_guard
from protocol.errors import GuardError
from protocol.oracle import exercise, expiry, rotation
from protocol.oracle.expiry import Expiry, ExpirySlot
from tests.builders.oracles import CONFIG as ORACLES
from tests.builders.oracles import FEED_ID, PRICE

PUBLIC, CONFIG, FEED, SLOT = (bytes([n]) * 32 for n in (0x11, 0x22, 0x33, 0x44))
FLOOR = 1_000


@pytest.fixture
def path(tmp_path):
    """A guard's file that was restored after 40 records, the last of round 40."""
    path = tmp_path / "guard.journal"
    with_guard(path, lambda guard: [sign(guard, n) for n in range(1, 41)])
    mark_restored(path)
    return path


def with_guard(path, use, **options):
    guard = SignGuard.open(path, PUBLIC, **options)
    try:
        return use(guard)
    finally:
        guard.close()


def sign(guard, round_id, kind=b"OBS1"):
    guard.record(kind, CONFIG, FEED, round_id, b"message %d" % round_id)


def resume(guard):
    guard.resume(200, FLOOR)


def expiry_of(target):
    """The slot and the bytes of an expiry."""
    slot = ExpirySlot(
        config_digest=ORACLES.digest,
        feed_id=FEED_ID,
        start_round=1,
        target_round=target,
        subject=bytes(32),
    )
    made = Expiry(
        slot=slot,
        end_round=target,
        price_e8=PRICE,
        high_e8=PRICE,
        low_e8=PRICE,
        rounds=1,
        report_hash=b"\x55" * 32,
    )
    return slot.slot_id, made.encode()


def refuses(guard):
    assert guard.is_restored
    for record in (
        lambda: sign(guard, 41),
        lambda: sign(guard, 10**9, b"RPT1"),
        lambda: guard.record_once(expiry.MAGIC, *expiry_of(10**9)),
    ):
        with pytest.raises(GuardError, match="restored from a backup; it signs nothing until"):
            record()
    sign(guard, 40)  # the same message again is no news
    guard.require_seq(199, 500)  # what peers have seen is no fault of a restored one


def test_it_records_nothing_until_peers_have_been_asked(path):
    for _ in range(2):  # a restart changes nothing
        with_guard(path, refuses)
    assert read_guard(path).seq == 40


@pytest.mark.parametrize("compact_at", [1 << 24, 1])
def test_it_goes_on_behind_numbers_and_rounds_that_may_be_taken(path, compact_at):
    with_guard(path, resume, compact_at=compact_at)
    guard = SignGuard.open(path, PUBLIC, compact_at=compact_at)
    assert (guard.is_restored, guard.seq, guard.floor) == (False, 200, FLOOR)
    for kind in (b"OBS1", b"RPT1"):
        with pytest.raises(GuardError, match=f"OBS1|RPT1 of round {FLOOR}: may have been signed"):
            sign(guard, FLOOR, kind)
    assert guard.next_seq() == 201
    sign(guard, FLOOR + 1)
    assert guard.seq == 201
    guard.close()
    found = read_guard(path)
    assert (found.seq, found.floor, found.is_restored) == (201, FLOOR, False)


def test_expiries_go_on_behind_the_floor_and_what_has_no_round_does_not(path):
    guard = SignGuard.open(path, PUBLIC)
    resume(guard)
    with pytest.raises(GuardError, match=f"EXP1 of round {FLOOR}: may have been signed"):
        guard.record_once(expiry.MAGIC, *expiry_of(FLOOR))
    guard.record_once(expiry.MAGIC, *expiry_of(FLOOR + 1))
    for kind in (exercise.MAGIC, rotation.MAGIC):
        with pytest.raises(GuardError, match=f"{kind.decode()}: may have been signed"):
            guard.record_once(kind, SLOT, b"message")
    guard.close()


def test_what_was_recorded_before_the_backup_stands(tmp_path):
    path, settled = tmp_path / "guard.journal", (5).to_bytes(8)
    slot, message = expiry_of(7)

    def before(guard):
        guard.record_once(exercise.MAGIC, SLOT, settled)
        guard.record_once(expiry.MAGIC, slot, message)

    with_guard(path, before)
    mark_restored(path)
    guard = SignGuard.open(path, PUBLIC)
    resume(guard)
    assert guard.recall_once(exercise.MAGIC, SLOT) == settled
    guard.record_once(expiry.MAGIC, slot, message)
    other = replace(Expiry.decode(message), report_hash=b"\x66" * 32).encode()
    with pytest.raises(GuardError, match="the first one stands"):
        guard.record_once(expiry.MAGIC, slot, other)
    guard.close()


def test_a_late_answer_raises_the_number_and_a_later_round_is_another_process(path):
    guard = SignGuard.open(path, PUBLIC)
    resume(guard)
    guard.require_seq(300, FLOOR)
    assert guard.next_seq() == 301
    with pytest.raises(GuardError, match="an old copy"):
        guard.require_seq(302, FLOOR + 1)
    with pytest.raises(GuardError, match="closed"):
        sign(guard, FLOOR + 2)
    with_guard(path, lambda again: sign(again, FLOOR + 2))
    assert read_guard(path).seq == 301


def test_a_guard_can_be_restored_again(path):
    with_guard(path, resume)
    mark_restored(path)
    guard = SignGuard.open(path, PUBLIC)
    assert (guard.is_restored, guard.floor) == (True, FLOOR)
    guard.resume(5, FLOOR - 100)
    assert (guard.seq, guard.floor) == (200, FLOOR)
    guard.close()


def test_a_file_in_use_cannot_be_marked(path):
    guard = SignGuard.open(path, PUBLIC)
    with pytest.raises(GuardError, match="in use by another process"):
        mark_restored(path)
    guard.close()


def test_a_guard_is_read_while_it_is_written(path):
    """Of a frame that is being written nothing counts."""
    whole = read_guard(path)
    for cut in (1, len("restored"), len("restored") + 11):
        path.write_bytes(whole.data[:-cut])
        seen = read_guard(path)
        assert (seen.seq, seen.is_restored) == (40, False)
        assert whole.data.startswith(seen.data)
    path.write_bytes(whole.data[:100] + b"x" + whole.data[101:])
    with pytest.raises(GuardError, match="damaged"):
        read_guard(path)
