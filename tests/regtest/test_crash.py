"""SIGKILL of a process that mines: every block it acknowledged is there on the same disk."""

import subprocess
import sys
from pathlib import Path

import pytest

from protocol.bitcoin.tx import hash_hex
from protocol.crypto.keys import SecretKey
from regtest.kernel import KernelChain
from regtest.wallet import Wallet

CHILD = Path(__file__).with_name("mining_child.py")
ROOT = Path(__file__).parents[2]


def killed_after(datadir: Path, blocks: int, *, kill_at: int) -> list[str]:
    """Run the child, SIGKILL it after line ``kill_at``; every line that it got out."""
    child = subprocess.Popen(
        [sys.executable, str(CHILD), str(datadir), str(blocks)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    assert child.stdin is not None and child.stdout is not None
    with child:
        lines = []
        for line in child.stdout:
            lines.append(line.strip())
            if len(lines) == kill_at:
                child.kill()
        assert child.wait(timeout=30) == -9
    return lines


def acknowledged(lines: list[str]) -> dict[int, str]:
    words = [line.split() for line in lines]
    return {int(w[1]): w[2] for w in words if w[0] == "block" and len(w) == 3}


@pytest.mark.parametrize("kill_at", [2, 60, 122])
def test_every_acknowledged_block_comes_back(tmp_path: Path, kill_at: int) -> None:
    """While it mines, and while it waits with everything done."""
    lines = killed_after(tmp_path, 120, kill_at=kill_at)
    known = acknowledged(lines)
    assert len(known) >= kill_at - 2
    with KernelChain(tmp_path) as chain:
        assert chain.recovered
        assert chain.height >= max(known, default=0)
        for height, block_hash in known.items():
            assert hash_hex(chain.header(height).ref.hash) == block_hash
        wallet = Wallet(chain, SecretKey(b"\xa1" * 32))
        assert len(chain.unspent(wallet.script())) >= max(known, default=0) - 20
        tip = chain.tip
        assert chain.mine()[0].height == tip.height + 1
    with KernelChain(tmp_path) as chain:
        assert not chain.recovered
        assert chain.header(tip.height).ref == tip


def test_killed_again_and_again(tmp_path: Path) -> None:
    """Each life starts where the last one was acknowledged, a reindex included."""
    known: dict[int, str] = {}
    for life in range(3):
        lines = killed_after(tmp_path, 40, kill_at=25)
        _, height, recovered = lines[0].split()
        assert int(height) >= max(known, default=0)
        assert bool(int(recovered)) == (life > 0)
        known |= acknowledged(lines)
    with KernelChain(tmp_path) as chain:
        for height_, block_hash in known.items():
            assert hash_hex(chain.header(height_).ref.hash) == block_hash


def test_killed_while_it_opens(tmp_path: Path) -> None:
    """A marker without databases, and one beside databases that were cut off."""
    (tmp_path / "dirty").write_text("1\n")
    with KernelChain(tmp_path) as chain:
        assert chain.recovered
        chain.mine(20)
        tip = chain.tip
    (tmp_path / "dirty").write_text("1\n")
    for file in (tmp_path / "chainstate").iterdir():
        if file.name.startswith("MANIFEST"):
            file.write_bytes(file.read_bytes()[:10])
    with KernelChain(tmp_path) as chain:
        assert chain.recovered
        assert chain.tip == tip


PROBE_AND_DIE = """
import os, sys
from protocol.bitcoin.tx import hash_hex, outpoint, transaction, txin, txout
from regtest.blocks import coinbase, mined_block
from regtest.kernel import KernelChain
chain = KernelChain(sys.argv[1])
chain.mine(5)
parent = chain.header(4).ref
first = coinbase(5, b"\\x51", 50 * 10**8, [], extra=9)
chain.submit_block(mined_block(parent.hash, 5, parent.time + 600, [], first)[0])
point = outpoint(b"\\x01" * 32, 0)
assert not chain.check(transaction([txin(point)], [txout(1, b"\\x51")])).consensus
print(hash_hex(chain.tip.hash), flush=True)
os._exit(9)
"""


def test_side_branches_and_refused_blocks_do_not_confuse_a_reindex(tmp_path: Path) -> None:
    """An equal branch that came second stays second, a block that was refused stays refused."""
    run = subprocess.run(
        [sys.executable, "-c", PROBE_AND_DIE, str(tmp_path)],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert run.returncode == 9, run.stderr
    with KernelChain(tmp_path) as chain:
        assert chain.recovered
        assert hash_hex(chain.tip.hash) == run.stdout.strip()
        assert chain.height == 5
