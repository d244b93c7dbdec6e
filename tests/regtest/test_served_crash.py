"""SIGKILL of the process that serves a chain, between calls and at them."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from protocol.bitcoin.tx import txid, txout
from protocol.crypto.keys import SecretKey
from regtest.conformance.backends import BACKENDS, KERNEL, Backend
from regtest.remote import LostAnswerError, RemoteChain
from regtest.wallet import Wallet

AUX = bytes(32)
ALICE = SecretKey(b"\xa1" * 32)
CHILD = Path(__file__).with_name("serving_child.py")
ROOT = Path(__file__).parents[2]

by_backend = pytest.mark.parametrize("backend", BACKENDS, ids=lambda backend: backend.name)


@contextmanager
def serving(
    folder: Path, backend: Backend, *moment: str
) -> Iterator[tuple[subprocess.Popen[str], bool]]:
    """A process that serves, and whether it had to recover; killed at the end."""
    if reason := backend.missing():
        pytest.skip(f"{backend.name}: {reason}")
    child = subprocess.Popen(
        [sys.executable, str(CHILD), str(folder), backend.name, *moment],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    assert child.stdout is not None
    with child:
        ready = child.stdout.readline().split()
        assert ready[:1] == ["ready"]
        try:
            yield child, ready[1] == "1"
        finally:
            child.kill()


def stop_in_order(child: subprocess.Popen[str]) -> None:
    assert child.stdin is not None
    child.stdin.close()
    assert child.wait(60) == 0


@by_backend
def test_between_calls_nothing_is_lost(tmp_path: Path, backend: Backend) -> None:
    """One client lives through three lives of the node; every acknowledged block is there."""
    remote = RemoteChain(tmp_path / "chain.sock")
    acknowledged = []
    for life in range(3):
        with serving(tmp_path, backend) as (child, recovered):
            # A bitcoind outlives its owner and is stopped in order by the next.
            assert recovered == (life > 0 and backend.name == "kernel")
            for block in acknowledged:
                assert remote.header(block.height).ref == block
            acknowledged += remote.mine(5)
            child.kill()
            child.wait(30)
    with serving(tmp_path, backend) as (child, _):
        assert remote.tip == acknowledged[-1]
        stop_in_order(child)
    remote.close()


@by_backend
@pytest.mark.parametrize("moment", ["before", "after"])
def test_at_a_mine(tmp_path: Path, backend: Backend, moment: str) -> None:
    """It may have happened: it is reported, not repeated, and the tip says which it was."""
    with RemoteChain(tmp_path / "chain.sock") as remote:
        with serving(tmp_path, backend, moment, "mine"):
            assert remote.height == 0
            with pytest.raises(LostAnswerError, match="look at the tip"):
                remote.mine(7)
        with serving(tmp_path, backend) as (child, _):
            assert remote.height == (7 if moment == "after" else 0)
            stop_in_order(child)


@by_backend
@pytest.mark.parametrize("moment", ["before", "after"])
def test_at_a_broadcast(tmp_path: Path, backend: Backend, moment: str) -> None:
    """Sent again after it was reported, it ends in one block, once."""
    with RemoteChain(tmp_path / "chain.sock") as remote:
        wallet = Wallet(remote, ALICE)
        with serving(tmp_path, backend, moment, "broadcast"):
            remote.mine(1, to=wallet.script())
            remote.mine(100)
            payment = wallet.pay([txout(70_000, wallet.script(1))], AUX)
            with pytest.raises(LostAnswerError, match="broadcast was sent"):
                remote.broadcast(payment)
        with serving(tmp_path, backend) as (child, _):
            assert remote.height == 101
            remote.broadcast(payment)
            remote.broadcast(payment)
            remote.mine()
            found = remote.tx(txid(payment))
            assert found is not None and found.block == remote.tip
            stop_in_order(child)


def test_a_wait_goes_on_behind_a_restart(tmp_path: Path) -> None:
    """Whoever waits for a block while the node dies gets it from the next life."""
    path = tmp_path / "chain.sock"
    asked = threading.Event()

    def ready() -> bool:
        asked.set()
        return remote.height == 5

    with RemoteChain(path) as remote, RemoteChain(path) as other:
        waiting = threading.Thread(target=remote.wait, args=(ready, 30))
        with serving(tmp_path, KERNEL) as (child, _):
            other.mine(3)
            waiting.start()
            assert asked.wait(20)
            child.kill()
            child.wait(30)
        with serving(tmp_path, KERNEL) as (child, recovered):
            assert recovered
            other.mine(2)
            waiting.join(30)
            assert not waiting.is_alive() and remote.height == 5
            stop_in_order(child)
