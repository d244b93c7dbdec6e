"""Key files against wrong permissions, owners, links and contents; no secret in any message."""

import errno
import os
import stat
from pathlib import Path

import pytest

from actors.keyfile import create_key, load_key, load_keys
from protocol.crypto.keys import CURVE_ORDER
from protocol.errors import ConfigError

SECRET = "ab" * 32


def write(path: Path, text: str = SECRET, mode: int = 0o600) -> Path:
    path.write_text(text)
    path.chmod(mode)
    return path


def refused(path: Path) -> str:
    with pytest.raises(ConfigError) as error:
        load_key(path)
    message = str(error.value)
    assert str(path) in message
    assert SECRET[:16] not in message
    assert error.value.__cause__ is None
    assert error.value.__suppress_context__ or error.value.__context__ is None
    return message


def test_a_new_key_is_private_and_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "oracle.key"
    key = create_key(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert load_key(path).public == key.public
    before = path.read_bytes()
    with pytest.raises(ConfigError, match="never overwritten"):
        create_key(path)
    assert path.read_bytes() == before


def test_a_key_that_does_not_reach_the_disk_is_not_left_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_fd: int, _data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(ConfigError, match=r"no key written \(No space left on device\)"):
            create_key(tmp_path / "oracle.key")
    assert list(tmp_path.iterdir()) == []
    write(tmp_path / "file")
    with pytest.raises(ConfigError, match="no key written"):
        create_key(tmp_path / "file" / "oracle.key")


@pytest.mark.parametrize("mode", [0o604, 0o640, 0o660, 0o644, 0o601, 0o777])
def test_a_key_that_others_can_reach_is_refused(tmp_path: Path, mode: int) -> None:
    assert "chmod 600" in refused(write(tmp_path / "k", mode=mode))


def test_the_key_of_another_user_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "k")
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    assert "run as its owner" in refused(path)


@pytest.mark.parametrize(
    "text",
    [
        "",
        SECRET[:-1],
        SECRET + "a",
        SECRET[:-1] + "g",
        SECRET[:-2] + " a",
        "0x" + SECRET[:-2],
        SECRET + "\n\n",
        f"{SECRET}\n{SECRET}\n",
        " " + SECRET,
        "é" * 32,
        SECRET[:-1] + "１",
    ],
)
def test_only_64_hex_digits_are_a_key(tmp_path: Path, text: str) -> None:
    assert "64 hex digits" in refused(write(tmp_path / "k", text))


@pytest.mark.parametrize("secret", [0, CURVE_ORDER, 2**256 - 1])
def test_a_number_outside_the_curve_is_no_key(tmp_path: Path, secret: int) -> None:
    assert "create a new one" in refused(write(tmp_path / "k", f"{secret:064x}\n"))


def test_links_folders_and_pipes_are_no_key_files(tmp_path: Path) -> None:
    write(tmp_path / "real")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    os.mkfifo(tmp_path / "pipe", 0o600)
    (tmp_path / "folder").mkdir(mode=0o700)
    assert "no readable key file" in refused(tmp_path / "link")
    assert "64 hex digits" in refused(tmp_path / "pipe")
    assert "64 hex digits" in refused(tmp_path / "folder")
    assert "no readable key file" in refused(tmp_path / "nothing")


def test_keys_are_loaded_by_purpose_and_must_be_those_of_the_roster(tmp_path: Path) -> None:
    paths = {purpose: tmp_path / purpose for purpose in ("identity", "oracle", "dlc")}
    made = {purpose: create_key(path) for purpose, path in paths.items()}
    publics = {"identity": made["identity"].public, "oracle": made["oracle"].public}
    loaded = load_keys(paths, publics)
    assert {p: key.public for p, key in loaded.items()} == {p: k.public for p, k in made.items()}
    with pytest.raises(ConfigError, match=r"\[keys\] oracle: .*the roster says"):
        load_keys(paths, publics | {"oracle": made["dlc"].public})
    with pytest.raises(ConfigError, match=r"\[keys\] identity: .*no readable key file"):
        load_keys(paths | {"identity": tmp_path / "none"}, publics)


def test_one_key_in_two_files_serves_one_purpose_only(tmp_path: Path) -> None:
    paths = {"identity": write(tmp_path / "a"), "dlc": write(tmp_path / "b")}
    with pytest.raises(ConfigError, match=r"\[keys\] dlc: the same key as identity") as error:
        load_keys(paths, {})
    assert SECRET[:16] not in str(error.value)
