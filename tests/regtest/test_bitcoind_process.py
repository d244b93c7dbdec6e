"""Finding, starting and stopping a program: with FAKE ones, shell scripts that act as a node."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from protocol.errors import ChainError
from regtest import process
from regtest.bitcoind import BitcoindChain
from regtest.opened import OpenNode
from regtest.process import NodeProcess, find_bitcoind, options_of, stop_orphan

HELP = 'case "$1" in -help) echo "  -par=<n>"; echo "  -corepolicy"; exit;; esac\n'


def program(folder: Path, acts: str) -> Path:
    """An executable ``bitcoind`` in ``folder`` that has a help page and then ``acts``."""
    folder.mkdir(exist_ok=True)
    path = folder / "bitcoind"
    path.write_text(f"#!/bin/sh\n{HELP}{acts}\n")
    path.chmod(0o755)
    return path


def test_which_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    on_path, named = program(tmp_path / "a", ""), program(tmp_path / "b", "")
    monkeypatch.setenv("PATH", str(tmp_path / "a"))
    monkeypatch.delenv("BITCOIND", raising=False)
    assert find_bitcoind() == on_path
    monkeypatch.setenv("BITCOIND", str(named))
    assert find_bitcoind() == named
    monkeypatch.setenv("BITCOIND", str(tmp_path / "c"))
    with pytest.raises(ChainError, match="is no program that can be run"):
        find_bitcoind()
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("BITCOIND", "")
    with pytest.raises(ChainError, match="make test-bitcoind"):
        find_bitcoind()


def test_only_options_that_it_knows(tmp_path: Path) -> None:
    options = options_of(program(tmp_path, ""))
    assert {"-regtest", "-listen=0", "-rpcbind=127.0.0.1", "-par=1", "-corepolicy=1"} <= {*options}
    assert not any(option.startswith("-checkblockindex") for option in options)


def test_what_is_no_node(tmp_path: Path) -> None:
    (tmp_path / "bitcoind").write_text("#!/bin/sh\nexit 3\n")
    (tmp_path / "bitcoind").chmod(0o755)
    with pytest.raises(ChainError, match=r"bitcoind does not run: .*exit status 3"):
        options_of(tmp_path / "bitcoind")
    with pytest.raises(ChainError, match="does not run"):
        BitcoindChain(tmp_path / "node", binary=tmp_path / "nothing")


def test_its_own_words_when_it_does_not_start(tmp_path: Path) -> None:
    binary = program(tmp_path, 'echo "Error: Disk space is too low!" >&2; exit 1')
    with pytest.raises(ChainError, match=r"ended with code 1.*it said: Error: Disk space is too l"):
        NodeProcess(binary, tmp_path / "node")
    with pytest.raises(ChainError, match="ended with code 1"):
        OpenNode(tmp_path / "node", binary, reindex=False)
    assert (tmp_path / "node" / "dirty").exists()
    with pytest.raises(ChainError, match="ended with code 1"):  # and the folder was let go
        OpenNode(tmp_path / "node", binary, reindex=False)


def test_a_port_that_is_taken_is_not_the_end(tmp_path: Path) -> None:
    """Between asking for a free port and the node's start somebody else may take it."""
    binary = program(
        tmp_path, f'echo x >> {tmp_path}/tries; echo "Unable to bind any endpoint" >&2; exit 1'
    )
    with pytest.raises(ChainError, match="Unable to bind"):
        NodeProcess(binary, tmp_path / "node")
    assert (tmp_path / "tries").read_text().count("x") == 3


def test_a_node_that_never_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "START_S", 0.3)
    binary = program(tmp_path, f"echo $$ > {tmp_path}/pid; exec sleep 60")
    with pytest.raises(ChainError, match=r"not ready in 0.3 s; .*no cookie at"):
        NodeProcess(binary, tmp_path / "node")
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_no_orphan_no_work(tmp_path: Path) -> None:
    assert not stop_orphan(tmp_path, ours=True)
    (tmp_path / "regtest").mkdir()
    (tmp_path / "regtest" / ".lock").touch()
    assert not stop_orphan(tmp_path, ours=False)


LOCKING = """
import fcntl, os, sys, time
lock = os.open(sys.argv[1] + "/regtest/.lock", os.O_RDWR | os.O_CREAT)
fcntl.lockf(lock, fcntl.LOCK_EX)
open(sys.argv[1] + "/regtest/bitcoind.pid", "w").write(str(os.getpid()))
time.sleep(60)
"""


def test_an_orphan_that_does_not_listen_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It holds the lock of the folder and answers nothing: only SIGKILL is left."""
    monkeypatch.setattr(process, "CALL_S", 0.2)
    (tmp_path / "regtest").mkdir()
    (tmp_path / "rpc.port").write_text("1\n")
    with subprocess.Popen([sys.executable, "-c", LOCKING, str(tmp_path)]) as orphan:
        while not process._held(tmp_path) or not (tmp_path / "regtest/bitcoind.pid").exists():
            assert orphan.poll() is None
        with pytest.raises(ChainError, match="started elsewhere"):
            stop_orphan(tmp_path, ours=False)
        assert not stop_orphan(tmp_path, ours=True)
        assert orphan.wait(30) == -9
