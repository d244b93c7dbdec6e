"""The guard of one-time keys on disk: one message a label, whatever dies and whatever is lost."""

import errno
import multiprocessing
import os
import signal
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.journal import Journal
from actors.onetime import OneTimeJournal
from protocol.crypto.winternitz import Label, OneTimeKey
from protocol.errors import GuardError

SEED = b"\x07" * 32
ROOT = Label(b"\x01" * 32, "holder", "holder", 0, "root", 4)
PAYOUT = Label(b"\x01" * 32, "holder", "holder", 0, "payout", 4)
ONE, TWO = (1, 2, 3, 4), (1, 2, 3, 5)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "onetime.journal"


def signed(path: Path, *messages: tuple[Label, tuple[int, ...]]) -> None:
    with closing(OneTimeJournal.open(path, SEED, new=not path.exists())) as guard:
        for label, digits in messages:
            OneTimeKey(SEED, label).sign(digits, guard)


def test_the_first_message_of_a_label_stands_for_ever(path: Path) -> None:
    signed(path, (ROOT, ONE))
    with pytest.raises(GuardError, match="signed another message"):
        signed(path, (PAYOUT, TWO), (ROOT, TWO))
    signed(path, (ROOT, ONE), (PAYOUT, TWO))
    assert path.stat().st_mode & 0o777 == 0o600
    with closing(OneTimeJournal.open(path, SEED, new=False)) as guard:
        assert len(guard) == 2
        assert guard.setdefault(ROOT, TWO) == ONE


@given(st.lists(st.tuples(st.sampled_from(range(4)), st.integers(0, 15)), max_size=12))
@settings(max_examples=25, deadline=None)
def test_it_is_a_dictionary_that_survives_restarts(tmp_path_factory, calls) -> None:
    path = tmp_path_factory.mktemp("guard") / "onetime.journal"
    model: dict[int, tuple[int, ...]] = {}
    for number, digit in calls:
        label = Label(bytes([number]) * 32, "writer", "writer", 0, "root", 1)
        with closing(OneTimeJournal.open(path, SEED, new=not path.exists())) as guard:
            assert guard.setdefault(label, (digit,)) == model.setdefault(number, (digit,))


def test_a_missing_or_emptied_file_is_no_fresh_start(path: Path) -> None:
    with pytest.raises(GuardError, match="nobody knows what this seed has signed"):
        OneTimeJournal.open(path, SEED, new=False)
    assert not path.exists()
    signed(path, (ROOT, ONE))
    path.write_bytes(b"")
    with pytest.raises(GuardError, match="nobody knows"):
        OneTimeJournal.open(path, SEED, new=False)


def test_it_has_one_owner_and_one_seed(path: Path) -> None:
    signed(path, (ROOT, ONE))
    with pytest.raises(GuardError, match="another seed"):
        OneTimeJournal.open(path, b"\x08" * 32, new=False)
    with (
        closing(OneTimeJournal.open(path, SEED, new=False)),
        pytest.raises(GuardError, match="in use"),
    ):
        OneTimeJournal.open(path, SEED, new=False)
    assert SEED not in path.read_bytes()


@pytest.mark.parametrize("entry", [b"\0\4abc", b"\0\3abc", b"\0\3abc\x10", b"\0"])
def test_a_foreign_entry_is_refused(path: Path, entry: bytes) -> None:
    signed(path, (ROOT, ONE))
    with closing(Journal.open(path)[0]) as journal:
        journal.append(entry)
    with pytest.raises(GuardError, match="not what was written"):
        OneTimeJournal.open(path, SEED, new=False)


def test_a_label_that_stands_twice_is_refused(path: Path) -> None:
    signed(path, (ROOT, ONE))
    journal, records = Journal.open(path)
    with closing(journal):
        journal.append(records[-1][:-1] + b"\5")
    with pytest.raises(GuardError, match="not what was written"):
        OneTimeJournal.open(path, SEED, new=False)


def test_nothing_is_signed_that_is_not_on_disk(path: Path) -> None:
    full = False

    def fsync(fd: int) -> None:
        if full:
            raise OSError(errno.EIO, "broken")
        os.fsync(fd)

    with closing(OneTimeJournal.open(path, SEED, new=True, fsync=fsync)) as guard:
        full = True
        for _ in range(2):
            with pytest.raises(GuardError):
                OneTimeKey(SEED, ROOT).sign(ONE, guard)
        assert len(guard) == 0
        assert guard.failed


def test_what_was_returned_survives_sigkill(path: Path) -> None:
    """A child signs and says so; it is killed at once."""
    said, saying = multiprocessing.get_context("spawn").Pipe(duplex=False)
    child = multiprocessing.get_context("spawn").Process(target=_sign_and_say, args=(path, saying))
    child.start()
    saying.close()
    for digit in range(3):
        assert said.recv() == digit
    assert child.pid is not None
    os.kill(child.pid, signal.SIGKILL)
    child.join()
    with closing(OneTimeJournal.open(path, SEED, new=False)) as guard:
        for digit in range(3):
            assert guard.setdefault(_numbered(digit), (15,)) == (digit,)


def _numbered(number: int) -> Label:
    return Label(bytes([number]) * 32, "writer", "writer", 0, "root", 1)


def _sign_and_say(path: Path, saying) -> None:
    guard = OneTimeJournal.open(path, SEED, new=True)
    for digit in range(3):
        guard.setdefault(_numbered(digit), (digit,))
        saying.send(digit)
    signal.pause()
