"""The kernel chain: what it knows, what it refuses and why, who may hold it."""

import os
import pickle
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from protocol.bitcoin.tx import outpoint, parse_tx, serialize, txid, txout
from protocol.crypto.hashes import hash256
from protocol.crypto.keys import SecretKey
from protocol.errors import ChainError, ConsensusError, EncodingError
from regtest.blocks import coinbase, mined_block, subsidy_sats
from regtest.chain import ANYONE, Chain
from regtest.kernel import KernelChain
from regtest.libkernel import Kernel
from regtest.wallet import Wallet

GENESIS = "0f9188f13cb7b2c71f2a335e3a4fc328bf5beb436012afca590b1a11466e2206"


PINNED_TIP = "3b9411b8a267ae737d781f2557b210d4da4bf025f2735624ec2de3b1f7cfb550"
"""Block 160 of a chain that nobody did anything on."""
AUX = bytes(32)


def block_on_tip(chain: Chain, *, sats: int | None = None, when: int | None = None) -> bytes:
    tip = chain.tip
    first = coinbase(
        tip.height + 1, ANYONE, subsidy_sats(tip.height + 1) if sats is None else sats, []
    )
    raw, _ = mined_block(tip.hash, tip.height + 1, when or tip.time + 600, [], first)
    return raw


def test_a_new_chain_is_regtest_genesis(chain: KernelChain) -> None:
    assert chain.height == 0
    assert chain.tip.hash[::-1].hex() == GENESIS
    assert chain.header(0).ref == chain.tip
    assert not chain.recovered
    assert chain.caps.consensus == "real"
    assert chain.caps.policy == "model"


def test_blocks_are_deterministic(tmp_path: Path) -> None:
    """Same inputs, same hashes; ten minutes apart; the subsidy halves every 150 blocks."""
    tips = []
    for name in ("a", "b"):
        with KernelChain(tmp_path / name) as chain:
            chain.mine(160)
            tips.append(chain.tip)
            assert chain.header(7).ref.time == 1_296_688_602 + 600 * 7
            values = [chain.block(height)[0].vout[0].nValue for height in (149, 150)]
            assert values == [50 * 10**8, 25 * 10**8]
    assert tips[0] == tips[1]
    assert tips[0].hash[::-1].hex() == PINNED_TIP


def test_questions_about_a_transaction(chain: KernelChain, alice: Wallet) -> None:
    payment = alice.pay([txout(70_000, alice.script(2))], AUX)
    point = outpoint(txid(payment), 0)
    spent_point = payment.vin[0].prevout
    assert chain.tx(txid(payment)) is None
    chain.broadcast(payment)
    waiting = chain.tx(txid(payment))
    assert waiting is not None and waiting.block is None
    assert chain.utxo(spent_point) is None
    assert chain.utxo(spent_point, mempool=False) is not None
    found = chain.utxo(point)
    assert found is not None and found.height is None and found.sats == 70_000
    assert chain.utxo(point, mempool=False) is None
    spender = chain.spender(spent_point)
    assert spender is not None and spender.txid == txid(payment)

    (block,) = chain.mine()
    place = chain.tx(txid(payment))
    assert place is not None and (place.block, place.position) == (block, 1)
    assert chain.block(block.height)[1] == payment
    assert chain.block(block.hash)[1] == payment
    assert chain.utxo(spent_point, mempool=False) is None
    found = chain.utxo(point, mempool=False)
    assert found is not None and found.height == block.height and not found.coinbase
    spender = chain.spender(spent_point)
    assert spender is not None and spender.block == block
    assert chain.spender(point) is None
    assert chain.tx(bytes(32)) is None
    assert chain.utxo(outpoint(bytes(32), 0)) is None


def test_unknown_blocks(chain: KernelChain) -> None:
    for wrong in (1, -1, b"\x01" * 32, b"\x01" * 31):
        with pytest.raises(ChainError):
            chain.header(wrong)
        with pytest.raises(ChainError):
            chain.block(wrong)


# Blocks are judged by what the kernel says, not by what its function returns


def test_a_submitted_block_connects(chain: KernelChain) -> None:
    chain.mine(3)
    raw = block_on_tip(chain)
    ref = chain.submit_block(raw)
    assert ref == chain.tip and ref.hash == hash256(raw[:80])
    assert chain.submit_block(raw) == ref  # known already: fine


def test_reasons_of_refused_blocks(chain: KernelChain) -> None:
    chain.mine(12)
    tip = chain.tip
    good = block_on_tip(chain)
    too_much = block_on_tip(chain, sats=50 * 10**8 + 1)
    orphan = bytearray(good)
    orphan[4:36] = b"\x09" * 32
    cases = [
        (too_much, r"bad-cb-amount.*actual=5000000001"),
        (too_much, "duplicate-invalid"),
        (block_on_tip(chain, when=chain.header(12).median_time), "time-too-old"),
        (block_on_tip(chain, when=2**32 - 1), "time-too-new"),
        (_reground(bytes(orphan)), "prev-blk-not-found"),
        (_reground(good[:36] + b"\x07" * 32 + good[68:]), "bad-txnmrklroot"),
    ]
    for raw, reason in cases:
        with pytest.raises(ConsensusError, match=reason):
            chain.submit_block(raw)
        assert chain.tip == tip
    assert chain.submit_block(good) == chain.tip


