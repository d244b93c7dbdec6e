"""A party's folder: one process at a time, and no start without all that it must remember."""

from contextlib import closing
from pathlib import Path

import pytest

from actors.keyfile import create_key
from actors.party_folder import GUARD, JOURNAL, SEED, PartyFolder
from protocol.crypto.winternitz import Label
from protocol.errors import ConfigError, GuardError

ROOT = Label(b"\x01" * 32, "holder", "holder", 0, "root", 2)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A folder in which something was kept and revealed."""
    with closing(PartyFolder.open(tmp_path / "party")) as folder:
        folder.journal.append(b"terms")
        folder.guard.setdefault(ROOT, (1, 2))
    return tmp_path / "party"


def test_it_comes_back_as_it_was(path: Path) -> None:
    with closing(PartyFolder.open(path)) as first:
        assert first.records == (b"terms",)
        assert first.guard.setdefault(ROOT, (3, 4)) == (1, 2)
        public = first.keys.key.public
    with closing(PartyFolder.open(path)) as second:
        assert second.keys.key.public == public
    for name in (JOURNAL, GUARD, SEED):
        assert (path / name).stat().st_mode & 0o777 == 0o600


def test_a_crash_before_the_first_record_is_no_harm(tmp_path: Path) -> None:
    PartyFolder.open(tmp_path / "party").close()
    seed = (tmp_path / "party" / SEED).read_bytes()
    PartyFolder.open(tmp_path / "party").close()
    assert (tmp_path / "party" / SEED).read_bytes() == seed


def test_it_has_one_process_at_a_time(path: Path) -> None:
    with closing(PartyFolder.open(path)), pytest.raises(GuardError, match="in use"):
        PartyFolder.open(path)


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        (JOURNAL, GuardError, "lost, but .* has entries"),
        (GUARD, GuardError, "nobody knows what this seed has signed"),
        (SEED, ConfigError, "no readable key file"),
    ],
)
def test_it_does_not_start_without_a_part(path: Path, name: str, error: type, message: str) -> None:
    (path / name).unlink()
    for _ in range(2):
        with pytest.raises(error, match=message):
            PartyFolder.open(path)


def test_another_seed_or_an_open_one_is_refused(path: Path) -> None:
    (path / SEED).chmod(0o640)
    with pytest.raises(ConfigError, match="others can read the key"):
        PartyFolder.open(path)
    (path / SEED).unlink()
    create_key(path / SEED)
    with pytest.raises(GuardError, match="another seed"):
        PartyFolder.open(path)
