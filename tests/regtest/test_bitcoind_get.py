"""get_bitcoind.sh: what it finds, what it says where it cannot; with a FAKE apt, no network."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

import regtest

SCRIPT = Path(regtest.__file__).with_name("get_bitcoind.sh")
TOOLS = ("bash", "sh", "realpath", "grep", "head", "mkdir", "rm", "cat", "id", "find", "chmod",
         "dirname", "readlink", "sha256sum", "env")  # fmt: skip


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """A PATH with the usual tools and no apt."""
    folder = tmp_path / "tools"
    folder.mkdir()
    for name in TOOLS:
        found = shutil.which(name)
        if found is None:
            pytest.skip(f"this machine has no {name}")
        (folder / name).symlink_to(found)
    return folder


def script(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def run(tools: Path, prefix: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [SCRIPT, prefix],
        env={"PATH": str(tools), **variables},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_it_can_be_run() -> None:
    assert os.access(SCRIPT, os.X_OK)
    assert subprocess.run(["bash", "-n", SCRIPT]).returncode == 0


def test_what_is_there_is_kept(tools: Path, tmp_path: Path) -> None:
    prefix = tmp_path / "prefix"
    (prefix / "bin").mkdir(parents=True)
    script(prefix / "bin" / "bitcoind", "exit 0")
    done = run(tools, prefix)
    assert (done.returncode, done.stdout) == (0, f"{prefix}/bin/bitcoind\n")


def test_where_there_is_no_apt(tools: Path, tmp_path: Path) -> None:
    done = run(tools, tmp_path / "prefix")
    assert done.returncode == 1
    assert "needs apt-get" in done.stderr and "set BITCOIND=/path/to/bitcoind" in done.stderr
    assert not (tmp_path / "prefix").exists()


def fake_apt(tools: Path, acts: str) -> None:
    script(tools / "apt-get", acts)
    script(tools / "dpkg-deb", "exit 1")


KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
debian = pytest.mark.skipif(not KEYRING.exists(), reason="no keyring of Debian on this machine")


@debian
def test_where_there_is_no_debian_mirror(tools: Path, tmp_path: Path) -> None:
    fake_apt(tools, 'echo "http://archive.ubuntu.com/ubuntu/"')
    done = run(tools, tmp_path / "prefix")
    assert done.returncode == 1
    assert "no Debian mirror among this machine's apt sources" in done.stderr


@debian
def test_where_the_mirror_has_none(tools: Path, tmp_path: Path) -> None:
    """Each suite is tried; the configuration keeps apt inside the folder."""
    fake_apt(
        tools,
        f'case "$*" in indextargets*) echo "http://mirror/debian/";; *)\n'
        f'cat "$APT_CONFIG" >> {tmp_path}/config; echo "E: none" >&2; exit 100;; esac',
    )
    done = run(tools, tmp_path / "prefix", DEBIAN_SUITES="sid forky")
    assert done.returncode == 1
    assert "gave no bitcoin-knots from: sid forky" in done.stderr
    assert "E: none" in done.stderr
    paths = [line.split('"')[1] for line in (tmp_path / "config").read_text().splitlines()
             if line.startswith("Dir::")]  # fmt: skip
    assert paths and all(path.startswith(str(tmp_path / "prefix")) for path in paths)
    assert not (tmp_path / "prefix" / ".apt").exists()
    assert not (tmp_path / "prefix" / "bin" / "bitcoind").exists()