def _reground(raw: bytes) -> bytes:
    """The same block with proof of work again."""
    nonce = 0
    while True:
        header = raw[:76] + nonce.to_bytes(4, "little")
        if int.from_bytes(hash256(header), "little") <= 0x7FFFFF << 8 * 29:
            return header + raw[80:]
        nonce += 1


def test_bytes_that_are_no_block(chain: KernelChain) -> None:
    good = block_on_tip(chain)
    for raw in (b"", good[:79], good[:80], good[:-1], good + b"\0", good[:80] + b"\xff" * 9):
        with pytest.raises(EncodingError):
            chain.submit_block(raw)
    assert chain.height == 0


def test_a_side_branch_waits_until_it_leads(chain: KernelChain) -> None:
    chain.mine(2)
    parent = chain.header(1)
    first = coinbase(2, ANYONE, 50 * 10**8, [], extra=7)
    raw, side_hash = mined_block(parent.ref.hash, 2, parent.ref.time + 600, [], first)
    tip = chain.tip
    side = chain.submit_block(raw)
    assert (side.height, side.hash) == (2, side_hash)
    assert chain.tip == tip
    assert chain.header(side_hash).ref == side
    assert chain.header(side_hash).median_time == parent.ref.time
    assert chain.block(side_hash)[0] == first
    raw, _ = mined_block(side_hash, 3, side.time + 600, [], coinbase(3, ANYONE, 50 * 10**8, []))
    assert chain.submit_block(raw) == chain.tip
    assert chain.header(2).ref == side


def test_an_invalid_branch_does_not_lead(chain: KernelChain) -> None:
    chain.mine(2)
    tip = chain.tip
    parent = chain.header(1).ref
    raw, greedy = mined_block(
        parent.hash, 2, parent.time + 600, [], coinbase(2, ANYONE, 51 * 10**8, [])
    )
    assert chain.submit_block(raw).height == 2  # not validated yet: it does not lead
    raw, _ = mined_block(greedy, 3, parent.time + 1200, [], coinbase(3, ANYONE, 50 * 10**8, []))
    with pytest.raises(ConsensusError, match=r"its ancestor .* is invalid: bad-cb-amount"):
        chain.submit_block(raw)
    assert chain.tip == tip
    chain.mine()
    assert chain.height == 3


# The clock


def test_the_clock(chain: KernelChain) -> None:
    chain.mine(20)
    chain.set_time(1_700_000_000)
    first, second = chain.mine(2)
    assert (first.time, second.time) == (1_700_000_000, 1_700_000_600)
    with pytest.raises(ChainError, match="median of the last 11"):
        chain.set_time(chain.header(chain.height).median_time)
    with pytest.raises(ChainError, match="two hours from now"):
        chain.set_time(2**32 - 1)


def test_a_chain_in_the_present_keeps_going(chain: KernelChain) -> None:
    """Ten minutes a block would leave the two hours that a block may lie ahead."""
    chain.set_time(int(time.time()))
    chain.mine(40)
    assert chain.height == 40
    assert chain.tip.time <= time.time() + 7_300


# Who holds the folder


def test_one_opener_in_this_process(chain: KernelChain, tmp_path: Path) -> None:
    with pytest.raises(ChainError, match=rf"open in process {os.getpid()} \(this process\)"):
        KernelChain(tmp_path / "node")
    assert chain.mine()[0].height == 1


OPEN_IT = """
import sys
from regtest.kernel import KernelChain
from protocol.errors import ChainError
try:
    KernelChain(sys.argv[1])
except ChainError as error:
    print(error)
"""


