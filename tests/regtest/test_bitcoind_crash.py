"""SIGKILL of a node, of its owner, of both: what was acknowledged is there on the same disk."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from protocol.bitcoin.tx import hash_hex, txid, txout
from protocol.crypto.keys import SecretKey
from protocol.errors import ChainError
from regtest.bitcoind import BitcoindChain
from regtest.conformance.backends import BITCOIND
from regtest.process import options_of
from regtest.wallet import Wallet

if missing := BITCOIND.missing():
    pytest.skip(missing, allow_module_level=True)

AUX = bytes(32)
ALICE = SecretKey(b"\xa1" * 32)
ROOT = Path(__file__).parents[2]
MINING = Path(__file__).with_name("mining_child.py")


def kill(chain: BitcoindChain) -> None:
    pid = chain.pid
    os.kill(pid, signal.SIGKILL)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)  # ended, and still there to be asked about


def test_a_node_that_was_killed_comes_back(tmp_path: Path) -> None:
    chain = BitcoindChain(tmp_path)
    wallet = Wallet(chain, ALICE)
    chain.mine(2, to=wallet.script())
    chain.mine(100)
    chain.mine(txs=[wallet.pay([txout(5_000, wallet.script(1))], AUX)])
    chain.reorg(2)
    chain.mine()
    tip, unspent = chain.tip, chain.unspent(wallet.script())
    kill(chain)
    for question in (lambda: chain.tip, chain.mine, chain.mempool, chain.checkpoint):
        with pytest.raises(ChainError, match=r"has ended by SIGKILL: open it again"):
            question()
    chain.close()
    with BitcoindChain(tmp_path) as chain:
        assert chain.recovered
        assert chain.tip == tip
        assert chain.unspent(wallet.script()) == unspent
        assert chain.mine()[0].height == tip.height + 1
    with BitcoindChain(tmp_path) as chain:
        assert not chain.recovered
        assert chain.height == tip.height + 1


@pytest.mark.parametrize("flushed", [True, False])
def test_why_the_marker_and_what_a_checkpoint_does(tmp_path: Path, flushed: bool) -> None:
    """Without the marker nothing is rebuilt: a checkpoint decides what is left."""
    chain = BitcoindChain(tmp_path)
    wallet = Wallet(chain, ALICE)
    chain.mine(2, to=wallet.script())
    chain.mine(100)
    payment = wallet.pay([txout(5_000, wallet.script(1))], AUX)
    chain.broadcast(payment)
    if flushed:
        chain.checkpoint()
    kill(chain)
    chain.close()
    (tmp_path / "dirty").unlink()
    with BitcoindChain(tmp_path) as chain:
        assert not chain.recovered
        assert chain.height == (102 if flushed else 0)
        if flushed:
            chain.wait(lambda: chain.mempool() == (payment,), timeout_s=20)


def test_a_checkpoint_keeps_the_mempool_through_a_reindex(tmp_path: Path) -> None:
    chain = BitcoindChain(tmp_path)
    wallet = Wallet(chain, ALICE)
    chain.mine(2, to=wallet.script())
    chain.mine(100)
    payment = wallet.pay([txout(5_000, wallet.script(1))], AUX)
    chain.broadcast(payment)
    chain.checkpoint()
    chain.mine(txs=[])
    kill(chain)
    chain.close()
    with BitcoindChain(tmp_path) as chain:
        assert chain.recovered
        assert chain.height == 103
        chain.wait(lambda: chain.tx(txid(payment)) is not None, timeout_s=20)


def test_killed_before_anything(tmp_path: Path) -> None:
    """A marker without databases, and one beside databases that were cut off."""
    (tmp_path / "dirty").write_text("1\n")
    with BitcoindChain(tmp_path) as chain:
        assert chain.recovered
        chain.mine(20)
        tip = chain.tip
    (tmp_path / "dirty").write_text("1\n")
    for file in (tmp_path / "regtest" / "chainstate").iterdir():
        if file.name.startswith("MANIFEST"):
            file.write_bytes(file.read_bytes()[:10])
    with BitcoindChain(tmp_path) as chain:
        assert chain.recovered
        assert chain.tip == tip


def test_damage_without_a_marker_says_what_to_do(tmp_path: Path) -> None:
    with BitcoindChain(tmp_path) as chain:
        chain.mine(20)
        tip = chain.tip
    for file in (tmp_path / "regtest" / "chainstate").iterdir():
        if file.name.startswith("MANIFEST"):
            file.write_bytes(file.read_bytes()[:10])
    with pytest.raises(ChainError, match=r"has ended with code 1: .*reindex=True.*it said: .*rror"):
        BitcoindChain(tmp_path)
    with BitcoindChain(tmp_path, reindex=True) as chain:
        assert chain.tip == tip


# The owner dies, the node lives on


def test_a_node_that_outlived_its_owner_is_taken_over(tmp_path: Path) -> None:
    """It is stopped in order, so nothing is rebuilt and nothing is lost."""
    child = subprocess.Popen(
        [sys.executable, str(MINING), str(tmp_path), "30", "bitcoind"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    with child:
        lines = [line.split() for line in iter(child.stdout.readline, "waiting\n")]
        child.kill()
        assert child.wait(30) == -signal.SIGKILL
    orphan = int((tmp_path / "regtest" / "bitcoind.pid").read_text())
    os.kill(orphan, 0)
    with BitcoindChain(tmp_path) as chain:
        assert chain.pid != orphan
        assert not chain.recovered
        assert chain.height == 30
        for _, height, block_hash in lines[1:]:
            assert hash_hex(chain.header(int(height)).ref.hash) == block_hash


def test_both_die(tmp_path: Path) -> None:
    child = subprocess.Popen(
        [sys.executable, str(MINING), str(tmp_path), "30", "bitcoind"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    with child:
        for _ in range(20):
            height = int(child.stdout.readline().split()[1])
        child.kill()
        os.kill(int((tmp_path / "regtest" / "bitcoind.pid").read_text()), signal.SIGKILL)
        assert child.wait(30) == -signal.SIGKILL
    with BitcoindChain(tmp_path) as chain:
        assert chain.recovered
        assert chain.height >= height == 19


def test_a_node_that_is_not_ours_is_left_alone(tmp_path: Path) -> None:
    """Somebody opened the folder by hand: the message says so, and the node goes on."""
    with BitcoindChain(tmp_path) as chain:
        chain.mine(3)
        binary = chain._binary
    command = [binary, f"-datadir={tmp_path}", "-rpcport=1", *options_of(binary), "-server=0"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as other:
        try:
            while not (tmp_path / "regtest" / "bitcoind.pid").exists():
                assert other.poll() is None
            with pytest.raises(ChainError, match="started elsewhere: stop it there"):
                BitcoindChain(tmp_path)
            assert other.poll() is None
        finally:
            other.terminate()
    with BitcoindChain(tmp_path) as chain:
        assert chain.height == 3