def test_one_opener_among_processes(chain: KernelChain, tmp_path: Path) -> None:
    chain.mine(3)
    out = subprocess.run(
        [sys.executable, "-c", OPEN_IT, str(tmp_path / "node")],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert f"is open in process {os.getpid()}" in out
    assert "close it there or choose another folder" in out
    assert chain.mine()[0].height == 4


def test_a_folder_held_without_our_lock(chain: KernelChain, tmp_path: Path) -> None:
    """A bitcoind, say: it holds LevelDB's lock only. Nothing may be wiped then."""
    chain.mine(5)
    for reindex in (False, True):
        with pytest.raises(ChainError, match="another process, perhaps a bitcoind"):
            Kernel((tmp_path / "node").resolve(), reindex=reindex)
    chain.checkpoint()
    assert chain.height == 5


def test_a_folder_that_cannot_be_one(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ChainError, match=r"cannot use .* as a node's folder"):
        KernelChain(tmp_path / "file")


def test_close_and_reopen(tmp_path: Path) -> None:
    chain = KernelChain(tmp_path)
    wallet = Wallet(chain, SecretKey(b"\x07" * 32))
    chain.mine(5, to=wallet.script())
    tip = chain.tip
    assert (tmp_path / "dirty").exists()
    chain.close()
    chain.close()
    assert not (tmp_path / "dirty").exists()
    for question in (lambda: chain.height, lambda: chain.mine(), lambda: chain.mempool()):
        with pytest.raises(ChainError, match="is closed"):
            question()
    with KernelChain(tmp_path) as again:
        assert again.tip == tip
        assert not again.recovered
        assert len(again.unspent(wallet.script())) == 5
        assert again.mine()[0].height == 6


def test_a_flush_that_fails_leaves_the_marker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(self: Kernel) -> None:
        self.disown()
        raise ChainError("the chain was not flushed (no space left): it is rebuilt when opened")

    chain = KernelChain(tmp_path)
    chain.mine(4)
    with monkeypatch.context() as patch:
        patch.setattr(Kernel, "close", failing)
        with pytest.raises(ChainError, match="not flushed"):
            chain.close()
    chain.close()
    assert (tmp_path / "dirty").exists()


def test_an_abandoned_chain_is_closed(tmp_path: Path) -> None:
    KernelChain(tmp_path).mine(4)
    with KernelChain(tmp_path) as again:
        assert again.height == 4
        assert not again.recovered


def test_checkpoint_keeps_everything(chain: KernelChain, alice: Wallet) -> None:
    payment = alice.pay([txout(5_000, alice.script())], AUX)
    chain.broadcast(payment)
    tip = chain.tip
    chain.checkpoint()
    assert chain.tip == tip
    assert chain.mempool() == (payment,)
    chain.mine()
    assert chain.tx(txid(payment)).block == chain.tip


def test_reindex_on_request(tmp_path: Path) -> None:
    with KernelChain(tmp_path) as chain:
        chain.mine(30)
        tip = chain.tip
    with KernelChain(tmp_path, reindex=True) as chain:
        assert chain.recovered
        assert chain.tip == tip


def test_it_does_not_travel(chain: KernelChain) -> None:
    with pytest.raises(ChainError, match="send its datadir"):
        pickle.dumps(chain)


FORK_IT = """
import os, sys, warnings
warnings.simplefilter("ignore")
from regtest.kernel import KernelChain
from protocol.errors import ChainError
chain = KernelChain(sys.argv[1])
chain.mine(3)
child = os.fork()
if child == 0:
    try:
        chain.mine()
    except ChainError as error:
        print(error, flush=True)
    chain.close()
    sys.exit(0)
os.waitpid(child, 0)
chain.mine(2)
print(chain.height, flush=True)
chain.close()
"""


def test_a_fork_cannot_touch_it(tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-c", FORK_IT, str(tmp_path)], capture_output=True, text=True, check=True
    )
    refused, height = run.stdout.splitlines()
    assert "forked process" in refused
    assert height == "5"
    with KernelChain(tmp_path) as chain:
        assert chain.height == 5
        assert not chain.recovered


# Threads


def test_wait_sees_another_thread(chain: KernelChain) -> None:
    miner = threading.Thread(target=chain.mine, args=(3,))
    miner.start()
    chain.wait(lambda: chain.height == 3, timeout_s=20)
    miner.join()
    with pytest.raises(ChainError, match="did not happen"):
        chain.wait(lambda: chain.height == 4, timeout_s=0.05)


def test_racing_miners_make_one_chain(chain: KernelChain) -> None:
    readings: list[int] = []

    def read() -> None:
        readings.extend(chain.header(chain.height).ref.height for _ in range(50))

    threads = [threading.Thread(target=chain.mine, args=(25,)) for _ in range(4)]
    threads += [threading.Thread(target=read) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert chain.height == 100
    assert len(readings) == 100


def test_two_chains_in_one_process_do_not_mix(chain: KernelChain, tmp_path: Path) -> None:
    """The library's log is shared; reasons are not."""
    with KernelChain(tmp_path / "other") as other:
        chain.mine(2)
        with pytest.raises(ConsensusError, match="time-too-old"):
            other.submit_block(block_on_tip(other, when=1))
        with pytest.raises(ConsensusError, match="bad-cb-amount"):
            chain.submit_block(block_on_tip(chain, sats=60 * 10**8))
        assert (chain.height, other.height) == (2, 0)


def test_what_comes_out_is_plain(chain: KernelChain) -> None:
    (block,) = chain.mine()
    raw = serialize(chain.block(1)[0])
    chain.close()
    assert serialize(parse_tx(raw)) == raw
    assert block.height == 1
